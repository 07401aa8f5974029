#include "caravan/codes/code_tokenizer.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/base/json.h"
#include "caravan/base/temporary_folder.h"
#include "caravan/codes/vocabulary_extension.h"
#include "caravan/models/load.h"

namespace caravan::codes {
namespace {

const std::vector<std::string> kTexts = {"<a_101> <b_42> <c_999>", "<a_9>", "<b_3> <a_101> <a_10> <c_0> <d_12>"};

TEST(CodeTokenizer, WordsGetTheirIdsInTheOrderOfTheirCharacters) {
  const CodeTokenizer t = create_rq_code_tokenizer(kTexts);
  const std::vector<std::string> words = {"[PAD]", "[UNK]", "[BOS]", "[EOS]", "<a_101>", "<a_10>",
                                          "<a_9>", "<b_3>", "<b_42>", "<c_0>", "<c_999>", "<d_12>"};
  ASSERT_EQ(t.tokenizer.vocab_size(), words.size());
  for (size_t i = 0; i < words.size(); ++i) EXPECT_EQ(t.tokenizer.token_to_id(words[i]), static_cast<int32_t>(i));
}

TEST(CodeTokenizer, WhiteSpaceSeparatesAndUnseenWordsAreUnknown) {
  const CodeTokenizer t = create_rq_code_tokenizer(kTexts);
  EXPECT_EQ(t.tokenizer.encode(" <a_101> <b_42>\n<c_999> ").ids, (std::vector<int32_t>{4, 8, 10}));
  EXPECT_EQ(t.tokenizer.encode("<a_8> <b_42>").ids, (std::vector<int32_t>{1, 8}));
  EXPECT_EQ(t.tokenizer.encode("<a_101><b_42>").ids, (std::vector<int32_t>{1}));
  EXPECT_EQ(t.tokenizer.encode("[BOS] <a_9> [EOS]").ids, (std::vector<int32_t>{2, 6, 3}));
}

TEST(CodeTokenizer, OtherWordsAreKeptAndTwoSpacesHaveAnEmptyWordBetweenThem) {
  const CodeTokenizer t = create_rq_code_tokenizer(std::vector<std::string>{"<a_1>  user_3", "[BOS] <a_1>"});
  EXPECT_EQ(t.tokenizer.vocab_size(), 7u);
  EXPECT_EQ(t.tokenizer.encode("[BOS] <a_1> user_3").ids, (std::vector<int32_t>{2, 5, 6}));
}

TEST(CodeTokenizer, TokensAroundTextsAndWholeCodebooksByOption) {
  const CodeTokenizer t = create_rq_code_tokenizer(
      kTexts, {.more_special = {"<sep>"}, .add_bos = true, .add_eos = true, .whole_codebooks = true});
  EXPECT_EQ(t.tokenizer.vocab_size(), 5u + 102 + 43 + 1000 + 13);
  EXPECT_EQ(t.tokenizer.encode("<a_0> <a_1>").ids, (std::vector<int32_t>{2, 5, 18, 3}));  // behind <a_100>, <a_10> ...
}

TEST(CodeTokenizer, WholeCodebooksOfItemsStandByLevelAndNumber) {
  items::ItemCodes codes({11, 2});
  codes.add(std::vector<int32_t>{2, 1});
  const CodeTokenizer t = create_rq_code_tokenizer(codes);
  EXPECT_EQ(t.tokenizer.vocab_size(), 4u + 11 + 2);
  EXPECT_EQ(t.tokenizer.encode("<s><a_2><b_1> <a_10>").ids, (std::vector<int32_t>{2, 6, 16, 14}));
}

TEST(CodeTokenizer, WhatMakesNoSenseIsRefused) {
  EXPECT_THROW(create_rq_code_tokenizer(std::vector<std::string>{" "}), Error);
  EXPECT_THROW(create_rq_code_tokenizer(kTexts, {.bos = "[PAD]"}), Error);
  // A mistyped code must not fill the memory with words.
  EXPECT_THROW(create_rq_code_tokenizer(std::vector<std::string>{"<a_999999999>"}, {.whole_codebooks = true}), Error);
}

// LLaMA-Rec's ids, and those of Hugging Face tokenizers and PreTrainedTokenizerFast on the same files
// (scripts/golden/code_tokenizer.py).
TEST(CodeTokenizer, TheFilesAreTheOnesThatTransformersWasTriedWith) {
  const std::string folder = CARAVAN_SOURCE_DIR "/tests/golden/codes/tokenizer/";
  const Json golden = parse_json(read_file(folder + "ids.json"), "ids.json");
  const auto texts = golden["dataset"].get<std::vector<std::string>>();
  const CodeTokenizer t = create_rq_code_tokenizer(texts);
  for (const auto& [name, contents] : t.files) EXPECT_EQ(contents, read_file(folder + name)) << name;
  for (const Json& one : golden["cases"]) {
    EXPECT_EQ(t.tokenizer.encode(one["text"].get<std::string>()).ids, one["llama_rec"].get<std::vector<int32_t>>());
    EXPECT_EQ(one["tokenizers"], one["llama_rec"]);
    EXPECT_EQ(one["transformers"], one["llama_rec"]);
  }
}

TEST(AddWords, NewWordsGetTheIdsBehindTheLast) {
  const std::string json = R"({"added_tokens": [{"id": 7, "content": "<s>", "special": true}],
      "model": {"type": "WordLevel", "vocab": {"x": 0, "<a_0>": 1, "y": 2, "z": 3}, "unk_token": "x"}})";
  std::vector<int64_t> ids;
  const Json out = parse_json(add_words(json, {"<a_0>", "<a_1>", "<b_0>"}, ids, "t"), "t");
  EXPECT_EQ(ids, (std::vector<int64_t>{1, 8, 9}));
  EXPECT_EQ(out["added_tokens"].size(), 3u);
  EXPECT_EQ(out["added_tokens"][2]["content"], "<b_0>");
}

Json small_llama(bool tied) {
  return Json::parse(R"({"model_type": "llama", "vocab_size": 40, "hidden_size": 16, "intermediate_size": 24,
      "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2, "tie_word_embeddings": )" +
                     std::string(tied ? "true" : "false") + "}");
}

TEST(ExtendVocabulary, OldRowsStayAndNewOnesLieAmongThem) {
  Json vocabulary = Json::object();
  for (int i = 0; i < 38; ++i) vocabulary["w" + std::to_string(i)] = i;  // two rows of the embedding have no word
  const Json tokenizer = {{"version", "1.0"},
                          {"added_tokens", Json::array()},
                          {"pre_tokenizer", {{"type", "WhitespaceSplit"}}},
                          {"model", {{"type", "WordLevel"}, {"vocab", vocabulary}, {"unk_token", "w0"}}}};
  for (const bool tied : {true, false}) {
    const TemporaryFolder folder;
    models::CausalLm model(small_llama(tied));
    nn::initialize(model, {.std = 0.5, .seed = 2});
    models::save_model(model, folder / "in",
                       {.side_files = {{"tokenizer.json", tokenizer.dump()},
                                       {"tokenizer_config.json", "{}"},
                                       {"preprocessor_config.json", "{}"},
                                       {"vocab.json", "{}"}}});
    items::ItemCodes codes({3, 2});
    codes.add(std::vector<int32_t>{2, 1});
    const auto checkpoint = formats::Checkpoint::open(folder / "in");
    for (const double spread : {-1.0, double{NAN}, double{INFINITY}})
      EXPECT_THROW(extend_vocabulary(*checkpoint, codes, folder / "out", {.spread = spread}), Error);
    const Extension extension = extend_vocabulary(*checkpoint, codes, folder / "out");
    EXPECT_EQ(extension.first_id, 38);
    EXPECT_EQ(extension.rows, 43);
    const auto copy = models::load_causal_lm(folder / "out");
    EXPECT_EQ(copy->tied(), tied);
    const auto a = model.named_parameters(), b = copy->named_parameters();
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) {
      const bool grew = b[i].parameter->shape[0] == 43;
      const at::Tensor old = grew ? a[i].parameter->value.slice(0, 0, 38) : a[i].parameter->value;
      EXPECT_TRUE(at::equal(grew ? b[i].parameter->value.slice(0, 0, 38) : b[i].parameter->value, old)) << a[i].name;
      if (!grew) continue;
      const double deviation = b[i].parameter->value.slice(0, 38).std().item<double>();
      EXPECT_NEAR(deviation, old.std().item<double>(), 0.2);
      EXPECT_FALSE(at::equal(b[i].parameter->value[38], b[i].parameter->value[39]));
    }
    const text::Tokenizer t = text::Tokenizer::from_json(read_file(folder / "out/tokenizer.json"), "tokenizer.json");
    EXPECT_EQ(t.encode("w37 <a_2><b_1>").ids, (std::vector<int32_t>{37, 40, 42}));
    EXPECT_TRUE(file_exists(folder / "out/tokenizer_config.json"));
    EXPECT_TRUE(file_exists(folder / "out/preprocessor_config.json"));
    EXPECT_FALSE(file_exists(folder / "out/vocab.json"));  // it would lack the new words
  }
}

}  // namespace
}  // namespace caravan::codes
