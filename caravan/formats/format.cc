// Looks at a path once for all formats.
#include "caravan/formats/format.h"

#include <algorithm>
#include <filesystem>

#include "caravan/base/error.h"
#include "caravan/base/file.h"

namespace caravan::formats {

Location Location::of(const std::string& path) {
  Location at{.path = path};
  if (std::optional<std::vector<std::string>> names = list_folder(path)) {
    at.is_folder = true;
    at.names = std::move(*names);
    return at;
  }
  const FileReader reader(path);
  at.head.resize(std::min<uint64_t>(reader.size(), 4096));
  reader.read_at(0, std::as_writable_bytes(std::span(at.head)));
  return at;
}

bool Location::has(std::string_view name) const { return std::binary_search(names.begin(), names.end(), name); }

const std::string* Location::only(std::string_view ending) const {
  const auto matches = [&](const std::string& name) { return name.ends_with(ending); };
  const auto first = std::find_if(names.begin(), names.end(), matches);
  if (first == names.end() || std::find_if(first + 1, names.end(), matches) != names.end()) return nullptr;
  return &*first;
}

std::string Location::in_folder(std::string_view name) const {
  const std::filesystem::path base(path);
  return ((is_folder ? base : base.parent_path()) / name).string();
}

}  // namespace caravan::formats
