// Translates Oniguruma's Ruby syntax to PCRE2's: one pass over the pattern, copying what both read the same way.
// Different are: \s \w \d \h \b and POSIX classes (Unicode tables), \uHHHH, (?m: for dot-all, x{1,3}+ (a repeated
// repetition, not a possessive one), x{,3}, x{3}?, and inside classes: nested [..] and &&. Source: Oniguruma's doc/RE.
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>

#include "caravan/base/error.h"
#include "caravan/text/onig_tables.h"
#include "caravan/text/regex.h"

namespace caravan::text {
namespace {

constexpr std::string_view kSpaces =
    "\\t-\\r \\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}";

// After these (UAX 29: Control) a mark begins a grapheme.
constexpr std::string_view kGraphemeEnds =
    "\\p{Cc}\\p{Zl}\\p{Zp}\\x{ad}\\x{61c}\\x{180e}\\x{200b}\\x{200e}\\x{200f}\\x{202a}-\\x{202e}\\x{2060}-\\x{206f}\\x{"
    "feff}"
    "\\x{fff0}-\\x{fffb}";

// Ideographs of Unicode 15 and 15.1; PCRE2 10.42 knows those of 14.
constexpr const char* kNewHan = "\\x{2b739}\\x{2ebf0}-\\x{2ee5d}\\x{31350}-\\x{323af}";

struct Named {
  std::string_view name, members;
};

// \p{..} of each property, with what newer Unicode versions put there.
std::string class_of(std::initializer_list<std::string_view> properties, std::string_view others = "") {
  std::string members;
  for (const std::string_view property : properties) {
    members.append("\\p{").append(property).append("}");
    members += added_members(property);
  }
  return members.append(others);
}

// \X; PCRE2 10.42 joins neighbouring emoji to one grapheme, which only a zero width joiner does (UAX 29, GB11), and
// begins a new one at marks that newer Unicode versions added.
std::string grapheme() {
  const std::string marks(added_members("M"));
  const std::string extends = "[\\p{Gr_Ext}\\p{Mc}\\p{EMod}\\x{200d}" + marks + "]*";
  return "(?>\\p{ExtPict}(?:[\\p{Gr_Ext}\\p{EMod}]*\\x{200d}\\p{ExtPict})*" + extends + "|\\X(?:(?<![" +
         std::string(kGraphemeEnds) + "])[" + marks + "]" + extends + ")*)";
}

// Outside classes Oniguruma counts Latin-1 superscripts and fractions in: \w matches U+00B2, [\w] does not.
std::string words(bool in_class) {
  static const std::string members = class_of({"Alphabetic", "M", "Nd", "Pc"});
  return in_class ? members : members + "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}";
}

// The members of a POSIX class; empty for an unknown name.
std::string posix_members(std::string_view name, bool in_class) {
  if (name == "alpha") return class_of({"Alphabetic"});
  if (name == "digit") return class_of({"Nd"});
  if (name == "alnum") return class_of({"Alphabetic", "Nd"});
  if (name == "upper") return class_of({"Uppercase"});
  if (name == "lower") return class_of({"Lowercase"});
  if (name == "space") return std::string(kSpaces);
  if (name == "punct") return class_of({"P", "S"});
  if (name == "cntrl") return "\\p{Cc}";
  if (name == "word") return words(in_class);
  if (name == "xdigit") return "0-9A-Fa-f";
  if (name == "blank") return "\\p{Zs}\\t";
  if (name == "ascii") return "\\x00-\\x7f";
  // PCRE2 leaves private characters and a few format characters out.
  if (name == "graph") return class_of({"L", "M", "N", "P", "S", "Cf", "Co"}, "[:graph:]");
  if (name == "print") return class_of({"L", "M", "N", "P", "S", "Cf", "Co"}, "[:print:]");
  return "";
}

bool compiles(const std::string& pattern) {
  int error = 0;
  PCRE2_SIZE at = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), PCRE2_UTF | PCRE2_UCP,
                                   &error, &at, nullptr);
  pcre2_code_free(code);
  return code != nullptr;
}

class Translator {
 public:
  Translator(std::string_view pattern, std::string_view where) : in_(pattern), where_(where) {}

  std::string run() {
    while (at_ < in_.size()) step();
    return std::move(out_);
  }

 private:
  bool more(size_t n = 1) const { return at_ + n <= in_.size(); }
  bool next_is(std::string_view s) const { return in_.substr(at_, s.size()) == s; }
  void atom() { atom_ = out_.size(); }
  void copy(size_t n) {
    out_ += in_.substr(at_, n);
    at_ += n;
  }
  [[noreturn]] void refuse(std::string_view what) const {
    fail_file(FileFault::syntax, where_, "the regular expression \"{}\" has {} at byte {}", in_.substr(0, 200), what,
              at_);
  }

  void step() {
    const char c = in_[at_];
    if (c == '\\') return escape();
    if (c == '[') {
      atom();
      out_ += char_class();
      return;
    }
    if (c == '(') return open_group();
    if (c == ')') {
      if (!groups_.empty()) {
        atom_ = groups_.back();
        groups_.pop_back();
      }
      return copy(1);
    }
    if (c == '{' && interval()) return;
    if (c == '#' && next_is("#")) {
      atom();
      return copy(1);
    }
    if (c != '*' && c != '+' && c != '?' && c != '|') {
      atom();
      copy(1);
      while (more() && (static_cast<unsigned char>(in_[at_]) & 0xC0) == 0x80) copy(1);
      return;
    }
    copy(1);
  }

  void open_group() {
    groups_.push_back(out_.size());
    atom();
    if (next_is("(?~")) refuse("an absent operator, which is not supported,");
    if (!next_is("(?") || next_is("(?<") || next_is("(?#")) return copy(1);
    // Option letters up to ':' or ')': Ruby's m is everybody else's s.
    size_t end = at_ + 2;
    while (end < in_.size() && (std::isalpha(static_cast<unsigned char>(in_[end])) || in_[end] == '-')) ++end;
    const bool options = end > at_ + 2 && end < in_.size() && (in_[end] == ':' || in_[end] == ')');
    if (!options) return copy(1);
    for (; at_ < end; ++at_) out_ += in_[at_] == 'm' ? 's' : in_[at_];
  }

  // {n,m} and its relatives; false where the brace is an ordinary character.
  bool interval() {
    size_t end = at_ + 1;
    std::string low, high;
    auto digits = [&](std::string& to) {
      while (end < in_.size() && std::isdigit(static_cast<unsigned char>(in_[end]))) to += in_[end++];
    };
    digits(low);
    const bool comma = end < in_.size() && in_[end] == ',';
    if (comma) ++end;
    if (comma) digits(high);
    if (end >= in_.size() || in_[end] != '}' || (low.empty() && high.empty())) {
      atom();
      out_ += "\\{";
      ++at_;
      return true;
    }
    at_ = end + 1;
    std::string braces = "{" + (low.empty() ? "0" : low) + (comma ? "," + high : "") + "}";
    const bool again = more() && (in_[at_] == '+' || (in_[at_] == '?' && !comma));
    if (again) {
      out_.insert(std::min(atom_, out_.size()), "(?:");
      out_ += braces + ")";
      copy(1);
    } else {
      out_ += braces;
    }
    return true;
  }

  void escape() {
    if (!more(2)) refuse("a backslash without a character");
    atom();
    const char c = in_[at_ + 1];
    if (c == 'b' || c == 'B') {
      const std::string word = "[" + words(false) + "]";
      const std::string inside = "(?:(?<=" + word + ")(?!" + word + ")|(?<!" + word + ")(?=" + word + "))";
      out_ += c == 'b' ? inside : "(?!" + inside + ")";
      at_ += 2;
    } else if (std::string members; class_escape(members, false)) {
      out_ += "[" + members + "]";
    } else if (c == 'X') {
      out_ += grapheme();
      at_ += 2;
    } else if (c == 'u') {
      out_ += unicode_escape();
    } else if ((c == 'p' || c == 'P') && more(3) && in_[at_ + 2] == '{') {
      out_ += property(false);
    } else {
      copy(2);
      while (more() && (static_cast<unsigned char>(in_[at_]) & 0xC0) == 0x80) copy(1);
    }
  }

  // \s \w \d \h and their opposites: the members of a class, with a leading '^' for the opposites.
  bool class_escape(std::string& members, bool in_class) {
    if (!more(2)) return false;
    const char c = in_[at_ + 1];
    const char lower = static_cast<char>(std::tolower(c));
    if (lower == 's')
      members = kSpaces;
    else if (lower == 'w')
      members = words(in_class);
    else if (lower == 'd')
      members = class_of({"Nd"});
    else if (lower == 'h')
      members = "0-9A-Fa-f";
    else
      return false;
    if (c != lower) members.insert(0, "^");
    at_ += 2;
    return true;
  }

  std::string unicode_escape() {
    if (!more(6)) refuse("\\u without four hexadecimal digits");
    std::string out = "\\x{" + std::string(in_.substr(at_ + 2, 4)) + "}";
    at_ += 6;
    return out;
  }

  // \p{Name} as PCRE2 names it.
  std::string property(bool in_class) {
    const size_t end = in_.find('}', at_);
    if (end == std::string_view::npos) refuse("an unfinished \\p{");
    std::string name(in_.substr(at_ + 3, end - at_ - 3));
    bool negated = in_[at_ + 1] == 'P';
    if (!name.empty() && name[0] == '^') {
      negated = !negated;
      name.erase(0, 1);
    }
    at_ = end + 1;
    std::string plain;
    for (char ch : name)
      if (ch != '_' && ch != '-' && ch != ' ') plain += static_cast<char>(std::tolower(ch));
    static constexpr std::array<Named, 33> kLong{{{"letter", "L"},
                                                  {"mark", "M"},
                                                  {"number", "N"},
                                                  {"punctuation", "P"},
                                                  {"punct", "P"},
                                                  {"symbol", "S"},
                                                  {"separator", "Z"},
                                                  {"other", "C"},
                                                  {"uppercaseletter", "Lu"},
                                                  {"lowercaseletter", "Ll"},
                                                  {"titlecaseletter", "Lt"},
                                                  {"modifierletter", "Lm"},
                                                  {"otherletter", "Lo"},
                                                  {"nonspacingmark", "Mn"},
                                                  {"spacingmark", "Mc"},
                                                  {"enclosingmark", "Me"},
                                                  {"decimalnumber", "Nd"},
                                                  {"letternumber", "Nl"},
                                                  {"othernumber", "No"},
                                                  {"connectorpunctuation", "Pc"},
                                                  {"dashpunctuation", "Pd"},
                                                  {"openpunctuation", "Ps"},
                                                  {"closepunctuation", "Pe"},
                                                  {"initialpunctuation", "Pi"},
                                                  {"finalpunctuation", "Pf"},
                                                  {"otherpunctuation", "Po"},
                                                  {"mathsymbol", "Sm"},
                                                  {"currencysymbol", "Sc"},
                                                  {"modifiersymbol", "Sk"},
                                                  {"othersymbol", "So"},
                                                  {"control", "Cc"},
                                                  {"format", "Cf"},
                                                  {"alpha", "Alphabetic"}}};
    std::string members;
    for (const Named& l : kLong)
      if (plain == l.name) members = class_of({l.members});
    if (members.empty())
      for (const Named& l : kLong)
        if (name == l.members) members = class_of({name});
    if (members.empty()) members = posix_members(plain, in_class);
    if (!members.empty()) return (negated ? "[^" : "[") + members + "]";
    // A script: PCRE2 would take its extensions in as well (U+3002 is not of the script Han).
    const std::string script = "sc:" + name;
    const std::string& known = compiles("\\p{" + script + "}") ? script : name;
    if (plain == "han") return std::string(negated ? "[^" : "[") + "\\p{" + known + "}" + kNewHan + "]";
    return std::string(negated ? "\\P{" : "\\p{") + known + "}";
  }

  // A class from '[' on. Nested classes become alternatives, && becomes a lookahead:
  // [ab[cd]&&[^c]] -> (?:(?=[ab]|[cd])[^c]), and negation a negative lookahead in front of any character.
  std::string char_class(int depth = 0) {
    if (depth > 32) refuse("classes nested too deeply");
    ++at_;
    const bool negated = more() && in_[at_] == '^';
    if (negated) ++at_;
    std::vector<std::vector<std::string>> sides(1);  // && separates sides; a side is a union of classes
    std::string simple;                              // members of the side that need no class of their own
    auto close_side = [&] {
      if (!simple.empty()) sides.back().push_back("[" + simple + "]");
      simple.clear();
    };
    bool first = true;
    for (;; first = false) {
      if (!more()) refuse("an unfinished character class");
      if (in_[at_] == ']' && !first) break;
      if (next_is("&&")) {
        close_side();
        sides.emplace_back();
        at_ += 2;
        continue;
      }
      if (next_is("[:") && posix(simple, sides.back())) continue;
      if (in_[at_] == '[') {
        sides.back().push_back(char_class(depth + 1));
        continue;
      }
      member(simple, sides.back());
    }
    ++at_;
    if (sides.size() == 1 && sides[0].empty()) return "[" + std::string(negated ? "^" : "") + simple + "]";
    close_side();
    return combine(sides, negated);
  }

  std::string combine(const std::vector<std::vector<std::string>>& sides, bool negated) const {
    auto join = [](const std::vector<std::string>& side) {
      std::string out;
      for (const std::string& s : side) out += (out.empty() ? "" : "|") + s;
      return out.empty() ? std::string("(?!)") : out;
    };
    std::string all;
    for (size_t i = 0; i + 1 < sides.size(); ++i) all += "(?=" + join(sides[i]) + ")";
    all += "(?:" + join(sides.back()) + ")";
    return negated ? "(?:(?!" + all + ")(?s:.))" : "(?:" + all + ")";
  }

  bool posix(std::string& simple, std::vector<std::string>& side) {
    const size_t end = in_.find(":]", at_);
    if (end == std::string_view::npos || end - at_ > 12) return false;
    std::string_view name = in_.substr(at_ + 2, end - at_ - 2);
    const bool negated = !name.empty() && name[0] == '^';
    if (negated) name.remove_prefix(1);
    const std::string members = posix_members(name, true);
    if (members.empty()) return false;
    if (negated)
      side.push_back("[^" + members + "]");
    else
      simple += members;
    at_ = end + 2;
    return true;
  }

  // One member of a class: a character, an escape, a set. Opposite sets become classes of their own.
  void member(std::string& simple, std::vector<std::string>& side) {
    if (in_[at_] != '\\') {
      const char c = in_[at_++];
      if (c == '[' || c == ']' || c == '^') simple += '\\';
      simple += c;
      return;
    }
    if (!more(2)) refuse("a backslash without a character");
    std::string members;
    if (class_escape(members, true)) {
      if (members[0] != '^')
        simple += members;
      else
        side.push_back("[" + members + "]");
    } else if (in_[at_ + 1] == 'u') {
      simple += unicode_escape();
    } else if ((in_[at_ + 1] == 'p' || in_[at_ + 1] == 'P') && more(3) && in_[at_ + 2] == '{') {
      std::string p = property(true);
      if (p.starts_with("[^"))
        side.push_back(std::move(p));
      else
        simple += p[0] == '[' ? p.substr(1, p.size() - 2) : p;
    } else {
      simple += in_.substr(at_, 2);
      at_ += 2;
    }
  }

  std::string_view in_, where_;
  std::string out_;
  std::vector<size_t> groups_;
  size_t at_ = 0, atom_ = 0;
};

}  // namespace

std::string translate_onig(std::string_view pattern, std::string_view where) {
  return Translator(pattern, where).run();
}

}  // namespace caravan::text
