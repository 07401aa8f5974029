// NFC, NFD, NFKC, NFKD; see unicode_normalization.h.
#include "caravan/text/unicode_normalization.h"

#include <utf8proc.h>

#include <algorithm>
#include <unordered_map>

#include "caravan/text/unicode.h"

namespace caravan::text {
namespace {

int combining_class(char32_t c) {
  return has(c, kReorders) ? utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->combining_class : 0;
}

struct Ordered {
  Change item;
  int combining;
};

class Decomposer {
 public:
  explicit Decomposer(bool compatible)
      : flag_(compatible ? kNotNfkd : kNotNfd),
        options_(static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | (compatible ? UTF8PROC_COMPAT : 0))) {}

  std::vector<Change> run(std::string_view text) {
    for (size_t at = 0; at < text.size();) add(decode_utf8(text, at));
    sort_pending();
    std::vector<Change> out;
    out.reserve(buffer_.size());
    for (const Ordered& o : buffer_) out.push_back(o.item);
    return out;
  }

 private:
  void add(char32_t c) {
    if (!has(c, flag_)) return push(c, 0);
    utf8proc_int32_t to[32];
    int last_class = 0;
    auto n = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), to, 32, options_, &last_class);
    if (n < 1 || n > 32) return push(c, 0);
    for (utf8proc_ssize_t i = 0; i < n; ++i) push(static_cast<char32_t>(to[i]), i > 0);
  }

  void push(char32_t c, int change) {
    const int combining = combining_class(c);
    if (combining == 0) sort_pending();
    buffer_.push_back({{c, change}, combining});
    if (combining == 0) pending_ = buffer_.size();
  }

  void sort_pending() {
    if (buffer_.size() - pending_ > 1)
      std::stable_sort(buffer_.begin() + static_cast<ptrdiff_t>(pending_), buffer_.end(),
                       [](const Ordered& a, const Ordered& b) { return a.combining < b.combining; });
    pending_ = buffer_.size();
  }

  uint16_t flag_;
  utf8proc_option_t options_;
  std::vector<Ordered> buffer_;
  size_t pending_ = 0;
};

using PairTable = std::unordered_map<uint64_t, char32_t>;

PairTable build_pairs() {
  PairTable pairs;
  auto add_range = [&](char32_t from, char32_t to) {
    for (char32_t c = from; c < to; ++c) {
      if (!has(c, kNotNfd) || has(c, kReorders) || (c >= 0xAC00 && c < 0xD7A4)) continue;
      const utf8proc_property_t* property = utf8proc_get_property(static_cast<utf8proc_int32_t>(c));
      if (property->comp_exclusion || property->decomp_type != 0) continue;
      utf8proc_uint8_t bytes[5];
      const auto length = utf8proc_encode_char(static_cast<utf8proc_int32_t>(c), bytes);
      utf8proc_int32_t to_codes[8];
      // Full decomposition; its last character is the second of the pair, the rest composes to the first.
      const auto n = utf8proc_decompose(bytes, length, to_codes, 8, UTF8PROC_DECOMPOSE);
      if (n < 2 || n > 8) continue;
      const char32_t second = static_cast<char32_t>(to_codes[n - 1]);
      auto composed = n == 2 ? 1 : utf8proc_normalize_utf32(to_codes, n - 1, UTF8PROC_COMPOSE);
      if (composed != 1) continue;
      pairs.emplace(uint64_t{static_cast<uint32_t>(to_codes[0])} << 32 | second, c);
    }
  };
  add_range(0xA0, 0x3100);
  add_range(0x11000, 0x12000);
  return pairs;
}

// The composite of two characters, or 0.
char32_t compose(char32_t a, char32_t b) {
  if (a >= 0x1100 && a < 0x1113 && b >= 0x1161 && b < 0x1176) return 0xAC00 + ((a - 0x1100) * 21 + (b - 0x1161)) * 28;
  if (a >= 0xAC00 && a < 0xD7A4 && (a - 0xAC00) % 28 == 0 && b > 0x11A7 && b < 0x11C3) return a + (b - 0x11A7);
  static const PairTable pairs = build_pairs();
  auto it = pairs.find(uint64_t{a} << 32 | b);
  return it == pairs.end() ? 0 : it->second;
}

// A composite of an item with change k and a second one with change m has change k + m - 1.
std::vector<Change> recompose(const std::vector<Change>& in) {
  std::vector<Change> out;
  out.reserve(in.size());
  bool open = false;  // out[starter] may still combine
  size_t starter = 0;
  int last_class = -1;  // of the marks kept behind the starter; -1: none
  for (const Change& item : in) {
    const int combining = combining_class(item.c);
    if (open && (last_class < 0 || last_class < combining)) {
      if (char32_t c = compose(out[starter].c, item.c)) {
        out[starter] = {c, out[starter].change + item.change - 1};
        continue;
      }
    }
    if (combining == 0) {
      open = true;
      starter = out.size();
      last_class = -1;
    } else if (open) {
      last_class = combining;
    }
    out.push_back(item);
  }
  return out;
}

}  // namespace

bool normalize_unicode(std::string_view text, NormalForm form, std::vector<Change>& changes) {
  const uint16_t flag = form == NormalForm::nfc    ? kNotNfc
                        : form == NormalForm::nfd  ? kNotNfd
                        : form == NormalForm::nfkc ? kNotNfkc
                                                   : kNotNfkd;
  bool done = true;
  for (size_t at = 0; at < text.size() && done;) {
    if (static_cast<unsigned char>(text[at]) < 0x80)
      ++at;
    else
      done = !has(decode_utf8(text, at), flag);
  }
  if (done) return false;
  const bool compatible = form == NormalForm::nfkc || form == NormalForm::nfkd;
  changes = Decomposer(compatible).run(text);
  if (form == NormalForm::nfc || form == NormalForm::nfkc) changes = recompose(changes);
  return true;
}

}  // namespace caravan::text
