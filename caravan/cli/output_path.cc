#include "caravan/cli/output_path.h"

#include "caravan/base/error.h"
#include "caravan/base/file.h"

namespace caravan::cli {

void check_output(std::string_view command, const std::string& path, bool overwrite) {
  check(overwrite || (!file_exists(path) && !is_folder(path)), ErrorCode::invalid_argument,
        "{}: '{}' exists already; choose another name, or --overwrite to replace it", command, path);
}

void check_output_file(std::string_view command, const std::string& path, bool overwrite) {
  file_target(path);
  check_output(command, path, overwrite);
}

}  // namespace caravan::cli
