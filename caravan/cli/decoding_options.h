// The decoding options of `generate` and `chat`: one list, under transformers' names (--max-new-tokens sets
// max_new_tokens). Values go to GenerationConfig as JSON, which checks them.
//
//   DecodingOptions options;  options.add_to(app);
//   GenerationConfig config = options.config(checkpoint);      // generation_config.json, then the command line
//   options.check_use(config, checkpoint);                     // nothing that was given is ignored
//
// What generation_config.json holds may be of no use to the strategy that is chosen, as in transformers; what the
// command line says may not.
#pragma once

#include <map>
#include <memory>
#include <optional>
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
  void add_draft_to(CLI::App& app);  // --draft and what a draft model reads

  const std::string& draft() const { return draft_; }  // empty: none

  // What the command line says, as GenerationConfig::update takes it. Throws invalid_argument where it contradicts
  // itself.
  Json given() const;

  // generation_config.json (or the special tokens of config.json), then the command line. A sampling option such as
  // --temperature or --top-p turns sampling on where nothing says otherwise; temperature 0 means greedy.
  generate::GenerationConfig config(const formats::Checkpoint& checkpoint) const;

  // Validates `config`, which is to be run, and what was given beside it: options that nothing would read, minima above
  // their maxima, token ids beyond the vocabulary. `prompt_tokens`: of the shortest prompt, where it is known.
  void check_use(const generate::GenerationConfig& config, const formats::Checkpoint& checkpoint,
                 std::optional<int64_t> prompt_tokens = std::nullopt) const;

  // Option name -> default, as the help shows it.
  static std::vector<std::pair<std::string, std::string>> defaults();

 private:
  void add(CLI::App& app, const std::string& key, const std::map<std::string, std::string>& shown);
  bool is_at_limit() const;  // --temperature 0, the limit of sampling, where other sampling options change nothing
  std::map<std::string, std::string> values_;  // option name -> text, for the options given
  std::string draft_;
  bool greedy_ = false;
};

// Another seed every time, for who gives none. Below 2^32, so that every reader of JSON keeps it.
void choose_seed(generate::GenerationConfig& config);

}  // namespace caravan::cli
