// The tojson filter: Python's json.dumps(value, ensure_ascii, indent, separators, sort_keys).
#include <algorithm>
#include <cmath>

#include "caravan/text/jinja_interpreter.h"
#include "caravan/text/jinja_text.h"

namespace caravan::text::jinja {
namespace {

struct Writer {
  Budget& budget;
  bool ensure_ascii;
  std::optional<std::string> indent;
  std::string item_separator, key_separator;
  bool sort_keys;
  std::string out;

  void line(size_t level) {
    if (!indent) return;
    out += '\n';
    budget.check_string(out.size() + level * indent->size());
    for (size_t i = 0; i < level; ++i) out += *indent;
  }

  static std::string number(double d) {
    if (std::isnan(d)) return "NaN";
    if (std::isinf(d)) return d < 0 ? "-Infinity" : "Infinity";
    return float_text(d);
  }

  std::string key(const Value& k) const {
    switch (k.kind()) {
      case Kind::string:
        return k.str();
      case Kind::none:
        return "null";
      case Kind::boolean:
        return k.boolean() ? "true" : "false";
      case Kind::integer:
        return int_text(k.integer());
      case Kind::real:
        return number(k.real());
      default:
        raise(Raised::type, "keys must be str, int, float, bool or None, not {}", type_name(k));
    }
  }

  void write(const Value& v, size_t level) {
    budget.spend(1);
    budget.check_string(out.size());
    switch (v.kind()) {
      case Kind::none:
        out += "null";
        break;
      case Kind::boolean:
        out += v.boolean() ? "true" : "false";
        break;
      case Kind::integer:
        out += int_text(v.integer());
        break;
      case Kind::real:
        out += number(v.real());
        break;
      case Kind::string:
        budget.spend_bytes(v.str().size());
        out += json_string(v.str(), ensure_ascii);
        break;
      case Kind::list:
      case Kind::tuple:
        write_list(v.items(), level);
        break;
      case Kind::dict:
        write_dict(v.dict(), level);
        break;
      default:
        raise(Raised::type, "Object of type {} is not JSON serializable", type_name(v));
    }
  }

  void write_list(const std::vector<Value>& items, size_t level) {
    if (items.empty()) {
      out += "[]";
      return;
    }
    out += '[';
    for (size_t i = 0; i < items.size(); ++i) {
      if (i != 0) out += item_separator;
      line(level + 1);
      write(items[i], level + 1);
    }
    line(level);
    out += ']';
  }

  void write_dict(const Dict& dict, size_t level) {
    if (dict.items.empty()) {
      out += "{}";
      return;
    }
    std::vector<const std::pair<Value, Value>*> items;
    for (const auto& item : dict.items) items.push_back(&item);
    if (sort_keys) {
      std::stable_sort(items.begin(), items.end(),
                       [](const auto* a, const auto* b) { return less(a->first, b->first); });
    }
    out += '{';
    bool first = true;
    for (const auto* item : items) {
      if (!first) out += item_separator;
      first = false;
      line(level + 1);
      out += json_string(key(item->first), ensure_ascii) + key_separator;
      write(item->second, level + 1);
    }
    line(level);
    out += '}';
  }
};

}  // namespace

std::string to_json(Interpreter& in, const Value& value, bool ensure_ascii, const Value& indent,
                    const Value& separators, bool sort_keys) {
  Writer writer{in.budget(), ensure_ascii, std::nullopt, ", ", ": ", sort_keys, {}};
  if (indent.is(Kind::string)) {
    writer.indent = indent.str();
  } else if (!indent.is(Kind::none)) {
    const Int n = std::max<Int>(to_index(indent), 0);
    in.budget().check_range(n);
    writer.indent = std::string(static_cast<size_t>(n), ' ');
  }
  if (writer.indent) writer.item_separator = ",";
  if (!separators.is(Kind::none)) {
    const std::vector<Value> parts = in.list_of(separators);
    if (parts.size() != 2) raise(Raised::value, "separators must be two strings");
    if (!parts[0].is(Kind::string) || !parts[1].is(Kind::string)) raise(Raised::type, "separators must be two strings");
    writer.item_separator = parts[0].str();
    writer.key_separator = parts[1].str();
  }
  writer.write(value, 0);
  in.budget().check_string(writer.out.size());
  return std::move(writer.out);
}

}  // namespace caravan::text::jinja
