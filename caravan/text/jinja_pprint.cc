// The pprint filter: Python's pprint.pformat(value) with its defaults, 80 columns and sorted dicts.
// Source: CPython 3.11's pprint.py, whose method names are kept.
#include <algorithm>

#include "caravan/text/jinja_filters.h"
#include "caravan/text/jinja_text.h"

namespace caravan::text::jinja {
namespace {

constexpr Int kWidth = 80;

// pprint._safe_key: what cannot be ordered is ordered by its type's name.
bool key_less(const Value& a, const Value& b) {
  try {
    return less(a, b);
  } catch (const PythonError&) {
    return type_name(a) < type_name(b);
  }
}

using Item = std::pair<Value, Value>;

std::vector<Item> sorted_items(const Dict& dict) {
  std::vector<Item> items = dict.items;
  std::stable_sort(items.begin(), items.end(), [](const Item& a, const Item& b) {
    const bool first = key_less(a.first, b.first);
    if (first || key_less(b.first, a.first)) return first;
    return key_less(a.second, b.second);
  });
  return items;
}

class Printer {
 public:
  explicit Printer(Interpreter& in) : in_(in) {}

  // allowance: columns that what follows on the last line needs.
  void format(const Value& v, Int indent, Int allowance, int level) {
    const std::string rep = safe_repr(v);
    in_.budget().spend(1);
    in_.budget().check_string(out_.size() + rep.size());
    if (static_cast<Int>(code_points(rep)) > kWidth - indent - allowance) {
      if (v.is(Kind::dict)) return pprint_dict(v.dict(), indent, allowance, level + 1);
      if (v.is(Kind::list)) return pprint_items(v.items(), "[", "]", indent, allowance, level + 1);
      if (v.is(Kind::tuple) && !is_group(v))
        return pprint_items(v.items(), "(", v.items().size() == 1 ? ",)" : ")", indent, allowance, level + 1);
      if (v.is(Kind::string) && !v.text().markup) return pprint_str(v.str(), rep, indent, allowance, level + 1);
    }
    out_ += rep;
  }
  std::string take() { return std::move(out_); }

 private:
  static bool is_group(const Value& v) { return static_cast<const Sequence*>(v.object())->group; }

  void new_line(Int indent) {
    in_.budget().check_string(out_.size() + static_cast<size_t>(indent));
    (out_ += '\n').append(static_cast<size_t>(indent), ' ');
  }

  void pprint_dict(const Dict& dict, Int indent, Int allowance, int level) {
    out_ += '{';
    const std::vector<Item> items = sorted_items(dict);
    for (size_t i = 0; i < items.size(); ++i) {
      if (i != 0) out_ += ',', new_line(indent + 1);
      const std::string rep = safe_repr(items[i].first);
      out_ += rep + ": ";
      format(items[i].second, indent + 1 + static_cast<Int>(code_points(rep)) + 2,
             i + 1 == items.size() ? allowance + 1 : 1, level);
    }
    out_ += '}';
  }

  void pprint_items(const std::vector<Value>& items, std::string_view open, std::string_view close, Int indent,
                    Int allowance, int level) {
    out_ += open;
    for (size_t i = 0; i < items.size(); ++i) {
      if (i != 0) out_ += ',', new_line(indent + 1);
      format(items[i], indent + 1, i + 1 == items.size() ? allowance + static_cast<Int>(close.size()) : 1, level);
    }
    out_ += close;
  }

  // The words of a line, each with the space behind it.
  static std::vector<std::string_view> words(std::string_view line) {
    std::vector<std::string_view> parts;
    for (size_t begin = 0; begin < line.size();) {
      size_t end = begin;
      bool in_space = false;
      while (end < line.size()) {
        size_t i = end;
        const bool space = is_space(next_code_point(line, i));
        if (in_space && !space) break;
        in_space = space;
        end = i;
      }
      parts.push_back(line.substr(begin, end - begin));
      begin = end;
    }
    return parts;
  }

  void wrap_line(std::string_view line, bool last_line, Int width, Int allowance, std::vector<std::string>& chunks) {
    const std::vector<std::string_view> parts = words(line);
    std::string current;
    for (size_t j = 0; j < parts.size(); ++j) {
      const std::string candidate = current + std::string(parts[j]);
      in_.budget().spend_bytes(candidate.size() * 4);
      if (last_line && j + 1 == parts.size()) width -= allowance;
      if (static_cast<Int>(code_points(repr_string(candidate))) > width) {
        if (!current.empty()) chunks.push_back(repr_string(current));
        current = parts[j];
      } else {
        current = candidate;
      }
    }
    if (!current.empty()) chunks.push_back(repr_string(current));
  }

  void pprint_str(const std::string& text, const std::string& whole, Int indent, Int allowance, int level) {
    if (level == 1) ++indent, ++allowance;
    const std::vector<std::string> lines = splitlines(text, true);
    std::vector<std::string> chunks;
    std::string rep = whole;
    for (size_t i = 0; i < lines.size(); ++i) {
      const bool last = i + 1 == lines.size();
      rep = repr_string(lines[i]);
      if (static_cast<Int>(code_points(rep)) <= kWidth - indent - (last ? allowance : 0))
        chunks.push_back(rep);
      else
        wrap_line(lines[i], last, kWidth - indent, allowance, chunks);
    }
    if (chunks.size() == 1) {
      out_ += rep;
      return;
    }
    if (level == 1) out_ += '(';
    for (size_t i = 0; i < chunks.size(); ++i) {
      if (i != 0) new_line(indent);
      out_ += chunks[i];
    }
    if (level == 1) out_ += ')';
  }

  static std::string safe_repr(const Value& v) {
    Budget::tick();
    std::string out;
    if (v.is(Kind::dict)) {
      for (const auto& [key, value] : sorted_items(v.dict()))
        out += (out.empty() ? "" : ", ") + safe_repr(key) + ": " + safe_repr(value);
      return "{" + out + "}";
    }
    if ((v.is(Kind::tuple) && !is_group(v)) || v.is(Kind::list)) {
      for (const Value& item : v.items()) {
        out += (out.empty() ? "" : ", ") + safe_repr(item);
        Budget::current->check_string(out.size());
      }
      if (v.is(Kind::list)) return "[" + out + "]";
      return "(" + out + (v.items().size() == 1 ? ",)" : ")");
    }
    return repr(v);
  }

  Interpreter& in_;
  std::string out_;
};

Value pprint_filter(Interpreter& in, const Value& v, Arguments& a) {
  a.bind("pprint", {});
  Printer printer(in);
  printer.format(v, 0, 0, 0);
  return in.string(printer.take());
}

constexpr FilterEntry kPrint[] = {{"pprint", pprint_filter}};

}  // namespace

std::span<const FilterEntry> print_filters() { return kPrint; }

}  // namespace caravan::text::jinja
