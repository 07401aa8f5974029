// What the readers of the different forms of logs share: they hand rows to a LogBuilder, which checks ids, interns them
// and tells the progress.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "caravan/base/utf8.h"
#include "caravan/data/history_column.h"
#include "caravan/data/interactions.h"

namespace caravan::data {

class LogBuilder {
 public:
  LogBuilder(const ReadOptions& options, uint64_t total_bytes);
  const ReadOptions& options() const { return options_; }
  BadRows& bad() { return log_.bad; }

  // Throws corrupt_file (fault range or utf8) where an id is empty or no UTF-8; `where` is called only then.
  template <class Where>
  void add(std::string_view user, std::string_view item, std::optional<double> time, const Where& where) {
    check_filled(user, item, where);
    const int32_t user_number = intern(log_.users, user, where), item_number = intern(log_.items, item, where);
    log_.rows.push_back({user_number, item_number, time.value_or(0.0)});
  }
  // A row that is rated too low: a broken one is an error all the same, a good one is counted and left out.
  template <class Where>
  void add_low_rating(std::string_view user, std::string_view item, const Where& where) {
    check_filled(user, item, where);
    for (const std::string_view id : {user, item}) {
      if (find_invalid_utf8(id) != std::string_view::npos) fail_encoding(where());
    }
    ++log_.low_ratings;
  }
  HistoryMerger& histories() { return histories_; }  // over all files

  // A file begins: with times or without; all files must agree.
  void begin_file(const std::string& path, uint64_t bytes, bool has_times, std::string description);
  void note(std::string text) { log_.notes.push_back(std::move(text)); }
  void read_to(uint64_t position);  // in the file that was begun: progress, and room for the rows to come
  void end_file();
  Interactions take() { return std::move(log_); }

 private:
  template <class Where>
  static void check_filled(std::string_view user, std::string_view item, const Where& where) {
    if (user.empty() || item.empty()) fail_empty(user.empty() ? "user" : "item", where());
  }
  template <class Where>
  static int32_t intern(Interner& interner, std::string_view id, const Where& where) {
    const int32_t known = interner.find(id);
    if (known >= 0) return known;
    if (find_invalid_utf8(id) != std::string_view::npos) fail_encoding(where());
    return interner.intern(id);
  }
  [[noreturn]] static void fail_encoding(const std::string& where);
  [[noreturn]] static void fail_empty(std::string_view what, const std::string& where);
  ReadOptions options_;
  Interactions log_;
  HistoryMerger histories_;
  uint64_t done_ = 0, total_, file_bytes_ = 0, told_ = 0;
  size_t files_ = 0, rows_before_ = 0;
};

// One reader a form of log; each appends a file's rows.
void read_table_log(const std::string& path, LogBuilder& log);
void read_jsonl_log(const std::string& path, LogBuilder& log);
void read_sequence_lines(const std::string& path, LogBuilder& log);
void read_inter_json(const std::string& path, LogBuilder& log);

}  // namespace caravan::data
