// The built-in tests (`x is defined`). Source: jinja2/tests.py 3.1.6.
#include <algorithm>

#include "caravan/text/jinja_interpreter.h"
#include "caravan/text/jinja_text.h"

namespace caravan::text::jinja {
namespace {

template <Kind K>
bool of_kind(Interpreter&, const Value& v, Arguments& a) {
  a.bind("test", {});
  return v.is(K);
}

template <bool (*F)(const Value&)>
bool simple(Interpreter&, const Value& v, Arguments& a) {
  a.bind("test", {});
  return F(v);
}

bool is_defined(const Value& v) { return !v.is(Kind::undefined); }
bool is_true(const Value& v) { return v.is(Kind::boolean) && v.boolean(); }
bool is_false(const Value& v) { return v.is(Kind::boolean) && !v.boolean(); }
bool is_number(const Value& v) { return v.is_number(); }
bool is_callable(const Value& v) {  // an undefined value can be called, which raises
  return v.is(Kind::undefined) || (v.is(Kind::native) && v.native().callable());
}
bool is_escaped(const Value& v) { return v.is(Kind::string) && v.text().markup; }
bool is_sequence(const Value& v) {
  return v.is(Kind::undefined) || v.is(Kind::string) || v.is(Kind::list) || v.is(Kind::tuple) || v.is(Kind::dict) ||
         v.is(Kind::range);
}

template <bool Upper>
bool is_cased(Interpreter& in, const Value& v, Arguments& a) {
  a.bind("test", {});
  const Value text = in.string(to_text(v));
  Arguments none;
  return truth(in.call(in.get_attribute(text, Upper ? "isupper" : "islower"), none));
}

template <int Divisor, int Rest>
bool has_rest(Interpreter& in, const Value& v, Arguments& a) {
  a.bind("test", {});
  return equal(in.binary(Op::mod, v, Value(Divisor)), Value(Rest));
}

bool is_divisible(Interpreter& in, const Value& v, Arguments& a) {
  const auto args = a.bind("divisibleby", {"num"}, 1);
  return equal(in.binary(Op::mod, v, args[0]), Value(0));
}

bool is_same(Interpreter&, const Value& v, Arguments& a) { return identical(v, a.bind("sameas", {"other"}, 1)[0]); }
bool is_in(Interpreter& in, const Value& v, Arguments& a) { return in.contains(a.bind("in", {"seq"}, 1)[0], v); }
bool is_filter(Interpreter&, const Value& v, Arguments& a) {
  a.bind("filter", {});
  return v.is(Kind::string) && find_filter(v.str()) != nullptr;
}
bool is_test(Interpreter&, const Value& v, Arguments& a) {
  a.bind("test", {});
  return v.is(Kind::string) && find_test(v.str()) != nullptr;
}

template <Op O>
bool compared(Interpreter& in, const Value& v, Arguments& a) {
  return in.compare(O, v, a.bind("comparison", {"other"}, 1)[0]);
}

constexpr std::pair<std::string_view, Test> kTests[] = {{"odd", has_rest<2, 1>},
                                                        {"even", has_rest<2, 0>},
                                                        {"divisibleby", is_divisible},
                                                        {"defined", simple<is_defined>},
                                                        {"undefined", of_kind<Kind::undefined>},
                                                        {"filter", is_filter},
                                                        {"test", is_test},
                                                        {"none", of_kind<Kind::none>},
                                                        {"boolean", of_kind<Kind::boolean>},
                                                        {"false", simple<is_false>},
                                                        {"true", simple<is_true>},
                                                        {"integer", of_kind<Kind::integer>},
                                                        {"float", of_kind<Kind::real>},
                                                        {"lower", is_cased<false>},
                                                        {"upper", is_cased<true>},
                                                        {"string", of_kind<Kind::string>},
                                                        {"mapping", of_kind<Kind::dict>},
                                                        {"number", simple<is_number>},
                                                        {"sequence", simple<is_sequence>},
                                                        {"iterable", simple<iterable>},
                                                        {"callable", simple<is_callable>},
                                                        {"sameas", is_same},
                                                        {"escaped", simple<is_escaped>},
                                                        {"in", is_in},
                                                        {"==", compared<Op::eq>},
                                                        {"eq", compared<Op::eq>},
                                                        {"equalto", compared<Op::eq>},
                                                        {"!=", compared<Op::ne>},
                                                        {"ne", compared<Op::ne>},
                                                        {">", compared<Op::gt>},
                                                        {"gt", compared<Op::gt>},
                                                        {"greaterthan", compared<Op::gt>},
                                                        {"ge", compared<Op::gteq>},
                                                        {">=", compared<Op::gteq>},
                                                        {"<", compared<Op::lt>},
                                                        {"lt", compared<Op::lt>},
                                                        {"lessthan", compared<Op::lt>},
                                                        {"<=", compared<Op::lteq>},
                                                        {"le", compared<Op::lteq>}};

}  // namespace

Test find_test(std::string_view name) {
  const auto* it = std::find_if(std::begin(kTests), std::end(kTests), [&](const auto& t) { return t.first == name; });
  return it == std::end(kTests) ? nullptr : it->second;
}

}  // namespace caravan::text::jinja
