// Looks at a path once for all formats.
#include "caravan/formats/format.h"

#include <algorithm>
#include <filesystem>

#include "caravan/base/error.h"
#include "caravan/base/file.h"

namespace caravan::formats {

namespace {

// "org/name", where there is no folder "org" and the name has no ending of a checkpoint's file.
bool is_hub_name(const std::string& path) {
  const size_t slash = path.find('/');
  if (slash == std::string::npos || slash == 0 || slash + 1 == path.size() || path.find('/', slash + 1) != path.npos)
    return false;
  const auto is_allowed = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '.' || c == '_' ||
           c == '-' || c == '/';
  };
  constexpr std::string_view kEndings[] = {".gguf",    ".safetensors", ".bin",   ".pth",  ".pt",
                                           ".msgpack", ".json",        ".model", ".jinja"};
  return path.front() != '.' && std::ranges::all_of(path, is_allowed) && !is_folder(path.substr(0, slash)) &&
         std::ranges::none_of(kEndings, [&](std::string_view ending) { return path.ends_with(ending); });
}

}  // namespace

Location Location::of(const std::string& path) {
  check(!is_hub_name(path) || file_exists(path) || caravan::is_folder(path), ErrorCode::not_found,
        "{}: no such file or folder; models are not downloaded by their name on the Hugging Face hub: give a local "
        "folder ('hf download {} --local-dir FOLDER' makes one)",
        path, path);
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
