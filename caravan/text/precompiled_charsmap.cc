// Walking and checking the double array; see precompiled_charsmap.h.
#include "caravan/text/precompiled_charsmap.h"

#include <cstring>

#include "caravan/base/error.h"

namespace caravan::text {
namespace {

// A unit: bit 31 and the low byte are the label, bit 8 says that a value follows, the rest is the offset to the
// children.
bool has_leaf(uint32_t unit) { return (unit >> 8 & 1) != 0; }
uint32_t value_of(uint32_t unit) { return unit & 0x7FFFFFFFu; }
uint32_t label_of(uint32_t unit) { return unit & 0x800000FFu; }
uint32_t offset_of(uint32_t unit) { return unit >> 10 << ((unit & 512) >> 6); }

}  // namespace

PrecompiledCharsmap::PrecompiledCharsmap(std::string_view blob, std::string_view where) {
  if (blob.empty()) return;
  check_file(blob.size() >= 4, FileFault::layout, where, "precompiled_charsmap has {} bytes, its header needs 4",
             blob.size());
  uint32_t size = 0;
  std::memcpy(&size, blob.data(), 4);  // little-endian, as every machine that Caravan runs on
  check_file(size <= blob.size() - 4 && size % 4 == 0 && size > 0, FileFault::layout, where,
             "precompiled_charsmap announces a trie of {} bytes, {} are left", size, blob.size() - 4);
  units_.resize(size / 4);
  std::memcpy(units_.data(), blob.data() + 4, size);
  replacements_ = blob.substr(4 + size);
  validate(where);
}

void PrecompiledCharsmap::validate(std::string_view where) const {
  const size_t n = units_.size();
  std::vector<bool> seen(n);
  std::vector<uint32_t> todo{0};
  while (!todo.empty()) {
    const uint32_t at = todo.back();
    todo.pop_back();
    if (seen[at]) continue;
    seen[at] = true;
    const uint32_t base = at ^ offset_of(units_[at]);
    check_file(base < n && (base | 0xFFu) < ((n + 255) & ~size_t{255}), FileFault::layout, where,
               "precompiled_charsmap: unit {} points to {}, the trie has {} units", at, base, n);
    if (at != 0 && has_leaf(units_[at])) {
      const uint32_t value = value_of(units_[base]);
      check_file(value < replacements_.size() && replacements_.find('\0', value) != std::string::npos,
                 FileFault::layout, where, "precompiled_charsmap: unit {} refers to replacement {} of {} bytes", base,
                 value, replacements_.size());
    }
    for (uint32_t label = 1; label < 256; ++label) {
      const uint32_t child = base ^ label;
      if (child < n && label_of(units_[child]) == label) todo.push_back(child);
    }
  }
}

std::optional<std::string_view> PrecompiledCharsmap::find(std::string_view text) const {
  if (units_.empty()) return std::nullopt;
  uint32_t at = offset_of(units_[0]);
  for (char c : text) {
    const uint32_t label = static_cast<unsigned char>(c);
    if (label == 0) break;
    at ^= label;
    if (at >= units_.size() || label_of(units_[at]) != label) break;
    const uint32_t unit = units_[at];
    at ^= offset_of(unit);
    if (has_leaf(unit)) {
      const size_t begin = value_of(units_[at]);
      return std::string_view(replacements_).substr(begin, replacements_.find('\0', begin) - begin);
    }
  }
  return std::nullopt;
}

std::string decode_base64(std::string_view text, std::string_view where) {
  auto digit = [&](char c) -> uint32_t {
    if (c >= 'A' && c <= 'Z') return static_cast<uint32_t>(c - 'A');
    if (c >= 'a' && c <= 'z') return static_cast<uint32_t>(c - 'a' + 26);
    if (c >= '0' && c <= '9') return static_cast<uint32_t>(c - '0' + 52);
    if (c == '+') return 62;
    if (c == '/') return 63;
    fail_file(FileFault::json, where, "precompiled_charsmap is not base64: it contains the byte {:#04x}",
              static_cast<unsigned char>(c));
  };
  while (text.ends_with('=')) text.remove_suffix(1);
  check_file(text.size() % 4 != 1, FileFault::json, where, "precompiled_charsmap is not base64: {} characters",
             text.size());
  std::string out;
  out.reserve(text.size() / 4 * 3 + 3);
  uint32_t bits = 0;
  int have = 0;
  for (char c : text) {
    bits = bits << 6 | digit(c);
    have += 6;
    if (have >= 8) out += static_cast<char>(bits >> (have -= 8) & 0xFF);
  }
  return out;
}

}  // namespace caravan::text
