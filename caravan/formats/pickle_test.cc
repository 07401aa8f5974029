// Malformed pickles, one row a class: P16 to P31 of the list of malformed files, and what inert records look like.
#include "caravan/formats/pickle.h"

#include <gtest/gtest.h>

#include <deque>

#include "caravan/base/error.h"
#include "caravan/formats/broken_archive.h"
#include "caravan/formats/torch_records.h"

namespace caravan::formats {
namespace {

using namespace broken;

PickleDocument read(const std::string& bytes, PickleLimits limits = {}) {
  static std::deque<std::string> kept;  // documents point into their pickle
  kept.push_back(bytes);
  limits.is_sealed = is_rebuild_global;
  return PickleDocument(std::as_bytes(std::span(kept.back().data(), bytes.size())), "test", limits);
}

FileFault fault_of(const std::string& bytes, PickleLimits limits = {}) {
  try {
    (void)read(bytes, limits);
  } catch (const Error& e) {
    return e.fault();
  }
  return FileFault::none;
}

std::string repeat(std::string_view part, size_t n) {
  std::string out;
  for (size_t i = 0; i < n; ++i) out += part;
  return out;
}

struct BrokenCase {
  const char* name;
  FileFault fault;
  std::string bytes;
};

TEST(Pickle, EveryMalformedClassHasItsFault) {
  const std::string system = global("os", "system");
  const BrokenCase cases[] = {
      {"P17 no STOP", FileFault::truncated, "\x80\x02N"},
      {"P17 empty", FileFault::truncated, ""},
      {"P19 no MARK for TUPLE", FileFault::range, pickle("Nt")},
      {"P19 no MARK for APPENDS", FileFault::range, pickle("]Ne")},
      {"P19 no MARK for SETITEMS", FileFault::range, pickle("}NNu")},
      {"P19 no MARK for POP_MARK", FileFault::range, pickle("N1")},
      {"P19 STOP inside a MARK", FileFault::range, pickle("N(")},
      {"P20 memo miss", FileFault::range, pickle(std::string("h\5", 2))},
      {"P20 long memo miss", FileFault::range, pickle("Nj" + little(1 << 20, 4))},
      {"P22 string longer than the file", FileFault::truncated, pickle("X" + little(0xffffffff, 4) + "abc")},
      {"P22 string of 2^63 bytes", FileFault::truncated, pickle("\x8d" + little(1ull << 63, 8) + "abc")},
      {"P22 bytes longer than the file", FileFault::truncated, pickle("\x8e" + little(~0ull, 8))},
      {"P22 string of -1 bytes", FileFault::range, pickle("T" + little(0xffffffff, 4))},
      {"frame longer than the file", FileFault::truncated, pickle("\x95" + little(1000, 8) + "N")},
      {"P23 LONG1 of 255 bytes", FileFault::overflow, pickle("\x8a\xff" + std::string(255, 'x'))},
      {"P23 LONG4 of -1 bytes", FileFault::range, pickle("\x8b" + little(0xffffffff, 4))},
      {"P26 BUILD on a tensor", FileFault::type, pickle(tensor() + "}b")},
      {"P27 SETITEM on a tensor", FileFault::type, pickle(tensor() + "NNs")},
      {"P27 APPEND to a tensor", FileFault::type, pickle(tensor() + "Na")},
      {"SETITEM on a list", FileFault::type, pickle("]NNs")},
      {"APPEND to a tuple", FileFault::type, pickle(")Na")},
      {"BUILD on a dict", FileFault::type, pickle("}}b")},
      {"ADDITEMS to a list", FileFault::type, pickle("](N\x90")},
      {"P28 a list holds itself", FileFault::limit, pickle(std::string("]q\0h\0a", 6))},
      {"P28 a dict holds itself", FileFault::limit, pickle(std::string("}q\0Nh\0s", 7))},
      {"P28 an object holds itself", FileFault::limit, pickle(system + std::string(")Rq\0}Nh\0sb", 10))},
      {"P29 MARK of depth 10^6", FileFault::limit, pickle(repeat("(", 1'000'000))},
      {"P29 lists of depth 10^6", FileFault::limit, pickle(repeat("]", 1'000'000) + repeat("a", 999'999))},
      {"P29 tuples of depth 600", FileFault::limit, pickle("N" + repeat("\x85", 600))},
      {"P29 shared lists of depth 600", FileFault::limit,
       pickle(repeat("]", 300) + repeat("a", 299) + std::string("q\0", 2) + repeat("\x85", 300))},
      {"P30 too many operations", FileFault::limit, pickle(repeat("N0", 5'000'001))},
      {"too many values on the stack", FileFault::limit, pickle(repeat("N", 1'000'001))},
      {"P31 persistent id is a string", FileFault::type, pickle(text("0") + "Q")},
      {"SETITEMS with half a pair", FileFault::range, pickle("}(NNNu")},
      {"call of an int", FileFault::type, pickle("K\1)R")},
      {"call with a list", FileFault::type, pickle(system + "]R")},
      {"global named by ints", FileFault::type, pickle("K\1K\1\x93")},
      {"global without its end", FileFault::truncated,
       "\x80\x02"
       "cos\nsystem"},
      {"protocol 1", FileFault::version, "\x80\x01N."},
      {"protocol 6", FileFault::version, "\x80\x06N."},
      {"text opcode INT", FileFault::unsupported, pickle("I1\n")},
      {"INST", FileFault::unsupported, pickle("(ios\nsystem\n")},
      {"OBJ", FileFault::unsupported, pickle("(" + system + "o")},
      {"EXT1", FileFault::unsupported, pickle("\x82\x01")},
      {"NEXT_BUFFER", FileFault::unsupported, pickle("\x97")},
      {"opcode 0xff", FileFault::unsupported, pickle("\xff")},
  };
  for (const BrokenCase& c : cases) EXPECT_EQ(to_string(fault_of(c.bytes)), to_string(c.fault)) << c.name;
}

TEST(Pickle, EveryCutIsTruncated) {  // P16
  const std::string bytes =
      pickle(dict({{"a", tensor()}, {"b", "G" + std::string(8, 'x')}, {"c", "\x95" + little(3, 8)}}));
  for (size_t n = 0; n < bytes.size(); ++n) EXPECT_EQ(fault_of(bytes.substr(0, n)), FileFault::truncated) << n;
}

TEST(Pickle, EveryOpcodeChecksItsStack) {  // P18
  for (const std::string op : {"R",     "b",      "Q",    "a",    "s",    "0",    "2",    "q\1", "r\1\1\1\1", "\x85",
                               "\x86",  "\x87",   "\x81", "\x92", "\x93", "\x94", "(s",   "(a",  "(R",        "(b",
                               "N(q\1", "N(\x85", "e",    "u",    "t",    "\x90", "\x91", "1",   ""}) {
    EXPECT_EQ(fault_of(pickle(op)), FileFault::range) << op;
  }
  EXPECT_EQ(fault_of(pickle("N\x86")), FileFault::range);
  EXPECT_EQ(fault_of(pickle("NN\x87")), FileFault::range);
  EXPECT_EQ(fault_of(pickle("(e")), FileFault::range);
  EXPECT_EQ(fault_of(pickle("(u")), FileFault::range);
}

TEST(Pickle, AFarMemoIndexIsStoredSparsely) {  // P21
  const PickleDocument document = read(pickle(text("x") + "r" + little(0xffffffff, 4) + "0j" + little(0xffffffff, 4)));
  EXPECT_EQ(document.root().text(), "x");
}

TEST(Pickle, MemoryIsLimited) {
  EXPECT_EQ(fault_of(pickle(repeat("]0", 100'000)), {.memory = 1 << 20}), FileFault::limit);
  EXPECT_EQ(fault_of(pickle("](" + repeat("N", 100'000) + "e"), {.memory = 1 << 20}), FileFault::limit);
}

TEST(Pickle, CodeBecomesARecord) {  // P24, P25
  const PickleDocument document = read(pickle(global("os", "system") + tuple({text("touch /tmp/x")}) + "R"));
  ASSERT_TRUE(document.root().is(PickleKind::object));
  EXPECT_TRUE(document.root().object()->callable.is_global("os", "system"));
  EXPECT_EQ(document.root().object()->args.items()[0].text(), "touch /tmp/x");
  ASSERT_EQ(document.globals().size(), 1u);
  EXPECT_EQ(document.globals()[0].name(), "system");
}

TEST(Pickle, ObjectsKeepArgumentsStateItemsAndEntries) {
  const std::string object =
      global("m", "C") + tuple({integer(1)}) + "\x81" + text("state") + "b" + "(NNe" + text("k") + integer(7) + "s";
  const PickleDocument document = read(pickle(object));
  const PickleObject& record = *document.root().object();
  EXPECT_TRUE(record.callable.is_global("m", "C"));
  EXPECT_EQ(record.args.items()[0].integer(), 1);
  EXPECT_EQ(record.state.text(), "state");
  EXPECT_EQ(record.items.size(), 2u);
  EXPECT_EQ(record.entries[0].first.text(), "k");
  EXPECT_EQ(record.entries[0].second.integer(), 7);
}

TEST(Pickle, IntegersOfEveryWidth) {
  const auto value = [](const std::string& body) { return read(pickle(body)).root().integer(); };
  EXPECT_EQ(value("K\xff"), 255);
  EXPECT_EQ(value("M\xff\xff"), 65'535);
  EXPECT_EQ(value("J\xff\xff\xff\xff"), -1);
  EXPECT_EQ(value(std::string("\x8a\x00", 2)), 0);
  EXPECT_EQ(value("\x8a\x01\x80"), -128);
  EXPECT_EQ(value(std::string("\x8a\x02\x80\x00", 4)), 128);
  EXPECT_EQ(value("\x8b" + little(8, 4) + little(1ull << 63, 8)), std::numeric_limits<int64_t>::min());
  EXPECT_EQ(read(pickle("\x8a\x0a" + std::string(10, '\1'))).root().kind(), PickleKind::long_integer);
  EXPECT_EQ(read(pickle(std::string("G\x3f\xf8\0\0\0\0\0\0", 9))).root().number(), 1.5);
}

TEST(Pickle, SharedPartsMayBeReadManyTimes) {  // 2^60 leaves where walked as a tree
  const std::string doubling = std::string("q\0h\0\x86", 5);
  const PickleDocument document = read(pickle("N" + repeat(doubling, 60)));
  EXPECT_EQ(document.root().items()[0].node(), document.root().items()[1].node());
}

TEST(Pickle, Protocol4AndItsOpcodesAreRead) {
  // pickle.dumps({"k": [1.5, b"x", {2}], "g": collections.deque}, 4)
  const std::string hex =
      "8004953c000000000000007d94288c016b945d9428473ff8000000000000430178948f94284b0290658c0167948c0b636f6c"
      "6c656374696f6e73948c056465717565949394752e";
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2)
    bytes.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  const PickleDocument document = read(bytes);
  const auto& entries = document.root().entries();
  ASSERT_EQ(entries.size(), 2u);
  const std::span<const PickleValue> list = entries[0].second.items();
  EXPECT_EQ(list[0].number(), 1.5);
  EXPECT_EQ(list[1].text(), "x");
  EXPECT_EQ(list[2].items()[0].integer(), 2);
  EXPECT_TRUE(entries[1].second.is_global("collections", "deque"));
}

}  // namespace
}  // namespace caravan::formats
