// `caravan items prepare`: an interaction log and item descriptions become a dataset folder (data/dataset.h).
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/cli/interrupt.h"
#include "caravan/cli/items.h"
#include "caravan/cli/log.h"
#include "caravan/cli/number_options.h"
#include "caravan/cli/output.h"
#include "caravan/cli/progress.h"
#include "caravan/data/prepare.h"
#include "caravan/data/report.h"
#include "caravan/data/time.h"

namespace caravan::cli {
namespace {

struct Options {
  std::vector<std::string> in, items;
  std::string out, duplicates = "keep", split = "leave-one-out", validation_from, test_from;
  std::optional<int64_t> k_core;
  data::ReadOptions read;
  data::DescriptionOptions about;
  data::PrepareOptions prepare;
  bool with_header = false, no_header = false, overwrite = false, json = false;
};

// A folder stands for the files in it whose names say what they are.
std::vector<std::string> files_of(const std::string& path) {
  if (!is_folder(path)) return {path};
  std::vector<std::string> files;
  const auto names = list_folder(path);
  for (const std::string& name : names.value()) {
    const auto ends = [&](std::string_view end) { return name.ends_with(end); };
    if (ends(".inter") || ends(".item") || ends(".inter.json") || ends(".item.json") || ends(".index.json"))
      files.push_back(path + "/" + name);
  }
  check(!files.empty(), ErrorCode::not_found,
        "{}: the folder holds no .inter, .item, .inter.json, .item.json or .index.json; name the files", path);
  return files;
}

void sort_out_files(Options& options) {
  std::vector<std::string> logs;
  for (const std::string& in : options.in) {
    for (const std::string& file : files_of(in)) {
      const bool about =
          options.read.format.empty() && options.read.columns.user.empty() && data::looks_like_descriptions(file);
      (about ? options.items : logs).push_back(file);
    }
  }
  options.in = logs;
  check(!logs.empty(), ErrorCode::invalid_argument,
        "items prepare: no interaction log among the files ({} describe items)", options.items.size());
}

std::optional<double> parse_cut(const std::string& option, const std::string& text) {
  if (text.empty()) return std::nullopt;
  const auto time = data::parse_time(text);
  check(time.has_value(), ErrorCode::invalid_argument,
        "{}: expected a time in the log's unit or a date such as 2014-07-22, got '{}'", option, text);
  return time;
}

void complete(Options& options) {
  check(!options.with_header || !options.no_header, ErrorCode::invalid_argument,
        "--header and --no-header exclude each other");
  if (options.with_header) options.read.header = data::Header::present;
  if (options.no_header) options.read.header = data::Header::absent;
  options.prepare.duplicates = data::find_duplicates_policy(options.duplicates);
  options.prepare.split = data::find_split(options.split);
  options.prepare.validation_from = parse_cut("--validation-from", options.validation_from);
  options.prepare.test_from = parse_cut("--test-from", options.test_from);
  check(options.prepare.split == data::Split::time || (!options.prepare.validation_from && !options.prepare.test_from),
        ErrorCode::invalid_argument, "--validation-from and --test-from go with --split time");
  check(!options.k_core || (options.prepare.user_core == 0 && options.prepare.item_core == 0),
        ErrorCode::invalid_argument,
        "--k-core stands for both --user-core and --item-core: give it alone, or these without it");
  if (options.k_core) options.prepare.user_core = options.prepare.item_core = *options.k_core;
  options.about.latin1 = options.read.latin1;
  options.about.skip_bad_rows = options.read.skip_bad_rows;
  const bool there = file_exists(options.out) || (is_folder(options.out) && !list_folder(options.out)->empty());
  check(!there || options.overwrite, ErrorCode::invalid_argument,
        "items prepare: '{}' exists already; choose another name, or --overwrite to replace the dataset there",
        options.out);
}

std::string summary(const Json& description, const std::string& out, double seconds) {
  std::string text = fmt::format("{}\n{}", out, data::format_report(description["report"]));
  const Json &filters = description["filters"], &bad = description["bad_rows"];
  std::vector<std::string> left_out;
  for (const auto& [key, words] :
       {std::pair("low_ratings", "rated too low"), std::pair("duplicates", "repeated"),
        std::pair("k_core", "by the k-core"), std::pair("older_than_max_length", "older than --max-length")}) {
    if (const auto n = filters[key].get<int64_t>(); n > 0)
      left_out.push_back(fmt::format("{} {}", with_commas(static_cast<uint64_t>(n)), words));
  }
  if (const auto n = filters["descriptions_unused"].get<int64_t>(); n > 0)
    left_out.push_back(
        fmt::format("{} description{} of other items", with_commas(static_cast<uint64_t>(n)), n == 1 ? "" : "s"));
  if (const auto n = bad["skipped"].get<int64_t>(); n > 0)
    left_out.push_back(fmt::format("{} bad row{}", n, n == 1 ? "" : "s"));
  if (!left_out.empty()) text += fmt::format("  {:<14}{}\n", "left out", fmt::join(left_out, ", "));
  for (const Json& message : bad["first"]) text += fmt::format("  {:<14}{}\n", "", message.get<std::string>());
  if (const Json* notes = find_member(description, "notes"); notes != nullptr) {
    for (const Json& note : *notes) text += fmt::format("  {:<14}{}\n", "note", note.get<std::string>());
  }
  const auto rows = filters["read"].get<int64_t>();
  return text + fmt::format("  {:<14}{} ({} rows/s)\n", "time", human_seconds(seconds),
                            human_count(static_cast<uint64_t>(static_cast<double>(rows) / std::max(seconds, 1e-3))));
}

// Options of other forms of files, and of what is not asked for.
void check_given(const CLI::App& app, const Options& options) {
  const auto any = [](const std::vector<std::string>& files, const std::string& format,
                      std::initializer_list<std::string_view> wanted) {
    return std::ranges::any_of(files, [&](const std::string& file) {
      const std::string form = format.empty() ? data::detect_format(file) : format;
      return std::find(wanted.begin(), wanted.end(), form == "spaced_table" ? "table" : form) != wanted.end();
    });
  };
  const std::string& form = options.read.format;
  const std::string detected;
  check_companions(app, any(options.in, form, {"table"}), {"--delimiter", "--header", "--no-header"},
                   "a log that is a table");
  const bool keyed = any(options.in, form, {"table", "jsonl"});
  check_companions(app, keyed, {"--user-column", "--item-column", "--rating-column"},
                   "a log that is a table or JSON Lines");
  check_companions(app, keyed || options.read.columns.time == "none", {"--time-column"},
                   "a log that is a table or JSON Lines");
  check_companions(app, options.read.min_rating.has_value(), {"--rating-column"}, "--min-rating");
  check_companions(app, any(options.in, form, {"table"}) || any(options.items, detected, {"table"}), {"--latin1"},
                   "tables (JSON is UTF-8 always)");
  check_companions(app, any(options.items, detected, {"table", "jsonl", "item_json"}),
                   {"--title-column", "--category-column", "--text-columns"}, "item descriptions (--items)");
  check_companions(app, any(options.items, detected, {"table", "jsonl"}), {"--item-id-column"},
                   "item descriptions (--items) that are tables or JSON Lines");
  check_companions(app, !options.items.empty(), {"--keep-cold-items"}, "item descriptions (--items)");
}

void run(Options options, const CLI::App& app, const Settings& settings) {
  complete(options);
  sort_out_files(options);
  check_given(app, options);
  double seconds = 0;
  data::Dataset dataset;
  {
    const Interrupt interrupt;
    uint64_t bytes = 0;
    for (const std::string& path : options.in) bytes += FileReader(path).size();
    Progress progress("reading", bytes, settings.verbosity >= 0);
    options.read.progress = [&](uint64_t done, uint64_t) {
      interrupt.check("reading");
      progress.update(done);
    };
    data::Interactions log = data::read_interactions(options.in, options.read);
    const data::Descriptions about = data::read_descriptions(options.items, log.items, options.about);
    for (const auto& sources : {log.sources, about.sources}) {
      for (const std::string& source : sources) log_detail("{}", source);
    }
    dataset = data::prepare(std::move(log), about, options.prepare);
    interrupt.check("writing");
    if (file_exists(options.out + "/codes.json"))
      log_info("the item codes in {} belong to the old dataset and go with it; `caravan items build` makes new ones",
               options.out);
    data::write_dataset(dataset, options.out);
    seconds = progress.seconds();
  }
  if (!options.json) return print(summary(dataset.description, options.out, seconds));
  Json result = {{"path", options.out}, {"seconds", seconds}};
  result.update(dataset.description);
  print_json(result);
}

void add_reading(CLI::App& app, Options& options) {
  app.add_option("--items", options.items,
                 "item descriptions: tables, .item, JSON Lines, item.json, index.json (several)");
  app.add_option("--format", options.read.format,
                 "of the logs: table, jsonl, sequences, inter_json (default: detected)");
  app.add_option("--delimiter", options.read.delimiter,
                 "of the log's table: tab, space or the characters (default: detected)");
  app.add_flag("--header", options.with_header, "the first row holds names (default: detected)");
  app.add_flag("--no-header", options.no_header, "the first row is data");
  app.add_option("--user-column", options.read.columns.user, "a name, or a number from 1 (default: by usual names)");
  app.add_option("--item-column", options.read.columns.item, "likewise");
  app.add_option("--time-column", options.read.columns.time, "likewise; 'none': the file's order counts");
  app.add_option("--rating-column", options.read.columns.rating, "likewise");
  app.add_option("--min-rating", options.read.min_rating, "leave out interactions rated lower")->check(real(-1e9, 1e9));
  app.add_option("--item-id-column", options.about.id_column,
                 "of descriptions (default: the one that holds the log's ids)");
  app.add_option("--title-column", options.about.title_column, "of descriptions (default: by usual names)");
  app.add_option("--category-column", options.about.category_column, "likewise");
  app.add_option("--text-columns", options.about.text_columns, "other text, A,B,C or none (default: all other columns)")
      ->delimiter(',');
  app.add_flag("--latin1", options.read.latin1, "the tables are ISO 8859-1, not UTF-8");
  app.add_flag("--skip-bad-rows", options.read.skip_bad_rows, "leave out rows that cannot be read; they are counted");
}

void add_preparing(CLI::App& app, Options& options) {
  const CLI::Validator count = whole(0);
  app.add_option("--k-core", options.k_core, "users and items keep at least so many interactions")->check(count);
  app.add_option("--user-core", options.prepare.user_core, "likewise, users only")->check(count);
  app.add_option("--item-core", options.prepare.item_core, "likewise, items only")->check(count);
  app.add_option("--duplicates", options.duplicates,
                 "of user and item: keep, first, last, consecutive (default: keep)");
  app.add_option("--max-length", options.prepare.max_length, "a user keeps the newest so many (default: all)")
      ->check(count);
  app.add_option("--split", options.split, "leave-one-out or time (default: leave-one-out)");
  app.add_option("--validation-from", options.validation_from,
                 "time split: a time or date (default: the last 20% begin)");
  app.add_option("--test-from", options.test_from, "time split: a time or date (default: the last 10% begin)");
  app.add_option("--seed", options.prepare.seed, "of the shuffled item numbering (default: 0)")
      ->check(whole(0, INT64_MAX));
  app.add_flag("--keep-cold-items", options.prepare.keep_cold_items,
               "keep described items that nobody interacted with");
}

}  // namespace

Run setup_items_prepare(CLI::App& app, const Settings& settings) {
  auto options = std::make_shared<Options>();
  app.add_option("in", options->in, "logs and item descriptions: files, or a RecBole or LC-Rec folder")
      ->required()
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("-o,--output", options->out, "dataset folder to make")->required()->check(filled());
  add_reading(app, *options);
  add_preparing(app, *options);
  for (const char* several : {"--items", "--text-columns"})  // one value each time, so that a log may follow
    app.get_option(several)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)->allow_extra_args(false);
  for (const char* text : {"--items", "--format", "--delimiter", "--user-column", "--item-column", "--time-column",
                           "--rating-column", "--item-id-column", "--title-column", "--category-column",
                           "--text-columns", "--validation-from", "--test-from"})
    app.get_option(text)->check(filled());
  app.add_flag("--overwrite", options->overwrite, "replace a dataset that is there");
  app.add_flag("--json", options->json, "print the report as one JSON object");
  app.footer(
      "Interactions are ordered by time; ties keep the file's order. Nothing is left out without being "
      "counted.\n\nExamples:\n"
      "  caravan items prepare ml-100k/ -o ml-100k-data\n"
      "  caravan items prepare ratings.csv --items movies.csv --min-rating 4 --k-core 5 -o movies\n"
      "  caravan items prepare Beauty.txt --items items.tsv -o beauty");
  return [options, &app, &settings] { run(*options, app, settings); };
}

}  // namespace caravan::cli
