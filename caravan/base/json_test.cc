#include "caravan/base/json.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "caravan/base/asked_keys.h"
#include "caravan/base/error.h"
#include "caravan/base/utf8.h"

namespace caravan {
namespace {

FileFault fault_of(std::string_view text, JsonLimits limits = {}) {
  try {
    parse_json(text, "x.json", limits);
  } catch (const Error& e) {
    return e.fault();
  }
  return FileFault::none;
}

TEST(Json, KeepsTheOrderAndTheKindsOfNumbers) {
  const std::string text = R"({"z":1,"a":{"y":[1.5,-2,18446744073709551615,true,null],"b":"ü\n"},"c":{},"d":[]})";
  EXPECT_EQ(dump_json(parse_json(text, "x"), -1), text);
}

TEST(Json, DumpsLikePython) {
  EXPECT_EQ(dump_json(parse_json(R"({"a":[1,2],"b":{},"c":[],"eps":1e-05,"t":10000.0,"u":"é"})", "x")),
            "{\n  \"a\": [\n    1,\n    2\n  ],\n  \"b\": {},\n  \"c\": [],\n  \"eps\": 1e-05,\n  \"t\": 10000.0,\n"
            "  \"u\": \"é\"\n}");
}

TEST(Json, EveryKindOfBrokenTextHasItsFault) {
  EXPECT_EQ(fault_of(""), FileFault::json);
  EXPECT_EQ(fault_of("{"), FileFault::json);
  EXPECT_EQ(fault_of("{} x"), FileFault::json);
  EXPECT_EQ(fault_of(std::string_view("{}\0{", 4)), FileFault::json);
  EXPECT_EQ(fault_of("{\"a\":NaN}"), FileFault::json);
  EXPECT_EQ(fault_of("{\"a\":1e400}"), FileFault::range);
  EXPECT_EQ(fault_of("{\"a\":\"\xff\"}"), FileFault::utf8);
  EXPECT_EQ(fault_of("{\"a\":\"\\ud800\"}"), FileFault::json);
  EXPECT_EQ(fault_of("{\"a\":1,\"b\":{\"c\":1,\"c\":2}}"), FileFault::duplicate);
  EXPECT_EQ(fault_of("{\"a\":1,\"a\":2}", {.refuse_duplicates = false}), FileFault::none);
  EXPECT_EQ(fault_of("[[[1]]]", {.depth = 3}), FileFault::none);
  EXPECT_EQ(fault_of("[[[[1]]]]", {.depth = 3}), FileFault::limit);
}

TEST(Json, EndlessNestingIsRefusedWithoutRecursion) {
  const std::string brackets(size_t{128} << 20, '[');
  EXPECT_EQ(fault_of(brackets), FileFault::limit);
}

TEST(Json, AVocabularyIsNotQuadratic) {
  std::string text = "{";
  constexpr int kTokens = 300'000;
  for (int i = 0; i < kTokens; ++i)
    text += (i == 0 ? "\"token" : ",\"token") + std::to_string(i) + "\":" + std::to_string(i);
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(parse_json(text + "}", "vocab").size(), kTokens);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));  // quadratic: minutes
  EXPECT_EQ(fault_of(text + ",\"token7\":0}"), FileFault::duplicate);
}

TEST(Json, GettersCheckKindAndRange) {
  const Json j = parse_json(R"({"i":3,"f":3.0,"s":"x","b":true,"n":null,"big":18446744073709551615,"wide":1e39})", "c");
  EXPECT_EQ(get_int(j, "i", "c", {.min = 1, .max = 3}), 3);
  EXPECT_EQ(get_int(j, "n", "c", {}, 7), 7);
  EXPECT_EQ(get_number(j, "i", "c"), 3.0);
  const auto fault = [&](auto&& read) {
    try {
      read();
    } catch (const Error& e) {
      return e.fault();
    }
    return FileFault::none;
  };
  EXPECT_EQ(fault([&] { get_int(j, "f", "c"); }), FileFault::type);
  EXPECT_EQ(fault([&] { get_int(j, "i", "c", {.max = 2}); }), FileFault::range);
  EXPECT_EQ(fault([&] { get_int(j, "big", "c"); }), FileFault::range);
  EXPECT_EQ(fault([&] { get_int(j, "absent", "c"); }), FileFault::range);
  EXPECT_EQ(fault([&] { get_number(j, "wide", "c"); }), FileFault::range);
  EXPECT_EQ(fault([&] { get_bool(j, "i", "c"); }), FileFault::type);
  EXPECT_EQ(fault([&] { get_string(j, "i", "c"); }), FileFault::type);
}

TEST(Utf8, OverlongSurrogatesAndCutSequencesAreInvalid) {
  EXPECT_EQ(find_invalid_utf8("plain ascii, ünïcödé, 漢字, 😀"), std::string_view::npos);
  EXPECT_EQ(find_invalid_utf8("12345678\xc0\x80"), 8u);
  EXPECT_EQ(find_invalid_utf8("\xed\xa0\x80"), 0u);
  EXPECT_EQ(find_invalid_utf8("\xf4\x90\x80\x80"), 0u);
  EXPECT_EQ(find_invalid_utf8("a\xe6\xbc"), 1u);
  EXPECT_EQ(find_invalid_utf8("\x80"), 0u);
}

TEST(AskedKeys, KnowsWhatWasAskedForWhileItLives) {
  const Json config = {{"a", 1}, {"b", {{"c", 2}}}, {"d", nullptr}};
  get_int(config, "z", "before", {}, 0);
  const AskedKeys outer;
  get_int(config, "a", "x");
  {
    const AskedKeys inner;
    get_int(*find_member(config, "b"), "c", "x");
    EXPECT_EQ(inner.all(), (std::vector<std::string>{"b", "c"}));
  }
  find_member(config, "d");
  find_member(config, "missing");
  std::thread([&] { find_member(config, "b"); }).join();
  EXPECT_EQ(outer.all(), (std::vector<std::string>{"a", "d", "missing"}));
}

}  // namespace
}  // namespace caravan
