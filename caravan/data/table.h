// Tables in text files: CSV by RFC 4180, TSV, and the other delimiters that logs are written with ("::", ";", "|",
// spaces).
//
//   TableReader table("ratings.csv", {});
//   while (table.next()) use(table.fields(), table.where());
//
// Every record has as many fields as the first one; blank lines are passed over. A quoted field may hold delimiters,
// line ends and doubled quotes; a quote in the middle of an unquoted field is a plain character. Where the delimiter is
// a tab, only a field that is quoted as a whole within its line counts as quoted: such files are rarely written by RFC
// 4180.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "caravan/base/error.h"
#include "caravan/base/lines.h"

namespace caravan::data {

struct TableOptions {
  std::string delimiter;  // empty: found in the first line; "tab", "space" and "\\t" are understood
  bool quotes = true;     // false: a quote is a character like any other (RecBole's atomic files)
  bool latin1 = false;    // the file is ISO 8859-1, not UTF-8
};

class TableReader {
 public:
  TableReader(const std::string& path, TableOptions options);

  // The next record; false at the end. Throws corrupt_file with file and line for a record that breaks the format; the
  // call after that goes on behind it.
  bool next();
  std::span<const std::string_view> fields() const { return fields_; }  // valid until next()
  // A field without the spaces around it. Those inside quotes belong to it (RFC 4180).
  std::string_view trimmed_field(size_t field) const;

  std::string where() const;  // "PATH:LINE" of the record's first line
  const std::string& path() const { return lines_.path(); }
  const std::string& delimiter() const { return delimiter_; }
  uint64_t position() const { return lines_.position(); }
  uint64_t size() const { return lines_.size(); }

 private:
  bool read_line();
  void split_plain();
  void split_quoted();
  size_t take_quoted(size_t at, size_t field);  // opens at `at`; gives the place behind its closing quote
  template <class... Args>
  [[noreturn]] void fail_record(fmt::format_string<Args...> format, Args&&... args);
  void take_within_line();  // tab: unquotes fields that are quoted as a whole
  LineReader lines_;
  TableOptions options_;
  std::string delimiter_;
  std::string record_;    // a record of several lines, or converted text
  std::string unquoted_;  // fields with doubled quotes, unquoted
  std::string_view text_;
  std::vector<std::string_view> fields_;
  std::vector<bool> quoted_;  // of each field; empty where none is
  size_t line_ = 0, field_count_ = 0;
  LineReader::Mark after_line_{};  // where to go on where a record of several lines turns out to be none
};

// The delimiter of a table by its first line: a tab, "::", or whichever of , ; | occurs most; empty where none does.
std::string detect_delimiter(std::string_view line);

}  // namespace caravan::data
