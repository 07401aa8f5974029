#include "caravan/base/file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <optional>
#include <thread>

#include "caravan/base/error.h"
#include "caravan/base/faulty_file_system.h"
#include "caravan/base/mapping.h"
#include "caravan/base/temporary_folder.h"

namespace caravan {
namespace {

std::vector<std::string> names_in(const std::string& folder) { return *list_folder(folder); }

template <class Operation>
Error error_of(Operation operation) {
  try {
    operation();
  } catch (const Error& e) {
    return e;
  }
  return Error(ErrorCode::internal, "no error");
}

// As NFS: two names cannot be swapped, nor a new name be insisted on, and the k-th rename fails.
class WithoutExchange final : public FileSystem {
 public:
  explicit WithoutExchange(int k) : k_(k) {}
  int exchange(const char*, const char*) override { return -EINVAL; }
  int rename_new(const char*, const char*) override { return -EINVAL; }
  int rename(const char* from, const char* to) override { return k_-- == 0 ? -EIO : FileSystem::rename(from, to); }

 private:
  int k_;
};

TEST(AtomicFile, AppearsOnlyWhenCommitted) {
  const TemporaryFolder folder;
  write_file(folder / "f", "old");
  {
    AtomicFile file(folder / "f");
    file.write(std::string(200'000, 'x'));
    EXPECT_EQ(file.position(), 200'000u);
  }
  EXPECT_EQ(read_file(folder / "f"), "old");
  EXPECT_EQ(names_in(folder.path()), std::vector<std::string>{"f"});
  {
    AtomicFile file(folder / "f");
    for (int i = 0; i < 3; ++i) file.write(std::string(50'000, static_cast<char>('a' + i)));
    file.commit();
  }
  EXPECT_EQ(read_file(folder / "f"), std::string(50'000, 'a') + std::string(50'000, 'b') + std::string(50'000, 'c'));
}

TEST(AtomicFile, WhatAppearedMeanwhileIsReplacedOnlyIfItMayBe) {
  const TemporaryFolder folder;
  for (const bool can_refuse : {true, false}) {
    WithoutExchange old_fs(-1);
    std::optional<ScopedFileSystem> scope;
    if (!can_refuse) scope.emplace(old_fs);
    const auto write = [&](Existing existing) {
      AtomicFile file(folder / "f", existing);
      file.write("ours");
      write_file(folder / "f", "theirs");
      file.commit();
    };
    write(Existing::replace);
    EXPECT_EQ(read_file(folder / "f"), "ours");
    EXPECT_EQ(error_of([&] { write(Existing::keep); }).code(), ErrorCode::invalid_argument);
    EXPECT_EQ(read_file(folder / "f"), "theirs");
    EXPECT_EQ(names_in(folder.path()), std::vector<std::string>{"f"});
    std::filesystem::remove(folder / "f");
    AtomicFile file(folder / "f", Existing::keep);
    file.write("ours");
    file.commit();
    EXPECT_EQ(read_file(folder / "f"), "ours");
  }
}

TEST(AtomicFile, SeekFillsInWhatIsKnownLater) {
  const TemporaryFolder folder;
  AtomicFile file(folder / "f");
  file.write("....");
  file.write(std::string(70'000, 'x'));
  file.seek(1);
  file.write("ab");
  file.seek(70'004);
  file.write("end");
  EXPECT_EQ(file.position(), 70'007u);
  file.commit();
  EXPECT_EQ(read_file(folder / "f"), ".ab." + std::string(70'000, 'x') + "end");
}

TEST(AtomicFile, EveryFaultLeavesTheOldOrTheNewFile) {
  const TemporaryFolder folder;
  const std::string before(70'000, 'o'), after(150'000, 'n');
  write_file(folder / "f", before);
  const int runs = for_every_fault(
      [&] {
        AtomicFile file(folder / "f");
        file.write(std::string_view(after).substr(0, 100));
        file.write(std::string_view(after).substr(100));
        file.commit();
      },
      [&](bool succeeded) {
        const std::string now = read_file(folder / "f");
        EXPECT_TRUE(now == after || (now == before && !succeeded));
        write_file(folder / "f", before);
      });
  EXPECT_GT(runs, 30);
}

TEST(AtomicFile, AnErrorRemovesTheTemporaryFile) {
  const TemporaryFolder folder;
  for (int k = 0; k < 3; ++k) {
    FaultyFileSystem faulty(k + 1, {.name = "ENOSPC", .error = ENOSPC});
    const ScopedFileSystem scope(faulty);
    const Error error = error_of([&] { write_file(folder / "f", "new"); });
    EXPECT_EQ(error.fault(), FileFault::io);
    EXPECT_NE(std::string(error.what()).find("free some space"), std::string::npos) << error.what();
    EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  }
}

TEST(AtomicFile, DeathAtAnyCallLeavesTheOldOrTheNewFile) {
  const TemporaryFolder folder;
  const auto write_new = [&] { write_file(folder / "f", std::string(100'000, 'n')); };
  write_file(folder / "f", "old");
  const int calls = for_every_death(write_new, [&] {
    const std::string now = read_file(folder / "f");
    EXPECT_TRUE(now == "old" || now == std::string(100'000, 'n'));
    write_file(folder / "f", "old");
  });
  EXPECT_GT(calls, 4);
}

TEST(AtomicFile, WhatADeadProcessLeftIsSwept) {
  const TemporaryFolder folder;
  const pid_t child = ::fork();
  if (child == 0) {
    AtomicFolder left(folder / "model");
    write_file(left.path() + "/weights", "half");
    AtomicFile file(folder / "half.gguf");
    ::_exit(0);  // as kill -9: no destructor runs
  }
  ::waitpid(child, nullptr, 0);
  EXPECT_EQ(names_in(folder.path()).size(), 2u);
  write_file(folder / "note.tmp-1", "kept: not one of ours");
  EXPECT_EQ(names_in(folder.path()), std::vector<std::string>{"note.tmp-1"});
}

TEST(AtomicFile, AMissingFolderIsNamed) {
  const Error e = error_of([] { write_file("/absent-folder/x/f", ""); });
  EXPECT_EQ(e.code(), ErrorCode::not_found);
  EXPECT_EQ(std::string(e.what()).find("tmp"), std::string::npos) << e.what();
}

bool may_replace(const std::string& name) { return name.ends_with(".ours"); }

TEST(AtomicFolder, ReplacesOnlyWhatIsOurs) {
  const TemporaryFolder folder;
  const auto write = [&](const std::string& text) {
    AtomicFolder out(folder / "m/", may_replace);
    write_file(out.path() + "/" + text + ".ours", text);
    out.commit();
  };
  write("a");
  write("b");
  EXPECT_EQ(names_in(folder / "m"), std::vector<std::string>{"b.ours"});
  EXPECT_EQ(names_in(folder.path()), std::vector<std::string>{"m"});
  write_file(folder / "m/letter.txt", "dear");
  EXPECT_EQ(error_of([&] { write("c"); }).code(), ErrorCode::invalid_argument);
  EXPECT_EQ(names_in(folder / "m"), (std::vector<std::string>{"b.ours", "letter.txt"}));
  write_file(folder / "file", "in the way");
  EXPECT_EQ(error_of([&] { AtomicFolder(folder / "file"); }).code(), ErrorCode::invalid_argument);
}

TEST(AtomicFolder, EveryFaultLeavesTheOldOrTheNewFolder) {
  const TemporaryFolder folder;
  const auto write = [&](const std::string& text) {
    AtomicFolder out(folder / "m", may_replace);
    write_file(out.path() + "/1.ours", text);
    write_file(out.path() + "/2.ours", text);
    out.commit();
  };
  write("old");
  for_every_fault([&] { write("new"); },
                  [&](bool succeeded) {
                    EXPECT_EQ(names_in(folder / "m"), (std::vector<std::string>{"1.ours", "2.ours"}));
                    const std::string now = read_file(folder / "m/1.ours");
                    EXPECT_TRUE(now == "new" || (now == "old" && !succeeded));
                    EXPECT_EQ(read_file(folder / "m/2.ours"), now);
                    write("old");
                  });
  for_every_death([&] { write("new"); },
                  [&] {
                    EXPECT_EQ(read_file(folder / "m/1.ours"), read_file(folder / "m/2.ours"));
                    write("old");
                  });
}

TEST(AtomicFolder, ReplacesAlsoWhereNamesCannotBeSwapped) {
  const TemporaryFolder folder;
  const auto write = [&](const std::string& text) {
    AtomicFolder out(folder / "m", may_replace);
    write_file(out.path() + "/1.ours", text);
    out.commit();
  };
  write("old");
  for (int k = 0; k < 4; ++k) {  // renames: of the file, of the old folder, of the new one
    WithoutExchange fs(k);
    const ScopedFileSystem scope(fs);
    const bool failed = error_of([&] { write("new"); }).fault() == FileFault::io;
    EXPECT_EQ(failed, k < 3);
    EXPECT_EQ(read_file(folder / "m/1.ours"), failed ? "old" : "new");
    EXPECT_EQ(names_in(folder.path()), std::vector<std::string>{"m"});
  }
}

TEST(AtomicFolder, WhatAppearedMeanwhileIsNotReplaced) {
  const TemporaryFolder folder;
  AtomicFolder out(folder / "m", may_replace);
  write_file(out.path() + "/1.ours", "new");
  {
    AtomicFolder other(folder / "m", may_replace);
    write_file(other.path() + "/1.ours", "theirs");
    other.commit();
  }
  EXPECT_EQ(error_of([&] { out.commit(); }).code(), ErrorCode::invalid_argument);
  EXPECT_EQ(read_file(folder / "m/1.ours"), "theirs");
}

TEST(FileReader, WhatMayNotBeReadIsAFaultOfTheSystem) {
  const TemporaryFolder folder;
  write_file(folder / "f", "x");
  FaultyFileSystem faulty(0, {.name = "EACCES", .error = EACCES});
  const ScopedFileSystem scope(faulty);
  const Error error = error_of([&] { read_file(folder / "f"); });
  EXPECT_EQ(error.code(), ErrorCode::internal);
  EXPECT_EQ(error.fault(), FileFault::io);
}

TEST(FileReader, EveryFaultIsAnErrorOrTheWholeText) {
  const TemporaryFolder folder;
  const std::string text(100'000, 't');
  write_file(folder / "f", text);
  std::string got;
  for_every_fault([&] { got = read_file(folder / "f"); },
                  [&](bool succeeded) { EXPECT_TRUE(!succeeded || got == text); });
}

TEST(FileReader, WhatIsNoFileIsRefused) {
  const TemporaryFolder folder;
  EXPECT_EQ(error_of([&] { read_file(folder / "absent"); }).code(), ErrorCode::not_found);
  EXPECT_EQ(error_of([&] { read_file(folder.path()); }).code(), ErrorCode::invalid_argument);
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_EQ(error_of([&] { read_file(folder / "pipe"); }).code(), ErrorCode::invalid_argument);  // and does not wait
  EXPECT_EQ(error_of([&] { MappedFile::open(folder / "pipe"); }).code(), ErrorCode::invalid_argument);
  write_file(folder / "f", "12345");
  EXPECT_EQ(error_of([&] { read_file(folder / "f", 4); }).fault(), FileFault::limit);
  std::byte to[4];
  EXPECT_EQ(error_of([&] { FileReader(folder / "f").read_at(2, to); }).fault(), FileFault::truncated);
  EXPECT_EQ(error_of([&] { FileReader(folder / "f").read_at(UINT64_MAX, to); }).fault(), FileFault::truncated);
}

TEST(MappedFile, EveryFaultIsAnErrorOrTheWholeFile) {
  const TemporaryFolder folder;
  write_file(folder / "f", "contents");
  for_every_fault(
      [&] {
        const auto map = MappedFile::open(folder / "f");
        EXPECT_EQ(map->bytes().size(), 8u);
        EXPECT_EQ(map->bytes()[7], std::byte{'s'});
        map->check();
      },
      [](bool) {});
  EXPECT_EQ(MappedFile::open((write_file(folder / "empty", ""), folder / "empty"))->bytes().size(), 0u);
}

uint64_t sum_of(std::span<const std::byte> bytes) {
  uint64_t sum = 0;
  for (const std::byte b : bytes) sum += static_cast<uint64_t>(b);
  return sum;
}

TEST(MappedFile, ReleasedPagesAreReadAgain) {
  const TemporaryFolder folder;
  const std::string contents(100'000, 'x');
  write_file(folder / "f", contents);
  const auto map = MappedFile::open(folder / "f");
  release_pages(map->bytes().subspan(10, 90'000));
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(map->bytes().data()), map->bytes().size()), contents);
  std::string own(100'000, 'y');  // not mapped from a file: stays as it is
  release_pages(std::as_bytes(std::span(own.data(), own.size())));
  EXPECT_EQ(own, std::string(100'000, 'y'));
}

TEST(MappedFile, TruncationByAnotherThreadIsAnErrorNotACrash) {
  const TemporaryFolder folder;
  constexpr size_t kBytes = 1 << 22;
  write_file(folder / "a", std::string(kBytes, '\1'));
  write_file(folder / "b", std::string(kBytes, '\1'));
  const auto a = MappedFile::open(folder / "a"), b = MappedFile::open(folder / "b");
  std::thread cutter([&] { std::filesystem::resize_file(folder / "a", 10'000); });
  for (int i = 0; i < 20; ++i) EXPECT_LE(sum_of(a->bytes()), kBytes);
  cutter.join();
  EXPECT_LE(sum_of(a->bytes()), 12'288u);  // zeros beyond the page that the new end lies in
  EXPECT_EQ(error_of([&] { a->check(); }).fault(), FileFault::truncated);
  EXPECT_EQ(sum_of(b->bytes()), kBytes);
  b->check();
}

TEST(AtomicFile, ALinkStaysAndWhatItPointsToIsReplaced) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "sub");
  write_file(folder / "sub/real", "old");
  std::filesystem::create_symlink("sub/real", folder / "link");
  std::filesystem::create_symlink("link", folder / "again");
  std::filesystem::create_symlink("sub/new", folder / "dangling");
  write_file(folder / "again", "new");
  write_file(folder / "dangling", "made");
  EXPECT_EQ(read_file(folder / "sub/real"), "new");
  EXPECT_EQ(read_file(folder / "sub/new"), "made");
  for (const char* name : {"link", "again", "dangling"})
    EXPECT_TRUE(std::filesystem::is_symlink(folder / name)) << name;
  EXPECT_EQ(names_in(folder / "sub"), (std::vector<std::string>{"new", "real"}));
}

TEST(AtomicFile, WhatIsNoRegularFileIsNotReplaced) {
  const TemporaryFolder folder;
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  std::filesystem::create_symlink("pipe", folder / "link");
  std::filesystem::create_directory(folder / "sub");
  std::filesystem::create_symlink("loop", folder / "loop");
  for (const char* name : {"pipe", "link", "sub", "loop"}) {
    const Error error = error_of([&] { AtomicFile(folder / name); });
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument) << name << ": " << error.what();
  }
  EXPECT_EQ(error_of([] { AtomicFile("/dev/null"); }).code(), ErrorCode::invalid_argument);
  EXPECT_TRUE(std::filesystem::is_fifo(folder / "pipe"));
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/null"));
  EXPECT_EQ(names_in(folder.path()), (std::vector<std::string>{"link", "loop", "pipe", "sub"}));
}

TEST(AtomicFolder, ALinkedFolderIsReplacedBehindItsLink) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "real");
  std::filesystem::create_symlink("real", folder / "link");
  AtomicFolder out(folder / "link");
  write_file(out.path() + "/f", "x");
  out.commit();
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "link"));
  EXPECT_EQ(read_file(folder / "real/f"), "x");
}

TEST(ReadFile, PathsThatCannotBeReadAreTheCallersMistake) {
  const TemporaryFolder folder;
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  std::filesystem::create_symlink("loop", folder / "loop");
  for (const std::string path : {folder / "pipe", folder / "loop", std::string("/dev/zero"), folder.path()}) {
    const Error error = error_of([&] { read_file(path); });
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument) << error.what();
    EXPECT_EQ(std::string(error.what()).find("Illegal seek"), std::string::npos) << error.what();
  }
}

TEST(MappedFile, TruncationWithinAPageIsNoticedToo) {
  const TemporaryFolder folder;
  write_file(folder / "f", std::string(100, 'x'));
  const auto map = MappedFile::open(folder / "f");
  std::filesystem::resize_file(folder / "f", 50);
  EXPECT_EQ(error_of([&] { map->check(); }).fault(), FileFault::truncated);
}

TEST(MappedFile, ManyMapsInManyThreadsKeepTheirOwnFate) {
  const TemporaryFolder folder;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      const std::string path = folder / std::to_string(t);
      for (int i = 0; i < 25; ++i) {
        write_file(path, std::string(40'000, '\1'));
        const auto map = MappedFile::open(path);
        if (i % 2 == 0) std::filesystem::resize_file(path, 0);
        const uint64_t sum = sum_of(map->bytes());
        EXPECT_EQ(sum, i % 2 == 0 ? 0u : 40'000u);
        EXPECT_EQ(error_of([&] { map->check(); }).fault() == FileFault::truncated, i % 2 == 0);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(MappedFile, WritingFromATruncatedMapDoesNotFailInTheKernel) {
  const TemporaryFolder folder;
  write_file(folder / "f", std::string(200'000, 'x'));
  const auto map = MappedFile::open(folder / "f");
  std::filesystem::resize_file(folder / "f", 10);
  AtomicFile copy(folder / "copy");
  copy.write(map->bytes());
  EXPECT_EQ(error_of([&] { map->check(); }).fault(), FileFault::truncated);
}

TEST(PlainName, PathsAreNotNames) {
  for (const char* name : {"", ".", "..", "a/b", "/a", "a\\b"})
    EXPECT_THROW(check_plain_name(name, "x"), Error) << name;
  EXPECT_THROW(check_plain_name(std::string_view("a\0b", 3), "x"), Error);
  EXPECT_THROW(check_plain_name(std::string(300, 'n'), "x"), Error);
  check_plain_name("model-00001-of-00002.safetensors", "x");
  check_plain_name("...odd but plain", "x");
}

}  // namespace
}  // namespace caravan
