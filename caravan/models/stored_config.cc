#include "caravan/models/stored_config.h"

#include <algorithm>

#include "caravan/base/error.h"

namespace caravan::models {
namespace {

bool has_another_head(const formats::Checkpoint& checkpoint) {
  const formats::TensorInfo* head = checkpoint.find("lm_head.weight");
  const formats::TensorInfo* embedding = checkpoint.find("model.embed_tokens.weight");
  if (head == nullptr || embedding == nullptr) return false;
  if (head->dtype != embedding->dtype || head->shape != embedding->shape) return true;
  const formats::TensorBytes a = checkpoint.read(head->name), b = checkpoint.read(embedding->name);
  return a.bytes.data() != b.bytes.data() && !std::ranges::equal(a.bytes, b.bytes);
}

}  // namespace

Json stored_config(const formats::Checkpoint& checkpoint) {
  Json config = checkpoint.config();
  check(!config.empty() || !checkpoint.side_file("config.json").empty(), ErrorCode::not_found,
        "{}: no such file; it says what the model is, and lies beside the weights", checkpoint.place_of("config.json"));
  if (get_bool(config, "tie_word_embeddings", checkpoint.path(), false) && has_another_head(checkpoint)) {
    config["tie_word_embeddings"] = false;
  }
  return config;
}

}  // namespace caravan::models
