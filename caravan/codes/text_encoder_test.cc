#include "caravan/codes/text_encoder.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cstdlib>
#include <filesystem>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/base/json.h"
#include "caravan/base/temporary_folder.h"
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

TEST(TextEncoder, LowerCasesAndPromptsAsTheFolderSays) {
  const std::string plain = CARAVAN_SOURCE_DIR "/tests/golden/codes/bert";
  const TemporaryFolder folder;
  const auto encoded = [&](const std::string& at, const std::string& text) {
    return TextEncoder(at).encode(std::vector<std::string>{text});
  };
  std::filesystem::copy(plain, folder / "cased", std::filesystem::copy_options::recursive);
  Json tokenizer = parse_json(read_file(plain + "/tokenizer.json"), "tokenizer.json");
  tokenizer["normalizer"]["lowercase"] = false;
  write_file(folder / "cased/tokenizer.json", dump_json(tokenizer));
  EXPECT_FALSE(at::equal(encoded(folder / "cased", "Red NAIL"), encoded(plain, "red nail")));
  write_file(folder / "cased/sentence_bert_config.json", R"({"max_seq_length": 10, "do_lower_case": true})");
  EXPECT_TRUE(at::equal(encoded(folder / "cased", "Red NAIL"), encoded(plain, "red nail")));

  std::filesystem::copy(plain, folder / "prompt", std::filesystem::copy_options::recursive);
  const std::string config = folder / "prompt/config_sentence_transformers.json";
  write_file(config, R"({"prompts": {"item": "red hair "}, "default_prompt_name": "item"})");
  EXPECT_TRUE(at::equal(encoded(folder / "prompt", "nail"), encoded(plain, "red hair nail")));
  write_file(folder / "prompt/1_Pooling/config.json", R"({"pooling_mode_mean_tokens": true, "include_prompt": false})");
  EXPECT_THROW(TextEncoder(folder / "prompt"), Error);
  write_file(config, R"({"prompts": {"query": ""}, "default_prompt_name": null})");
  EXPECT_NO_THROW(TextEncoder(folder / "prompt"));
  write_file(config, R"({"prompts": {}, "default_prompt_name": "item"})");
  EXPECT_THROW(TextEncoder(folder / "prompt"), Error);
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
