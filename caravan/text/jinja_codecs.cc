// str.encode with the bytes that it gives, str.translate and str.maketrans. Source: CPython's unicodeobject.c and
// bytesobject.c. Codecs: UTF-8, ASCII, Latin-1; of the methods of bytes decode and hex.
#include <algorithm>

#include "caravan/text/jinja_methods.h"
#include "caravan/text/jinja_text.h"

namespace caravan::text::jinja {
namespace {

enum class Codec { utf8, ascii, latin1 };

Codec codec_of(const Value& name) {
  if (!given(name)) return Codec::utf8;
  if (!name.is(Kind::string)) raise(Raised::type, "encode() argument 'encoding' must be str, not {}", type_name(name));
  std::string key = lower(name.str());
  std::replace_if(
      key.begin(), key.end(), [](char c) { return c == '-' || c == ' '; }, '_');
  static constexpr std::pair<std::string_view, Codec> kCodecs[] = {
      {"utf_8", Codec::utf8},     {"utf8", Codec::utf8}, {"u8", Codec::utf8},           {"ascii", Codec::ascii},
      {"us_ascii", Codec::ascii}, {"646", Codec::ascii}, {"latin_1", Codec::latin1},    {"latin1", Codec::latin1},
      {"latin", Codec::latin1},   {"l1", Codec::latin1}, {"iso_8859_1", Codec::latin1}, {"iso8859_1", Codec::latin1}};
  for (const auto& [known, codec] : kCodecs) {
    if (known == key) return codec;
  }
  raise(Raised::lookup, "unknown encoding: {}", name.str());
}

std::string handler_of(const Value& errors) {
  if (!given(errors)) return "strict";
  if (!errors.is(Kind::string)) raise(Raised::type, "argument 'errors' must be str, not {}", type_name(errors));
  return errors.str();
}

std::string bytes_repr(std::string_view bytes) {
  const char quote = bytes.find('\'') != bytes.npos && bytes.find('"') == bytes.npos ? '"' : '\'';
  std::string out = {'b', quote};
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == quote || c == '\\')
      (out += '\\') += c;
    else if (c == '\n' || c == '\r' || c == '\t')
      out += c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t";
    else if (byte >= 0x20 && byte < 0x7f)
      out += c;
    else
      out += fmt::format("\\x{:02x}", byte);
  }
  return out += quote;
}

// The characters of bytes that are text in a codec; others as the error handler has it.
std::string decode(std::string_view bytes, Codec codec, const std::string& errors) {
  std::string out;
  const auto malformed = [&](std::string_view part) {
    if (errors == "replace") {
      out += "\ufffd";
    } else if (errors == "backslashreplace") {
      for (const char c : part) out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else if (errors != "ignore") {
      raise(errors == "strict" ? Raised::value : Raised::lookup, "{}",
            errors == "strict" ? "'utf-8' codec can't decode bytes" : "unknown error handler name '" + errors + "'");
    }
  };
  for (size_t i = 0; i < bytes.size();) {
    const auto byte = static_cast<unsigned char>(bytes[i]);
    if (codec != Codec::utf8 || byte < 0x80) {
      if (codec == Codec::ascii && byte >= 0x80)
        malformed(bytes.substr(i, 1));
      else
        append_code_point(out, byte);
      ++i;
      continue;
    }
    size_t end = i + 1;
    while (end < bytes.size() && end < i + 4 && (bytes[end] & 0xc0) == 0x80) ++end;
    while (end > i + 1 && !valid_utf8(bytes.substr(i, end - i))) --end;
    if (valid_utf8(bytes.substr(i, end - i)))
      out += bytes.substr(i, end - i);
    else
      malformed(bytes.substr(i, 1));
    i = end;
  }
  return out;
}

struct Bytes : Native {
  explicit Bytes(std::string bytes) : bytes(std::move(bytes)) {}
  std::string type_name() const override { return "bytes"; }
  std::string repr() const override { return bytes_repr(bytes); }
  bool callable() const override { return false; }
  bool length(size_t& n) override { return n = bytes.size(), true; }
  bool is_sequence() const override { return true; }
  size_t hash() const override { return std::hash<std::string>()(bytes); }
  bool item(size_t i, Value& out) override {
    return out = Value(static_cast<int>(static_cast<unsigned char>(bytes[i]))), true;
  }
  bool equals(const Native& other) const override {
    const auto* same = dynamic_cast<const Bytes*>(&other);
    return same != nullptr && same->bytes == bytes;
  }
  bool attribute(Interpreter& in, std::string_view name, Value& out) override;
  std::string bytes;
};

struct BytesMethod : Native {
  using Body = Value (*)(Interpreter& in, const std::string& bytes, Arguments& a);
  BytesMethod(Value self, Body body) : self(std::move(self)), body(body) {}
  std::string type_name() const override { return "builtin_function_or_method"; }
  Value call(Interpreter& in, Arguments& a) override { return body(in, static_cast<Bytes&>(self.native()).bytes, a); }
  Value self;
  Body body;
};

bool Bytes::attribute(Interpreter&, std::string_view name, Value& out) {
  static constexpr auto kDecode = [](Interpreter& in, const std::string& bytes, Arguments& a) {
    const auto args = a.bind("decode", {"encoding", "errors"});
    in.budget().spend_bytes(bytes.size() * 4);
    return in.string(decode(bytes, codec_of(args[0]), handler_of(args[1])));
  };
  static constexpr auto kHex = [](Interpreter& in, const std::string& bytes, Arguments& a) {
    const auto args = a.bind("hex", {"sep"});
    std::string out;
    for (const char c : bytes) {
      if (given(args[0]) && !out.empty()) out += to_text(args[0]);
      out += fmt::format("{:02x}", static_cast<unsigned char>(c));
      in.budget().check_string(out.size());
    }
    return in.string(std::move(out));
  };
  if (name != "decode" && name != "hex") return false;
  auto method = std::make_unique<BytesMethod>(Value(Kind::native, this),
                                              name == "hex" ? BytesMethod::Body(kHex) : BytesMethod::Body(kDecode));
  method->depth = 2;
  return out = make_native(method.release()), true;
}

// The replacement of a code point that the table gives, or the code point itself where it gives none.
void append_translated(std::string& out, const Value& table, char32_t c) {
  const Value* to = nullptr;
  if (table.is(Kind::dict)) {
    to = table.dict().find(Value(static_cast<Int>(c)));
  } else if (table.is_sequence()) {
    if (c < table.items().size()) to = &table.items()[c];
  } else {
    raise(Raised::type, "'{}' object is not subscriptable", type_name(table));
  }
  if (to == nullptr) {
    append_code_point(out, c);
  } else if (to->is(Kind::string)) {
    out += to->str();
  } else if (to->is_integer()) {
    const Int point = to->integer();
    if (point < 0 || point > 0x10ffff) raise(Raised::value, "character mapping must be in range(0x110000)");
    append_code_point(out, point >= 0xd800 && point < 0xe000 ? 0xfffd : static_cast<char32_t>(point));
  } else if (!to->is(Kind::none)) {
    raise(Raised::type, "character mapping must return integer, None or str");
  }
}

Value ordinal(std::string_view text, size_t& i) { return Value(static_cast<Int>(next_code_point(text, i))); }

const std::string& text_of(const Value& v) {
  if (!v.is(Kind::string)) raise(Raised::type, "maketrans() argument must be str, not {}", type_name(v));
  return v.str();
}

// maketrans(dict): single characters as keys become their ordinals.
std::vector<std::pair<Value, Value>> table_of_dict(const Value& dict) {
  if (!dict.is(Kind::dict)) raise(Raised::type, "if you give only one argument to maketrans it must be a dict");
  std::vector<std::pair<Value, Value>> table;
  for (const auto& [key, value] : dict.dict().items) {
    if (key.is_integer()) {
      table.emplace_back(key, value);
    } else if (key.is(Kind::string)) {
      if (length(key) != 1) raise(Raised::value, "string keys in translate table must be of length 1");
      size_t i = 0;
      table.emplace_back(ordinal(key.str(), i), value);
    } else {
      raise(Raised::type, "keys in translate table must be strings or integers");
    }
  }
  return table;
}

}  // namespace

Value encode_method(Interpreter& in, const Value& self, Arguments& a) {
  const auto args = a.bind("encode", {"encoding", "errors"});
  const Codec codec = codec_of(args[0]);
  const std::string errors = handler_of(args[1]), &s = self.str();
  in.budget().spend_bytes(s.size() * 4);
  std::string out;
  const char32_t limit = codec == Codec::utf8 ? 0x110000 : codec == Codec::latin1 ? 0x100 : 0x80;
  for (size_t i = 0; i < s.size();) {
    const size_t begin = i;
    const char32_t c = next_code_point(s, i);
    if (c < limit && codec == Codec::utf8)
      out.append(s, begin, i - begin);
    else if (c < limit)
      out += static_cast<char>(c);
    else if (errors == "replace")
      out += '?';
    else if (errors == "xmlcharrefreplace")
      out += fmt::format("&#{};", static_cast<uint32_t>(c));
    else if (errors == "backslashreplace")
      out += c < 0x100     ? fmt::format("\\x{:02x}", static_cast<uint32_t>(c))
             : c < 0x10000 ? fmt::format("\\u{:04x}", static_cast<uint32_t>(c))
                           : fmt::format("\\U{:08x}", static_cast<uint32_t>(c));
    else if (errors == "strict")
      raise(Raised::value, "codec can't encode character in position {}", code_points(s.substr(0, begin)));
    else if (errors != "ignore")
      raise(Raised::lookup, "unknown error handler name '{}'", errors);
    in.budget().check_string(out.size());
  }
  in.budget().hold(64 + out.size());  // kept until the render ends
  return make_native(new Bytes(std::move(out)));
}

Value translate_method(Interpreter& in, const Value& self, Arguments& a) {
  const auto args = a.bind("translate", {"table"}, 1);
  const Value table = args[0].is(Kind::string) ? make_list(in.budget(), in.list_of(args[0])) : args[0];
  std::string out;
  for (size_t i = 0; i < self.str().size();) {
    append_translated(out, table, next_code_point(self.str(), i));
    in.budget().spend(1);
    in.budget().check_string(out.size());
  }
  return in.string(std::move(out), self.text().markup);
}

Value maketrans_method(Interpreter& in, const Value&, Arguments& a) {
  const auto args = a.bind("maketrans", {"x", "y", "z"}, 1);
  if (!given(args[1])) return make_dict(in.budget(), table_of_dict(args[0]));
  const std::string &from = text_of(args[0]), &to = text_of(args[1]);
  if (code_points(from) != code_points(to))
    raise(Raised::value, "the first two maketrans arguments must have equal length");
  std::vector<std::pair<Value, Value>> table;
  for (size_t i = 0, j = 0; i < from.size();) {
    Value key = ordinal(from, i);
    table.emplace_back(std::move(key), ordinal(to, j));
  }
  if (given(args[2])) {
    const std::string& dropped = text_of(args[2]);
    for (size_t i = 0; i < dropped.size();) table.emplace_back(ordinal(dropped, i), Value::none());
  }
  return make_dict(in.budget(), std::move(table));
}

}  // namespace caravan::text::jinja
