// A model with its tokenizer and chat template: prompts, conversations, and text that streams.
#include "caravan/generate/text_model.h"

#include <gtest/gtest.h>
#include <torch/torch.h>
#include <unistd.h>

#include <filesystem>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/base/utf8.h"
#include "caravan/generate/engine.h"

namespace caravan::generate {
namespace {

namespace fs = std::filesystem;

// The golden model (96 tokens) with a vocabulary of letters, of both bytes of é, and of byte pairs of other characters.
std::string tokenizer_json() {
  Json vocab = {{"<s>", 0}, {"</s>", 1}, {"<u>", 2}};
  const auto add = [&](const std::string& token) {
    if (!vocab.contains(token)) vocab[token] = vocab.size();
  };
  for (char c = 'a'; c <= 'z'; ++c) add(std::string(1, c));
  // ByteLevel's characters for the bytes c3, a9, e2, 82, ac, f0, 9f, 98, 80 and the space.
  for (const char* byte : {"Ã", "©", "â", "Ĥ", "¬", "ð", "Ł", "ĺ", "Ģ", "Ġ", "Ã©", "âĤ", "ðŁĺ", "ðŁ", "ĺĢ"}) add(byte);
  while (vocab.size() < 96) add(fmt::format("{}{}", static_cast<char>('a' + vocab.size() % 26), vocab.size()));
  const auto special = [](int id, const char* text) {
    return Json{{"id", id},        {"content", text},     {"single_word", false}, {"lstrip", false},
                {"rstrip", false}, {"normalized", false}, {"special", true}};
  };
  const Json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}};
  return Json{{"version", "1.0"},
              {"added_tokens", Json::array({special(0, "<s>"), special(1, "</s>"), special(2, "<u>")})},
              {"normalizer", nullptr},
              {"pre_tokenizer", byte_level},
              {"post_processor", nullptr},
              {"decoder", byte_level},
              {"model",
               {{"type", "BPE"},
                {"dropout", nullptr},
                {"unk_token", nullptr},
                {"continuing_subword_prefix", nullptr},
                {"end_of_word_suffix", nullptr},
                {"fuse_unk", false},
                {"byte_fallback", false},
                {"vocab", vocab},
                {"merges", Json::array({Json::array({"Ã", "©"})})}}}}
      .dump();
}

class TextModelTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = (fs::temp_directory_path() / fmt::format("caravan-text-model-{}", getpid())).string();
    fs::create_directories(folder_);
    const std::string golden = CARAVAN_SOURCE_DIR "/tests/golden/generate/llama/";
    for (const char* name : {"config.json", "model.safetensors"}) fs::copy_file(golden + name, folder_ + "/" + name);
  }
  void TearDown() override { fs::remove_all(folder_); }
  void add(const std::string& name, const std::string& text) { write_file(folder_ + "/" + name, text); }
  TextModel load() const { return load_text_model(folder_, {.dtype = at::kFloat}); }

  std::string folder_;
};

TEST_F(TextModelTest, WithoutTokenizerAndTemplateOnlyIdsWork) {
  const TextModel model = load();
  EXPECT_FALSE(model.tokenizer.has_value());
  EXPECT_THROW(model.encode("a"), Error);
  EXPECT_THROW(model.render_chat(Json::array()), Error);
  GenerateRequest request = model.request({5, 6});
  EXPECT_EQ(request.config.eos_token_id, (std::vector<int32_t>{2}));  // config.json's
  request.config.max_new_tokens = 3;
  const GenerateResult result = Engine(*model.lm).generate(request);
  EXPECT_EQ(result.sequences[0].text, "");
  EXPECT_FALSE(result.sequences[0].ids.empty());
}

TEST_F(TextModelTest, ConversationsAreRenderedAndEncodedWithTheirSpecialTokens) {
  add("tokenizer.json", tokenizer_json());
  add("tokenizer_config.json", R"({"bos_token": "<s>", "eos_token": "</s>"})");
  add("chat_template.jinja",
      "{{ bos_token }}{% for m in messages %}<u>{{ m.content }}{{ eos_token }}{% endfor %}"
      "{% if add_generation_prompt %}{{ tail | default('ai') }}{% endif %}");
  const TextModel model = load();
  const Json messages = {{{"role", "user"}, {"content", "hé"}}};
  EXPECT_EQ(model.render_chat(messages), "<s><u>hé</s>ai");
  EXPECT_EQ(model.render_chat(messages, {{"add_generation_prompt", false}}), "<s><u>hé</s>");
  EXPECT_EQ(model.render_chat(messages, {{"tail", "x"}}), "<s><u>hé</s>x");
  const auto id = [&](const char* token) { return model.tokenizer->token_to_id(token).value(); };
  EXPECT_EQ(model.encode_chat(messages), (std::vector<int32_t>{0, 2, id("h"), id("Ã©"), 1, id("a"), id("i")}));
  EXPECT_EQ(model.encode("ha"), (std::vector<int32_t>{id("h"), id("a")}));
}

// Tokens of this model end inside characters at will: what streams must be whole characters, and all of the text.
TEST_F(TextModelTest, StreamedPiecesAreWholeCharactersAndAddUpToTheText) {
  add("tokenizer.json", tokenizer_json());
  const TextModel model = load();
  int64_t split_characters = 0;
  for (uint64_t seed = 0; seed < 30; ++seed) {
    GenerateRequest request = model.request({5, 9, 12});
    request.config.update({{"max_new_tokens", 60}, {"do_sample", true}, {"temperature", 4.0}, {"seed", seed}}, "test");
    request.config.stop_strings = {"zq", "é"};
    std::vector<std::string> pieces;
    request.on_token = [&](const TokenEvent& event) {
      pieces.push_back(event.text);
      return true;
    };
    const GeneratedSequence sequence = Engine(*model.lm).generate(request).sequences[0];
    std::string streamed;
    for (const std::string& piece : pieces) {
      EXPECT_EQ(find_invalid_utf8(piece), std::string::npos) << seed;
      streamed += piece;
    }
    EXPECT_EQ(pieces.size(), sequence.ids.size());
    EXPECT_EQ(streamed, sequence.text) << seed;
    EXPECT_EQ(streamed.find("é"), std::string::npos);
    const std::string whole = model.tokenizer->decode(sequence.ids, true);
    EXPECT_TRUE(whole.starts_with(streamed)) << seed;
    if (sequence.reason != FinishReason::stop) EXPECT_EQ(whole, streamed) << seed;
    split_characters += whole.find("\u20ac") != std::string::npos || whole.find("\xEF\xBF\xBD") != std::string::npos;
  }
  EXPECT_GT(split_characters, 3);  // the case that this test is about did occur
}

}  // namespace
}  // namespace caravan::generate
