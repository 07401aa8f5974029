// LLaMA 3's rank files: known merges give known ids, broken files their error.
#include <gtest/gtest.h>

#include "caravan/base/error.h"
#include "caravan/generate/tokenizer_loading.h"

namespace caravan::generate {
namespace {

std::string base64(std::string_view bytes) {
  static constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t bits = 0;
    for (size_t k = 0; k < 3; ++k) {
      bits = bits << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    }
    for (size_t k = 0; k < 4; ++k) out += i + k <= bytes.size() ? kDigits[bits >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

// All bytes with their value as rank, then the pieces.
std::string rank_file(const std::vector<std::string>& pieces) {
  std::string text;
  for (int b = 0; b < 256; ++b) text += base64(std::string(1, static_cast<char>(b))) + " " + std::to_string(b) + "\n";
  int rank = 256;
  for (const std::string& piece : pieces) text += base64(piece) + " " + std::to_string(rank++) + "\n";
  return text;
}

text::Tokenizer tokenizer_of(const std::string& ranks) {
  return text::Tokenizer::from_json(tokenizer_json_of_ranks(ranks, "ranks"), "ranks");
}

using Ids = std::vector<int32_t>;

TEST(RankFile, LowerRanksMergeFirst) {
  // "hello": he and ll, then hell; "shell" has no rule that joins s. Special tokens follow the last rank (261).
  const auto tokenizer = tokenizer_of(rank_file({"he", "ll", "hell", " w", "é", "el"}));
  EXPECT_EQ(tokenizer.encode("hello").ids, (Ids{262, 258, 'o'}));
  EXPECT_EQ(tokenizer.encode("shell w", {.add_special_tokens = false}).ids, (Ids{'s', 258, 259}));
  EXPECT_EQ(tokenizer.encode("é", {.add_special_tokens = false}).ids, (Ids{260}));
  EXPECT_EQ(tokenizer.decode(Ids{262, 258, 'o', 259, 260}, true), "hello wé");
}

TEST(RankFile, AWholeWordOfTheVocabularyNeedsNoPath) {
  // "abcd" is made of ab and cd; inside "abcd" itself bc (rank 256) would merge first, yet the word is one token.
  const auto tokenizer = tokenizer_of(rank_file({"bc", "ab", "cd", "abc", "abcd"}));
  EXPECT_EQ(tokenizer.encode("abcd", {.add_special_tokens = false}).ids, (Ids{260}));
}

TEST(RankFile, WordsSplitByLlama3sPattern) {
  const auto tokenizer = tokenizer_of(rank_file({"12", "123", "34", "'s", "\n\n"}));
  EXPECT_EQ(tokenizer.encode("1234", {.add_special_tokens = false}).ids, (Ids{257, '4'}));  // three digits at most
  EXPECT_EQ(tokenizer.encode("a's\n\n", {.add_special_tokens = false}).ids, (Ids{'a', 259, 260}));
}

TEST(RankFile, SpecialTokensHaveLlama3sNames) {
  const auto tokenizer = tokenizer_of(rank_file({}));
  EXPECT_EQ(tokenizer.token_to_id("<|begin_of_text|>"), 256);
  EXPECT_EQ(tokenizer.token_to_id("<|eot_id|>"), 256 + 9);
  EXPECT_EQ(tokenizer.token_to_id("<|reserved_special_token_247|>"), 256 + 255);
  EXPECT_EQ(tokenizer.encode("<|eot_id|>", {.add_special_tokens = false}).ids, (Ids{265}));
}

FileFault fault_of(const std::string& ranks) {
  try {
    tokenizer_json_of_ranks(ranks, "ranks");
  } catch (const Error& error) {
    return error.fault();
  }
  return FileFault::none;
}

TEST(RankFile, BrokenFilesGetTheirError) {
  EXPECT_EQ(fault_of(rank_file({"he"})), FileFault::none);
  EXPECT_EQ(fault_of("aGk= 0\n"), FileFault::range);                        // far too few
  EXPECT_EQ(fault_of(rank_file({}) + "aGU= 300\n"), FileFault::duplicate);  // a gap
  EXPECT_EQ(fault_of(rank_file({}) + "aGU= 255\n"), FileFault::duplicate);  // a rank twice
  EXPECT_EQ(fault_of(rank_file({}) + "a~U= 256\n"), FileFault::layout);     // not base64
  EXPECT_EQ(fault_of(rank_file({}) + "aGU=\n"), FileFault::layout);         // no rank
  EXPECT_EQ(fault_of(rank_file({}) + "aGU= x\n"), FileFault::range);        // no number
  EXPECT_EQ(fault_of(rank_file({"hel"})), FileFault::layout);               // cannot be made from he or el
}

}  // namespace
}  // namespace caravan::generate
