// Text input of commands: a file or, by the name "-", standard input. Lines stream: memory is bounded by one batch.
//
//   LineReader reader("-");
//   while (reader.next_batch(lines, 4 << 20)) use(lines);        // at most 4 MiB of lines at a time
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "caravan/base/file.h"

namespace caravan::cli {

std::string read_input(const std::string& path);  // all of it; at most 1 GiB

// The text that an option names. Throws invalid_argument, naming the option, where it is blank.
std::string read_text(std::string_view option, const std::string& path);

// The same without the line end that a file or a here-document ends with: a prompt goes on where its text ends.
std::string read_prompt(std::string_view option, const std::string& path);

// Bytes of a file, a pipe or standard input, in order.
class InputStream {
 public:
  explicit InputStream(const std::string& path);
  ~InputStream();
  InputStream(const InputStream&) = delete;
  size_t read(char* to, size_t n);  // 0 at the end
  const std::string& name() const { return name_; }
  uint64_t size() const { return size_; }        // 0: unknown
  uint64_t position() const { return offset_; }  // bytes read so far

 private:
  std::string name_;
  int fd_ = 0;
  uint64_t size_ = 0, offset_ = 0;
};

// A UTF-8 byte order mark at the beginning of a file's first line goes: some editors put one there.
void drop_byte_order_mark(std::string& first_line);

// Lines end with "\n", which is not part of them; the last one needs none.
class LineReader {
 public:
  explicit LineReader(const std::string& path) : stream_(path) {}
  // Fills `lines` with at least one and at most about `bytes` of lines; false at the end. `first_line` counts from 1.
  bool next_batch(std::vector<std::string>& lines, size_t bytes);
  size_t first_line() const { return first_line_; }
  const std::string& name() const { return stream_.name(); }
  uint64_t size() const { return stream_.size(); }
  uint64_t position() const { return stream_.position(); }

 private:
  InputStream stream_;
  std::string rest_;  // the beginning of a line whose end was not read yet
  size_t first_line_ = 1, next_line_ = 1;
  bool ended_ = false;
};

}  // namespace caravan::cli
