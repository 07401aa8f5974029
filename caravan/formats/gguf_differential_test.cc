// The reader's verdicts on a folder of files, for scripts/differential_gguf.py: skipped where that script is not behind
// it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/formats/gguf_parse.h"

namespace caravan::formats {
namespace {

// "ok", then a line for each tensor: name, storage type, shape, place of its bytes; or the fault.
std::string verdict(const std::string& path) {
  const auto map = MappedFile::open(path);
  try {
    const GgufPart part = parse_gguf(map->bytes(), path);
    std::string text = fmt::format("ok {} {}", part.fields.size(), part.tensors.size());
    for (const GgufTensor& t : part.tensors) {
      const int64_t at = t.bytes.empty() ? 0 : t.bytes.data() - map->bytes().data();
      text += fmt::format("\t{}|{}|{}|{}|{}", t.name, gguf_tensor_type(t.dtype), fmt::join(t.shape, ","), at,
                          t.bytes.size());
    }
    return text;
  } catch (const Error& e) {
    return std::string(to_string(e.fault()));
  }
}

TEST(GgufDifferential, WritesItsVerdictOnEveryFileOfAFolder) {
  const char* folder = std::getenv("CARAVAN_GGUF_DIFFERENTIAL");
  if (folder == nullptr) GTEST_SKIP() << "run by scripts/differential_gguf.py";
  std::vector<std::string> names = list_folder(folder).value();
  std::erase_if(names, [](const std::string& name) { return !name.ends_with(".gguf"); });
  std::string lines;
  for (const std::string& name : names) lines += name + "\t" + verdict(std::string(folder) + "/" + name) + "\n";
  write_file(std::string(folder) + "/verdicts.txt", lines);
  EXPECT_FALSE(names.empty());
}

}  // namespace
}  // namespace caravan::formats
