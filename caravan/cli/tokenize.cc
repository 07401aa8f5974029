// `caravan tokenize`: token ids of every input line, as the model's own tokenizer gives them.
#include <fmt/format.h>

#include <charconv>
#include <optional>

#include "caravan/base/error.h"
#include "caravan/cli/command.h"
#include "caravan/cli/output.h"
#include "caravan/cli/parallel_lines.h"
#include "caravan/cli/tokenizer_source.h"

namespace caravan::cli {
namespace {

struct Options {
  std::string model, file = "-";
  std::vector<std::string> texts;
  bool json = false, jsonl = false, no_special = false, no_parse_special = false, details = false;
};

struct Input {
  std::string text;
  std::optional<std::string> pair;
};

// A line of --jsonl: {"text": "...", "text_pair": "..."}; a bare string is taken as text.
Input parse_line(std::string_view line, const std::string& where) {
  const Json json = parse_json(line, where);
  if (json.is_string()) return {json.get<std::string>(), std::nullopt};
  check(json.is_object(), ErrorCode::invalid_argument, "{}: expected {{\"text\": \"...\"}}", where);
  Input input{get_string(json, "text", where), std::nullopt};
  if (find_member(json, "text_pair") != nullptr) input.pair = get_string(json, "text_pair", where);
  return input;
}

template <class T, class Append>
void append_list(std::string& out, std::string_view key, const std::vector<T>& values, Append append) {
  fmt::format_to(std::back_inserter(out), "{}\"{}\": [", out.back() == '{' ? "" : ", ", key);
  bool first = true;
  for (const T& value : values) {
    if (!first) out += ", ";
    first = false;
    append(value);
  }
  out += ']';
}

void append_json(std::string& out, const text::Encoding& e, bool with_types, bool details) {
  const auto number = [&](auto value) { fmt::format_to(std::back_inserter(out), "{}", value); };
  out += '{';
  append_list(out, "ids", e.ids, number);
  append_list(out, "tokens", e.tokens, [&](const std::string& token) { append_json_string(out, token); });
  append_list(out, "offsets", e.offsets,
              [&](const auto& span) { fmt::format_to(std::back_inserter(out), "[{}, {}]", span.first, span.second); });
  if (with_types || details) append_list(out, "type_ids", e.type_ids, number);
  if (details) {
    append_list(out, "special_tokens_mask", e.special_tokens_mask, number);
    append_list(out, "attention_mask", e.attention_mask, number);
    append_list(out, "word_ids", e.word_ids, [&](int32_t id) { id < 0 ? void(out += "null") : number(id); });
  }
  out += "}\n";
}

void append_ids(std::string& out, const std::vector<int32_t>& ids) {
  char digits[16];
  for (size_t i = 0; i < ids.size(); ++i) {
    if (i > 0) out += ' ';
    out.append(digits, std::to_chars(digits, digits + sizeof digits, ids[i]).ptr);
  }
  out += '\n';
}

void tokenize_one(const text::Tokenizer& tokenizer, const Options& options, const Input& input, std::string& out) {
  const text::EncodeOptions encode{.add_special_tokens = !options.no_special,
                                   .details = options.json || options.details,
                                   .parse_special = !options.no_parse_special};
  const text::Encoding e = input.pair.has_value() ? tokenizer.encode_pair(input.text, *input.pair, encode)
                                                  : tokenizer.encode(input.text, encode);
  encode.details ? append_json(out, e, input.pair.has_value(), options.details) : append_ids(out, e.ids);
}

void run(const Options& options, const Settings& settings) {
  const text::Tokenizer tokenizer = load_tokenizer(options.model);
  if (!options.texts.empty()) {
    std::string out;
    for (const std::string& text : options.texts) tokenize_one(tokenizer, options, {text, std::nullopt}, out);
    return print(out);
  }
  const std::string name = options.file == "-" ? "standard input" : options.file;
  for_each_line(
      {.path = options.file, .threads = settings.threads, .progress = settings.verbosity < 0 ? "" : "tokenizing"},
      [&](std::string_view line, size_t number, std::string& out) {
        Input input = options.jsonl ? parse_line(line, fmt::format("{} line {}", name, number))
                                    : Input{std::string(line), std::nullopt};
        tokenize_one(tokenizer, options, input, out);
      });
}

}  // namespace

Run setup_tokenize(CLI::App& app, const Settings& settings) {
  auto options = std::make_shared<Options>();
  add_model_argument(app, options->model, "folder, tokenizer.json, .model or .gguf");
  auto* file = app.add_option("-f,--file", options->file, "input, one text a line (default: '-', stdin)");
  auto* text = app.add_option("-p,--text,--prompt", options->texts, "the text itself, instead of a file (repeatable)");
  text->allow_extra_args(false)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)->excludes(file);
  app.add_flag("--json", options->json, "one object a line: ids, tokens, offsets (in characters)");
  app.add_flag("--jsonl", options->jsonl, "input lines are {\"text\": ...}, optionally with \"text_pair\"")
      ->excludes(text);
  app.add_flag("--no-special", options->no_special, "add no special tokens (<s>, [CLS] ...)");
  app.add_flag("--no-parse-special", options->no_parse_special, "special tokens written in the text are plain text");
  app.add_flag("--details", options->details, "--json with type ids, masks and word ids, too");
  app.footer(
      "Prints the ids of each line, separated by spaces; 'caravan detokenize' reads them back.\n\nExamples:\n"
      "  echo 'Hello, world!' | caravan tokenize -m model.gguf\n"
      "  caravan tokenize -m tokenizer.json -f corpus.txt --json --no-special");
  return [options, &settings] { run(*options, settings); };
}

}  // namespace caravan::cli
