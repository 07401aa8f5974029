// The normalizers of normalizer.h. Each does to characters what Hugging Face tokenizers 0.23 does; fast ways out for
// ASCII.
#include "caravan/text/normalizer.h"

#include <utf8proc.h>

#include <functional>

#include "caravan/base/error.h"
#include "caravan/text/byte_level.h"
#include "caravan/text/precompiled_charsmap.h"
#include "caravan/text/regex.h"
#include "caravan/text/unicode.h"
#include "caravan/text/unicode_normalization.h"

namespace caravan::text {
namespace {

template <class F>
void each_character(std::string_view text, F f) {
  for (size_t at = 0; at < text.size();) f(decode_utf8(text, at));
}

// Drops the characters for which `keep` is false.
template <class F>
void filter(AlignedText& text, F keep) {
  bool dropped = false;
  each_character(text.text(), [&](char32_t c) { dropped |= !keep(c); });
  if (!dropped) return;
  std::vector<Change> changes;
  size_t leading = 0;
  each_character(text.text(), [&](char32_t c) {
    if (keep(c)) return changes.push_back({c, 0});
    if (changes.empty())
      ++leading;
    else
      --changes.back().change;
  });
  text.transform(changes, leading);
}

// Replaces each character by another one.
template <class F>
void map(AlignedText& text, F to) {
  if (is_ascii(text.text())) {
    bool differs = false;
    for (char c : text.text()) differs = differs || to(static_cast<char32_t>(c)) != static_cast<char32_t>(c);
    if (differs) text.map_bytes([&](char c) { return static_cast<char>(to(static_cast<char32_t>(c))); });
    return;
  }
  std::vector<Change> changes;
  bool differs = false;
  each_character(text.text(), [&](char32_t c) {
    changes.push_back({to(c), 0});
    differs = differs || changes.back().c != c;
  });
  if (differs) text.transform(changes);
}

void lowercase_all(AlignedText& text) {
  if (is_ascii(text.text())) return map(text, [](char32_t c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; });
  std::vector<Change> changes;
  each_character(text.text(), [&](char32_t c) {
    char32_t second;
    changes.push_back({lowercase(c, second), 0});
    if (second) changes.push_back({second, 1});
  });
  text.transform(changes);
}

void normalize_form(AlignedText& text, NormalForm form) {
  std::vector<Change> changes;
  if (normalize_unicode(text.text(), form, changes)) text.transform(changes);
}

// A normalizer without state but its arguments.
class Simple : public Normalizer {
 public:
  explicit Simple(std::function<void(AlignedText&)> apply) : apply_(std::move(apply)) {}
  void apply(AlignedText& text) const override { apply_(text); }

 private:
  std::function<void(AlignedText&)> apply_;
};

class NormalizerSequence : public Normalizer {
 public:
  explicit NormalizerSequence(std::vector<std::unique_ptr<Normalizer>> steps) : steps_(std::move(steps)) {}
  void apply(AlignedText& text) const override {
    for (const auto& step : steps_) step->apply(text);
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> steps_;
};

bool is_chinese(char32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
         (c >= 0x2A700 && c <= 0x2B73F) || (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

struct BertOptions {
  bool clean = true, chinese = true, accents = true, lower = true;
};

void bert(AlignedText& text, const BertOptions& options) {
  if (options.clean) {
    filter(text, [](char32_t c) { return c != 0 && c != 0xFFFD && !has(c, kControl); });
    map(text, [](char32_t c) { return has(c, kSpace) ? U' ' : c; });
  }
  if (options.chinese && !is_ascii(text.text())) {
    std::vector<Change> changes;
    bool found = false;
    each_character(text.text(), [&](char32_t c) {
      if (!is_chinese(c)) return changes.push_back({c, 0});
      found = true;
      changes.insert(changes.end(), {{U' ', 0}, {c, 1}, {U' ', 1}});
    });
    if (found) text.transform(changes);
  }
  if (options.accents) {
    normalize_form(text, NormalForm::nfd);
    if (!is_ascii(text.text())) filter(text, [](char32_t c) { return !has(c, kNonspacing); });
  }
  if (options.lower) lowercase_all(text);
}

void nmt(AlignedText& text) {
  filter(text, [](char32_t c) {
    return !((c >= 1 && c <= 8) || c == 0x0B || (c >= 0x0E && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F);
  });
  map(text, [](char32_t c) {
    const bool blank = c == 9 || c == 10 || c == 12 || c == 13 || c == 0x1680 || (c >= 0x200B && c <= 0x200F) ||
                       c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF || c == 0xFFFD;
    return blank ? U' ' : c;
  });
}

void strip(AlignedText& text, bool left, bool right) {
  const std::string_view old = text.text();
  size_t begin = 0, end = old.size(), leading = 0;
  for (size_t at = 0; left && at < end;) {
    if (!has(decode_utf8(old, at), kSpace)) break;
    begin = at;
    ++leading;
  }
  for (size_t at = end; right && at > begin;) {
    if (!has(decode_utf8_before(old, at), kSpace)) break;
    end = at;
  }
  if (begin == 0 && end == old.size()) return;
  std::vector<Change> changes;
  each_character(old.substr(begin, end - begin), [&](char32_t c) { changes.push_back({c, 0}); });
  text.transform(changes, leading);
}

void byte_level(AlignedText& text) {
  std::vector<Change> changes;
  const std::string_view old = text.text();
  for (char b : old) {
    const bool continues = (static_cast<unsigned char>(b) & 0xC0) == 0x80;
    changes.push_back({byte_character(static_cast<unsigned char>(b)), continues});
  }
  if (!old.empty()) text.transform(changes);
}

class Precompiled : public Normalizer {
 public:
  explicit Precompiled(PrecompiledCharsmap map) : map_(std::move(map)) {}

  void apply(AlignedText& text) const override {
    std::vector<Change> changes;
    bool modified = false;
    const std::string_view old = text.text();
    for (size_t at = 0; at < old.size();) {
      const std::string_view cluster = old.substr(at, cluster_size(old, at));
      at += cluster.size();
      if (cluster.size() < 6 && substitute(changes, cluster)) {  // as the reference: a whole cluster by its first rule
        modified = true;
        continue;
      }
      for (size_t i = 0; i < cluster.size();) {
        const size_t begin = i;
        const char32_t c = decode_utf8(cluster, i);
        if (substitute(changes, cluster.substr(begin, i - begin)))
          modified = true;
        else
          changes.push_back({c, 0});
      }
    }
    if (modified) text.transform(changes);
  }

 private:
  // Bytes of the extended grapheme cluster (UAX 29) at `at`.
  static size_t cluster_size(std::string_view text, size_t at) {
    size_t end = at;
    char32_t c = decode_utf8(text, end);
    utf8proc_int32_t state = 0;
    while (end < text.size()) {
      size_t next = end;
      const char32_t d = decode_utf8(text, next);
      if (c < 0x300 && d < 0x300 && c != '\r') break;
      if (utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(c), static_cast<utf8proc_int32_t>(d), &state))
        break;
      c = d;
      end = next;
    }
    return end - at;
  }

  bool substitute(std::vector<Change>& changes, std::string_view part) const {
    const auto to = map_.find(part);
    if (!to) return false;
    const int64_t grown = static_cast<int64_t>(count_characters(*to)) - static_cast<int64_t>(count_characters(part));
    const size_t before = changes.size();
    each_character(*to, [&](char32_t c) { changes.push_back({c, 0}); });
    for (int64_t i = 0; i < grown; ++i) changes[changes.size() - 1 - static_cast<size_t>(i)].change = 1;
    if (grown < 0 && (changes.size() > before || before > 0)) changes.back().change += static_cast<int32_t>(grown);
    return true;
  }

  PrecompiledCharsmap map_;
};

class Replace : public Normalizer {
 public:
  Replace(const Json& json, std::string_view where)
      : pattern_(json.value("pattern", Json()), where), content_(get_string(json, "content", where)) {}
  void apply(AlignedText& text) const override {
    std::vector<Span> matches;
    pattern_.find_all(text.text(), matches);
    text.replace(matches, content_);
  }

 private:
  Pattern pattern_;
  std::string content_;
};

template <class F>
std::unique_ptr<Normalizer> simple(F f) {
  return std::make_unique<Simple>(std::move(f));
}

std::unique_ptr<Normalizer> make_bert(const Json& json, std::string_view where) {
  BertOptions options;
  options.clean = get_bool(json, "clean_text", where, true);
  options.chinese = get_bool(json, "handle_chinese_chars", where, true);
  options.lower = get_bool(json, "lowercase", where, true);
  options.accents = get_bool(json, "strip_accents", where, options.lower);
  return simple([options](AlignedText& t) { bert(t, options); });
}

}  // namespace

std::string component_type(const Json& json, std::string_view what, std::string_view where, int depth) {
  check_file(json.is_object(), FileFault::type, where, "a {} must be an object", what);
  check_file(depth < 16, FileFault::limit, where, "{}s are nested more than 16 deep", what);
  return get_string(json, "type", where);
}

const Json& component_list(const Json& json, std::string_view key, std::string_view where) {
  const Json* list = find_member(json, key);
  check_file(list && list->is_array(), FileFault::json, where, "\"{}\" must be an array", key);
  return *list;
}

std::unique_ptr<Normalizer> make_normalizer(const Json& json, std::string_view where, int depth) {
  if (json.is_null()) return nullptr;
  const std::string type = component_type(json, "normalizer", where, depth);
  if (type == "Sequence") {
    std::vector<std::unique_ptr<Normalizer>> steps;
    for (const Json& step : component_list(json, "normalizers", where))
      if (auto made = make_normalizer(step, where, depth + 1)) steps.push_back(std::move(made));
    return std::make_unique<NormalizerSequence>(std::move(steps));
  }
  if (type == "NFC") return simple([](AlignedText& t) { normalize_form(t, NormalForm::nfc); });
  if (type == "NFD") return simple([](AlignedText& t) { normalize_form(t, NormalForm::nfd); });
  if (type == "NFKC") return simple([](AlignedText& t) { normalize_form(t, NormalForm::nfkc); });
  if (type == "NFKD") return simple([](AlignedText& t) { normalize_form(t, NormalForm::nfkd); });
  if (type == "Nmt") return simple(nmt);
  if (type == "Lowercase") return simple(lowercase_all);
  if (type == "StripAccents")
    return simple([](AlignedText& t) { filter(t, [](char32_t c) { return !has(c, kMark); }); });
  if (type == "ByteLevel") return simple(byte_level);
  if (type == "BertNormalizer") return make_bert(json, where);
  if (type == "Replace") return std::make_unique<Replace>(json, where);
  if (type == "Prepend")
    return simple([text = get_string(json, "prepend", where)](AlignedText& t) { t.prepend(text); });
  if (type == "Strip") {
    const bool left = get_bool(json, "strip_left", where), right = get_bool(json, "strip_right", where);
    return simple([left, right](AlignedText& t) { strip(t, left, right); });
  }
  if (type == "Precompiled") {
    const std::string blob = decode_base64(get_string(json, "precompiled_charsmap", where, ""), where);
    return std::make_unique<Precompiled>(PrecompiledCharsmap(blob, where));
  }
  fail_file(FileFault::unsupported, where, "normalizer of unknown type \"{}\"", type);
}

struct Pattern::Matcher {
  Regex regex;
};

Pattern::Pattern(const Json& json, std::string_view where) {
  check_file(json.is_object() && json.size() == 1, FileFault::json, where,
             "a pattern must be {{\"String\": ...}} or {{\"Regex\": ...}}");
  if (const Json* text = find_member(json, "String")) {
    check_file(text->is_string(), FileFault::type, where, "a pattern must be a string");
    text_ = text->get<std::string>();
    return;
  }
  text_ = get_string(json, "Regex", where);
  regex_ = std::make_unique<Matcher>(Matcher{Regex(text_, std::string(where))});
}

Pattern::~Pattern() = default;
Pattern::Pattern(Pattern&&) noexcept = default;

void Pattern::find_all(std::string_view text, std::vector<Span>& matches) const {
  if (text.empty()) return;
  if (regex_) return regex_->regex.find_all(text, matches);
  if (text_.empty()) {
    for (size_t at = 0; at <= text.size();
         at += at < text.size() ? utf8_length(static_cast<unsigned char>(text[at])) : 1)
      matches.push_back({static_cast<uint32_t>(at), static_cast<uint32_t>(at)});
    return;
  }
  for (size_t at = text.find(text_); at != std::string_view::npos; at = text.find(text_, at + text_.size()))
    matches.push_back({static_cast<uint32_t>(at), static_cast<uint32_t>(at + text_.size())});
}

}  // namespace caravan::text
