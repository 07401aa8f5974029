// Mutated files of torch.save: what torch and this reader both read must be equal.
#include <fmt/ranges.h>
#include <zlib.h>

#include <algorithm>
#include <map>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/formats/torch_file.h"
#include "differential.h"

namespace caravan::differential {
namespace {

using namespace formats;

// One line a tensor: name|dtype|2,3|CRC32 of its bytes.
std::string listing(const std::string& path) {
  const auto file = TorchFile::open(path);
  std::vector<std::string> lines;
  for (const TorchTensor& tensor : file->tensors()) {
    const TensorBytes bytes = file->read(tensor);
    const auto crc = crc32_z(0, reinterpret_cast<const Bytef*>(bytes.bytes.data()), bytes.bytes.size());
    lines.push_back(fmt::format("{}|{}|{}|{}\n", tensor.info.name, to_string(tensor.info.dtype),
                                fmt::join(tensor.info.shape, ","), bytes.bytes.empty() ? 0 : crc));
  }
  std::sort(lines.begin(), lines.end());
  return fmt::format("{}", fmt::join(lines, ""));
}

}  // namespace

int compare_torch(const std::string& folder) {
  std::map<std::string, int> counts;
  for (int i = 0;; ++i) {
    const std::string path = fmt::format("{}/{}", folder, i);
    if (!file_exists(path + ".bin")) break;
    const bool accepted = file_exists(path + ".txt");
    try {
      const std::string got = listing(path + ".bin");
      if (!accepted) {
        ++counts["read here only"];
      } else if (const std::string expected = read_file(path + ".txt"); got == expected) {
        ++counts["both read, equal"];
      } else {
        ++counts["both read, DIFFERENT"];
        fmt::print("{}\nhere:\n{}torch:\n{}", path, got, expected);
      }
    } catch (const Error& e) {
      ++counts[accepted ? fmt::format("read by torch only: {}", to_string(e.fault())) : "both refuse"];
    }
  }
  for (const auto& [outcome, count] : counts) fmt::print("{:>8} {}\n", count, outcome);
  return counts.contains("both read, DIFFERENT") ? 1 : 0;
}

}  // namespace caravan::differential
