// Malformed archives, one row a class: P02 to P12 of the list of malformed files.
#include "caravan/formats/zip_reader.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "caravan/base/error.h"
#include "caravan/formats/broken_archive.h"
#include "caravan/formats/zip_writer.h"

namespace caravan::formats {
namespace {

using broken::Archive;
using broken::archive_of_one;
using broken::little;

const std::string kPath = testing::TempDir() + "zip_reader_test-" + std::to_string(getpid()) + ".zip";

// Opens and reads every record.
FileFault fault_of(const std::string& bytes, std::string* message = nullptr) {
  write_file(kPath, bytes);
  try {
    const ZipReader zip(MappedFile::open(kPath));
    for (const ZipEntry& entry : zip.entries()) (void)zip.contents(entry);
  } catch (const Error& e) {
    if (message != nullptr) *message = e.what();
    return e.fault();
  }
  return FileFault::none;
}

Archive two_records(bool zip64 = false) { return Archive({{"a/x", "hello"}, {"a/y", std::string(300, 'y')}}, zip64); }

struct BrokenCase {
  const char* name;
  FileFault fault;
  std::string bytes;
};

template <class Change>
BrokenCase changed(const char* name, FileFault fault, Change change, bool zip64 = false) {
  Archive archive = two_records(zip64);
  change(archive);
  return {name, fault, archive.bytes};
}

std::vector<BrokenCase> end_record_cases() {
  return {
      {"P01 not a zip", FileFault::magic, "not a zip archive, but long enough to be one"},
      {"P01 empty", FileFault::magic, ""},
      changed("P01 bytes before the archive", FileFault::magic, [](Archive& a) { a.bytes.insert(0, "junk"); }),
      changed("P02 no end record", FileFault::truncated, [](Archive& a) { a.bytes.resize(a.end); }),
      changed("P02 half an end record", FileFault::truncated, [](Archive& a) { a.bytes.resize(a.end + 11); }),
      changed("P03 64 KiB after the end record", FileFault::truncated, [](Archive& a) { a.bytes.append(65'536, ' '); }),
      changed("P03 comment longer than the file", FileFault::truncated, [](Archive& a) { a.patch(a.end + 20, 7, 2); }),
      changed("P04 directory offset outside", FileFault::truncated,
              [](Archive& a) { a.patch(a.end + 16, 1 << 30, 4); }),
      changed("P04 directory size outside", FileFault::truncated, [](Archive& a) { a.patch(a.end + 12, 1 << 30, 4); }),
      changed("P04 more entries than fit", FileFault::truncated,
              [](Archive& a) { a.patch(a.end + 8, 9999, 2), a.patch(a.end + 10, 9999, 2); }),
      changed("P04 fewer entries than stand there", FileFault::layout,
              [](Archive& a) { a.patch(a.end + 8, 1, 2), a.patch(a.end + 10, 1, 2); }),
      changed("P04 gap before the end record", FileFault::layout, [](Archive& a) { a.bytes.insert(a.end, "gap"); }),
      changed("several disks", FileFault::unsupported, [](Archive& a) { a.patch(a.end + 4, 1, 2); }),
      changed("entry counts differ", FileFault::layout, [](Archive& a) { a.patch(a.end + 8, 1, 2); }),
      changed(
          "P10 zip64 end contradicts", FileFault::layout, [](Archive& a) { a.patch(a.end64 + 32, 3, 8); }, true),
      changed(
          "P10 zip64 end elsewhere", FileFault::layout, [](Archive& a) { a.patch(a.locator + 8, a.end64 - 1, 8); },
          true),
      changed(
          "P10 zip64 end outside", FileFault::truncated, [](Archive& a) { a.patch(a.locator + 8, ~0ull, 8); }, true),
      changed(
          "P10 zip64 directory overflows", FileFault::layout,
          [](Archive& a) { a.patch(a.end64 + 40, ~0ull, 8), a.patch(a.end64 + 48, ~0ull, 8); }, true),
      changed(
          "P10 zip64 directory outside", FileFault::truncated,
          [](Archive& a) { a.patch(a.end + 16, 0xffffffff, 4), a.patch(a.end64 + 48, 1ull << 60, 8); }, true),
  };
}

std::vector<BrokenCase> entry_cases() {
  const auto sized = [](Archive& a, size_t size) {  // both headers agree on a wrong size
    a.patch(a.central[1] + 20, size, 4), a.patch(a.central[1] + 24, size, 4);
    a.patch(a.local[1] + 18, size, 4), a.patch(a.local[1] + 22, size, 4);
  };
  return {
      changed("P05 entries overlap", FileFault::layout,
              [](Archive& a) {
                a.patch(a.central[0] + 20, 40, 4), a.patch(a.central[0] + 24, 40, 4);
                a.patch(a.local[0] + 18, 40, 4), a.patch(a.local[0] + 22, 40, 4);
              }),
      changed("P05 two entries share a header", FileFault::layout,
              [](Archive& a) { a.patch(a.central[1] + 42, a.local[0], 4); }),
      changed("P06 names differ", FileFault::layout, [](Archive& a) { a.bytes[a.local[0] + 32] = 'z'; }),
      changed("P06 sizes differ", FileFault::layout, [](Archive& a) { a.patch(a.local[0] + 18, 4, 4); }),
      changed("P06 methods differ", FileFault::layout, [](Archive& a) { a.patch(a.local[0] + 8, 8, 2); }),
      changed("P06 flags differ", FileFault::layout, [](Archive& a) { a.patch(a.local[0] + 6, 8, 2); }),
      changed("P06 checksums differ", FileFault::layout, [](Archive& a) { a.patch(a.local[0] + 14, 1, 4); }),
      changed(
          "P06 no local header", FileFault::layout,
          [](Archive& a) { a.patch(a.local[0], 0, 4), a.patch(0, 0x04034b50, 4), a.patch(a.central[0] + 42, 1, 4); }),
      changed("local header outside", FileFault::truncated, [](Archive& a) { a.patch(a.central[1] + 42, 1 << 28, 4); }),
      changed("contents reach into the directory", FileFault::truncated, [&](Archive& a) { sized(a, 301); }),
      changed("contents of 4 GiB", FileFault::truncated, [&](Archive& a) { sized(a, 0xfffffffe); }),
      changed("stored sizes differ", FileFault::layout, [](Archive& a) { a.patch(a.central[0] + 24, 6, 4); }),
      changed("no directory entry", FileFault::layout, [](Archive& a) { a.patch(a.central[1], 0, 4); }),
      changed("name longer than the directory", FileFault::truncated,
              [](Archive& a) { a.patch(a.central[1] + 28, 0xffff, 2); }),
      changed("P11 encrypted", FileFault::unsupported, [](Archive& a) { a.patch(a.central[0] + 8, 1, 2); }),
      changed("method 12", FileFault::unsupported, [](Archive& a) { a.patch(a.central[0] + 10, 12, 2); }),
      changed("P12 checksum wrong", FileFault::checksum, [](Archive& a) { a.bytes[a.data[0]] ^= 1; }),
      changed("P10 size in a zip64 field that is missing", FileFault::layout,
              [](Archive& a) { a.patch(a.central[0] + 24, 0xffffffff, 4); }),
      {"P10 zip64 field nobody asked for", FileFault::layout,
       archive_of_one({.name = "a/x", .data = "hello", .extra = little(1, 2) + little(8, 2) + little(9, 8)}).bytes},
      {"P07 duplicate name", FileFault::duplicate, Archive({{"a/x", "1"}, {"a/x", "2"}}).bytes},
      {"P08 parent folder", FileFault::path, archive_of_one({"a/../../x", "1"}).bytes},
      {"P08 absolute", FileFault::path, archive_of_one({"/a/x", "1"}).bytes},
      {"P08 backslash", FileFault::path, archive_of_one({"a\\x", "1"}).bytes},
      {"P08 NUL", FileFault::path, archive_of_one({std::string("a/x\0y", 5), "1"}).bytes},
      {"P08 no name", FileFault::path, archive_of_one({"", "1"}).bytes},
      {"P09 deflate bomb", FileFault::limit, archive_of_one({"a/x", std::string(1 << 20, '\0'), 8}).bytes},
  };
}

TEST(ZipReader, EveryMalformedClassHasItsFault) {
  const broken::Unsynced fast;
  std::vector<BrokenCase> cases = end_record_cases();
  for (BrokenCase& c : entry_cases()) cases.push_back(std::move(c));
  for (const BrokenCase& c : cases) {
    std::string message = "no error";
    EXPECT_EQ(to_string(fault_of(c.bytes, &message)), to_string(c.fault)) << c.name << ": " << message;
  }
}

TEST(ZipReader, EveryCutIsAnError) {
  const broken::Unsynced fast;
  for (const bool zip64 : {false, true}) {
    const std::string bytes = two_records(zip64).bytes;
    for (size_t n = 0; n < bytes.size(); ++n) {
      const FileFault fault = fault_of(bytes.substr(0, n));
      EXPECT_EQ(to_string(fault), to_string(n < 4 ? FileFault::magic : FileFault::truncated)) << n;
    }
  }
}

TEST(ZipReader, ReadsStoredDeflatedZip64AndComments) {
  std::string compressible;
  for (int i = 0; i < 500; ++i) compressible += std::to_string(i * i);
  Archive archive({{"a/x", "hello"}, {"a/y", compressible, 8}, {"a/", ""}, {"a/empty", ""}}, true);
  archive.patch(archive.end + 20, 65'535, 2);
  archive.bytes.append(65'535, 'c');
  write_file(kPath, archive.bytes);
  const ZipReader zip(MappedFile::open(kPath));
  const auto text = [&](const char* name) {
    const TensorBytes bytes = zip.contents(*zip.find(name));
    return std::string(reinterpret_cast<const char*>(bytes.bytes.data()), bytes.bytes.size());
  };
  EXPECT_EQ(text("a/x"), "hello");
  EXPECT_EQ(text("a/y"), compressible);
  EXPECT_EQ(text("a/empty"), "");
  EXPECT_EQ(zip.find("a/z"), nullptr);
  EXPECT_THROW((void)zip.stored(*zip.find("a/y")), Error);
}

TEST(ZipReader, AnUnrecordedChecksumIsNotCompared) {
  Archive archive = archive_of_one({"a/x", "hello"});
  archive.patch(archive.central[0] + 16, 0, 4);
  archive.patch(archive.local[0] + 14, 0, 4);
  EXPECT_EQ(fault_of(archive.bytes), FileFault::none);
}

TEST(ZipReader, DamagedDeflateIsAnError) {
  const broken::Unsynced fast;
  Archive archive = archive_of_one({"a/x", "some text, some text, some other text", 8});
  for (size_t i = archive.data[0]; i < archive.central[0]; ++i) {
    std::string bytes = archive.bytes;
    bytes[i] = static_cast<char>(bytes[i] ^ 0x55);
    EXPECT_NE(fault_of(bytes), FileFault::none) << i;
  }
}

TEST(ZipWriter, RecordsAreAlignedAndReadBack) {
  {
    AtomicFile file(kPath);
    ZipWriter zip(file);
    for (size_t n : {0, 1, 63, 64, 65, 1000}) zip.add("archive/data/" + std::to_string(n), std::string(n, 'x'));
    zip.finish();
    file.commit();
  }
  const ZipReader zip(MappedFile::open(kPath));
  ASSERT_EQ(zip.entries().size(), 6u);
  for (const ZipEntry& entry : zip.entries()) {
    EXPECT_EQ(entry.data % 64, 0u);
    EXPECT_EQ("archive/data/" + std::to_string(zip.contents(entry).bytes.size()), entry.name);
  }
}

TEST(ZipWriter, ManyRecordsNeedTheZip64EndRecord) {
  constexpr size_t kRecords = 66'000;
  {
    AtomicFile file(kPath);
    ZipWriter zip(file);
    for (size_t i = 0; i < kRecords; ++i) zip.add("a/" + std::to_string(i), "");
    zip.finish();
    file.commit();
  }
  const ZipReader zip(MappedFile::open(kPath));
  EXPECT_EQ(zip.entries().size(), kRecords);
  EXPECT_NE(zip.find("a/65999"), nullptr);
}

}  // namespace
}  // namespace caravan::formats
