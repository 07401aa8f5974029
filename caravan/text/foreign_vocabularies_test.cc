// Tokenizers made of SentencePiece and GGUF vocabularies: goldens from the sentencepiece library and transformers, and
// malformed model files. scripts/differential_vocabularies.py compares fuzzed text.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/base/json.h"
#include "caravan/text/tokenizer.h"

namespace caravan::text {
namespace {

// A protobuf message, written by hand.
struct Message {
  std::string bytes;
  Message& varint(uint64_t v) {
    for (; v >= 0x80; v >>= 7) bytes += static_cast<char>(v | 0x80);
    bytes += static_cast<char>(v);
    return *this;
  }
  Message& number(uint32_t field, uint64_t v) { return varint(field << 3).varint(v); }
  Message& text(uint32_t field, std::string_view v) {
    varint(field << 3 | 2).varint(v.size());
    bytes += v;
    return *this;
  }
  Message& real(uint32_t field, float f) {
    varint(field << 3 | 5);
    bytes.append(reinterpret_cast<const char*>(&f), 4);
    return *this;
  }
};

std::string piece(std::string_view text, float score = 0, uint64_t type = 1) {
  return Message().text(1, text).real(2, score).number(3, type).bytes;
}

struct Model {
  Message message;
  Model& add(std::string_view text, float score = 0, uint64_t type = 1) {
    message.text(1, piece(text, score, type));
    return *this;
  }
  Model& trainer(const Message& m) {
    message.text(2, m.bytes);
    return *this;
  }
  Model& normalizer(const Message& m) {
    message.text(3, m.bytes);
    return *this;
  }
};

Model small_model() {
  return Model()
      .add("<unk>", 0, 2)
      .add("<s>", 0, 3)
      .add("</s>", 0, 3)
      .add("\xe2\x96\x81", -3)
      .add("a", -1)
      .add("b", -2)
      .add("ab", -1.5f);
}

FileFault fault_of(const std::string& bytes) {
  try {
    Tokenizer::from_sentencepiece(bytes, "broken.model");
  } catch (const Error& e) {
    return e.fault();
  }
  return FileFault::none;
}

TEST(SentencePieceModel, ReadsASmallModel) {
  const Tokenizer t = Tokenizer::from_sentencepiece(small_model().message.bytes, "small.model");
  EXPECT_EQ(t.encode("ab  b ", {.add_special_tokens = false}).ids, (std::vector<int32_t>{3, 6, 3, 5}));
  EXPECT_EQ(t.decode(t.encode("ab b").ids), "ab b");
}

TEST(SentencePieceModel, RefusesEveryMalformedClass) {
  EXPECT_EQ(fault_of(std::string(1, '\x08') + std::string(11, '\xff')), FileFault::truncated);  // T01
  EXPECT_EQ(fault_of("\x0a\x7f"
                     "abc"),
            FileFault::truncated);                                                              // T02
  EXPECT_EQ(fault_of(std::string(40, '\x0b')), FileFault::limit);                               // T03
  EXPECT_EQ(fault_of(""), FileFault::limit);                                                    // T04
  EXPECT_EQ(fault_of(Model().add(std::string(100'000, 'a')).message.bytes), FileFault::limit);  // T05
  for (size_t n = 1; n < 4; ++n) {                                                              // T06
    EXPECT_EQ(fault_of(small_model().normalizer(Message().text(2, std::string(n, 'x'))).message.bytes),
              FileFault::layout);
  }
  std::string trie("\x08\x00\x00\x00", 4);
  trie += std::string("\xff\xff\xff\x7f", 4) + std::string("\xff\xff\xff\x7f", 4) + std::string("a\0", 2);
  EXPECT_EQ(fault_of(small_model().normalizer(Message().text(2, trie)).message.bytes), FileFault::layout);  // T07, T08
  EXPECT_EQ(fault_of(small_model().add("c", std::numeric_limits<float>::quiet_NaN()).message.bytes),
            FileFault::range);                                                                          // T11
  EXPECT_EQ(fault_of(small_model().trainer(Message().number(35, 1)).message.bytes), FileFault::range);  // T12
  EXPECT_EQ(fault_of(small_model().add("x", 0, 9).message.bytes), FileFault::range);
  EXPECT_EQ(fault_of(small_model().trainer(Message().number(3, 9)).message.bytes), FileFault::unsupported);
}

TEST(SentencePieceModel, TakesTheFirstOfRepeatedPieces) {  // T10
  const Tokenizer t = Tokenizer::from_sentencepiece(small_model().add("ab", -0.1f).message.bytes, "small.model");
  EXPECT_EQ(t.encode("ab", {.add_special_tokens = false}).ids, (std::vector<int32_t>{3, 6}));
}

TEST(SentencePieceModel, SurvivesEveryTruncation) {
  const std::string bytes = small_model().trainer(Message().number(3, 2)).message.bytes;
  for (size_t n = 0; n < bytes.size(); ++n) {
    try {
      Tokenizer::from_sentencepiece(bytes.substr(0, n), "cut.model");
    } catch (const Error&) {
    }
  }
}

GgufVocabulary gpt2_vocabulary() {
  GgufVocabulary v;
  v.model = "gpt2";
  v.pre = "gpt-2";
  v.tokens = {"<|end|>",
              "a",
              "b",
              "\xc4\xa0",
              "ab",
              "\xc4\xa0"
              "ab"};
  v.token_types = {3, 1, 1, 1, 1, 1};
  v.merges = {"a b", "\xc4\xa0 ab"};
  v.bos_id = v.eos_id = 0;
  return v;
}

TEST(GgufTokenizer, ReadsByteLevelVocabularies) {
  GgufVocabulary v = gpt2_vocabulary();
  const Tokenizer t = Tokenizer::from_gguf(v, "v.gguf");
  EXPECT_EQ(t.encode("ab ab<|end|>").ids, (std::vector<int32_t>{4, 5, 0}));
  v.add_bos = v.add_eos = true;
  EXPECT_EQ(Tokenizer::from_gguf(v, "v.gguf").encode("a").ids, (std::vector<int32_t>{0, 1, 0}));
  EXPECT_EQ(Tokenizer::from_json(t.to_json(), "again.json").encode("ab ab").ids, (std::vector<int32_t>{4, 5}));
}

TEST(GgufTokenizer, ReadsWordPieceVocabularies) {
  GgufVocabulary v;
  v.model = "bert";
  v.tokens = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "\xe2\x96\x81play", "ing", "\xe2\x96\x81,"};
  v.token_types = {3, 2, 3, 3, 1, 1, 1};
  v.cls_id = 2;
  v.separator_id = 3;
  v.unknown_id = 1;
  EXPECT_EQ(Tokenizer::from_gguf(v, "v.gguf").encode("Playing, x").ids, (std::vector<int32_t>{2, 4, 5, 6, 1, 3}));
}

TEST(GgufTokenizer, RefusesContradictions) {
  const auto fault = [](GgufVocabulary v) {
    try {
      Tokenizer::from_gguf(v, "v.gguf");
    } catch (const Error& e) {
      return e.fault();
    }
    return FileFault::none;
  };
  GgufVocabulary v = gpt2_vocabulary();
  v.bos_id = 6;
  EXPECT_EQ(fault(v), FileFault::range);  // G41
  v = gpt2_vocabulary();
  v.scores = {1, 2};
  EXPECT_EQ(fault(v), FileFault::range);
  v = gpt2_vocabulary();
  v.merges.push_back("a z");
  EXPECT_EQ(fault(v), FileFault::range);  // T15
  v = gpt2_vocabulary();
  v.pre = "nobody-knows";
  EXPECT_EQ(fault(v), FileFault::unsupported);
  v.model = "rwkv";
  EXPECT_EQ(fault(v), FileFault::unsupported);
  EXPECT_EQ(fault(GgufVocabulary{}), FileFault::limit);
}

TEST(GgufTokenizer, KnowsItsPreTokenizersByName) {
  for (const char* pre : {"",           "default",      "gpt-2",          "smollm",      "llama-bpe",
                          "qwen2",      "deepseek-llm", "deepseek-coder", "deepseek-v3", "falcon",
                          "starcoder",  "refact",       "command-r",      "olmo",        "dbrx",
                          "stablelm2",  "tekken",       "chatglm-bpe",    "gpt-4o",      "viking",
                          "youtu",      "kimi-k2",      "tiny_aya",       "bailingmoe",  "seed-coder",
                          "exaone-moe", "chameleon",    "jais-2",         "minicpm5",    "laguna",
                          "qwen35"}) {
    GgufVocabulary v = gpt2_vocabulary();
    v.pre = pre;
    const Tokenizer t = Tokenizer::from_gguf(v, "v.gguf");
    const Encoding e = t.encode("ab ab", {.add_special_tokens = false});
    EXPECT_EQ(t.decode(e.ids), "ab ab") << pre;
  }
}

}  // namespace
}  // namespace caravan::text
