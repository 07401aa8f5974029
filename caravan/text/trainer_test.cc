// Training against merges of the Hugging Face trainer (tests/golden/trainer, made by scripts/golden/trainer.py), and
// what must hold for every trained tokenizer. scripts/differential_training.py compares larger text.
#include "caravan/text/trainer.h"

#include <gtest/gtest.h>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/base/json.h"

namespace caravan::text {
namespace {

const std::vector<std::string> kTexts = {"the cat sat on the mat",
                                         "the cats sat on the mats, 12 times",
                                         "a cat, a mat and the hat: naïve café 😀",
                                         "lower newer wider newest widest lowest",
                                         "the   spaces\tand\nlines",
                                         "the theme of the thesis is there"};

void expect_round_trips(const Tokenizer& tokenizer) {
  for (const std::string& text : kTexts) EXPECT_EQ(tokenizer.decode(tokenizer.encode(text).ids), text);
}

TEST(Trainer, MergesAsTheHuggingFaceTrainer) {
  const std::string path = CARAVAN_SOURCE_DIR "/tests/golden/trainer/bpe.json";
  const Json golden = parse_json(read_file(path), path);
  const auto texts = golden.at("texts").get<std::vector<std::string>>();
  for (const Json& c : golden.at("cases")) {
    TrainOptions options;
    options.vocab_size = c.at("vocab_size").get<size_t>();
    options.min_frequency = c.at("min_frequency").get<uint64_t>();
    options.special_tokens = c.at("special_tokens").get<std::vector<std::string>>();
    const TrainedTokenizer trained = train_bpe(texts_of(texts), options);
    const Json json = parse_json(trained.tokenizer.to_json(), "trained");
    EXPECT_EQ(json.at("model").at("merges").dump(), c.at("merges").dump());
    EXPECT_EQ(json.at("model").at("vocab").size(), c.at("vocab").get<size_t>());
  }
}

TEST(Trainer, ByteLevelTokenizersWriteEveryText) {
  TrainOptions options;
  options.vocab_size = 300;
  options.special_tokens = {"<|end|>"};
  for (const auto& trained : {train_bpe(texts_of(kTexts), options), train_unigram(texts_of(kTexts), options)}) {
    expect_round_trips(trained.tokenizer);
    EXPECT_LE(trained.tokenizer.vocab_size(), 300u);  // the text has no use for more
    EXPECT_GE(trained.tokenizer.vocab_size(), 270u);
    EXPECT_EQ(trained.tokenizer.token_to_id("<|end|>"), 0);
    EXPECT_LT(trained.tokenizer.encode("the cat sat").ids.size(), 8u);
    EXPECT_TRUE(trained.sentencepiece_model.empty());
  }
}

TEST(Trainer, MetaspaceTokenizersEqualTheirSentencePieceModel) {
  TrainOptions options;
  options.vocab_size = 360;
  options.byte_level = false;
  options.byte_fallback = true;
  options.special_tokens = {"<s>", "</s>"};
  for (const auto& trained : {train_bpe(texts_of(kTexts), options), train_unigram(texts_of(kTexts), options)}) {
    const Tokenizer model = Tokenizer::from_sentencepiece(trained.sentencepiece_model, "trained.model");
    for (const std::string& text : kTexts) {
      const EncodeOptions plain{.add_special_tokens = false};
      EXPECT_EQ(trained.tokenizer.encode(text, plain).ids, model.encode(text, plain).ids);
      EXPECT_EQ(trained.tokenizer.encode(text + " 漢字", plain).ids, model.encode(text + " 漢字", plain).ids);
    }
    EXPECT_EQ(trained.tokenizer.decode(trained.tokenizer.encode("the cat 漢").ids), "the cat 漢");
  }
}

TEST(Trainer, RefusesWhatCannotBe) {
  TrainOptions options;
  EXPECT_THROW(train_bpe(texts_of(std::vector<std::string>()), options), Error);
  options.vocab_size = 10;
  EXPECT_THROW(train_unigram(texts_of(kTexts), options), Error);
  options.byte_level = false;
  EXPECT_THROW(train_bpe(texts_of(kTexts), options), Error);
  options = {};
  options.normalizer = "rot13";
  EXPECT_THROW(train_bpe(texts_of(kTexts), options), Error);
}

}  // namespace
}  // namespace caravan::text
