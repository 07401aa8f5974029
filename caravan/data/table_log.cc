// Interactions from tables: CSV, TSV, RecBole's .inter, MovieLens' "::" files.
#include <fmt/format.h>

#include "caravan/base/error.h"
#include "caravan/data/history_column.h"
#include "caravan/data/log_builder.h"
#include "caravan/data/table.h"
#include "caravan/data/time.h"
#include "caravan/data/words.h"

namespace caravan::data {
namespace {

std::string named(const TableReader& table, const Columns& columns, std::span<const std::string_view> first) {
  std::string text = fmt::format("table, delimiter '{}'{}", table.delimiter() == "\t" ? "\\t" : table.delimiter(),
                                 columns.header ? "" : ", no header");
  const auto append = [&](std::string_view what, int column) {
    if (column < 0) return;
    text += columns.header ? fmt::format(", {} = {}", what, trimmed(first[static_cast<size_t>(column)]))
                           : fmt::format(", {} = column {}", what, column + 1);
  };
  append("user", columns.user);
  append("item", columns.item);
  append("rating", columns.rating);
  append("time", columns.time);
  append("history", columns.history);
  return text;
}

// Reads rows by the columns that were found.
class TableLog {
 public:
  TableLog(TableReader& table, LogBuilder& log) : table_(table), log_(log) {}

  void begin() {
    check_file(table_.next(), FileFault::layout, table_.path(), "the file is empty");
    const std::vector<std::string_view> first(table_.fields().begin(), table_.fields().end());
    columns_ = find_columns(first, log_.options().columns, log_.options().header, table_.where());
    check(!log_.options().min_rating || columns_.rating >= 0, ErrorCode::invalid_argument,
          "{}: there is no column of ratings for --min-rating; name it with --rating-column", table_.where());
    log_.begin_file(table_.path(), table_.size(), columns_.time >= 0, named(table_, columns_, first));
    note_unused(first);
    if (!columns_.header) log_.bad().accept([&] { add(); });
  }

  void add() {
    const auto where = [&] { return table_.where(); };
    std::optional<double> rating;
    if (columns_.rating >= 0 && log_.options().min_rating) {
      rating = parse_number(field(columns_.rating));
      check_number(rating.has_value(), "rating", "a number", columns_.rating);
    }
    std::optional<double> time;
    if (columns_.time >= 0) {
      time = parse_time(field(columns_.time));
      check_number(time.has_value(), "time", "a number or a date such as 2014-07-22T10:15:30", columns_.time);
      check_number(is_exact_time(*time), "time", kExactTime, columns_.time);
    }
    const std::string_view user = table_.trimmed_field(static_cast<size_t>(columns_.user)),
                           item = table_.trimmed_field(static_cast<size_t>(columns_.item));
    if (rating && *rating < *log_.options().min_rating) return log_.add_low_rating(user, item, where);
    if (columns_.history < 0) return log_.add(user, item, time, where);
    for (const std::string& one : log_.histories().add(std::string(user), parse_list(field(columns_.history)), item))
      log_.add(user, one, time, where);
  }

 private:
  // Three columns without a header: the last one may be a rating or a time, and small numbers do not tell.
  void note_unused(std::span<const std::string_view> first) {
    const ReadOptions& options = log_.options();
    const bool told = !options.columns.time.empty() || !options.columns.rating.empty() || options.min_rating;
    if (columns_.header || columns_.time >= 0 || first.size() != 3 || told) return;
    log_.note(fmt::format(
        "{}: no header, and column 3 ({} in the first row) is taken for a rating, which nothing asks for; if it is a "
        "time: --time-column 3",
        table_.path(), trimmed(first[2]).substr(0, 40)));
  }
  std::string_view field(int column) const { return table_.fields()[static_cast<size_t>(column)]; }
  void check_number(bool good, std::string_view what, std::string_view wanted, int column) const {
    if (good) [[likely]]
      return;
    fail_file(FileFault::type, table_.where(), "{} (column {}): expected {}, got '{}'", what, column + 1, wanted,
              field(column).substr(0, 40));
  }
  TableReader& table_;
  LogBuilder& log_;
  Columns columns_;
};

}  // namespace

void read_table_log(const std::string& path, LogBuilder& log) {
  TableOptions options{.delimiter = log.options().delimiter, .latin1 = log.options().latin1};
  if (path.ends_with(".inter")) options.quotes = false;
  if (options.delimiter.empty() && detect_format(path) == "spaced_table") options.delimiter = "space";
  TableReader table(path, options);
  TableLog rows(table, log);
  rows.begin();
  for (bool more = true; more;) {
    log.bad().accept([&] {
      more = table.next();
      if (more) rows.add();
    });
    log.read_to(table.position());
  }
}

}  // namespace caravan::data
