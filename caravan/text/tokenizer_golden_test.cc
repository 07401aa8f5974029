// Compares every component of tokenizer.json with what Hugging Face tokenizers answered (tests/golden/tokenizer, made
// by scripts/golden/tokenizer.py with 0.23.3).
#include <gtest/gtest.h>

#include "caravan/base/file.h"
#include "caravan/base/json.h"
#include "caravan/text/tokenizer.h"

namespace caravan::text {
namespace {

std::string digits(const std::vector<int32_t>& values) {
  std::string out;
  for (int32_t v : values) out += std::to_string(v);
  return out;
}

void expect_equal(const Encoding& got, const Json& want, const std::string& name) {
  SCOPED_TRACE(name + " on " + want["text"].dump());
  EXPECT_EQ(got.ids, want["ids"].get<std::vector<int32_t>>());
  EXPECT_EQ(got.tokens, want["tokens"].get<std::vector<std::string>>());
  std::vector<uint32_t> offsets;
  for (const auto& [begin, end] : got.offsets) offsets.insert(offsets.end(), {begin, end});
  EXPECT_EQ(offsets, want["offsets"].get<std::vector<uint32_t>>());
  EXPECT_EQ(got.word_ids, want["words"].get<std::vector<int32_t>>());
  EXPECT_EQ(digits(got.type_ids), want["types"]);
  EXPECT_EQ(digits(got.special_tokens_mask), want["special"]);
  EXPECT_EQ(digits(got.attention_mask), want["attention"]);
  const Json overflowing = want.value("overflowing", Json::array());
  ASSERT_EQ(got.overflowing.size(), overflowing.size());
  for (size_t i = 0; i < overflowing.size(); ++i) {
    EXPECT_EQ(got.overflowing[i].ids, overflowing[i]["ids"].get<std::vector<int32_t>>());
    EXPECT_EQ(digits(got.overflowing[i].type_ids), overflowing[i]["types"]);
  }
}

void check_encodings(const Tokenizer& tokenizer, const Json& entry) {
  for (const Json& want : entry.value("encode", Json::array())) {
    const std::string text = want["text"], pair = want.value("pair", "");
    auto encode = [&](const EncodeOptions& options) {
      return want.contains("pair") ? tokenizer.encode_pair(text, pair, options) : tokenizer.encode(text, options);
    };
    const Encoding got = encode({});
    expect_equal(got, want, entry["name"]);
    EXPECT_EQ(encode({.details = false}).ids, got.ids) << entry["name"] << " on " << text;
    if (want.contains("decoded")) EXPECT_EQ(tokenizer.decode(got.ids), want["decoded"]) << entry["name"];
  }
}

void check_decodings(const Tokenizer& tokenizer, const Json& entry) {
  for (const Json& want : entry.value("decode", Json::array())) {
    const auto ids = want[0].get<std::vector<int32_t>>();
    EXPECT_EQ(tokenizer.decode(ids, true), want[1]) << entry["name"] << " " << want[0];
    EXPECT_EQ(tokenizer.decode(ids, false), want[2]) << entry["name"] << " " << want[0];
  }
}

class TokenizerGolden : public testing::TestWithParam<const char*> {};

TEST_P(TokenizerGolden, EqualsTheReferenceAlsoAfterASaveAndALoad) {
  const std::string path = std::string(CARAVAN_SOURCE_DIR "/tests/golden/tokenizer/") + GetParam() + ".json";
  const Json golden = parse_json(read_file(path), path, {.refuse_duplicates = false});
  ASSERT_GT(golden["tokenizers"].size(), 10u);
  for (const Json& entry : golden["tokenizers"]) {
    Json json = entry["parts"];
    json["model"] = golden["models"][entry["model"].get<size_t>()];
    const Tokenizer tokenizer = Tokenizer::from_json(json.dump(), entry["name"].get<std::string>());
    check_encodings(tokenizer, entry);
    check_decodings(tokenizer, entry);
    const Tokenizer again = Tokenizer::from_json(tokenizer.to_json(), "saved");
    check_encodings(again, entry);
    check_decodings(again, entry);
  }
}

INSTANTIATE_TEST_SUITE_P(Components, TokenizerGolden,
                         testing::Values("models", "normalizers", "pre_tokenizers", "added", "processors", "decoders",
                                         "published"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace caravan::text
