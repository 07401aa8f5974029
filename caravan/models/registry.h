// The list of model families. A family is data: names, how to build it from a config.json, a tiny config for the tests.
//
// Adding one touches its file pair and one line of families.inc. Programs that use the library add their own at run
// time:
//
//   register_family({.name = "my-llama",
//                    .make = [](const Json& config, std::string_view where) { ... },
//                    .tiny_config = [] { ... }});
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "caravan/base/json.h"
#include "caravan/models/decoder.h"

namespace caravan::models {

struct Family {
  std::string name;                                 // config.json's model_type
  std::vector<std::string> aliases;                 // other model_types with the same tensors and config keys
  std::string class_prefix;                         // transformers' class names start so: "Llama" in "LlamaForCausalLM"
  std::string question_answering_prefix = "model";  // the backbone's key prefix under the question answering head
  // Checks the config (corrupt_file with fault range or type for values that make no sense) and builds the backbone.
  // `where`: what errors call the config, "llama-2-7b/config.json".
  std::function<std::unique_ptr<Decoder>(const Json& config, std::string_view where)> make;
  std::function<Json()> tiny_config;
};

const std::vector<const Family*>& families();
const Family* search_family(std::string_view model_type);  // nullptr where there is none
const Family& find_family(std::string_view model_type);    // unsupported, with the list of known ones
void register_family(Family family);                       // replaces one of the same name

}  // namespace caravan::models
