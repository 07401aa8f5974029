// The built-in filters on text. Source: jinja2/filters.py 3.1.6, markupsafe 3.0, Python's textwrap.
#include <algorithm>

#include "caravan/base/markup.h"
#include "caravan/text/jinja_filters.h"
#include "caravan/text/jinja_text.h"

namespace caravan::text::jinja {
namespace {

bool is_markup(const Value& v) { return v.is(Kind::string) && v.text().markup; }

// str(v) as soft_str has it: a Markup stays one.
template <std::string (*F)(std::string_view)>
Value text_filter(Interpreter& in, const Value& v, Arguments& a) {
  a.bind("filter", {});
  const std::string text = to_text(v);
  in.budget().spend(static_cast<int64_t>(text.size() / 16));
  return in.string(F(text), is_markup(v));
}

Value string_filter(Interpreter& in, const Value& v, Arguments& a) {
  a.bind("string", {});
  return v.is(Kind::string) ? v : in.string(to_text(v));
}

Value safe_filter(Interpreter& in, const Value& v, Arguments& a) {
  a.bind("safe", {});
  return in.string(to_text(v), true);
}

Value escape_filter(Interpreter& in, const Value& v, Arguments& a) {
  a.bind("escape", {});
  if (is_markup(v)) return v;
  return in.string(escape_markup(to_text(v)), true);
}

Value forceescape_filter(Interpreter& in, const Value& v, Arguments& a) {
  a.bind("forceescape", {});
  return in.string(escape_markup(to_text(v)), true);
}

// do_title: words begin after spaces, hyphens and opening brackets.
std::string title_words(std::string_view s) {
  std::string out;
  for (size_t i = 0; i < s.size();) {
    const auto separates = [&](size_t at) {
      size_t k = at;
      const char32_t c = next_code_point(s, k);
      return c == '-' || c == '(' || c == '{' || c == '[' || c == '<' || is_space(c);
    };
    size_t end = i;
    const bool separator = separates(i);
    while (end < s.size() && separates(end) == separator) next_code_point(s, end);
    const std::string_view item = s.substr(i, end - i);
    size_t first = 0;
    next_code_point(item, first);
    out += upper(item.substr(0, first)) + lower(item.substr(first));
    i = end;
  }
  return out;
}

Value trim_filter(Interpreter& in, const Value& v, Arguments& a) {
  const auto args = a.bind("trim", {"chars"});
  const std::string text = to_text(v);
  if (!has(args[0])) return in.string(std::string(strip(text)), is_markup(v));
  if (!args[0].is(Kind::string)) raise(Raised::type, "strip arg must be None or str");
  return in.string(std::string(strip(text, args[0].str())), is_markup(v));
}

Value replace_filter(Interpreter& in, const Value& v, Arguments& a) {
  const auto args = a.bind("replace", {"old", "new", "count"}, 2);
  std::string s = to_text(v), to = to_text(args[1]);
  bool markup = false;
  if (in.autoescape()) {  // a Markup among the arguments makes one of the text, and that escapes what is put into it
    markup = is_markup(v);
    if (!markup && (is_markup(args[0]) || is_markup(args[1]))) s = escape_markup(s), markup = true;
    if (markup && !is_markup(args[1])) to = escape_markup(to);
  }
  return in.string(replace_text(in, s, to_text(args[0]), to, has(args[2]) ? to_index(args[2]) : -1), markup);
}

Value center_filter(Interpreter& in, const Value& v, Arguments& a) {
  const auto args = a.bind("center", {"width"});
  const Value text = v.is(Kind::string) ? v : in.string(to_text(v));
  Arguments method;
  method.positional = {given(args[0]) ? args[0] : Value(80)};
  return in.call(in.get_attribute(text, "center"), method);
}

const std::string& string_input(const Value& v, std::string_view what) {
  if (v.is(Kind::undefined)) raise_undefined(v);
  if (!v.is(Kind::string))
    raise(Raised::type, "unsupported operand type(s) for {}: '{}' and 'str'", what, type_name(v));
  return v.str();
}

Value indent_filter(Interpreter& in, const Value& v, Arguments& a) {
  const auto args = a.bind("indent", {"width", "first", "blank"});
  std::string indention(4, ' ');
  if (given(args[0]) && args[0].is(Kind::string)) {
    indention = args[0].str();
  } else if (given(args[0])) {
    const Int width = std::max<Int>(to_index(args[0]), 0);
    in.budget().check_string(width > 1 << 30 ? in.budget().string_bytes + 1 : static_cast<size_t>(width));
    indention.assign(static_cast<size_t>(width), ' ');
  }
  const std::vector<std::string> lines = splitlines(string_input(v, "+=") + "\n");
  std::string out;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i != 0) out += "\n";
    if (i == 0 ? flag(args[1]) : flag(args[2]) || !lines[i].empty()) out += indention;
    out += lines[i];
    in.budget().check_string(out.size());
  }
  return in.string(std::move(out), is_markup(v));
}

Value truncate_filter(Interpreter& in, const Value& v, Arguments& a) {
  const auto args = a.bind("truncate", {"length", "killwords", "end", "leeway"});
  const Int limit = given(args[0]) ? to_index(args[0]) : 255, leeway = has(args[3]) ? to_index(args[3]) : 5;
  const std::string end = given(args[2]) ? to_text(args[2]) : "...";
  const Int end_length = static_cast<Int>(code_points(end));
  if (limit < end_length)
    raise(Raised::runtime, "expected length >= {}, got {}", static_cast<int64_t>(end_length),
          static_cast<int64_t>(limit));
  if (leeway < 0) raise(Raised::runtime, "expected leeway >= 0, got {}", static_cast<int64_t>(leeway));
  if (static_cast<Int>(length(v)) <= limit + leeway) return v;
  const std::string& s = string_input(v, "+");
  std::string_view kept = std::string_view(s).substr(0, byte_offset(s, static_cast<size_t>(limit - end_length)));
  if (!flag(args[1])) kept = kept.substr(0, kept.rfind(' '));
  return in.string(std::string(kept) + end);
}

Value wordcount_filter(Interpreter&, const Value& v, Arguments& a) {
  a.bind("wordcount", {});
  const std::string s = to_text(v);
  size_t n = 0;
  bool in_word = false;
  for (size_t i = 0; i < s.size();) {
    const bool word = is_word(next_code_point(s, i));
    n += word && !in_word;
    in_word = word;
  }
  return Value(n);
}

// textwrap's chunks of a line: runs of spaces, and words cut after hyphens between letters.
std::vector<std::string> wrap_chunks(std::string_view line, bool hyphens) {
  std::vector<std::string> chunks;
  const auto space = [](char c) { return c == ' ' || (c >= '\t' && c <= '\r'); };
  const auto letter = [&](size_t i) {
    if (i >= line.size()) return false;
    return (line[i] & 0x80) != 0 || (line[i] >= 'a' && line[i] <= 'z') || (line[i] >= 'A' && line[i] <= 'Z') ||
           line[i] == '_';
  };
  for (size_t i = 0; i < line.size();) {
    size_t end = i + 1;
    while (end < line.size() && space(line[end]) == space(line[i])) {
      const bool cut = hyphens && !space(line[i]) && line[end - 1] == '-' && end - i >= 3 && letter(end - 2) &&
                       letter(end - 3) && letter(end) && letter(end + 1);
      if (cut) break;
      ++end;
    }
    chunks.emplace_back(line.substr(i, end - i));
    i = end;
  }
  return chunks;
}

std::vector<std::string> wrap_line(std::string_view line, size_t width, bool break_long, bool hyphens) {
  std::vector<std::string> chunks = wrap_chunks(line, hyphens), lines;
  const auto blank = [](const std::string& s) { return strip(s).empty(); };
  for (size_t i = 0; i < chunks.size();) {
    if (!lines.empty() && blank(chunks[i])) {
      ++i;
      continue;
    }
    std::vector<std::string> now;
    size_t n = 0;
    while (i < chunks.size() && n + code_points(chunks[i]) <= width) {
      n += code_points(chunks[i]);
      now.push_back(chunks[i++]);
    }
    if (i < chunks.size() && code_points(chunks[i]) > width) {  // too long for any line
      if (break_long) {
        size_t room = byte_offset(chunks[i], std::max<size_t>(width - n, 1));
        const size_t hyphen = hyphens ? chunks[i].substr(0, room).rfind('-') : std::string::npos;
        if (hyphen != std::string::npos && hyphen > 0 && chunks[i].find_first_not_of('-') < hyphen) room = hyphen + 1;
        now.push_back(chunks[i].substr(0, room));
        chunks[i].erase(0, room);
        if (chunks[i].empty()) ++i;
      } else if (now.empty()) {
        now.push_back(chunks[i++]);
      }
    }
    if (!now.empty() && blank(now.back())) now.pop_back();
    if (now.empty()) continue;
    std::string text;
    for (const std::string& chunk : now) text += chunk;
    lines.push_back(std::move(text));
  }
  return lines;
}

Value wordwrap_filter(Interpreter& in, const Value& v, Arguments& a) {
  const auto args = a.bind("wordwrap", {"width", "break_long_words", "wrapstring", "break_on_hyphens"});
  const Int width = given(args[0]) ? to_index(args[0]) : 79;
  if (width <= 0) raise(Raised::value, "invalid width {} (must be > 0)", static_cast<int64_t>(width));
  const std::string between = has(args[2]) ? to_text(args[2]) : "\n";
  in.budget().spend(static_cast<int64_t>(length(v)));
  std::string out;
  bool first = true;
  for (const std::string& line : splitlines(string_input(v, "+"))) {
    if (!std::exchange(first, false)) out += between;
    bool first_part = true;
    for (const std::string& part : wrap_line(line, static_cast<size_t>(std::min<Int>(width, 1 << 30)),
                                             !given(args[1]) || truth(args[1]), !given(args[3]) || truth(args[3]))) {
      if (!std::exchange(first_part, false)) out += between;
      out += part;
      in.budget().check_string(out.size());
    }
  }
  return in.string(std::move(out));
}

std::string url_quote(std::string_view s, bool query) {
  std::string out;
  for (unsigned char c : s) {
    const bool safe = std::isalnum(c) != 0 || c == '_' || c == '.' || c == '-' || c == '~' || (!query && c == '/');
    if (c < 0x80 && safe)
      out += static_cast<char>(c);
    else if (query && c == ' ')
      out += '+';
    else
      out += fmt::format("%{:02X}", c);
  }
  return out;
}

Value urlencode_filter(Interpreter& in, const Value& v, Arguments& a) {
  a.bind("urlencode", {});
  if (v.is(Kind::string) || !iterable(v)) return in.string(url_quote(to_text(v), false));
  std::string out;
  const auto add = [&](const Value& key, const Value& value) {
    if (!out.empty()) out += '&';
    out += url_quote(to_text(key), true) + "=" + url_quote(to_text(value), true);
    in.budget().check_string(out.size());
  };
  if (v.is(Kind::dict)) {
    for (const auto& [key, value] : v.dict().items) add(key, value);
  } else {
    for (const Value& pair : in.list_of(v)) {
      const auto parts = in.list_of(pair);
      if (parts.size() != 2) raise(Raised::value, "not enough values to unpack (expected 2, got {})", parts.size());
      add(parts[0], parts[1]);
    }
  }
  return in.string(std::move(out));
}

Value xmlattr_filter(Interpreter& in, const Value& v, Arguments& a) {
  const auto args = a.bind("xmlattr", {"autospace"});
  if (v.is(Kind::undefined)) raise_undefined(v);
  if (!v.is(Kind::dict)) raise(Raised::type, "'{}' object has no attribute 'items'", type_name(v));
  std::string out;
  for (const auto& [key, value] : v.dict().items) {
    if (value.is(Kind::none) || value.is(Kind::undefined)) continue;
    if (!key.is(Kind::string)) raise(Raised::type, "expected string or bytes-like object, got '{}'", type_name(key));
    if (key.str().find_first_of(" \t\n\r\f\v/>=") != std::string::npos)
      raise(Raised::value, "Invalid character in attribute name: {}", repr(key));
    const std::string text = is_markup(value) ? value.str() : escape_markup(to_text(value));
    out += fmt::format("{}{}=\"{}\"", out.empty() ? "" : " ", escape_markup(key.str()), text);
    in.budget().check_string(out.size());
  }
  if (!out.empty() && (!given(args[0]) || truth(args[0]))) out.insert(0, 1, ' ');
  return in.string(std::move(out), in.autoescape());
}

// html.unescape for the entities that occur in practice.
std::string unescape_html(std::string_view s) {
  static constexpr std::pair<std::string_view, std::string_view> kEntities[] = {
      {"&amp;", "&"}, {"&lt;", "<"},   {"&gt;", ">"},   {"&quot;", "\""},
      {"&#39;", "'"}, {"&#34;", "\""}, {"&apos;", "'"}, {"&nbsp;", "\u00a0"}};
  std::string out;
  for (size_t i = 0; i < s.size();) {
    const auto* e = s[i] != '&' ? std::end(kEntities)
                                : std::find_if(std::begin(kEntities), std::end(kEntities),
                                               [&](const auto& k) { return s.substr(i).starts_with(k.first); });
    if (e != std::end(kEntities)) {
      out += e->second;
      i += e->first.size();
    } else {
      out += s[i++];
    }
  }
  return out;
}

Value striptags_filter(Interpreter& in, const Value& v, Arguments& a) {
  a.bind("striptags", {});
  std::string s = to_text(v);
  const auto cut = [&](std::string_view open, std::string_view close) {
    std::string out;
    size_t i = 0;
    for (size_t begin = s.find(open); begin != std::string::npos; begin = s.find(open, i)) {
      const size_t end = s.find(close, begin + open.size());
      if (end == std::string::npos) break;
      out.append(s, i, begin - i);
      i = end + close.size();
    }
    s = out.append(s, i, std::string::npos);
  };
  cut("<!--", "-->");
  cut("<", ">");
  std::string out;
  for (const std::string& word : split_whitespace(s)) (out += out.empty() ? "" : " ") += word;
  return in.string(unescape_html(out));
}

Value format_filter(Interpreter& in, const Value& v, Arguments& a) {
  if (!a.positional.empty() && !a.keywords.empty())
    raise(Raised::runtime, "can't handle positional and keyword arguments at the same time");
  Value arguments;
  if (!a.keywords.empty()) {
    std::vector<std::pair<Value, Value>> items;
    for (auto& [name, value] : a.keywords) items.emplace_back(in.string(name), value);
    arguments = make_dict(in.budget(), std::move(items));
  } else {
    arguments = make_tuple(in.budget(), a.positional);
  }
  return in.string(python_format(in, to_text(v), arguments, is_markup(v)), is_markup(v));
}

constexpr FilterEntry kText[] = {{"capitalize", text_filter<capitalize>},
                                 {"center", center_filter},
                                 {"e", escape_filter},
                                 {"escape", escape_filter},
                                 {"forceescape", forceescape_filter},
                                 {"format", format_filter},
                                 {"indent", indent_filter},
                                 {"lower", text_filter<lower>},
                                 {"replace", replace_filter},
                                 {"safe", safe_filter},
                                 {"string", string_filter},
                                 {"striptags", striptags_filter},
                                 {"title", text_filter<title_words>},
                                 {"trim", trim_filter},
                                 {"truncate", truncate_filter},
                                 {"upper", text_filter<upper>},
                                 {"urlencode", urlencode_filter},
                                 {"wordcount", wordcount_filter},
                                 {"wordwrap", wordwrap_filter},
                                 {"xmlattr", xmlattr_filter}};

}  // namespace

std::span<const FilterEntry> text_filters() { return kText; }

std::string replace_text(Interpreter& in, const std::string& s, const std::string& from, const std::string& to,
                         Int limit) {
  std::string out;
  in.budget().spend_bytes(s.size() * 2);
  if (from.empty()) {
    for (size_t i = 0; limit != 0;) {
      out += to;
      --limit;
      if (i >= s.size()) return out;
      const size_t begin = i;
      next_code_point(s, i);
      out.append(s, begin, i - begin);
      in.budget().check_string(out.size());
      if (limit == 0) return out + s.substr(i);
    }
    return s;
  }
  size_t begin = 0;
  for (size_t at = s.find(from); at != std::string::npos && limit != 0; at = s.find(from, begin), --limit) {
    out.append(s, begin, at - begin);
    out += to;
    in.budget().check_string(out.size());
    begin = at + from.size();
  }
  return out.append(s, begin, std::string::npos);
}

}  // namespace caravan::text::jinja
