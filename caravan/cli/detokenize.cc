// `caravan detokenize`: the text of every line of token ids.
#include <fmt/format.h>

#include "caravan/base/error.h"
#include "caravan/cli/command.h"
#include "caravan/cli/id_list.h"
#include "caravan/cli/output.h"
#include "caravan/cli/parallel_lines.h"
#include "caravan/cli/tokenizer_source.h"

namespace caravan::cli {
namespace {

struct Options {
  std::string model, file = "-";
  std::vector<std::string> ids;
  bool json = false, jsonl = false, no_special = false;
};

// "1 2 3", "1,2,3", "[1, 2, 3]" or an object with "ids", as `tokenize --json` prints it.
std::vector<int32_t> ids_of_line(std::string_view line, const std::string& where) {
  if (!line.starts_with("{")) return parse_ids(line, where);
  const Json json = parse_json(line, where);
  const Json* ids = find_member(json, "ids");
  check(ids != nullptr, ErrorCode::invalid_argument, "{}: the object has no \"ids\"", where);
  return parse_ids(dump_json(*ids, -1), where);
}

// Ids without a token would leave no trace in the text.
void check_ids(const std::vector<int32_t>& ids, const text::Tokenizer& tokenizer, const std::string& where) {
  const auto size = static_cast<int64_t>(tokenizer.vocab_size());
  for (const int32_t id : ids) {
    check(id < size || tokenizer.id_to_token(id).has_value(), ErrorCode::invalid_argument,
          "{}: token id {} is not in the vocabulary of {} tokens", where, id, size);
  }
}

void run(const Options& options, const Settings& settings) {
  const text::Tokenizer tokenizer = load_tokenizer(options.model);
  const auto append = [&](const std::vector<int32_t>& ids, const std::string& where, std::string& out) {
    check_ids(ids, tokenizer, where);
    const std::string text = tokenizer.decode(ids, options.no_special);
    out += options.json ? dump_json({{"text", text}}, -1) : text;
    out += '\n';
  };
  if (!options.ids.empty()) {
    std::string out;
    for (const std::string& ids : options.ids) append(parse_ids(ids, "--ids"), "--ids", out);
    return print(out);
  }
  const std::string name = options.file == "-" ? "standard input" : options.file;
  for_each_line(
      {.path = options.file, .threads = settings.threads, .progress = settings.verbosity < 0 ? "" : "detokenizing"},
      [&](std::string_view line, size_t number, std::string& out) {
        const std::string where = fmt::format("{} line {}", name, number);
        append(ids_of_line(line, where), where, out);
      });
}

}  // namespace

Run setup_detokenize(CLI::App& app, const Settings& settings) {
  auto options = std::make_shared<Options>();
  add_model_argument(app, options->model, "folder, tokenizer.json, .model or .gguf");
  auto* file = app.add_option("-f,--file", options->file, "input, the ids of one text a line (default: '-', stdin)");
  app.add_option("--ids", options->ids, "the ids themselves, as 1,2,3 (repeatable)")
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->excludes(file);
  app.add_flag("--json", options->json, "one object a line: text");
  app.add_flag("--jsonl", options->jsonl,
               "accepted as for tokenize: lines that are objects with \"ids\" are always read");
  app.add_flag("--no-special,--skip-special-tokens", options->no_special, "leave special tokens out of the text");
  app.footer(
      "A line is '1 2 3', '1,2,3', '[1, 2, 3]' or an object with \"ids\", as 'tokenize --json' prints.\n\nExample:\n"
      "  echo 'Hello' | caravan tokenize -m model.gguf | caravan detokenize -m model.gguf --no-special");
  return [options, &settings] { run(*options, settings); };
}

}  // namespace caravan::cli
