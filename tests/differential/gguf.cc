// The GGUF reader's verdicts on a folder of mutated files.
#include <fmt/ranges.h>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/formats/gguf_parse.h"
#include "differential.h"

namespace caravan::differential {
namespace {

using namespace formats;

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

}  // namespace

int judge_gguf(const std::string& folder) {
  std::vector<std::string> names = list_folder(folder).value();
  std::erase_if(names, [](const std::string& name) { return !name.ends_with(".gguf"); });
  std::string lines;
  for (const std::string& name : names) lines += name + "\t" + verdict(folder + "/" + name) + "\n";
  write_file(folder + "/verdicts.txt", lines);
  return names.empty() ? 1 : 0;
}

}  // namespace caravan::differential
