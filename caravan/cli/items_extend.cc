// `caravan items extend`: appends a dataset's item codes to a language model's vocabulary.
#include <fmt/format.h>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/cli/items.h"
#include "caravan/cli/number_options.h"
#include "caravan/cli/output.h"
#include "caravan/cli/output_path.h"
#include "caravan/codes/vocabulary_extension.h"
#include "caravan/items/lookup.h"
#include "caravan/items/prompt.h"

namespace caravan::cli {
namespace {

struct Options {
  std::string model, data, out;
  codes::ExtensionOptions extension;
  bool overwrite = false, json = false;
};

void run(Options options) {
  check_output("items extend", options.out, options.overwrite);
  check(!file_exists(options.out), ErrorCode::invalid_argument,
        "items extend: the model becomes a folder, and '{}' is a file", options.out);
  const auto checkpoint = formats::Checkpoint::open(options.model);
  const std::string codes_path = options.data + "/" + std::string(items::kCodesFile);
  check(file_exists(codes_path), ErrorCode::not_found, "{}: no item codes there; make them with caravan items build",
        options.data);
  const items::ItemCodes codes = items::read_item_set(options.data).codes;
  options.extension.side_files[std::string(items::kCodesFile)] = read_file(codes_path);
  options.extension.side_files[std::string(items::kItemsFile)] =
      read_file(options.data + "/" + std::string(items::kItemsFile));
  items::PromptFormat format;
  const Json* bos = find_member(checkpoint->config(), "bos_token_id");
  if (bos != nullptr && bos->is_number_integer()) format.bos = bos->get<int32_t>();
  items::write_prompt_format(format, options.extension.config);
  const codes::Extension done = codes::extend_vocabulary(*checkpoint, codes, options.out, options.extension);
  if (options.json) {
    return print_json({{"path", options.out},
                       {"first_id", done.first_id},
                       {"added", done.added},
                       {"rows", done.rows},
                       {"rows_before", done.old_rows}});
  }
  print(fmt::format("{}: {} code words from id {}; the embedding has {} rows (before: {})\n", options.out, done.added,
                    done.first_id, done.rows, done.old_rows));
}

}  // namespace

Run setup_items_extend(CLI::App& app, const Settings&) {
  auto options = std::make_shared<Options>();
  add_model_argument(app, options->model, "checkpoint folder of a language model");
  app.add_option("--data", options->data, "dataset folder with codes.json (caravan items build)")->required();
  app.add_option("-o,--output", options->out, "folder to make")->required()->check(filled());
  app.add_option("--spread", options->extension.spread,
                 "new rows: mean of the old ones + this x their deviation (default: 1)")
      ->check(real(0, 100));
  app.add_option("--seed", options->extension.seed, "of the new rows (default: 0)")->check(whole(0, INT64_MAX));
  app.add_flag("--overwrite", options->overwrite, "replace a model that is there");
  app.add_flag("--json", options->json, "print one JSON object");
  return [options] { run(*options); };
}

}  // namespace caravan::cli
