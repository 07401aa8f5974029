// What may not happen to torch and Meta files: thousands of mutations of good files that give anything but success or
// caravan::Error, and failing system calls that leave half a file, lose an old one, or are taken for success.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <random>

#include "caravan/base/error.h"
#include "caravan/base/faulty_file_system.h"
#include "caravan/base/file.h"
#include "caravan/base/temporary_folder.h"
#include "caravan/formats/broken_archive.h"
#include "caravan/formats/torch_checkpoint.h"

namespace caravan::formats {
namespace {

using namespace broken;

const std::string kGolden = CARAVAN_SOURCE_DIR "/tests/golden/";

// Every tensor's bytes, one after the other.
std::vector<std::byte> contents(const std::string& path) {
  const auto checkpoint = Checkpoint::open(path);
  std::vector<std::byte> all;
  for (const TensorInfo& tensor : checkpoint->tensors()) {
    const TensorBytes bytes = checkpoint->read(tensor.name);
    EXPECT_EQ(static_cast<int64_t>(bytes.bytes.size()), tensor_bytes(tensor.dtype, tensor.shape, path));
    all.insert(all.end(), bytes.bytes.begin(), bytes.bytes.end());
  }
  checkpoint->check();
  return all;
}

// One to three of: a changed bit, byte or run, a cut, an insertion, a part copied over another.
class Mutator {
 public:
  explicit Mutator(uint64_t seed) : random_(seed) {}

  std::string operator()(std::string bytes) {
    for (uint64_t n = 1 + below(3); n > 0; --n) mutate(bytes);
    return bytes;
  }

 private:
  uint64_t below(uint64_t n) { return random_() % n; }

  void mutate(std::string& bytes) {
    static constexpr unsigned char kEdges[] = {0, 1, 0x7f, 0x80, 0xff, '.', '(', 't', 'R', 'Q', 'q', 'h'};
    if (bytes.empty()) return;
    const uint64_t at = below(bytes.size()), n = std::min<uint64_t>(1 + below(8), bytes.size() - at);
    switch (below(7)) {
      case 0:
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8)));
        break;
      case 1:
        bytes[at] = static_cast<char>(kEdges[below(std::size(kEdges))]);
        break;
      case 2:
        bytes.replace(at, n, std::string(n, static_cast<char>(kEdges[below(5)])));
        break;
      case 3:
        bytes.erase(at, n);
        break;
      case 4:
        bytes.insert(at, std::string(n, static_cast<char>(kEdges[below(std::size(kEdges))])));
        break;
      case 5:
        bytes.insert(at, bytes.substr(below(bytes.size()), 1 + below(64)));
        break;
      default:
        bytes.resize(at);
    }
  }

  std::mt19937_64 random_;
};

struct Tally {
  int accepted = 0, refused = 0;
};

Tally run_mutations(const std::string& path, int n, const std::function<std::string(Mutator&)>& make) {
  const Unsynced fast;
  Mutator mutator(20'26);
  Tally tally;
  for (int i = 0; i < n; ++i) {
    write_file(path, make(mutator));
    try {
      (void)contents(path);
      ++tally.accepted;
    } catch (const Error&) {
      ++tally.refused;
    }
  }
  return tally;
}

TEST(TorchMutations, OfWholeFilesGiveSuccessOrAnError) {
  const TemporaryFolder folder;
  for (const char* name : {"no_checksums.bin", "zip.bin", "stream.bin", "stream_protocol4.pt"}) {
    const std::string original = read_file(kGolden + "torch_checkpoint/" + name);
    const Tally tally = run_mutations(folder / "x.bin", 600, [&](Mutator& mutate) { return mutate(original); });
    EXPECT_GT(tally.refused, 100) << name;
  }
}

// Behind valid checksums: the records of an archive are mutated, then the archive is made again.
TEST(TorchMutations, OfPicklesGiveSuccessOrAnError) {
  const TemporaryFolder folder;
  for (const char* name : {"zip.bin", "zip_protocol4.pth", "wrapped.pth", "module.pt"}) {
    std::vector<ArchiveRecord> records;
    size_t pickle = 0;
    const ZipReader zip(MappedFile::open(kGolden + "torch_checkpoint/" + name));
    for (const ZipEntry& entry : zip.entries()) {
      const auto bytes = zip.contents(entry).bytes;
      if (entry.name.ends_with("data.pkl")) pickle = records.size();
      records.push_back({entry.name, {reinterpret_cast<const char*>(bytes.data()), bytes.size()}});
    }
    const Tally tally = run_mutations(folder / "x.bin", 600, [&](Mutator& mutate) {
      auto copy = records;
      copy[pickle].data = mutate(copy[pickle].data);
      return Archive(copy).bytes;
    });
    EXPECT_GT(tally.refused, 100) << name;
    EXPECT_GT(tally.accepted, 0) << name;
  }
}

TEST(TorchFaults, AFailingCallNeverGivesOtherTensors) {
  const TemporaryFolder folder;
  for (const std::string name :
       {"torch_checkpoint/zip.bin", "torch_checkpoint/stream.bin", "meta_checkpoint/llama2_2"}) {
    const std::vector<std::byte> expected = contents(kGolden + name);
    std::vector<std::byte> got;
    for_every_fault([&] { got = contents(kGolden + name); },
                    [&](bool succeeded) { EXPECT_TRUE(!succeeded || got == expected); });
  }
}

void write_model(const std::string& path, std::byte value) {
  const std::vector<TensorInfo> plan = {{"a", DType::f32, {5000}}, {"b", DType::bf16, {300, 3}}, {"c", DType::f32, {}}};
  auto writer =
      CheckpointWriter::create(path, plan, {{"model_type", "llama"}},
                               {.format = "torch", .max_shard_bytes = 21'000, .side_files = {{"vocab.txt", "x"}}});
  for (const TensorInfo& tensor : plan) {
    const auto bytes = static_cast<size_t>(tensor_bytes(tensor.dtype, tensor.shape, "plan"));
    writer->write(tensor.name, std::vector<std::byte>(bytes, value));
  }
  writer->finish();
}

// All bytes equal: the value; anything else would be a mixture of two checkpoints.
std::byte value_of(const std::string& path) {
  const std::vector<std::byte> bytes = contents(path);
  EXPECT_EQ(bytes.size(), 21'804u);
  EXPECT_EQ(std::count(bytes.begin(), bytes.end(), bytes[0]), static_cast<std::ptrdiff_t>(bytes.size()));
  EXPECT_TRUE(file_exists(path + "/config.json") && file_exists(path + "/vocab.txt"));
  return bytes[0];
}

TEST(TorchFaults, AFailingCallLeavesTheOldFolderOrTheNewOne) {
  const TemporaryFolder folder;
  const std::string path = folder / "model";
  const Unsynced fast;
  write_model(path, std::byte{1});
  const int runs = for_every_fault([&] { write_model(path, std::byte{2}); },
                                   [&](bool succeeded) {
                                     const std::byte value = value_of(path);
                                     EXPECT_TRUE(!succeeded || value == std::byte{2});
                                     if (value == std::byte{2}) write_model(path, std::byte{1});
                                   });
  EXPECT_GT(runs, 50);
}

TEST(TorchFaults, ADeathAtAnyCallLeavesTheOldFolderOrTheNewOne) {
  const TemporaryFolder folder;
  const std::string path = folder / "model";
  const Unsynced fast;
  write_model(path, std::byte{1});
  for_every_death([&] { write_model(path, std::byte{2}); }, [&] { (void)value_of(path); });
}

}  // namespace
}  // namespace caravan::formats
