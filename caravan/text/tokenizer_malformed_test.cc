// Malformed tokenizer files: every class of the reliability page that concerns tokenizer.json (T06 to T24) gets its
// error.
#include <gtest/gtest.h>

#include <functional>

#include "caravan/base/error.h"
#include "caravan/text/precompiled_charsmap.h"
#include "caravan/text/tokenizer.h"

namespace caravan::text {
namespace {

std::string file(const std::string& members) { return "{\"version\":\"1.0\"," + members + "}"; }
const std::string kWordLevel = R"("model":{"type":"WordLevel","vocab":{"<unk>":0,"a":1},"unk_token":"<unk>"})";

FileFault fault_of(const std::function<void()>& run) {
  try {
    run();
  } catch (const Error& e) {
    EXPECT_NE(e.code(), ErrorCode::internal) << e.what();
    return e.fault();
  }
  return FileFault::none;
}

FileFault load_fault(const std::string& json) {
  return fault_of([&] { Tokenizer::from_json(json, "tokenizer.json"); });
}

std::string decode_tokens(const std::string& decoder, const std::string& vocab, std::vector<int32_t> ids) {
  const std::string json =
      file(R"("decoder":)" + decoder + R"(,"model":{"type":"WordLevel","unk_token":"a","vocab":)" + vocab + "}");
  return Tokenizer::from_json(json, "tokenizer.json").decode(ids);
}

TEST(MalformedTokenizer, T09ByteTokensWithoutTwoHexDigitsAreText) {
  EXPECT_EQ(
      decode_tokens(R"({"type":"ByteFallback"})", R"({"<0x-1>":0,"<0xZZ>":1,"<0x41>":2,"<0x+1>":3})", {0, 1, 2, 3}),
      "<0x-1><0xZZ>A<0x+1>");
}

TEST(MalformedTokenizer, T10OfEqualPiecesTheLastEncodesAndAllDecode) {
  const std::string json = file(R"("model":{"type":"Unigram","unk_id":0,"vocab":[["<unk>",0],["a",-1],["a",-2]]})");
  const Tokenizer t = Tokenizer::from_json(json, "tokenizer.json");
  EXPECT_EQ(t.encode("a").ids, std::vector<int32_t>{2});
  EXPECT_EQ(t.decode(std::vector<int32_t>{1}), "a");
  ASSERT_EQ(t.warnings().size(), 1u);
  EXPECT_NE(t.warnings()[0].find("first \"a\""), std::string::npos) << t.warnings()[0];
}

TEST(MalformedTokenizer, T11ScoresMustBeFinite) {
  EXPECT_EQ(load_fault(file(R"("model":{"type":"Unigram","unk_id":0,"vocab":[["<unk>",NaN]]})")), FileFault::json);
  EXPECT_NE(load_fault(file(R"("model":{"type":"Unigram","unk_id":0,"vocab":[["<unk>",1e999]]})")), FileFault::none);
  EXPECT_EQ(load_fault(file(R"("model":{"type":"Unigram","unk_id":0,"vocab":[["<unk>","x"]]})")), FileFault::range);
}

TEST(MalformedTokenizer, T12ByteFallbackNeedsAllBytes) {
  EXPECT_EQ(load_fault(file(R"("model":{"type":"BPE","byte_fallback":true,"vocab":{"<0x00>":0},"merges":[]})")),
            FileFault::range);
  EXPECT_EQ(load_fault(file(R"("model":{"type":"Unigram","byte_fallback":true,"unk_id":0,"vocab":[["<0x00>",0]]})")),
            FileFault::range);
}

TEST(MalformedTokenizer, T13AModelMustBeThere) {
  EXPECT_EQ(load_fault(file(R"("decoder":null)")), FileFault::json);
  EXPECT_EQ(load_fault("[]"), FileFault::json);
  EXPECT_EQ(load_fault("{"), FileFault::json);
  EXPECT_EQ(load_fault(file(R"("model":{"type":"BPE","vocab":{}})")), FileFault::json);
  EXPECT_EQ(load_fault(file(R"("model":{"type":"BPE","merges":[]})")), FileFault::json);
}

TEST(MalformedTokenizer, T14UnknownTypesAreUnsupported) {
  EXPECT_EQ(load_fault(file(R"("model":{"type":"Magic","vocab":{}})")), FileFault::unsupported);
  for (const char* part : {"normalizer", "pre_tokenizer", "post_processor", "decoder"})
    EXPECT_EQ(load_fault(file("\"" + std::string(part) + R"(":{"type":"Magic"},)" + kWordLevel)),
              FileFault::unsupported)
        << part;
}

TEST(MalformedTokenizer, T15MergesMustNameKnownTokens) {
  EXPECT_EQ(load_fault(file(R"("model":{"type":"BPE","vocab":{"a":0,"b":1},"merges":["a c"]})")), FileFault::range);
  EXPECT_EQ(load_fault(file(R"("model":{"type":"BPE","vocab":{"a":0,"b":1},"merges":[["a","b"]]})")), FileFault::range);
  EXPECT_EQ(load_fault(file(R"("model":{"type":"BPE","vocab":{"a":0,"b":1},"merges":["ab"]})")), FileFault::json);
  EXPECT_EQ(
      load_fault(file(R"("model":{"type":"BPE","continuing_subword_prefix":"####","vocab":{"a":0},"merges":["a a"]})")),
      FileFault::range);
}

TEST(MalformedTokenizer, T16IdsAreUnique) {
  EXPECT_EQ(load_fault(file(R"("model":{"type":"WordLevel","vocab":{"a":0,"b":0},"unk_token":"a"})")),
            FileFault::range);
  EXPECT_EQ(load_fault(file(R"("added_tokens":[{"id":5,"content":"x"},{"id":5,"content":"y"}],)" + kWordLevel)),
            FileFault::range);
}

TEST(MalformedTokenizer, T17IdsHave31BitsAndHolesCostNothing) {
  EXPECT_EQ(load_fault(file(R"("model":{"type":"WordLevel","vocab":{"a":2147483648},"unk_token":"a"})")),
            FileFault::range);
  EXPECT_EQ(load_fault(file(R"("model":{"type":"WordLevel","vocab":{"a":-1},"unk_token":"a"})")), FileFault::range);
  EXPECT_EQ(load_fault(file(R"("model":{"type":"WordLevel","vocab":{"a":18446744073709551615},"unk_token":"a"})")),
            FileFault::range);
  const Tokenizer t = Tokenizer::from_json(
      file(R"("model":{"type":"WordLevel","vocab":{"a":2147483647},"unk_token":"a"})"), "tokenizer.json");
  EXPECT_EQ(t.encode("a").ids, std::vector<int32_t>{2147483647});
  EXPECT_EQ(t.id_to_token(2147483647), "a");
  EXPECT_EQ(t.id_to_token(5), std::nullopt);
}

std::string split_on(const std::string& regex) {
  return file(R"("pre_tokenizer":{"type":"Split","pattern":{"Regex":")" + regex +
              R"("},"behavior":"Isolated","invert":false},)" + kWordLevel);
}

TEST(MalformedTokenizer, T18ACatastrophicRegexRunsOutOfFuel) {
  const Tokenizer t = Tokenizer::from_json(split_on("^(([a-z])+.)+[A-Z]([a-z])+$"), "tokenizer.json");
  EXPECT_EQ(fault_of([&] { t.encode(std::string(60, 'a') + "A1" + std::string(60, 'a')); }), FileFault::fuel);
  EXPECT_EQ(t.encode("aA").ids.size(), 1u);
}

TEST(MalformedTokenizer, T19AnInvalidRegexIsAnError) {
  for (const char* regex : {"(", "[a", "a{2,1}", "*", "(?<n", "\\\\p{Klingon}", "[a-"})
    EXPECT_EQ(load_fault(split_on(regex)), FileFault::syntax) << regex;
  EXPECT_EQ(load_fault(split_on(std::string(70000, 'a'))), FileFault::limit);
}

TEST(MalformedTokenizer, T20ADecoderThatOnlyGrowsRunsOutOfFuel) {
  std::string steps;
  for (int i = 0; i < 64; ++i)
    steps += std::string(i ? "," : "") + R"({"type":"Replace","pattern":{"String":"a"},"content":"aa"})";
  EXPECT_EQ(fault_of([&] { decode_tokens(R"({"type":"Sequence","decoders":[)" + steps + "]}", R"({"a":0})", {0}); }),
            FileFault::fuel);
  std::string normalizer = R"("normalizer":{"type":"Sequence","normalizers":[)" + steps + "]},";
  EXPECT_EQ(fault_of([&] { Tokenizer::from_json(file(normalizer + kWordLevel), "tokenizer.json").encode("a"); }),
            FileFault::fuel);
  std::string deep = R"({"type":"Fuse"})";
  for (int i = 0; i < 40; ++i) deep = R"({"type":"Sequence","decoders":[)" + deep + "]}";
  EXPECT_EQ(load_fault(file(R"("decoder":)" + deep + "," + kWordLevel)), FileFault::limit);
}

TEST(MalformedTokenizer, T21EmptyAddedTokensAreIgnored) {
  const Tokenizer t = Tokenizer::from_json(
      file(R"("added_tokens":[{"id":2,"content":"","special":true}],)" + kWordLevel), "tokenizer.json");
  EXPECT_EQ(t.encode("a").ids, std::vector<int32_t>{1});
  EXPECT_EQ(t.vocab_size(), 2u);
  ASSERT_EQ(t.warnings().size(), 1u);
  EXPECT_NE(t.warnings()[0].find("empty"), std::string::npos) << t.warnings()[0];
}

TEST(MalformedTokenizer, T22TemplatesMustDefineTheirSpecialTokens) {
  EXPECT_EQ(
      load_fault(file(
          R"("post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}}],"pair":[],"special_tokens":{}},)" +
          kWordLevel)),
      FileFault::range);
  EXPECT_EQ(
      load_fault(file(
          R"("post_processor":{"type":"TemplateProcessing","single":[{"Sequence":{"id":"B","type_id":0}}],"pair":[],"special_tokens":{}},)" +
          kWordLevel)),
      FileFault::range);
}

TEST(MalformedTokenizer, T23VocabulariesAreLimited) {
  std::string vocab = "{";
  for (int i = 0; i < 4'000'001; ++i) vocab += (i ? ",\"" : "\"") + std::to_string(i) + "\":" + std::to_string(i);
  EXPECT_EQ(load_fault(file(R"("model":{"type":"WordLevel","unk_token":"0","vocab":)" + vocab + "}}")),
            FileFault::limit);
  EXPECT_EQ(load_fault(file(R"("model":{"type":"WordLevel","unk_token":"0","vocab":{")" + std::string(20000, 'x') +
                            R"(":0}})")),
            FileFault::limit);
}

TEST(MalformedTokenizer, T24InvalidUtf8InATextIsReplaced) {
  const Tokenizer t = Tokenizer::from_json(
      file(R"("pre_tokenizer":{"type":"Split","pattern":{"String":""},"behavior":"Isolated","invert":false},
    "model":{"type":"Unigram","unk_id":0,"vocab":[["<unk>",0]]})"),
      "tokenizer.json");
  // Python: b"a\xff\xe2\x82b\xed\xa0\x80".decode(errors="replace")
  const Encoding e = t.encode(
      "a\xFF\xE2\x82"
      "b\xED\xA0\x80");
  const std::string r = "\xEF\xBF\xBD";
  EXPECT_EQ(e.tokens, (std::vector<std::string>{"a", r, r, "b", r, r, r}));
  EXPECT_EQ(load_fault("{\"model\":\"\xFF\"}"), FileFault::utf8);
}

TEST(MalformedTokenizer, NestingIsLimited) {
  EXPECT_NE(load_fault(std::string(1 << 20, '[')), FileFault::none);
  std::string deep = std::string(200, '[') + std::string(200, ']');
  EXPECT_EQ(load_fault(file("\"x\":" + deep + "," + kWordLevel)), FileFault::limit);
}

std::string blob(const std::vector<uint32_t>& units, const std::string& replacements) {
  const uint32_t size = static_cast<uint32_t>(units.size() * 4);
  std::string out(reinterpret_cast<const char*>(&size), 4);
  out.append(reinterpret_cast<const char*>(units.data()), size);
  return out + replacements;
}

TEST(MalformedCharsmap, T06ShortHeadersAreRefused) {
  for (size_t n = 1; n < 4; ++n)
    EXPECT_EQ(fault_of([&] { PrecompiledCharsmap(std::string(n, '\0'), "x"); }), FileFault::layout);
  EXPECT_EQ(fault_of([] { PrecompiledCharsmap(std::string("\xFF\0\0\0abc", 7), "x"); }), FileFault::layout);
}

TEST(MalformedCharsmap, T07BasesOutsideOfTheTrieAreRefused) {
  std::vector<uint32_t> units(256);
  units[0] = 1000u << 10;
  EXPECT_EQ(fault_of([&] { PrecompiledCharsmap(blob(units, std::string("A\0", 2)), "x"); }), FileFault::layout);
}

TEST(MalformedCharsmap, T08ValuesOutsideOfTheReplacementsAreRefused) {
  std::vector<uint32_t> units(512);
  units[0] = 0;
  units['a'] = (('a' ^ 256u) << 10) | 256u | 'a';  // children at 256, a value among them
  for (uint32_t value : {0u, 2u, 1000u}) {
    units[256] = value | 0x80000000u;
    const std::string text = value == 0 ? std::string("B\0", 2) : std::string("B");
    const FileFault fault = fault_of([&] { EXPECT_EQ(PrecompiledCharsmap(blob(units, text), "x").find("abc"), "B"); });
    EXPECT_EQ(fault, value == 0 ? FileFault::none : FileFault::layout);
  }
}

}  // namespace
}  // namespace caravan::text
