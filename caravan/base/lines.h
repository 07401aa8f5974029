// Text files line by line, and JSON Lines, in bounded memory: a buffer of 1 MiB that grows only for a longer line.
//
//   LineReader lines("ratings.csv");
//   while (lines.next()) use(lines.line(), lines.where());      // "ratings.csv:17"
//
//   read_jsonl("items.jsonl", [&](const Json& object, size_t line) { ... });
//
// A line ends with LF or CRLF, the last one also with the file; a UTF-8 byte order mark is skipped. What a line's bytes
// mean (encoding, quotes) is the caller's business.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "caravan/base/file.h"
#include "caravan/base/json.h"

namespace caravan {

class LineReader {
 public:
  explicit LineReader(std::string path, uint64_t max_line_bytes = 64 << 20);
  bool next();                                         // false at the end of the file
  std::string_view line() const { return line_; }      // without its end; valid until next()
  size_t number() const { return number_; }            // from 1
  uint64_t position() const { return offset_ + at_; }  // bytes consumed, of size()
  uint64_t size() const { return file_.size(); }
  const std::string& path() const { return file_.path(); }
  // Going back: after rewind(mark()) the next line is the one that came next when mark() was called.
  struct Mark {
    uint64_t position;
    size_t number;
  };
  Mark mark() const { return {position(), number_}; }
  void rewind(Mark mark);
  std::string where() const;  // "PATH:NUMBER"

 private:
  bool refill();  // more bytes behind those kept; false at the end of the file
  FileReader file_;
  uint64_t max_line_bytes_;
  std::vector<char> buffer_;
  uint64_t offset_ = 0;      // of buffer_[0] in the file
  size_t at_ = 0, end_ = 0;  // the unread part of the buffer
  std::string_view line_;
  size_t number_ = 0;
};

// Calls `use` with every line's JSON value and its line number; blank lines are passed over. Errors name the line.
void read_jsonl(const std::string& path, const std::function<void(const Json& value, size_t line)>& use);

}  // namespace caravan
