// Mutated safetensors files, judged by the reference and by this reader. A difference is explained where this reader is
// stricter by design.
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <stdexcept>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/formats/safetensors_header.h"
#include "differential.h"

namespace caravan::differential {
namespace {

using namespace formats;

// Records: u32 length, the file's bytes, u8 accepted, u32 length, the tensors as the reference lists them.
class Records {
 public:
  explicit Records(std::string text) : text_(std::move(text)) {}
  bool at_end() const { return at_ == text_.size(); }
  std::string_view bytes() {
    uint32_t length = 0;
    std::memcpy(&length, take(4).data(), 4);
    return take(length);
  }
  bool flag() { return take(1)[0] != 0; }

 private:
  std::string_view take(size_t n) {
    const std::string_view taken = std::string_view(text_).substr(at_, n);
    if (taken.size() != n) throw std::runtime_error("the records are cut");
    at_ += n;
    return taken;
  }
  std::string text_;
  size_t at_ = 0;
};

// One line a tensor, sorted by name: name|dtype|shape|sum of its bytes.
std::string listing(std::string_view file, SafetensorsHeader header) {
  std::sort(header.entries.begin(), header.entries.end(),
            [](const auto& a, const auto& b) { return a.tensor.name < b.tensor.name; });
  std::string text;
  for (const SafetensorsEntry& e : header.entries) {
    uint64_t sum = 0;
    for (const char c : file.substr(header.data_begin + e.begin, e.end - e.begin)) sum += static_cast<unsigned char>(c);
    text += fmt::format("{}|{}|{}|{}\n", e.tensor.name, to_string(e.tensor.dtype), fmt::join(e.tensor.shape, ","), sum);
  }
  return text;
}

// The reference counts dimensions in 64 bits without a sign, this reader with one: an empty tensor can show it.
bool has_dimension_beyond_int64(std::string_view listing) {
  size_t digits = 0;
  for (const char c : listing) {
    digits = c >= '0' && c <= '9' ? digits + 1 : 0;
    if (digits == 19) return true;
  }
  return false;
}

bool is_stricter_by_design(FileFault fault, std::string_view listing) {
  return fault == FileFault::duplicate || fault == FileFault::limit || fault == FileFault::unsupported ||
         (fault == FileFault::overflow && has_dimension_beyond_int64(listing));
}

}  // namespace

int compare_safetensors(const std::string& path) {
  Records records(read_file(path, uint64_t{1} << 34));
  std::map<std::string, int> counts;
  int failures = 0;
  while (!records.at_end()) {
    const std::string_view file = records.bytes();
    const bool accepted = records.flag();
    const std::string_view expected = records.bytes();
    std::string outcome;
    try {
      const std::string got = listing(file, parse_safetensors_header(std::as_bytes(std::span(file)), "x"));
      outcome = !accepted         ? "UNEXPLAINED: accepted here, refused there"
                : got == expected ? "both accept"
                                  : "UNEXPLAINED: read differently";
      if (outcome.starts_with("UNEXPLAINED")) fmt::print("{}\n{}\n{}\n", outcome, got, file.substr(0, 600));
    } catch (const Error& e) {
      const bool explained = is_stricter_by_design(e.fault(), expected);
      outcome = !accepted ? "both refuse"
                          : fmt::format("{}: {} refused here only", explained ? "stricter" : "UNEXPLAINED",
                                        to_string(e.fault()));
      if (accepted && !explained) fmt::print("{}\n{}\n", e.what(), file.substr(0, 600));
    }
    failures += outcome.starts_with("UNEXPLAINED");
    ++counts[outcome];
  }
  for (const auto& [outcome, count] : counts) fmt::print("{:>8} {}\n", count, outcome);
  return failures == 0 ? 0 : 1;
}

}  // namespace caravan::differential
