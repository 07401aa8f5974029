// The pre-tokenizers of pre_tokenizer.h, each cutting as Hugging Face tokenizers 0.23 does.
#include "caravan/text/pre_tokenizer.h"

#include <functional>
#include <optional>

#include "caravan/base/error.h"
#include "caravan/text/byte_level.h"
#include "caravan/text/normalizer.h"
#include "caravan/text/split_scanner.h"
#include "caravan/text/unicode.h"

namespace caravan::text {
namespace {

enum class Behavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

Behavior parse_behavior(const std::string& name, std::string_view where) {
  if (name == "Removed") return Behavior::removed;
  if (name == "Isolated") return Behavior::isolated;
  if (name == "MergedWithPrevious") return Behavior::merged_with_previous;
  if (name == "MergedWithNext") return Behavior::merged_with_next;
  if (name == "Contiguous") return Behavior::contiguous;
  fail_file(FileFault::unsupported, where, "split behavior \"{}\" is unknown", name);
}

struct Part {
  uint32_t begin, end;
  bool match;
};

// Matches and what lies between them, in order.
void with_gaps(std::span<const Span> matches, size_t size, bool invert, std::vector<Part>& parts) {
  uint32_t last = 0;
  for (const Span& m : matches) {
    if (m.begin != last) parts.push_back({last, m.begin, invert});
    parts.push_back({m.begin, m.end, !invert});
    last = m.end;
  }
  if (last != size) parts.push_back({last, static_cast<uint32_t>(size), invert});
}

// Joins parts by the behaviour: a delimiter goes with its neighbour unless the part visited before was one too.
void cut_parts(std::span<const Part> parts, Behavior behavior, const Cut& cut) {
  std::vector<Part> out;
  auto previous = [&](const Part& part, bool joins) {
    if (joins && !out.empty())
      out.back().end = part.end;
    else
      out.push_back(part);
  };
  bool last = false;
  if (behavior == Behavior::merged_with_next) {
    for (size_t i = parts.size(); i-- > 0; last = parts[i].match) {
      if (parts[i].match && !last && !out.empty())
        out.back().begin = parts[i].begin;
      else
        out.push_back(parts[i]);
    }
    for (auto p = out.rbegin(); p != out.rend(); ++p) cut(p->begin, p->end);
    return;
  }
  for (const Part& part : parts) {
    if (behavior == Behavior::isolated)
      cut(part.begin, part.end);
    else if (behavior == Behavior::removed)
      part.match ? void() : cut(part.begin, part.end);
    else
      previous(part, behavior == Behavior::contiguous ? part.match == last : part.match && !last);
    last = part.match;
  }
  for (const Part& part : out) cut(part.begin, part.end);
}

// Splits where a character satisfies `is`; each such character is a match of its own.
template <class F>
void split_characters(Pieces& pieces, Behavior behavior, F is) {
  if (behavior == Behavior::removed || behavior == Behavior::isolated)
    return pieces.split([&](std::string_view text, const Cut& cut) {
      size_t last = 0;
      for (size_t at = 0; at < text.size();) {
        const size_t begin = at;
        if (!is(decode_utf8(text, at))) continue;
        cut(last, begin);
        if (behavior == Behavior::isolated) cut(begin, at);
        last = at;
      }
      cut(last, text.size());
    });
  std::vector<Part> parts;
  pieces.split([&](std::string_view text, const Cut& cut) {
    parts.clear();
    uint32_t last = 0;
    for (size_t at = 0; at < text.size();) {
      const uint32_t begin = static_cast<uint32_t>(at);
      if (!is(decode_utf8(text, at))) continue;
      if (last < begin) parts.push_back({last, begin, false});
      parts.push_back({begin, static_cast<uint32_t>(at), true});
      last = static_cast<uint32_t>(at);
    }
    if (last < text.size()) parts.push_back({last, static_cast<uint32_t>(text.size()), false});
    cut_parts(parts, behavior, cut);
  });
}

class Simple : public PreTokenizer {
 public:
  explicit Simple(std::function<void(Pieces&)> apply) : apply_(std::move(apply)) {}
  void apply(Pieces& pieces) const override { apply_(pieces); }

 private:
  std::function<void(Pieces&)> apply_;
};

class PreTokenizerSequence : public PreTokenizer {
 public:
  explicit PreTokenizerSequence(std::vector<std::unique_ptr<PreTokenizer>> steps) : steps_(std::move(steps)) {}
  void apply(Pieces& pieces) const override {
    for (const auto& step : steps_) step->apply(pieces);
  }
  bool defer_byte_level() override { return !steps_.empty() && steps_.back()->defer_byte_level(); }
  bool needs_origin() const override {
    for (const auto& step : steps_)
      if (step->needs_origin()) return true;
    return false;
  }

 private:
  std::vector<std::unique_ptr<PreTokenizer>> steps_;
};

// Cuts at every end that a scanner reports.
void scan_pieces(Pieces& pieces, const SplitScanner& scanner) {
  std::vector<uint32_t> ends;
  pieces.split([&](std::string_view text, const Cut& cut) {
    ends.clear();
    scanner.scan(text, ends);
    uint32_t begin = 0;
    for (uint32_t end : ends) {
      cut(begin, end);
      begin = end;
    }
  });
}

class Split : public PreTokenizer {
 public:
  Split(const Json& json, std::string_view where)
      : pattern_(json.value("pattern", Json()), where),
        behavior_(parse_behavior(get_string(json, "behavior", where), where)),
        invert_(get_bool(json, "invert", where)) {
    if (behavior_ == Behavior::isolated && pattern_.regex()) scanner_ = SplitScanner::recognize(*pattern_.regex());
  }

  void apply(Pieces& pieces) const override {
    if (scanner_) return scan_pieces(pieces, *scanner_);
    std::vector<Span> matches;
    std::vector<Part> parts;
    pieces.split([&](std::string_view text, const Cut& cut) {
      matches.clear();
      parts.clear();
      pattern_.find_all(text, matches);
      with_gaps(matches, text.size(), invert_, parts);
      cut_parts(parts, behavior_, cut);
    });
  }

 private:
  Pattern pattern_;
  Behavior behavior_;
  bool invert_;
  std::optional<SplitScanner> scanner_;
};

class ByteLevel : public PreTokenizer {
 public:
  ByteLevel(const Json& json, std::string_view where)
      : prefix_space_(get_bool(json, "add_prefix_space", where)),
        use_regex_(get_bool(json, "use_regex", where, true)) {}

  void apply(Pieces& pieces) const override {
    static const SplitScanner scanner =
        *SplitScanner::recognize(R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)");
    if (prefix_space_)
      pieces.rewrite([](AlignedText& text) {
        if (!text.text().starts_with(' ')) text.prepend(" ");
      });
    if (use_regex_) scan_pieces(pieces, scanner);
    if (!deferred_) pieces.rewrite([](AlignedText& text) { to_byte_level(text); });
  }
  bool defer_byte_level() override { return deferred_ = true; }

 private:
  static void to_byte_level(AlignedText& text) {
    std::vector<Change> changes;
    changes.reserve(text.text().size());
    for (char b : text.text()) {
      const bool continues = (static_cast<unsigned char>(b) & 0xC0) == 0x80;
      changes.push_back({byte_character(static_cast<unsigned char>(b)), continues});
    }
    text.transform(changes);
  }

  bool prefix_space_, use_regex_, deferred_ = false;
};

class Metaspace : public PreTokenizer {
 public:
  Metaspace(const Json& json, std::string_view where)
      : replacement_(get_string(json, "replacement", where)), split_(get_bool(json, "split", where, true)) {
    check_file(count_characters(replacement_) == 1, FileFault::json, where,
               "Metaspace's replacement must be one character, got \"{}\"", replacement_);
    scheme_ =
        get_string(json, "prepend_scheme", where, get_bool(json, "add_prefix_space", where, true) ? "always" : "never");
    check_file(scheme_ == "always" || scheme_ == "first" || scheme_ == "never", FileFault::unsupported, where,
               "Metaspace's prepend_scheme \"{}\" is unknown", scheme_);
    check_file(get_bool(json, "add_prefix_space", where, true) || scheme_ == "never", FileFault::json, where,
               "Metaspace: add_prefix_space does not match prepend_scheme \"{}\"", scheme_);
  }

  void apply(Pieces& pieces) const override {
    std::vector<Span> spaces;
    pieces.rewrite([&](AlignedText& text) {
      const bool prefix = scheme_ == "always" || (scheme_ == "first" && text.origin() == 0);
      spaces.clear();
      const std::string_view old = text.text();
      for (size_t at = old.find(' '); at != std::string_view::npos; at = old.find(' ', at + 1))
        spaces.push_back({static_cast<uint32_t>(at), static_cast<uint32_t>(at + 1)});
      text.replace(spaces, replacement_);
      if (prefix && !text.text().starts_with(replacement_)) text.prepend(replacement_);
    });
    if (split_)
      pieces.split([&](std::string_view text, const Cut& cut) {  // each replacement starts a part
        size_t begin = 0;
        for (size_t at = text.find(replacement_, 1); at != std::string_view::npos;
             at = text.find(replacement_, at + 1)) {
          cut(begin, at);
          begin = at;
        }
        cut(begin, text.size());
      });
  }
  bool needs_origin() const override { return scheme_ == "first"; }

 private:
  std::string replacement_, scheme_;
  bool split_;
};

// \w+|[^\w\s]+, the rest removed.
void split_words(Pieces& pieces) {
  pieces.split([](std::string_view text, const Cut& cut) {
    auto kind = [](char32_t c) { return has(c, kWord) ? 1 : has(c, kSpace) ? 0 : 2; };
    size_t begin = 0;
    int last = 0;
    for (size_t at = 0; at < text.size();) {
      const size_t here = at;
      const int k = kind(decode_utf8(text, at));
      if (k == last) continue;
      if (last != 0) cut(begin, here);
      begin = here;
      last = k;
    }
    if (last != 0) cut(begin, text.size());
  });
}

void split_scripts(Pieces& pieces) {
  pieces.split([](std::string_view text, const Cut& cut) {
    uint32_t last = 0;
    size_t begin = std::string_view::npos;  // what comes before the first script is lost, as in the reference
    for (size_t at = 0; at < text.size();) {
      const size_t here = at;
      const uint32_t script = script_class(decode_utf8(text, at));
      if (script == 0) continue;
      if (script != last) {
        if (begin != std::string_view::npos) cut(begin, here);
        begin = here;
      }
      last = script;
    }
    if (begin != std::string_view::npos) cut(begin, text.size());
  });
}

void split_fixed(Pieces& pieces, size_t length) {
  pieces.split([&](std::string_view text, const Cut& cut) {
    size_t begin = 0, n = 0;
    for (size_t at = 0; at < text.size();) {
      at += utf8_length(static_cast<unsigned char>(text[at]));
      if (++n % length == 0 || at >= text.size()) {
        cut(begin, at);
        begin = at;
      }
    }
  });
}

template <class F>
std::unique_ptr<PreTokenizer> characters(Behavior behavior, F is) {
  return std::make_unique<Simple>([behavior, is](Pieces& p) { split_characters(p, behavior, is); });
}

std::unique_ptr<PreTokenizer> make_delimiter(const Json& json, std::string_view where) {
  const std::string delimiter = get_string(json, "delimiter", where);
  check_file(count_characters(delimiter) == 1, FileFault::json, where,
             "CharDelimiterSplit's delimiter must be one character, got \"{}\"", delimiter);
  size_t at = 0;
  const char32_t wanted = decode_utf8(delimiter, at);
  return characters(Behavior::removed, [wanted](char32_t c) { return c == wanted; });
}

std::unique_ptr<PreTokenizer> make_sequence(const Json& json, std::string_view where, int depth) {
  std::vector<std::unique_ptr<PreTokenizer>> steps;
  for (const Json& step : component_list(json, "pretokenizers", where))
    if (auto made = make_pre_tokenizer(step, where, depth + 1)) steps.push_back(std::move(made));
  return std::make_unique<PreTokenizerSequence>(std::move(steps));
}

}  // namespace

std::unique_ptr<PreTokenizer> make_pre_tokenizer(const Json& json, std::string_view where, int depth) {
  if (json.is_null()) return nullptr;
  const std::string type = component_type(json, "pre_tokenizer", where, depth);
  auto punctuation = [](char32_t c) { return has(c, kPunctuation); };
  auto space = [](char32_t c) { return has(c, kSpace); };
  if (type == "Sequence") return make_sequence(json, where, depth);
  if (type == "Split") return std::make_unique<Split>(json, where);
  if (type == "ByteLevel") return std::make_unique<ByteLevel>(json, where);
  if (type == "Metaspace") return std::make_unique<Metaspace>(json, where);
  if (type == "Whitespace") return std::make_unique<Simple>(split_words);
  if (type == "WhitespaceSplit") return characters(Behavior::removed, space);
  if (type == "UnicodeScripts") return std::make_unique<Simple>(split_scripts);
  if (type == "CharDelimiterSplit") return make_delimiter(json, where);
  if (type == "Punctuation")
    return characters(parse_behavior(get_string(json, "behavior", where, "Isolated"), where), punctuation);
  if (type == "Digits")
    return characters(get_bool(json, "individual_digits", where) ? Behavior::isolated : Behavior::contiguous,
                      [](char32_t c) { return has(c, kDigit); });
  if (type == "FixedLength") {
    const auto length = static_cast<size_t>(get_int(json, "length", where, {.min = 1}, 5));
    return std::make_unique<Simple>([length](Pieces& p) { split_fixed(p, length); });
  }
  if (type == "BertPreTokenizer")
    return std::make_unique<Simple>([=](Pieces& p) {
      split_characters(p, Behavior::removed, space);
      split_characters(p, Behavior::isolated, punctuation);
    });
  fail_file(FileFault::unsupported, where, "pre_tokenizer of unknown type \"{}\"", type);
}

}  // namespace caravan::text
