// The text files beside the weights of a checkpoint: config.json, tokenizer.json, chat_template.jinja ...
//
//   const std::string text = formats::read_side_file("model/tokenizer.json");
#pragma once

#include <string>

namespace caravan::formats {

// The text of a file beside the weights, empty where there is none. A .json of no bytes is an error, not a missing
// file.
std::string read_side_file(const std::string& path);

}  // namespace caravan::formats
