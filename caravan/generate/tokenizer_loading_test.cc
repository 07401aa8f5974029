// Where a checkpoint's tokenizer, chat template, special tokens and generation defaults come from.
#include "caravan/generate/tokenizer_loading.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/formats/writer.h"

namespace caravan::generate {
namespace {

namespace fs = std::filesystem;

// A checkpoint folder with one tensor and the files that a test adds.
class TokenizerLoading : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = (fs::temp_directory_path() / fmt::format("caravan-tokenizer-loading-{}", getpid())).string();
    auto writer = formats::CheckpointWriter::create(folder_, {{"x", DType::u8, {1}}},
                                                    {{"model_type", "llama"}, {"eos_token_id", 2}, {"top_k", 7}}, {});
    const std::byte value{1};
    writer->write("x", {&value, 1});
    writer->finish();
  }
  void TearDown() override { fs::remove_all(folder_); }

  void add(const std::string& name, const std::string& text) { write_file(folder_ + "/" + name, text); }
  std::unique_ptr<formats::Checkpoint> open() const { return formats::Checkpoint::open(folder_); }

  std::string folder_;
};

std::string word_tokenizer(const std::string& word) {
  return R"({"version": "1.0", "added_tokens": [], "model": {"type": "WordLevel", "vocab": {"<unk>": 0, ")" + word +
         R"(": 5}, "unk_token": "<unk>"}})";
}

std::string rank_file() {
  static constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (int b = 0; b < 256; ++b) text += fmt::format("{}{}== {}\n", kDigits[b >> 2], kDigits[(b & 3) << 4], b);
  return text;
}

TEST_F(TokenizerLoading, TheFirstKindOfFileWins) {
  EXPECT_FALSE(load_tokenizer(*open()).has_value());
  add("tokenizer.model", rank_file());
  EXPECT_EQ(load_tokenizer(*open())->encode("a", {.add_special_tokens = false}).ids, (std::vector<int32_t>{'a'}));
  add("tokenizer.json", word_tokenizer("a"));
  EXPECT_EQ(load_tokenizer(*open())->encode("a").ids, (std::vector<int32_t>{5}));
}

TEST_F(TokenizerLoading, WhatIsNoRankFileIsASentencePieceModel) {
  add("tokenizer.model", "certainly no model");
  EXPECT_THROW(load_tokenizer(*open()), Error);
}

TEST_F(TokenizerLoading, ChatTemplatesComeFromTheirFileOrTheTokenizersConfig) {
  const auto render = [&] {
    return load_chat_template(*open())->render({{"messages", {{{"role", "user"}, {"content", "hi"}}}}});
  };
  EXPECT_FALSE(load_chat_template(*open()).has_value());
  add("tokenizer_config.json", R"({"chat_template": "one"})");
  EXPECT_EQ(render(), "one");
  add("tokenizer_config.json", R"({"chat_template": [{"name": "tools", "template": "no"},
                                                     {"name": "default", "template": "two"}]})");
  EXPECT_EQ(render(), "two");
  add("chat_template.jinja", "three");
  EXPECT_EQ(render(), "three");
}

TEST_F(TokenizerLoading, AChatTemplateOfAnotherTypeIsAnError) {
  for (const char* bad : {R"({"chat_template": 3})", R"({"chat_template": [{"name": "tools", "template": "no"}]})",
                          R"(["chat_template"])"}) {
    add("tokenizer_config.json", bad);
    EXPECT_THROW(load_chat_template(*open()), Error) << bad;
  }
}

TEST_F(TokenizerLoading, SpecialTokensAreTextsOrObjects) {
  add("special_tokens_map.json", R"({"bos_token": {"content": "<s>", "lstrip": false}, "eos_token": "</s>"})");
  add("tokenizer_config.json", R"({"eos_token": "<end>", "pad_token": null, "add_bos_token": true, "model_max": 3})");
  EXPECT_EQ(special_tokens(*open()), (Json{{"bos_token", "<s>"}, {"eos_token", "<end>"}}));
}

TEST_F(TokenizerLoading, GenerationDefaultsComeFromOneFileOrTheOther) {
  const GenerationConfig from_model = load_generation_config(*open());
  EXPECT_EQ(from_model.eos_token_id, (std::vector<int32_t>{2}));
  EXPECT_EQ(from_model.top_k, 7);
  EXPECT_TRUE(from_model.extra.empty());

  // As in transformers: where there is a generation_config.json, config.json's options do not count.
  add("generation_config.json", R"({"do_sample": true, "temperature": 0.6, "my_key": 1})");
  const GenerationConfig own = load_generation_config(*open());
  EXPECT_TRUE(own.eos_token_id.empty());
  EXPECT_EQ(own.top_k, 50);
  EXPECT_TRUE(own.do_sample);
  EXPECT_EQ(own.temperature, 0.6);
  EXPECT_EQ(own.extra, (Json{{"my_key", 1}}));

  add("generation_config.json", R"({"eos_token_id": "x"})");
  EXPECT_THROW(load_generation_config(*open()), Error);
}

}  // namespace
}  // namespace caravan::generate
