// Which reader takes a file, and what all of them share.
#include "caravan/data/interactions.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/base/lines.h"
#include "caravan/data/log_builder.h"
#include "caravan/data/table.h"
#include "caravan/data/time.h"
#include "caravan/data/words.h"

namespace caravan::data {
namespace {

struct Format {
  std::string_view name;
  void (*read)(const std::string& path, LogBuilder& log);
};
constexpr Format kFormats[] = {{"table", read_table_log},
                               {"jsonl", read_jsonl_log},
                               {"sequences", read_sequence_lines},
                               {"inter_json", read_inter_json}};

// The first lines that are not blank; long ones are cut.
std::vector<std::string> first_lines(const std::string& path, size_t n) {
  std::vector<std::string> first;
  LineReader lines(path);
  while (first.size() < n && lines.next()) {
    if (lines.line().find_first_not_of(" \t") != std::string_view::npos)
      first.emplace_back(lines.line().substr(0, 1 << 16));
  }
  return first;
}

// JSON by its first characters: {"17": [3 ...  {"17": ["<a_1>" ...  {"17": {"title" ...  or an object on one line.
std::string detect_json(const std::vector<std::string>& lines) {
  const std::string_view first = lines.front();
  if (first.ends_with('}') && lines.size() > 1 && lines[1].starts_with('{')) return "jsonl";
  const std::string start = fmt::format("{}", fmt::join(lines, " ")).substr(0, 1 << 12);
  const size_t colon = start.find(':');
  if (colon == std::string::npos) return "jsonl";
  const size_t value = start.find_first_not_of(" \t", colon + 1);
  if (value == std::string::npos || (start[value] != '[' && start[value] != '{')) return "jsonl";
  if (start[value] == '{') return "item_json";
  const size_t element = start.find_first_not_of(" \t", value + 1);
  return element != std::string::npos && start.substr(element, 2) == "\"<" ? "index_json" : "inter_json";
}

// "user item rating time" and "user item item item" look alike where every line has 3 or 4 words: a last column that
// holds times everywhere makes it a table.
bool is_spaced_table(const std::vector<std::string>& lines) {
  std::vector<std::string_view> fields;
  split_words(lines.front(), fields);
  const size_t n = fields.size();
  if (n != 3 && n != 4) return false;
  return std::all_of(lines.begin(), lines.end(), [&](const std::string& line) {
    split_words(line, fields);
    return fields.size() == n && parse_number(fields.back()).value_or(0) >= 1e8;
  });
}

}  // namespace

std::string detect_format(const std::string& path) {
  const std::string name = std::filesystem::path(path).filename().string();
  for (const auto& [end, format] : {std::pair{".inter.json", "inter_json"},
                                    {".item.json", "item_json"},
                                    {".index.json", "index_json"},
                                    {".jsonl", "jsonl"},
                                    {".ndjson", "jsonl"},
                                    {".csv", "table"},
                                    {".tsv", "table"},
                                    {".inter", "table"},
                                    {".item", "table"}}) {
    if (name.ends_with(end)) return format;
  }
  const std::vector<std::string> lines = first_lines(path, 100);
  check_file(!lines.empty(), FileFault::layout, path, "the file is empty");
  if (lines.front().starts_with('{')) return detect_json(lines);
  if (!detect_delimiter(lines.front()).empty()) return "table";
  return is_spaced_table(lines) ? "spaced_table" : "sequences";
}

Interactions read_interactions(std::span<const std::string> paths, const ReadOptions& options) {
  check(!paths.empty(), ErrorCode::invalid_argument, "no file of interactions was named");
  uint64_t total = 0;
  for (const std::string& path : paths) total += FileReader(path).size();
  LogBuilder log(options, total);
  for (const std::string& path : paths) {
    std::string format = options.format.empty() ? detect_format(path) : options.format;
    if (format == "spaced_table") format = "table";
    const auto known =
        std::find_if(std::begin(kFormats), std::end(kFormats), [&](const Format& f) { return f.name == format; });
    check(known != std::end(kFormats), ErrorCode::invalid_argument,
          "{}: '{}' is no format of interactions; there are table, jsonl, sequences and inter_json", path, format);
    known->read(path, log);
    log.end_file();
  }
  Interactions result = log.take();
  check_file(!result.rows.empty() || result.low_ratings > 0 || result.bad.count > 0, FileFault::layout,
             fmt::format("{}", fmt::join(paths, ", ")), "no interactions: nothing but a header");
  check(!result.rows.empty(), ErrorCode::invalid_argument,
        "{}: no interactions ({} rows could not be read, {} were rated too low)", fmt::join(paths, ", "),
        result.bad.count, result.low_ratings);
  return result;
}

LogBuilder::LogBuilder(const ReadOptions& options, uint64_t total_bytes) : options_(options), total_(total_bytes) {
  log_.bad.skip = options.skip_bad_rows;
}

void LogBuilder::begin_file(const std::string& path, uint64_t bytes, bool has_times, std::string description) {
  if (files_++ == 0) log_.has_times = has_times;
  check(log_.has_times == has_times, ErrorCode::invalid_argument,
        "{}: this file has {} times, the ones before have {}; give --time-column, or 'none' to go by the files' order",
        path, has_times ? "" : "no", has_times ? "none" : "some");
  file_bytes_ = bytes, told_ = 0, rows_before_ = log_.rows.size();
  log_.sources.push_back(path + ": " + std::move(description));
}

void LogBuilder::read_to(uint64_t position) {
  constexpr uint64_t kStep = 1 << 20;
  if (position < told_ + kStep) return;
  if (told_ == 0) {  // room by the rows so far, a tenth to spare; a page that is not used costs nothing
    const double rows = static_cast<double>(log_.rows.size() - rows_before_);
    const double expected = rows * 1.1 * static_cast<double>(file_bytes_) / static_cast<double>(position);
    log_.rows.reserve(rows_before_ + static_cast<size_t>(expected));
  }
  told_ = position;
  if (options_.progress) options_.progress(done_ + position, total_);
}

void LogBuilder::end_file() {
  done_ += std::exchange(file_bytes_, 0);
  if (options_.progress) options_.progress(done_, total_);
}

void LogBuilder::fail_encoding(const std::string& where) {
  fail_file(FileFault::utf8, where, "an id is not valid UTF-8 (--latin1 reads ISO 8859-1)");
}

void LogBuilder::fail_empty(std::string_view what, const std::string& where) {
  fail_file(FileFault::range, where, "the {} id is empty", what);
}

}  // namespace caravan::data
