// The tokenizer as a whole: batches, streams, linear time, and the shared real tokenizers where they are.
#include "caravan/text/tokenizer.h"

#include <gtest/gtest.h>

#include <ctime>
#include <filesystem>
#include <functional>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/base/json.h"

namespace caravan::text {
namespace {

Json golden(const std::string& group) {
  const std::string path = CARAVAN_SOURCE_DIR "/tests/golden/tokenizer/" + group + ".json";
  return parse_json(read_file(path), path, {.refuse_duplicates = false});
}

Tokenizer golden_tokenizer(const Json& file, const std::string& name) {
  for (const Json& entry : file["tokenizers"]) {
    if (entry["name"] != name) continue;
    Json json = entry["parts"];
    json["model"] = file["models"][entry["model"].get<size_t>()];
    return Tokenizer::from_json(json.dump(), name);
  }
  fail(ErrorCode::not_found, "no golden tokenizer {}", name);
}

double cpu_seconds(const Tokenizer& tokenizer, const std::string& text) {
  const std::clock_t start = std::clock();
  const std::string decoded = tokenizer.decode(tokenizer.encode(text).ids);
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

// Texts that make quadratic code slow: four times the text may cost eight times the processor time (quadratic:
// sixteen).
void expect_linear(const Tokenizer& tokenizer, const std::string& name) {
  const std::vector<std::pair<std::string, std::string>> units = {
      {"letter", "a"},   {"space", " "},    {"emoji", "\xF0\x9F\x98\x80"}, {"broken", "\xFF"},
      {"newline", "\n"}, {"words", "the "}, {"mark", "\xCC\x81"}};
  for (const auto& [kind, unit] : units) {
    std::string part;
    while (part.size() < (1 << 17)) part += unit;
    const std::string whole = part + part + part + part;
    double ratio = 0;
    for (int attempt = 0; attempt < 3; ++attempt) {  // a busy machine: the first pair that is in proportion will do
      const double one = cpu_seconds(tokenizer, part);
      ratio = cpu_seconds(tokenizer, whole) / (one + 0.005);
      if (ratio < 8) break;
    }
    EXPECT_LT(ratio, 8) << name << " on " << kind;
  }
}

TEST(Tokenizer, IsLinearOnHostileTextForEveryModel) {
  const Json models = golden("models");
  for (const char* name : {"bpe_unknown", "byte_level", "byte_level_whole", "llama", "unigram_whole", "unigram_bytes",
                           "word_piece", "word_level"})
    expect_linear(golden_tokenizer(models, name), name);
}

TEST(Tokenizer, IsLinearForTheSharedTokenizers) {
  for (const char* name : {"llama2", "llama3", "qwen3"}) {
    const std::string path = std::string(CARAVAN_SOURCE_DIR "/../shared/tokenizers/") + name + "/tokenizer.json";
    if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is not there";
    expect_linear(Tokenizer::from_json(read_file(path), path), name);
  }
}

TEST(Tokenizer, EncodesBatchesLikeSingleTexts) {
  const Tokenizer tokenizer = golden_tokenizer(golden("models"), "byte_level");
  std::vector<std::string> texts;
  for (int i = 0; i < 100; ++i)
    texts.push_back("lowest newer " + std::string(static_cast<size_t>(i), 'x') + " \xF0\x9F\x98\x80");
  for (int threads : {1, 4, 0}) {
    const auto batch = tokenizer.encode_batch(texts, {}, threads);
    for (size_t i = 0; i < texts.size(); ++i) {
      EXPECT_EQ(batch[i].ids, tokenizer.encode(texts[i]).ids);
      EXPECT_EQ(batch[i].offsets, tokenizer.encode(texts[i]).offsets);
    }
  }
}

TEST(Tokenizer, ABatchIsPaddedToItsLongest) {
  Tokenizer tokenizer = golden_tokenizer(golden("models"), "word_level");
  tokenizer.set_padding(Padding{.pad_to_multiple_of = 4, .pad_id = 7, .direction = "left"});
  const std::vector<std::string> texts = {"the", "the quick hello the quick"};
  const auto batch = tokenizer.encode_batch(texts);
  ASSERT_EQ(batch[0].ids.size(), 8u);
  EXPECT_EQ(batch[0].ids[6], 7);
  EXPECT_EQ(batch[0].attention_mask, (std::vector<int32_t>{0, 0, 0, 0, 0, 0, 0, 1}));
  EXPECT_EQ(batch[1].ids.size(), 8u);
}

TEST(Tokenizer, TruncationThatCannotWorkIsAnError) {
  Tokenizer tokenizer = golden_tokenizer(golden("models"), "word_level");
  EXPECT_THROW(tokenizer.set_truncation(Truncation{.max_length = 2, .stride = 3}), Error);
  EXPECT_THROW(tokenizer.set_truncation(Truncation{.strategy = "sometimes"}), Error);
  tokenizer.set_truncation(Truncation{.max_length = 2, .strategy = "only_second"});
  EXPECT_THROW(tokenizer.encode("the quick the quick"), Error);
}

TEST(Tokenizer, SpecialTokensInTheTextCanBePlainText) {
  const Tokenizer tokenizer = golden_tokenizer(golden("added"), "added_none");
  const int32_t s = tokenizer.token_to_id("<s>").value();
  EXPECT_TRUE(tokenizer.is_special(s));
  EXPECT_EQ(tokenizer.encode("x<s>y").ids[1], s);
  const Encoding plain = tokenizer.encode("x<s>y", {.parse_special = false});
  EXPECT_EQ(plain.tokens, (std::vector<std::string>{"x<s>y"}));
}

// Expected offsets: tokenizers 0.23.3.
TEST(Tokenizer, AStrippedTokenBeginsAfterTheSpacesThatTheOneBeforeTook) {
  const auto offsets = [](const std::string& text, bool lstrip) {
    const Json token = {{"id", 2}, {"content", "  x"}, {"lstrip", lstrip}, {"normalized", false}};
    const Json before = {{"id", 1}, {"content", "quick"}, {"rstrip", true}, {"normalized", false}};
    Json json = {{"model", {{"type", "WordLevel"}, {"vocab", {{"<unk>", 0}}}, {"unk_token", "<unk>"}}},
                 {"added_tokens", {before, token}}};
    return Tokenizer::from_json(json.dump(), "test").encode(text).offsets;
  };
  using Offsets = decltype(Encoding::offsets);
  EXPECT_EQ(offsets("quick   x", true), (Offsets{{0, 8}, {8, 9}}));
  EXPECT_EQ(offsets("quick   x", false), (Offsets{{0, 8}, {6, 9}}));
}

// The number of parts that Split with `regex` makes of a text (isolated).
size_t parts_of(const std::string& regex, const std::string& text) {
  const Json split = {{"type", "Split"}, {"pattern", {{"Regex", regex}}}, {"behavior", "Isolated"}, {"invert", false}};
  const Json json = {{"model", {{"type", "WordLevel"}, {"vocab", {{"<unk>", 0}}}, {"unk_token", "<unk>"}}},
                     {"pre_tokenizer", split}};
  return Tokenizer::from_json(json.dump(), "test").encode(text).ids.size();
}

TEST(Tokenizer, AGraphemeEndsBetweenTwoEmojiUnlessAJoinerStandsThere) {
  EXPECT_EQ(parts_of("\\X", "\xF0\x9F\xA7\x93\xF0\x9F\x8F\x85"), 2);              // U+1F9D3 U+1F3C5
  EXPECT_EQ(parts_of("\\X", "\xF0\x9F\xA7\x93\xE2\x80\x8D\xF0\x9F\x8F\x85"), 1);  // a zero width joiner between
  EXPECT_EQ(parts_of("\\X", "\xF0\x9F\x91\x8D\xF0\x9F\x8F\xBD\r\n"), 2);          // with a skin tone; one line end
}

// Counts: tokenizers 0.23.3 (Oniguruma). U+00B2 is a word character, but in a class it is none.
TEST(Tokenizer, WordCharactersInAClassLeaveSuperscriptsOut) {
  for (const auto& [regex, count] : std::initializer_list<std::pair<const char*, size_t>>{
           {"\\w+", 1}, {"\\W", 1}, {"[\\w]+", 3}, {"[^\\w\\s]+", 3}, {"[a\\W]+", 2}, {"[[:word:]]+", 3}}) {
    EXPECT_EQ(parts_of(regex,
                       "a\xC2\xB2"
                       "1"),
              count)
        << regex;
  }
  EXPECT_EQ(parts_of("\\p{Punct}", "a$1"), 1);
  EXPECT_EQ(parts_of("[[:punct:]]", "a$1"), 3);
}

// Counts: tokenizers 0.23.3 (Oniguruma, Unicode 16).
TEST(Tokenizer, FormatCharactersArePrintable) {
  const std::string text = "a\u061c\u180e\u2066\u2069\U00013439\ue000b\nc";
  for (const char* regex : {"[[:print:]]+", "[[:graph:]]+", "\\p{Print}+"})
    EXPECT_EQ(parts_of(regex, text), 3) << regex;
  EXPECT_EQ(parts_of("\\P{Print}", "a\u2066\n"), 2);
}

TEST(Tokenizer, MarksAndIdeographsOfNewUnicodeVersionsAreKnown) {
  for (const auto& [text, count] :
       std::initializer_list<std::pair<const char*, size_t>>{{"e\u0897o", 2},
                                                             {"e\u0897\u0301o", 2},
                                                             {"\n\u0897", 2},
                                                             {"e\U00013440\u200d\u0897x", 2},
                                                             {"\u0897\u0897", 1},
                                                             {"\U0001f44d\U00010efdx", 2},
                                                             {"\u200b\u0897x", 3},
                                                             {"\u0600a\u0897", 1}}) {
    EXPECT_EQ(parts_of("\\X", text), count) << text;
  }
  EXPECT_EQ(parts_of("\\p{Han}+", "\u4e00\U0002ebf0\U00031350\U000323af\U0002b739a"), 2);
  for (const char* regex : {"\\P{Han}+", "[^\\p{Han}]+", "[\\p{Han}]+"})
    EXPECT_EQ(parts_of(regex, "\U0002ebf0\u3002a"), 2) << regex;
}

// A stream's pieces join to decode(), and every piece is valid UTF-8 by itself.
TEST(StreamDecoder, PiecesJoinToTheWholeText) {
  const Json models = golden("models");
  for (const char* name :
       {"byte_level", "llama", "unigram", "unigram_bytes", "word_piece", "bpe_affixes", "word_level"}) {
    const Tokenizer tokenizer = golden_tokenizer(models, name);
    for (const char* text : {"Hello  lowest newer \xF0\x9F\x98\x80\xE6\x97\xA5 don't!", "", "\xE2\x82\xAC"}) {
      std::vector<int32_t> ids = tokenizer.encode(text).ids;
      for (size_t n = 0; n <= ids.size(); ++n) {
        StreamDecoder stream(tokenizer);
        std::string joined;
        for (size_t i = 0; i < n; ++i) {
          const std::string piece = stream.push(ids[i]);
          EXPECT_NO_THROW(Json(piece).dump()) << name << ": half a character";
          joined += piece;
        }
        joined += stream.finish();
        EXPECT_EQ(joined, tokenizer.decode(std::span(ids).first(n))) << name;
      }
    }
  }
}

TEST(StreamDecoder, EmitsTextAsSoonAsACharacterIsComplete) {
  const Tokenizer tokenizer = golden_tokenizer(golden("models"), "byte_level");
  const std::vector<int32_t> ids = tokenizer.encode("\xF0\x9F\x98\x80").ids;
  ASSERT_EQ(ids.size(), 4u);
  StreamDecoder stream(tokenizer);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(stream.push(ids[i]), "");
  EXPECT_EQ(stream.push(ids[3]), "\xF0\x9F\x98\x80");
}

}  // namespace
}  // namespace caravan::text
