// The built-in filters on sequences and mappings. Those that are generators in Jinja are lazy here too: an error in an
// item that nobody asks for is never raised. Source: jinja2/filters.py 3.1.6.
#include <algorithm>

#include "caravan/base/markup.h"
#include "caravan/text/jinja_filters.h"
#include "caravan/text/jinja_text.h"

namespace caravan::text::jinja {
namespace {

Value first_filter(Interpreter& in, const Value& v, Arguments& a) {
  a.bind("first", {});
  Value out;
  return in.iterate(v).iterator().next(out) ? out : make_undefined("No first item, sequence was empty.");
}

// What Python's reversed() accepts: sequences, dicts and their views.
bool reversible(const Value& v) {
  return v.is(Kind::undefined) || v.is(Kind::string) || v.is_sequence() || v.is(Kind::dict) || v.is(Kind::range);
}

Value last_filter(Interpreter& in, const Value& v, Arguments& a) {
  a.bind("last", {});
  if (!reversible(v)) raise(Raised::type, "'{}' object is not reversible", type_name(v));
  if (length(v) == 0) return make_undefined("No last item, sequence was empty.");
  if (v.is(Kind::string) || v.is(Kind::list) || v.is(Kind::tuple) || v.is(Kind::range))
    return in.get_item(v, Value(-1));
  return in.list_of(v).back();
}

Value reverse_filter(Interpreter& in, const Value& v, Arguments& a) {
  a.bind("reverse", {});
  if (v.is(Kind::string)) return slice_value(in, v, Value::none(), Value::none(), Value(-1));
  if (!iterable(v)) raise(Raised::runtime, "argument must be iterable");
  std::vector<Value> items = in.list_of(v);
  std::reverse(items.begin(), items.end());
  if (!reversible(v)) return make_list(in.budget(), std::move(items));
  const Value list = make_list(in.budget(), std::move(items));
  const Value iterator = in.iterate(list);
  iterator.iterator().type = v.is(Kind::list) ? "list_reverseiterator" : "reversed";
  return iterator;
}

Value list_filter(Interpreter& in, const Value& v, Arguments& a) {
  a.bind("list", {});
  return make_list(in.budget(), in.list_of(v));
}

Value items_filter(Interpreter& in, const Value& v, Arguments& a) {
  a.bind("items", {});
  return make_iterator(in.budget(), "generator", {v}, [&in, v, i = size_t{0}](Value& out) mutable {
    if (v.is(Kind::undefined)) return false;
    if (!v.is(Kind::dict)) raise(Raised::type, "Can only get item pairs from a mapping.");
    if (i >= v.dict().items.size()) return false;
    const auto& [key, value] = v.dict().items[i++];
    out = make_tuple(in.budget(), {key, value});
    return true;
  });
}

Value join_filter(Interpreter& in, const Value& v, Arguments& a) {
  const auto args = a.bind("join", {"d", "attribute"});
  const AttributePath path(in, args[1]);
  const auto is_markup = [](const Value& x) { return x.is(Kind::string) && x.text().markup; };
  std::vector<Value> items;
  const Value iterator = in.iterate(v);
  for (Value item; iterator.iterator().next(item); items.push_back(item)) {
    in.budget().spend(1);
    if (has(args[1])) item = path(in, item);
  }
  const bool markup = in.autoescape() && (is_markup(args[0]) || std::any_of(items.begin(), items.end(), is_markup));
  const auto piece = [&](const Value& x) { return markup && !is_markup(x) ? escape_markup(to_text(x)) : to_text(x); };
  const std::string between = given(args[0]) ? piece(args[0]) : "";
  std::string out;
  for (size_t i = 0; i < items.size(); ++i) {
    if (i != 0) out += between;
    out += piece(items[i]);
    in.budget().check_string(out.size());
  }
  return in.string(std::move(out), markup);
}

struct Keyed {
  Value key, item;
};

// Python's sorted(): stable, also in reverse.
void sort_by_key(std::vector<Keyed>& items, bool reverse) {
  std::stable_sort(items.begin(), items.end(),
                   [&](const Keyed& a, const Keyed& b) { return reverse ? less(b.key, a.key) : less(a.key, b.key); });
}

std::vector<Value> items_of(std::vector<Keyed> keyed) {
  std::vector<Value> items;
  items.reserve(keyed.size());
  for (Keyed& k : keyed) items.push_back(std::move(k.item));
  return items;
}

Value sort_filter(Interpreter& in, const Value& v, Arguments& a) {
  const auto args = a.bind("sort", {"reverse", "case_sensitive", "attribute"});
  std::vector<AttributePath> paths;
  if (given(args[2]) && args[2].is(Kind::string)) {
    for (const std::string& part : split(args[2].str(), ",")) paths.emplace_back(in, in.string(part));
  } else {
    paths.emplace_back(in, args[2]);
  }
  std::vector<Keyed> keyed;
  for (Value& item : in.list_of(v)) {
    std::vector<Value> keys;
    for (const AttributePath& path : paths) keys.push_back(ignore_case(in, path(in, item), flag(args[1])));
    keyed.push_back({make_list(in.budget(), std::move(keys)), item});  // as lists, two that are None are in order
  }
  sort_by_key(keyed, flag(args[0]));
  return make_list(in.budget(), items_of(std::move(keyed)));
}

Value dictsort_filter(Interpreter& in, const Value& v, Arguments& a) {
  const auto args = a.bind("dictsort", {"case_sensitive", "by", "reverse"});
  const std::string by = given(args[1]) ? to_text(args[1]) : "key";
  if (by != "key" && by != "value") raise(Raised::runtime, "You can only sort by either \"key\" or \"value\"");
  if (v.is(Kind::undefined)) raise_undefined(v);
  if (!v.is(Kind::dict)) raise(Raised::type, "'{}' object has no attribute 'items'", type_name(v));
  std::vector<Keyed> keyed;
  for (const auto& [key, value] : v.dict().items) {
    keyed.push_back({ignore_case(in, by == "key" ? key : value, flag(args[0])), make_tuple(in.budget(), {key, value})});
  }
  sort_by_key(keyed, flag(args[2]));
  return make_list(in.budget(), items_of(std::move(keyed)));
}

Value groupby_filter(Interpreter& in, const Value& v, Arguments& a) {
  const auto args = a.bind("groupby", {"attribute", "default", "case_sensitive"}, 1);
  const AttributePath path(in, args[0]);
  std::vector<Keyed> keyed;
  for (Value& item : in.list_of(v)) keyed.push_back({ignore_case(in, path(in, item, args[1]), flag(args[2])), item});
  sort_by_key(keyed, false);
  std::vector<Value> groups;
  for (size_t i = 0; i < keyed.size();) {
    std::vector<Value> members;
    const Value key = keyed[i].key;
    for (; i < keyed.size() && equal(keyed[i].key, key); ++i) members.push_back(keyed[i].item);
    const Value grouper = path(in, members[0], args[1]);
    groups.push_back(make_group(in.budget(), grouper, make_list(in.budget(), std::move(members))));
  }
  return make_list(in.budget(), std::move(groups));
}

template <bool Max>
Value extreme_filter(Interpreter& in, const Value& v, Arguments& a) {
  const auto args = a.bind(Max ? "max" : "min", {"case_sensitive", "attribute"});
  const AttributePath path(in, args[1]);
  const Value iterator = in.iterate(v);
  Value best, best_key;
  bool any = false;
  for (Value item; iterator.iterator().next(item);) {
    in.budget().spend(1);
    Value key = ignore_case(in, path(in, item), flag(args[0]));
    if (any && !(Max ? less(best_key, key) : less(key, best_key))) continue;
    best = item;
    best_key = std::move(key);
    any = true;
  }
  return any ? best : make_undefined("No aggregated item, sequence was empty.");
}

Value sum_filter(Interpreter& in, const Value& v, Arguments& a) {
  const auto args = a.bind("sum", {"attribute", "start"});
  const AttributePath path(in, args[0]);
  Value total = given(args[1]) ? args[1] : Value(0);
  if (total.is(Kind::string)) raise(Raised::type, "sum() can't sum strings [use ''.join(seq) instead]");
  const Value iterator = in.iterate(v);
  for (Value item; iterator.iterator().next(item);) total = in.binary(Op::add, total, path(in, item));
  return total;
}

Value unique_filter(Interpreter& in, const Value& v, Arguments& a) {
  const auto args = a.bind("unique", {"case_sensitive", "attribute"});
  const AttributePath path(in, args[1]);
  const bool case_sensitive = flag(args[0]);
  struct Hasher {
    size_t operator()(const Value& x) const { return hash(x); }
  };
  auto seen = std::make_shared<std::unordered_multimap<size_t, Value>>();
  const Value source = in.iterate(v);
  return make_iterator(in.budget(), "generator", {source}, [&in, source, path, case_sensitive, seen](Value& out) {
    while (source.iterator().next(out)) {
      in.budget().spend(1);
      const Value key = ignore_case(in, path(in, out), case_sensitive);
      if (!hashable(key)) raise(Raised::type, "unhashable type: '{}'", type_name(key));
      const auto [begin, end] = seen->equal_range(hash(key));
      if (std::any_of(begin, end, [&](const auto& entry) { return equal(entry.second, key); })) continue;
      seen->emplace(hash(key), key);
      return true;
    }
    return false;
  });
}

// A row ends where an item comes and it has `linecount` of them: 0 gives an empty row first, then one of all items.
Value batch_filter(Interpreter& in, const Value& v, Arguments& a) {
  const auto args = a.bind("batch", {"linecount", "fill_with"}, 1);
  const Value source = in.iterate(v), fill = args[1], count = args[0];
  return make_iterator(in.budget(), "generator", {source, fill, count},
                       [&in, source, fill, count, row = std::vector<Value>(), done = false](Value& out) mutable {
                         const auto full = [&] { return count.is_number() && equal(count, Value(row.size())); };
                         for (Value item; !done && source.iterator().next(item); row.push_back(item)) {
                           in.budget().spend(1);
                           if (!full()) continue;
                           out = make_list(in.budget(), std::exchange(row, {}));
                           row.push_back(item);
                           return true;
                         }
                         done = true;
                         if (row.empty()) return false;
                         if (has(fill) && less(Value(row.size()), count)) {
                           in.budget().check_range(to_index(count));
                           row.resize(static_cast<size_t>(to_index(count)), fill);
                         }
                         out = make_list(in.budget(), std::exchange(row, {}));
                         return true;
                       });
}

// Always the first: a prompt must be the same every time that it is made.
Value random_filter(Interpreter& in, const Value& v, Arguments& a) {
  a.bind("random", {});
  if (length(v) == 0) return make_undefined("No random item, sequence was empty.");
  const Value item = in.get_item(v, Value(0));
  if (item.is(Kind::undefined)) raise(Raised::lookup, "0");
  return item;
}

Value slice_filter(Interpreter& in, const Value& v, Arguments& a) {
  const auto args = a.bind("slice", {"slices", "fill_with"}, 1);
  const Value fill = args[1], slices = args[0];
  const Value list = make_list(in.budget(), in.list_of(v));
  return make_iterator(in.budget(), "generator", {list, fill},
                       [&in, list, fill, slices, at = Int{0}](Value& out) mutable {
                         const Int n = to_index(slices), size = static_cast<Int>(list.items().size());
                         if (n == 0) raise(Raised::division, "integer division or modulo by zero");
                         if (at >= n) return false;
                         in.budget().spend(1);
                         const Int each = size / n, extra = size % n;
                         const Int begin = at * each + std::min(at, extra), end = begin + each + (at < extra ? 1 : 0);
                         std::vector<Value> part(list.items().begin() + static_cast<ptrdiff_t>(begin),
                                                 list.items().begin() + static_cast<ptrdiff_t>(end));
                         if (has(fill) && at >= extra) part.push_back(fill);
                         ++at;
                         out = make_list(in.budget(), std::move(part));
                         return true;
                       });
}

constexpr FilterEntry kSequence[] = {
    {"batch", batch_filter},        {"dictsort", dictsort_filter}, {"first", first_filter},
    {"groupby", groupby_filter},    {"items", items_filter},       {"join", join_filter},
    {"last", last_filter},          {"list", list_filter},         {"max", extreme_filter<true>},
    {"min", extreme_filter<false>}, {"random", random_filter},     {"reverse", reverse_filter},
    {"slice", slice_filter},        {"sort", sort_filter},         {"sum", sum_filter},
    {"unique", unique_filter}};

// map: an attribute of each item, or another filter applied to it.
Value map_filter(Interpreter& in, const Value& v, Arguments& a) {
  auto prepared = std::make_shared<Arguments>(a);
  const auto attribute =
      std::find_if(a.keywords.begin(), a.keywords.end(), [](const auto& k) { return k.first == "attribute"; });
  const bool by_attribute = a.positional.empty() && attribute != a.keywords.end();
  std::vector<Value> keeps = {v};
  keeps.insert(keeps.end(), a.positional.begin(), a.positional.end());
  for (const auto& [name, value] : a.keywords) keeps.push_back(value);
  struct State {
    Value source;
    std::optional<AttributePath> path;
    Value otherwise;
    std::string filter;
    bool started = false;
  };
  auto state = std::make_shared<State>();
  return make_iterator(in.budget(), "generator", std::move(keeps), [&in, v, prepared, by_attribute, state](Value& out) {
    if (!std::exchange(state->started, true)) {
      if (!truth(v)) return false;
      if (by_attribute) {
        auto args = prepared->bind("map", {"attribute", "default"});
        state->path.emplace(in, args[0]);
        state->otherwise = args[1];
      } else {
        if (prepared->positional.empty()) raise(Raised::runtime, "map requires a filter argument");
        state->filter = to_text(prepared->positional[0]);
        prepared->positional.erase(prepared->positional.begin());
      }
      state->source = in.iterate(v);
    }
    Value item;
    if (!state->source.is(Kind::iterator) || !state->source.iterator().next(item)) return false;
    in.budget().spend(1);
    out = state->path ? (*state->path)(in, item, state->otherwise) : in.call_filter(state->filter, item, *prepared);
    return true;
  });
}

template <bool Keep, bool Attribute>
Value select_filter(Interpreter& in, const Value& v, Arguments& a) {
  auto prepared = std::make_shared<Arguments>(a);
  std::vector<Value> keeps = {v};
  keeps.insert(keeps.end(), a.positional.begin(), a.positional.end());
  for (const auto& [name, value] : a.keywords) keeps.push_back(value);
  struct State {
    Value source;
    std::optional<AttributePath> path;
    std::optional<std::string> test;
    bool started = false;
  };
  auto state = std::make_shared<State>();
  return make_iterator(in.budget(), "generator", std::move(keeps), [&in, v, prepared, state](Value& out) {
    auto& positional = prepared->positional;
    if (!std::exchange(state->started, true)) {
      if (!truth(v)) return false;
      if (Attribute) {
        if (positional.empty()) raise(Raised::runtime, "Missing parameter for attribute name");
        state->path.emplace(in, positional[0]);
        positional.erase(positional.begin());
      }
      if (!positional.empty()) {
        state->test = to_text(positional[0]);
        positional.erase(positional.begin());
      }
      state->source = in.iterate(v);
    }
    if (!state->source.is(Kind::iterator)) return false;
    while (state->source.iterator().next(out)) {
      in.budget().spend(1);
      const Value subject = state->path ? (*state->path)(in, out) : out;
      if ((state->test ? in.call_test(*state->test, subject, *prepared) : truth(subject)) == Keep) return true;
    }
    return false;
  });
}

constexpr FilterEntry kSelection[] = {{"map", map_filter},
                                      {"select", select_filter<true, false>},
                                      {"reject", select_filter<false, false>},
                                      {"selectattr", select_filter<true, true>},
                                      {"rejectattr", select_filter<false, true>}};

}  // namespace

std::span<const FilterEntry> sequence_filters() { return kSequence; }
std::span<const FilterEntry> selection_filters() { return kSelection; }

}  // namespace caravan::text::jinja
