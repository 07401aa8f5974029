#include "caravan/codes/text_encoder.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cstdlib>
#include <filesystem>

#include "caravan/base/file.h"
#include "caravan/base/json.h"
#include "caravan/models/tensor_file.h"

namespace caravan::codes {
namespace {

// A tiny encoder; expected vectors from transformers (scripts/golden/bert.py).
TEST(TextEncoder, PooledAndNormalizedVectorsEqualTransformers) {
  const std::string folder = CARAVAN_SOURCE_DIR "/tests/golden/codes/bert";
  const auto texts = parse_json(read_file(folder + "/texts.json"), "texts").get<std::vector<std::string>>();
  TextEncoder encoder(folder);
  const at::Tensor want = models::read_tensors(folder + "/hidden.safetensors").at("sentences");
  EXPECT_LT((encoder.encode(texts) - want).abs().max().item<double>(), 1e-5);
}

TEST(TextEncoder, VectorsDoNotDependOnTheOtherTexts) {
  TextEncoder encoder(CARAVAN_SOURCE_DIR "/tests/golden/codes/bert");
  const std::vector<std::string> texts = {"red hair", "nail", "shampoo with red"};
  const at::Tensor all = encoder.encode(texts);
  for (int64_t i = 0; i < 3; ++i) {
    const std::vector<std::string> one = {texts[i]};
    EXPECT_LT((encoder.encode(one)[0] - all[i]).abs().max().item<double>(), 1e-6);
  }
}

}  // namespace
}  // namespace caravan::codes
