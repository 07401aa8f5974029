// The config that a checkpoint's tensors are loaded with.
#pragma once

#include "caravan/base/json.h"
#include "caravan/formats/checkpoint.h"

namespace caravan::models {

// config.json, corrected where it contradicts the tensors: with "tie_word_embeddings" and an lm_head.weight that
// differs from the embeddings both are used, untied, as transformers 5 does. An equal copy (torch files have it) stays
// tied.
Json stored_config(const formats::Checkpoint& checkpoint);

}  // namespace caravan::models
