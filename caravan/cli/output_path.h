// What stands in the place of a command's results, looked at before anything is computed.
//
//   check_output_file("forward", options.out, options.overwrite);     // out.safetensors
//   check_output("convert", options.out, options.overwrite);          // a file or a folder
//
// Both throw invalid_argument where something of that name is there and --overwrite was not given.
#pragma once

#include <string>
#include <string_view>

namespace caravan::cli {

void check_output(std::string_view command, const std::string& path, bool overwrite);

// Also where a file cannot go whatever is given: over a folder, a pipe, a device.
void check_output_file(std::string_view command, const std::string& path, bool overwrite);

}  // namespace caravan::cli
