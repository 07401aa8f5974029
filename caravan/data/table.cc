#include "caravan/data/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "caravan/data/words.h"

namespace caravan::data {
namespace {

constexpr size_t kMaxRecordLines = 10'000;  // a quote that stays open longer was never meant as one

bool is_blank(std::string_view line) { return line.find_first_not_of(" \t") == std::string_view::npos; }

void append_as_utf8(std::string& to, std::string_view latin1) {
  for (const char c : latin1) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80) {
      to += c;
    } else {
      to += static_cast<char>(0xC0 | (byte >> 6));
      to += static_cast<char>(0x80 | (byte & 0x3F));
    }
  }
}

// Quotes are doubled inside a quoted field.
std::string_view append_unquoted(std::string& to, std::string_view quoted) {
  const size_t begin = to.size();
  for (size_t i = 0; i < quoted.size(); ++i) {
    to += quoted[i];
    if (quoted[i] == '"') ++i;
  }
  return std::string_view(to).substr(begin);
}

std::string spelled_delimiter(const std::string& name) {
  if (name == "tab" || name == "\\t") return "\t";
  return name == "space" ? " " : name;
}

}  // namespace

std::string detect_delimiter(std::string_view line) {
  if (line.find('\t') != std::string_view::npos) return "\t";
  if (line.find("::") != std::string_view::npos) return "::";
  std::string best;
  int64_t most = 0;
  for (const char c : {',', ';', '|'}) {
    const int64_t n = std::count(line.begin(), line.end(), c);
    if (n > most) most = n, best = std::string(1, c);
  }
  return best;
}

TableReader::TableReader(const std::string& path, TableOptions options)
    : lines_(path), options_(std::move(options)), delimiter_(spelled_delimiter(options_.delimiter)) {}

std::string_view TableReader::trimmed_field(size_t field) const {
  const bool quoted = !quoted_.empty() && quoted_[field];
  return quoted ? fields_[field] : trimmed(fields_[field]);
}

std::string TableReader::where() const { return fmt::format("{}:{}", lines_.path(), line_); }

// A record is broken: the next one is looked for in the line behind its first one.
template <class... Args>
void TableReader::fail_record(fmt::format_string<Args...> format, Args&&... args) {
  if (lines_.number() != line_) lines_.rewind(after_line_);
  fail_file(FileFault::layout, where(), format, std::forward<Args>(args)...);
}

bool TableReader::read_line() {
  do {
    if (!lines_.next()) return false;
  } while (is_blank(lines_.line()));
  line_ = lines_.number();
  after_line_ = lines_.mark();
  text_ = lines_.line();
  if (options_.latin1) {
    record_.clear();
    append_as_utf8(record_, text_);
    text_ = record_;
  }
  return true;
}

bool TableReader::next() {
  if (!read_line()) return false;
  if (delimiter_.empty()) {
    delimiter_ = detect_delimiter(text_);
    check_file(!delimiter_.empty(), FileFault::layout, where(),
               "no tab, \"::\", comma, semicolon or | in '{}'; name the delimiter with --delimiter",
               text_.substr(0, 60));
  }
  fields_.clear();
  unquoted_.clear();
  quoted_.clear();
  if (options_.quotes && delimiter_ != "\t" && text_.find('"') != std::string_view::npos) {
    split_quoted();
  } else {
    split_plain();
    if (options_.quotes && delimiter_ == "\t") take_within_line();
  }
  if (field_count_ == 0) field_count_ = fields_.size();
  if (fields_.size() != field_count_)
    fail_record("expected {} fields as in the first row, got {}", field_count_, fields_.size());
  return true;
}

void TableReader::split_plain() {
  size_t begin = 0;
  for (;;) {
    const size_t end = delimiter_.size() == 1 ? text_.find(delimiter_[0], begin) : text_.find(delimiter_, begin);
    fields_.push_back(text_.substr(begin, end == std::string_view::npos ? end : end - begin));
    if (end == std::string_view::npos) return;
    begin = end + delimiter_.size();
  }
}

void TableReader::take_within_line() {
  unquoted_.reserve(text_.size());  // the fields that point into it stay valid
  for (size_t i = 0; i < fields_.size(); ++i) {
    std::string_view& field = fields_[i];
    if (field.size() < 2 || field.front() != '"' || field.back() != '"') continue;
    const std::string_view inner = field.substr(1, field.size() - 2);
    bool doubled = true;  // every quote inside has its twin
    for (size_t at = 0; at < inner.size() && doubled; ++at) {
      if (inner[at] == '"') doubled = at + 1 < inner.size() && inner[++at] == '"';
    }
    if (!doubled) continue;
    field = append_unquoted(unquoted_, inner);
    quoted_.resize(fields_.size());
    quoted_[i] = true;
  }
}

size_t TableReader::take_quoted(size_t at, size_t field) {
  for (size_t i = at + 1;; ++i) {
    i = text_.find('"', i);
    if (i == std::string_view::npos) {  // the field goes on in the next line
      if (text_.data() != record_.data()) record_ = text_;
      i = record_.size();
      if (lines_.number() - line_ >= kMaxRecordLines || !lines_.next())
        fail_record("field {}: the quote is never closed", field);
      record_ += '\n';
      if (options_.latin1) {
        append_as_utf8(record_, lines_.line());
      } else {
        record_ += lines_.line();
      }
      text_ = record_;
    } else if (i + 1 < text_.size() && text_[i + 1] == '"') {
      ++i;
    } else {
      if (i + 1 == text_.size() || text_.substr(i + 1).starts_with(delimiter_)) return i + 1;
      fail_record("field {}: text behind the closing quote (a quote inside a quoted field is written twice)", field);
    }
  }
}

// Two passes: where the fields lie, while text_ may still grow by lines; then the fields themselves.
void TableReader::split_quoted() {
  struct Part {
    size_t begin, end;
    bool quoted;
  };
  std::vector<Part> parts;
  size_t at = 0;
  for (;;) {
    if (at < text_.size() && text_[at] == '"') {
      const size_t end = take_quoted(at, parts.size() + 1);
      parts.push_back({at + 1, end - 1, true});
      at = end;
    } else {
      const size_t end = std::min(text_.find(delimiter_, at), text_.size());
      parts.push_back({at, end, false});
      at = end;
    }
    if (at >= text_.size()) break;
    at += delimiter_.size();
  }
  unquoted_.reserve(text_.size());
  for (const Part& part : parts) {
    const std::string_view field = text_.substr(part.begin, part.end - part.begin);
    fields_.push_back(part.quoted ? append_unquoted(unquoted_, field) : field);
    quoted_.push_back(part.quoted);
  }
}

}  // namespace caravan::data
