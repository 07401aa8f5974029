// Stop strings over token borders, checked against the cases of transformers' StopStringCriteria documentation, and the
// streamed text that never shows a part of one.
#include "caravan/generate/stopping.h"

#include <gtest/gtest.h>

#include <map>

#include "caravan/base/error.h"

namespace caravan::generate {
namespace {

// A byte-level vocabulary: 0..255 are the bytes by their printable names, then whole pieces.
struct Vocabulary {
  explicit Vocabulary(const std::vector<std::string>& pieces) {
    Json vocab = Json::object();
    uint32_t next = 256;
    for (uint32_t b = 0; b < 256; ++b) {
      const bool printable = (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
      const uint32_t c = printable ? b : next++;
      std::string name = c < 0x80 ? std::string(1, static_cast<char>(c))
                                  : std::string{static_cast<char>(0xc0 | c >> 6), static_cast<char>(0x80 | (c & 0x3f))};
      vocab[name] = b;
    }
    for (const std::string& piece : pieces) {
      if (!vocab.contains(piece)) vocab[piece] = vocab.size();
      ids[piece] = vocab[piece].get<int32_t>();
    }
    const Json json = {
        {"version", "1.0"},
        {"added_tokens", Json::array({{{"id", vocab.size()},
                                       {"content", "<end>"},
                                       {"single_word", false},
                                       {"lstrip", false},
                                       {"rstrip", false},
                                       {"normalized", false},
                                       {"special", true}}})},
        {"normalizer", nullptr},
        {"pre_tokenizer",
         {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}}},
        {"post_processor", nullptr},
        {"decoder", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}}},
        {"model",
         {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", nullptr},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", false},
          {"byte_fallback", false},
          {"vocab", vocab},
          {"merges", Json::array()}}}};
    ids["<end>"] = static_cast<int32_t>(vocab.size());
    tokenizer.emplace(text::Tokenizer::from_json(json.dump(), "test"));
  }
  std::vector<int32_t> operator()(const std::vector<std::string>& pieces) const {
    std::vector<int32_t> out;
    for (const std::string& piece : pieces) out.push_back(ids.at(piece));
    return out;
  }
  std::map<std::string, int32_t> ids;
  std::optional<text::Tokenizer> tokenizer;
};

const Vocabulary& vocabulary() {
  static const Vocabulary v({"st", "op", "stop", "opera", "sto", "pper", "las", "topper", "s", "to", "pped", "at",
                             "tion", "x", "e", "n", "d"});
  return v;
}

Stopping stopping(const std::vector<std::string>& stops) {
  GenerationConfig config;
  config.stop_strings = stops;
  return Stopping(config, 1000, &*vocabulary().tokenizer);
}

TEST(StopStrings, MatchWhereTheyReachIntoTheNewestToken) {
  const Stopping stop = stopping({"stop"});
  for (const auto& pieces : std::vector<std::vector<std::string>>{
           {"st", "op"}, {"stop"}, {"st", "opera"}, {"sto", "pper"}, {"las", "topper"}, {"s", "to", "pped"}}) {
    EXPECT_EQ(stop.check(vocabulary()(pieces)), FinishReason::stop) << pieces[0];
  }
  for (const auto& pieces : std::vector<std::vector<std::string>>{
           {"stop", "at"}, {"st", "op", "at"}, {"st", "opera", "tion"}, {"st"}, {"op"}, {"st", "x", "op"}}) {
    EXPECT_EQ(stop.check(vocabulary()(pieces)), std::nullopt) << pieces[0];
  }
}

TEST(StopStrings, MayBeSpecialTokensOrHalvesOfCharacters) {
  EXPECT_EQ(stopping({"<end>"}).check(vocabulary()({"x", "<end>"})), FinishReason::stop);
  const Stopping stop = stopping({"\xc3\xa9"});  // e acute, two bytes, two tokens
  EXPECT_EQ(stop.check(std::vector<int32_t>{0x78, 0xc3}), std::nullopt);
  EXPECT_EQ(stop.check(std::vector<int32_t>{0x78, 0xc3, 0xa9}), FinishReason::stop);
}

TEST(StopStrings, NeedATokenizer) {
  GenerationConfig config;
  config.stop_strings = {"x"};
  EXPECT_THROW(Stopping(config, 10, nullptr), Error);
}

TEST(TextStream, ShowsNoPartOfAStopString) {
  const std::vector<std::string> stops = {"stop", "end"};
  TextStream stream(&*vocabulary().tokenizer, true, stops);
  const Stopping stop = stopping(stops);
  std::vector<int32_t> ids;
  std::vector<std::string> shown;
  for (const char* piece : {"x", "sto", "x", "e", "n", "e", "n", "d"}) {
    ids.push_back(vocabulary().ids.at(piece));
    shown.push_back(stream.push(ids.back(), stop.check(ids)));
  }
  EXPECT_EQ(shown, (std::vector<std::string>{"x", "", "stox", "", "", "en", "", ""}));
  EXPECT_EQ(stream.text(), "xstoxen");
}

TEST(TextStream, ShowsWhatWasHeldBackWhenTheTextEndsOtherwise) {
  TextStream stream(&*vocabulary().tokenizer, true, {"stop"});
  EXPECT_EQ(stream.push(vocabulary().ids.at("x"), std::nullopt), "x");
  EXPECT_EQ(stream.push(vocabulary().ids.at("sto"), FinishReason::length), "sto");
}

TEST(Stopping, EosComesBeforeTheOtherReasons) {
  GenerationConfig config;
  config.eos_token_id = {7, 8};
  const Stopping stop(config, 3, nullptr);
  EXPECT_EQ(stop.check(std::vector<int32_t>{1, 8}), FinishReason::eos);
  EXPECT_EQ(stop.check(std::vector<int32_t>{1, 2, 7}), FinishReason::eos);
  EXPECT_EQ(stop.check(std::vector<int32_t>{1, 2, 3}), FinishReason::length);
  EXPECT_EQ(stop.check(std::vector<int32_t>{1, 2}), std::nullopt);
}

TEST(Stopping, TheClockEndsAText) {
  GenerationConfig config;
  config.max_time = 0.0;
  EXPECT_EQ(Stopping(config, 30, nullptr).check(std::vector<int32_t>{1, 2}), FinishReason::time);
}

}  // namespace
}  // namespace caravan::generate
