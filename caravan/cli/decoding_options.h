// The decoding options of `generate` and `chat`: one list, under transformers' names (--max-new-tokens sets
// max_new_tokens). Values go to GenerationConfig as JSON, which checks them.
//
//   DecodingOptions options;  options.add_to(app);
//   GenerationConfig config = options.config(model, checkpoint);      // generation_config.json, then the command line
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "caravan/cli/command.h"
#include "caravan/formats/checkpoint.h"
#include "caravan/generate/config.h"

namespace caravan::cli {

class DecodingOptions {
 public:
  // `shown`: option names whose default differs from GenerationConfig's, for the help.
  void add_to(CLI::App& app, const std::map<std::string, std::string>& shown = {});

  // What the command line says, as GenerationConfig::update takes it.
  Json given() const;

  // generation_config.json (or the special tokens of config.json), then the command line. A sampling option such as
  // --temperature or --top-p turns sampling on where nothing says otherwise; temperature 0 means greedy.
  generate::GenerationConfig config(const formats::Checkpoint& checkpoint) const;

  // Option name -> default, as the help shows it.
  static std::vector<std::pair<std::string, std::string>> defaults();

 private:
  std::map<std::string, std::string> values_;  // option name -> text, for the options given
};

// Another seed every time, for who gives none. Below 2^32, so that every reader of JSON keeps it.
void choose_seed(generate::GenerationConfig& config);

}  // namespace caravan::cli
