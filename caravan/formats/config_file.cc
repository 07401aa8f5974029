// Reads config.json.
#include "caravan/formats/config_file.h"

#include "caravan/base/error.h"
#include "caravan/base/file.h"

namespace caravan::formats {

Json read_config(const Location& at) {
  const std::string path = at.in_folder("config.json");
  if (!file_exists(path)) return Json::object();
  constexpr uint64_t kMaxBytes = 64 << 20;  // id2label of a large classifier is the longest part seen
  Json config = parse_json(read_file(path, kMaxBytes), path);
  check_file(config.is_object(), FileFault::type, path, "config.json must hold an object");
  return config;
}

}  // namespace caravan::formats
