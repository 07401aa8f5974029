// `caravan items tokenizer`: the tokenizer of a LLaMA-Rec model from text of item codes.
#include <fmt/format.h>

#include <optional>
#include <ranges>
#include <set>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/base/json.h"
#include "caravan/base/utf8.h"
#include "caravan/cli/input.h"
#include "caravan/cli/items.h"
#include "caravan/cli/log.h"
#include "caravan/cli/number_options.h"
#include "caravan/cli/output.h"
#include "caravan/codes/code_tokenizer.h"
#include "caravan/items/codes.h"

namespace caravan::cli {
namespace {

struct Options {
  std::vector<std::string> files;
  std::string out;
  codes::CodeTokenizerOptions tokenizer;
  bool overwrite = false, json = false;
};

// {"text": "<a_101> <b_42>"}: a data set's row. Empty where it has no such key.
std::optional<std::string> text_of_row(std::string_view line, const std::string& where) {
  const Json row = parse_json(line, where);
  check_file(row.is_object(), FileFault::type, where,
             "a row must be an object such as {{\"text\": \"<a_101> <b_42>\"}}");
  const Json* text = find_member(row, "text");
  if (text == nullptr || !text->is_string()) return std::nullopt;
  return text->get<std::string>();
}

std::vector<std::string> read_texts(const std::vector<std::string>& files) {
  std::vector<std::string> texts;
  size_t skipped = 0;
  for (const std::string& file : files) {
    const bool rows = file.ends_with(".jsonl") || file.ends_with(".json");
    std::vector<std::string> batch;
    for (LineReader reader(file); reader.next_batch(batch, 4 << 20);) {
      if (reader.first_line() == 1) drop_byte_order_mark(batch[0]);
      for (size_t i = 0; i < batch.size(); ++i) {
        if (batch[i].ends_with('\r')) batch[i].pop_back();
        const std::string where = fmt::format("{}:{}", reader.name(), reader.first_line() + i);
        check_file(find_invalid_utf8(batch[i]) == std::string_view::npos, FileFault::utf8, where, "this is not UTF-8");
        if (!rows) {
          texts.push_back(std::move(batch[i]));
        } else if (batch[i].find_first_not_of(" \t") != std::string::npos) {
          auto text = text_of_row(batch[i], where);
          skipped += !text;
          if (text) texts.push_back(*std::move(text));
        }
      }
    }
  }
  if (skipped > 0)
    log_info("warning: {} {} no \"text\" and {} left out", skipped, skipped == 1 ? "row has" : "rows have",
             skipped == 1 ? "is" : "are");
  return texts;
}

// Words that are no codes are kept, as LLaMA-Rec keeps them, but may well be a slip.
void warn_of_other_words(const std::vector<std::string>& texts) {
  std::set<std::string_view> others;
  for (const std::string& text : texts) {
    for (const auto part : std::views::split(text, ' ')) {
      const std::string_view word(part.begin(), part.end());
      if (!word.empty() && !items::parse_code_token(word)) others.insert(word);
    }
  }
  if (others.empty()) return;
  log_info("warning: {} of the words {} no item code such as <a_101>: '{}'{}; single spaces separate words",
           others.size(), others.size() == 1 ? "is" : "are", others.begin()->substr(0, 40),
           others.size() == 1 ? "" : " ...");
}

void run(const Options& options) {
  if (!options.overwrite) check_not_there("items tokenizer", paths_in(options.out, kTokenizerFiles));
  const std::vector<std::string> texts = read_texts(options.files);
  const codes::CodeTokenizer made = codes::create_rq_code_tokenizer(texts, options.tokenizer);
  warn_of_other_words(texts);
  make_output_folder(options.out);
  codes::write_code_tokenizer(made, options.out);
  if (options.json) return print_json({{"path", options.out}, {"vocab_size", made.tokenizer.vocab_size()}});
  print(fmt::format("{}: tokenizer.json with {} words\n", options.out, made.tokenizer.vocab_size()));
}

}  // namespace

Run setup_items_tokenizer(CLI::App& app, const Settings&) {
  auto options = std::make_shared<Options>();
  codes::CodeTokenizerOptions& t = options->tokenizer;
  app.add_option("-f,--file", options->files,
                 "text of code words, a sequence a line: <a_101> <b_42> ...; any depth ('-': stdin); .json "
                 "and .jsonl: rows {\"text\": ...}")
      ->required()
      ->check(filled());
  app.add_option("-o,--output", options->out,
                 "folder for tokenizer.json and its two companions; made where it is not there")
      ->required()
      ->check(filled());
  app.add_option("--max-length", t.max_length, "longest sequence (default: 512)")->check(whole(1));
  app.add_option("--pad-token", t.pad, "padding (default: [PAD]; an empty one: none)");
  app.add_option("--unk-token", t.unknown, "codes that the text does not have (default: [UNK])");
  app.add_option("--bos-token", t.bos, "begin of a sequence (default: [BOS])");
  app.add_option("--eos-token", t.eos, "end of a sequence (default: [EOS])");
  app.add_option("--special-tokens", t.more_special, "further special tokens, separated by commas")->delimiter(',');
  app.add_flag("--add-bos", t.add_bos, "put the begin token before every encoded text");
  app.add_flag("--add-eos", t.add_eos, "put the end token behind every encoded text");
  app.add_flag("--whole-codebooks", t.whole_codebooks, "words for all codes below the largest of each level");
  app.add_flag("--overwrite", options->overwrite, "replace a tokenizer that is there");
  app.add_flag("--json", options->json, "print one JSON object");
  return [options] { run(*options); };
}

}  // namespace caravan::cli
