// What model.* may say: checked before a run reads its data, with errors that name the setting and are the caller's
// mistake (a checkpoint's config.json with the same content is a corrupt file).
//
//   check_model_settings(config.model.inline_config);
//   std::unique_ptr<models::Head> model = make_model_of_settings(config);
#pragma once

#include <memory>

#include "caravan/base/json.h"
#include "caravan/models/heads.h"

namespace caravan::train {

// Throws invalid_argument. Sizes that the data decides (vocab_size) may be missing.
void check_model_settings(const Json& settings);
void check_token_ids(const Json& settings);  // once vocab_size is there

// Makes the model; what its family refuses becomes invalid_argument "model.hidden_size must lie in ...".
std::unique_ptr<models::Head> make_model_of_settings(const Json& settings);

}  // namespace caravan::train
