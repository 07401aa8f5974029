// The urlize filter: makes links of the addresses in a text. Source: jinja2.utils.urlize and jinja2.filters.do_urlize
// 3.1.6, whose regular expressions are kept.
#include <algorithm>
#include <set>

#include "caravan/base/markup.h"
#include "caravan/text/jinja_filters.h"
#include "caravan/text/jinja_text.h"
#include "caravan/text/regex.h"

namespace caravan::text::jinja {
namespace {

// Python's \w is a letter, number or underscore; the words that are matched hold no space.
constexpr const char* kHttp =
    "\\A(?:(?i)(?:(?:https?://|www\\.)(?:(?:[\\p{L}\\p{N}_%-]+\\.)+)?(?:[a-z]{2,63}|xn--[\\p{L}\\p{N}_%]{2,59})"
    "|(?:[\\p{L}\\p{N}_%-]{2,63}\\.)+(?:com|net|int|edu|gov|org|info|mil)"
    "|(?:https?://)(?:\\p{Nd}{1,3}(?:\\.\\p{Nd}{1,3}){3}|\\[(?:[\\p{Nd}a-f]{0,4}:){2}(?:[\\p{Nd}a-f]{0,4}:?){1,6}\\]))"
    "(?::\\p{Nd}{1,5})?(?:[/?#][\\s\\S]*)?)\\z";
constexpr const char* kEmail = "\\A[\\s\\S]+@[\\p{L}\\p{N}_][\\p{L}\\p{N}_.-]*\\.[\\p{L}\\p{N}_]+\\z";

bool matches(const Regex& regex, std::string_view text) {
  std::vector<Span> found;
  regex.find_all(text, found);
  return !found.empty();
}
bool is_http(std::string_view text) {
  static const Regex regex(kHttp, "urlize");
  return matches(regex, text);
}
bool is_email(std::string_view text) {
  static const Regex regex(kEmail, "urlize");
  return matches(regex, text);
}

size_t count(std::string_view text, std::string_view part) {
  size_t n = 0;
  for (size_t at = text.find(part); at != text.npos; at = text.find(part, at + part.size())) ++n;
  return n;
}

// A word without the brackets and full stops around it; brackets that it opens itself stay with it.
struct Cut {
  std::string_view head, middle, tail;
};

Cut cut_word(std::string_view word) {
  const auto skips = [](std::string_view s, std::initializer_list<std::string_view> marks, bool front) {
    for (const std::string_view mark : marks) {
      if (front ? s.starts_with(mark) : s.ends_with(mark)) return mark.size();
    }
    return size_t{0};
  };
  size_t begin = 0, end = word.size();
  while (const size_t n = skips(word.substr(begin), {"(", "<", "&lt;"}, true)) begin += n;
  while (const size_t n = skips(word.substr(begin, end - begin), {")", ">", ".", ",", "\n", "&gt;"}, false)) end -= n;
  static constexpr std::pair<std::string_view, std::string_view> kPairs[] = {{"(", ")"}, {"<", ">"}, {"&lt;", "&gt;"}};
  for (const auto& [open, close] : kPairs) {
    const size_t opened = count(word.substr(begin, end - begin), open);
    if (opened <= count(word.substr(begin, end - begin), close)) continue;
    const size_t moves = std::min(opened, count(word.substr(end), close));
    for (size_t i = 0; i < moves; ++i) end = word.find(close, end) + close.size();
  }
  return {word.substr(0, begin), word.substr(begin, end - begin), word.substr(end)};
}

struct Links {
  std::string attributes;  // rel and target
  std::optional<Int> limit;
  std::vector<std::string> schemes;

  std::string trimmed(std::string_view address) const {
    if (!limit || static_cast<Int>(code_points(address)) <= *limit) return std::string(address);
    const Int n = static_cast<Int>(code_points(address));
    const Int kept = *limit < 0 ? std::max<Int>(n + *limit, 0) : *limit;
    return std::string(address.substr(0, byte_offset(address, static_cast<size_t>(kept)))) + "...";
  }

  std::string of(std::string_view address) const {
    const auto link = [&](std::string_view prefix, const std::string& more, std::string_view text) {
      return fmt::format("<a href=\"{}{}\"{}>{}</a>", prefix, address, more, text);
    };
    if (is_http(address)) {
      const bool scheme = address.starts_with("https://") || address.starts_with("http://");
      return link(scheme ? "" : "https://", attributes, trimmed(address));
    }
    if (address.starts_with("mailto:") && is_email(address.substr(7))) return link("", "", address.substr(7));
    if (address.find('@') != address.npos && !address.starts_with("www.") && !address.starts_with("@") &&
        address.find(':') == address.npos && is_email(address))
      return link("mailto:", "", address);
    std::string out(address);
    for (const std::string& scheme : schemes) {
      if (out != scheme && out.starts_with(scheme)) out = fmt::format("<a href=\"{}\"{}>{}</a>", out, attributes, out);
    }
    return out;
  }
};

bool is_scheme(std::string_view s) {  // ^([\w.+-]{2,}:(/){0,2})$
  size_t n = 0, i = 0;
  while (i < s.size()) {
    size_t k = i;
    const char32_t c = next_code_point(s, k);
    if (!is_word(c) && c != '.' && c != '+' && c != '-') break;
    ++n;
    i = k;
  }
  const std::string_view rest = s.substr(i);
  return n >= 2 && (rest == ":" || rest == ":/" || rest == "://");
}

Links links_of(Interpreter& in, const std::vector<Value>& args) {
  Links links;
  if (has(args[0])) links.limit = to_index(args[0]);
  std::set<std::string> rel = {"noopener"};
  if (has(args[3]) && truth(args[3])) {
    if (!args[3].is(Kind::string)) raise(Raised::type, "'{}' object has no attribute 'split'", type_name(args[3]));
    for (std::string& part : split_whitespace(args[3].str())) rel.insert(std::move(part));
  }
  if (flag(args[1])) rel.insert("nofollow");
  std::string names;
  for (const std::string& part : rel) names += (names.empty() ? "" : " ") + part;
  links.attributes = fmt::format(" rel=\"{}\"", escape_markup(names));
  if (has(args[2]) && truth(args[2])) {
    const bool markup = args[2].is(Kind::string) && args[2].text().markup;
    links.attributes += fmt::format(" target=\"{}\"", markup ? args[2].str() : escape_markup(to_text(args[2])));
  }
  if (has(args[4])) {
    for (const Value& scheme : in.list_of(args[4])) {
      if (!scheme.is(Kind::string))
        raise(Raised::type, "expected string or bytes-like object, got '{}'", type_name(scheme));
      if (!is_scheme(scheme.str())) raise(Raised::runtime, "{} is not a valid URI scheme prefix.", repr(scheme));
      links.schemes.push_back(scheme.str());
    }
  }
  return links;
}

Value urlize_filter(Interpreter& in, const Value& v, Arguments& a) {
  const auto args = a.bind("urlize", {"trim_url_limit", "nofollow", "target", "rel", "extra_schemes"});
  const Links links = links_of(in, args);
  const bool markup = v.is(Kind::string) && v.text().markup;
  const std::string text = markup ? v.str() : escape_markup(to_text(v));
  in.budget().spend_bytes(text.size() * 16);
  std::string out;
  for (size_t begin = 0; begin < text.size();) {
    size_t first = begin, end = begin;
    const bool space = is_space(next_code_point(text, first));
    while (end < text.size()) {
      size_t i = end;
      if (is_space(next_code_point(text, i)) != space) break;
      end = i;
    }
    const std::string_view word = std::string_view(text).substr(begin, end - begin);
    begin = end;
    if (space) {
      out += word;
    } else {
      const Cut cut = cut_word(word);
      (out += cut.head) += links.of(cut.middle);
      out += cut.tail;
    }
    in.budget().check_string(out.size());
  }
  return in.string(std::move(out), in.autoescape());
}

constexpr FilterEntry kLinks[] = {{"urlize", urlize_filter}};

}  // namespace

std::span<const FilterEntry> link_filters() { return kLinks; }

}  // namespace caravan::text::jinja
