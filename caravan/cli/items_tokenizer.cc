// `caravan items tokenizer`: the tokenizer of a LLaMA-Rec model from text of item codes.
#include <fmt/format.h>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/cli/input.h"
#include "caravan/cli/items.h"
#include "caravan/cli/number_options.h"
#include "caravan/cli/output.h"
#include "caravan/codes/code_tokenizer.h"

namespace caravan::cli {
namespace {

struct Options {
  std::vector<std::string> files;
  std::string out;
  codes::CodeTokenizerOptions tokenizer;
  bool overwrite = false, json = false;
};

void run(const Options& options) {
  if (!options.overwrite) check_not_there("items tokenizer", paths_in(options.out, kTokenizerFiles));
  std::vector<std::string> lines;
  for (const std::string& file : options.files) {
    std::vector<std::string> batch;
    for (LineReader reader(file); reader.next_batch(batch, 4 << 20);) {
      if (reader.first_line() == 1) drop_byte_order_mark(batch[0]);
      for (std::string& line : batch) lines.push_back(std::move(line));
    }
  }
  const codes::CodeTokenizer made = codes::create_rq_code_tokenizer(lines, options.tokenizer);
  make_output_folder(options.out);
  codes::write_code_tokenizer(made, options.out);
  if (options.json) return print_json({{"path", options.out}, {"vocab_size", made.tokenizer.vocab_size()}});
  print(fmt::format("{}: tokenizer.json with {} words\n", options.out, made.tokenizer.vocab_size()));
}

}  // namespace

Run setup_items_tokenizer(CLI::App& app, const Settings&) {
  auto options = std::make_shared<Options>();
  codes::CodeTokenizerOptions& t = options->tokenizer;
  app.add_option("-f,--file", options->files, "text of code words: <a_101> <b_42> ...; any depth ('-': stdin)")
      ->required()
      ->check(filled());
  app.add_option("-o,--output", options->out,
                 "folder for tokenizer.json and its two companions; made where it is not there")
      ->required()
      ->check(filled());
  app.add_option("--max-length", t.max_length, "longest sequence (default: 512)")->check(whole(1));
  app.add_option("--pad-token", t.pad, "padding (default: <pad>; an empty one: none)");
  app.add_option("--unk-token", t.unknown, "codes that the text does not have (default: <unk>)");
  app.add_option("--bos-token", t.bos, "begin of a sequence (default: <s>)");
  app.add_option("--eos-token", t.eos, "end of a sequence (default: </s>)");
  app.add_option("--special-tokens", t.more_special, "further special tokens, separated by commas")->delimiter(',');
  app.add_flag("--add-bos", t.add_bos, "put the begin token before every encoded text");
  app.add_flag("--add-eos", t.add_eos, "put the end token behind every encoded text");
  app.add_flag("--whole-codebooks", t.whole_codebooks, "words for all codes below the largest of each level");
  app.add_flag("--overwrite", options->overwrite, "replace a tokenizer that is there");
  app.add_flag("--json", options->json, "print one JSON object");
  return [options] { run(*options); };
}

}  // namespace caravan::cli
