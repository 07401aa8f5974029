// The functions that a chat template finds in its environment: range, dict, namespace, cycler, joiner of Jinja, and
// raise_exception and strftime_now of transformers (utils/chat_template_utils.py).
#include <algorithm>
#include <chrono>

#include "caravan/text/jinja_interpreter.h"
#include "caravan/text/jinja_text.h"

namespace caravan::text::jinja {
namespace {

struct FunctionObject : Native {
  FunctionObject(std::string name, Function function) : name(std::move(name)), function(function) {}
  std::string type_name() const override { return "function"; }
  std::string repr() const override { return "<function " + name + ">"; }
  Value call(Interpreter& in, Arguments& arguments) override { return function(in, arguments); }
  std::string name;
  Function function;
};

Value range_function(Interpreter& in, Arguments& a) {
  if (!a.keywords.empty()) raise(Raised::type, "range() takes no keyword arguments");
  if (a.positional.empty() || a.positional.size() > 3)
    raise(Raised::type, "range expected 1 to 3 arguments, got {}", a.positional.size());
  Int numbers[3] = {0, 0, 1};
  for (size_t i = 0; i < a.positional.size(); ++i) {
    const Int n = to_index(a.positional[i]);
    if (n > (1ll << 60) || n < -(1ll << 60)) in.budget().fail_fuel();
    numbers[a.positional.size() == 1 ? 1 : i] = n;
  }
  const auto [start, stop, step] = numbers;
  if (step == 0) raise(Raised::value, "range() arg 3 must not be zero");
  const Int size = step > 0 ? (stop > start ? (stop - start - 1) / step + 1 : 0)
                            : (start > stop ? (start - stop - 1) / -step + 1 : 0);
  in.budget().check_range(size);
  auto range = std::make_unique<Range>();
  range->start = static_cast<int64_t>(start);
  range->stop = static_cast<int64_t>(stop);
  range->step = static_cast<int64_t>(step);
  range->size = static_cast<int64_t>(size);
  return Value(Kind::range, range.release());
}

// The pairs of dict(mapping or pairs, **keywords).
std::vector<std::pair<Value, Value>> dict_items(Interpreter& in, Arguments& a, std::string_view name) {
  if (a.positional.size() > 1) raise(Raised::type, "{} expected at most 1 argument, got {}", name, a.positional.size());
  std::vector<std::pair<Value, Value>> items;
  if (!a.positional.empty()) {
    const Value& from = a.positional[0];
    if (from.is(Kind::dict)) {
      items = from.dict().items;
    } else if (from.is(Kind::space)) {
      raise(Raised::type, "'TemplateNamespace' object is not iterable");
    } else {
      for (const Value& pair : in.list_of(from)) {
        const std::vector<Value> parts = in.list_of(pair);
        if (parts.size() != 2)
          raise(Raised::value, "dictionary update sequence element has length {}; 2 is required", parts.size());
        items.emplace_back(parts[0], parts[1]);
      }
    }
  }
  for (auto& [key, value] : a.keywords) items.emplace_back(in.string(key), value);
  return items;
}

struct DictFunction : Native {
  std::string type_name() const override { return "TemplateDict"; }
  Value call(Interpreter& in, Arguments& a) override { return make_dict(in.budget(), dict_items(in, a, "dict")); }
  bool attribute(Interpreter&, std::string_view name, Value& out) override {
    if (name != "fromkeys") return false;
    out = make_function("fromkeys", [](Interpreter& in, Arguments& a) {
      auto args = a.bind("fromkeys", {"iterable", "value"}, 1);
      std::vector<std::pair<Value, Value>> items;
      for (Value& key : in.list_of(args[0]))
        items.emplace_back(std::move(key), given(args[1]) ? args[1] : Value::none());
      return make_dict(in.budget(), std::move(items));
    });
    return true;
  }
};

Value namespace_function(Interpreter& in, Arguments& a) {
  std::vector<std::pair<std::string, Value>> attributes;
  const Value items = make_dict(in.budget(), dict_items(in, a, "dict"));
  for (const auto& [key, value] : items.dict().items) {
    if (!key.is(Kind::string)) continue;  // cannot be read back as an attribute
    if (key.str().starts_with('_')) {
      raise(Raised::security, "Chat templates cannot store underscore-prefixed attributes on a namespace, but got {}.",
            repr(key));
    }
    attributes.emplace_back(key.str(), value);
  }
  return in.register_space(std::move(attributes));
}

struct Cycler : Native {
  std::string type_name() const override { return "jinja2.utils.Cycler"; }
  bool callable() const override { return false; }
  bool attribute(Interpreter& in, std::string_view name, Value& out) override {
    if (name == "current") return out = items[at], true;
    if (name == "pos") return out = Value(at), true;
    if (name == "items") return out = make_tuple(in.budget(), items), true;
    if (name != "next" && name != "reset") return false;
    struct Step : Native {
      Step(Value cycler, bool reset) : cycler(std::move(cycler)), reset(reset) {}
      std::string type_name() const override { return "method"; }
      Value call(Interpreter&, Arguments& a) override {
        a.bind("next", {});
        auto& c = static_cast<Cycler&>(cycler.native());
        if (reset) return c.at = 0, Value::none();
        const size_t now = c.at;
        c.at = (c.at + 1) % c.items.size();
        return c.items[now];
      }
      Value cycler;
      bool reset;
    };
    return out = make_native(new Step(Value(Kind::native, this), name == "reset")), true;
  }
  std::vector<Value> items;
  size_t at = 0;
};

Value cycler_function(Interpreter& in, Arguments& a) {
  if (!a.keywords.empty())
    raise(Raised::type, "Cycler.__init__() got an unexpected keyword argument '{}'", a.keywords[0].first);
  if (a.positional.empty()) raise(Raised::runtime, "at least one item has to be provided");
  auto cycler = std::make_unique<Cycler>();
  for (const Value& v : a.positional) cycler->depth = std::max(cycler->depth, depth_over(in.budget(), v));
  cycler->items = a.positional;
  return make_native(cycler.release());
}

struct Joiner : Native {
  explicit Joiner(Value separator) : separator(std::move(separator)) {}
  std::string type_name() const override { return "jinja2.utils.Joiner"; }
  Value call(Interpreter& in, Arguments& a) override {
    a.bind("joiner", {});
    return std::exchange(used, true) ? separator : in.string("");
  }
  bool attribute(Interpreter&, std::string_view name, Value& out) override {
    if (name == "sep") return out = separator, true;
    if (name == "used") return out = Value(used), true;
    return false;
  }
  Value separator;
  bool used = false;
};

Value joiner_function(Interpreter& in, Arguments& a) {
  auto args = a.bind("joiner", {"sep"});
  auto joiner = std::make_unique<Joiner>(given(args[0]) ? args[0] : in.string(", "));
  joiner->depth = depth_over(in.budget(), joiner->separator);
  return make_native(joiner.release());
}

Value raise_exception_function(Interpreter&, Arguments& a) {
  const auto args = a.bind("raise_exception", {"message"}, 1);
  throw PythonError{Raised::template_error, to_text(args[0])};
}

Value strftime_function(Interpreter& in, Arguments& a) {
  const auto args = a.bind("strftime_now", {"format"}, 1);
  if (!args[0].is(Kind::string)) raise(Raised::type, "strftime() argument 1 must be str, not {}", type_name(args[0]));
  const auto now = std::chrono::system_clock::now();
  const std::time_t seconds = in.now() ? *in.now() : std::chrono::system_clock::to_time_t(now);
  const auto micros =
      in.now() ? 0 : std::chrono::duration_cast<std::chrono::microseconds>(now.time_since_epoch()).count() % 1'000'000;
  std::string format;
  const std::string& given_format = args[0].str();
  if (given_format.size() > 4096) raise(Raised::value, "a time format of {} bytes", given_format.size());
  for (size_t i = 0; i < given_format.size(); ++i) {
    if (given_format[i] != '%' || i + 1 == given_format.size()) {
      format += given_format[i];
      continue;
    }
    const char c = given_format[++i];
    if (c == 'f')
      format += fmt::format("{:06}", micros);
    else if (c != 'z' && c != 'Z')
      (format += '%') += c;  // a naive datetime has no zone
  }
  if (format.empty()) return in.string("");
  std::tm tm{};
  localtime_r(&seconds, &tm);
  std::string text(format.size() * 32 + 256, '\0');
  text.resize(std::strftime(text.data(), text.size(), format.c_str(), &tm));
  return in.string(sanitize_utf8(text));
}

// jinja2.utils.generate_lorem_ipsum, with the same random numbers every time: a prompt must not change.
class Lipsum {
 public:
  explicit Lipsum(Interpreter& in) : in_(in) {}

  std::string paragraph(Int min, Int max) {
    static const std::vector<std::string> kWords = split_whitespace(
        "lorem ipsum dolor sit amet consectetuer adipiscing elit sed diam nonummy nibh euismod tincidunt ut laoreet "
        "dolore magna aliquam erat volutpat enim ad minim veniam quis nostrud ullamcorper suscipit lobortis nisl ex ea "
        "commodo consequat duis autem vel eum iriure in hendrerit vulputate velit esse molestie illum eu feugiat "
        "nulla");
    std::string out;
    bool capital = true;
    Int comma = 0, full_stop = 0;
    const Int n = below(min, max);
    size_t last = kWords.size();
    for (Int i = 0; i < n; ++i) {
      size_t at = last;
      while (at == last) at = static_cast<size_t>(below(0, static_cast<Int>(kWords.size())));
      last = at;
      std::string word = std::exchange(capital, false) ? capitalize(kWords[at]) : kWords[at];
      if (i - below(3, 8) > comma) comma = i, full_stop += 2, word += ',';
      if (i - below(10, 20) > full_stop) comma = full_stop = i, word += '.', capital = true;
      out += (out.empty() ? "" : " ") + word;
      in_.budget().spend(1);
      in_.budget().check_string(out.size());
    }
    if (out.ends_with(',')) out.pop_back();
    return out.ends_with('.') ? out : out + ".";
  }

 private:
  Int below(Int min, Int max) {  // randrange
    if (max <= min) raise(Raised::value, "empty range in randrange({}, {})", int_text(min), int_text(max));
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return min + static_cast<Int>(state_ >> 33) % (max - min);
  }
  Interpreter& in_;
  uint64_t state_ = 1;
};

Value lipsum_function(Interpreter& in, Arguments& a) {
  const auto args = a.bind("lipsum", {"n", "html", "min", "max"});
  const Int n = given(args[0]) ? to_index(args[0]) : 5;
  const bool html = !given(args[1]) || truth(args[1]);
  const Int min = given(args[2]) ? to_index(args[2]) : 20, max = given(args[3]) ? to_index(args[3]) : 100;
  Lipsum lipsum(in);
  std::string out;
  for (Int i = 0; i < n; ++i) {
    const std::string text = lipsum.paragraph(min, max);
    if (i != 0) out += html ? "\n" : "\n\n";
    out += html ? "<p>" + text + "</p>" : text;
    in.budget().check_string(out.size());
  }
  return in.string(std::move(out), html);
}

using Blocks = std::unordered_map<std::string_view, const Statement*>;

void collect_blocks(const Body& body, Blocks& blocks) {
  for (const auto& s : body) {
    if (s->kind == Stmt::block) blocks.emplace(s->text, s.get());
    collect_blocks(s->body, blocks);
    collect_blocks(s->otherwise, blocks);
    if (s->macro) collect_blocks(s->macro->body, blocks);
    for (const Body& branch : s->branches) collect_blocks(branch, blocks);
  }
}

struct BlockReference : Native {
  explicit BlockReference(const Statement& block) : block(block) {}
  std::string type_name() const override { return "jinja2.runtime.BlockReference"; }
  Value call(Interpreter& in, Arguments& arguments) override {
    arguments.bind("BlockReference.__call__", {});
    std::string text = in.run_block(block);
    return in.string(std::move(text), in.autoescape());
  }
  bool attribute(Interpreter& in, std::string_view name, Value& out) override {
    if (name == "name") return out = in.string(block.text), true;
    if (name != "super") return false;
    return out = make_undefined(fmt::format("there is no parent block called '{}'.", block.text)), true;
  }
  const Statement& block;
};

// `self`: the blocks of the template as attributes.
struct TemplateReference : Native {
  explicit TemplateReference(const Syntax& syntax) { collect_blocks(syntax.body, blocks); }
  std::string type_name() const override { return "jinja2.runtime.TemplateReference"; }
  std::string repr() const override { return "<TemplateReference None>"; }
  bool callable() const override { return false; }
  bool attribute(Interpreter&, std::string_view name, Value& out) override {
    const auto it = blocks.find(name);
    return it != blocks.end() ? (out = make_native(new BlockReference(*it->second)), true) : false;
  }
  Blocks blocks;
};

}  // namespace

Value make_template_reference(const Syntax& syntax) { return make_native(new TemplateReference(syntax)); }

Value make_function(std::string name, Function function) {
  return make_native(new FunctionObject(std::move(name), function));
}

std::optional<Value> find_global(std::string_view name) {
  static constexpr std::pair<std::string_view, Function> kFunctions[] = {{"range", range_function},
                                                                         {"namespace", namespace_function},
                                                                         {"cycler", cycler_function},
                                                                         {"joiner", joiner_function},
                                                                         {"raise_exception", raise_exception_function},
                                                                         {"strftime_now", strftime_function},
                                                                         {"lipsum", lipsum_function}};
  if (name == "dict") return make_native(new DictFunction);
  for (const auto& [known, function] : kFunctions) {
    if (known == name) return make_function(std::string(name), function);
  }
  return std::nullopt;
}

}  // namespace caravan::text::jinja
