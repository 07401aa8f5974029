#!/usr/bin/env python3
"""Code points that Oniguruma (in Hugging Face tokenizers) counts into a character class and PCRE2 of Unicode 14 does not.

usage: make_regex_tables.py > caravan/text/onig_tables.cc
Asks both engines about every code point: tokenizers through a Split pre-tokenizer, PCRE2 through ctypes. Code points that
only PCRE2 counts in are reported on stderr. Written against tokenizers 0.23.3 and PCRE2 10.42 (Unicode 14.0.0).
"""
import ctypes
import ctypes.util
import sys

from tokenizers import Regex
from tokenizers.pre_tokenizers import Split

CLASSES = (["Alphabetic", "Uppercase", "Lowercase"] + ["L", "M", "N", "P", "S", "Z"] +
           ["Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So", "Zs", "Cf"])
CHARACTERS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def reference(name):
    """Members by Oniguruma: the pieces of a text of all code points."""
    pieces = Split(Regex("\\p{%s}+" % name), behavior="isolated").pre_tokenize_str("".join(map(chr, CHARACTERS)))
    members, inside = set(), None
    for text, _ in pieces:
        if inside is None:
            inside = bool(Split(Regex("\\p{%s}" % name), behavior="removed").pre_tokenize_str(text[0])) is False
        if inside:
            members.update(map(ord, text))
        inside = not inside
    return members


def pcre2(name):
    lib = ctypes.CDLL(ctypes.util.find_library("pcre2-8") or "libpcre2-8.so.0")
    lib.pcre2_compile_8.restype = lib.pcre2_match_data_create_8.restype = ctypes.c_void_p
    error, at = ctypes.c_int(), ctypes.c_size_t()
    pattern = b"\\p{%s}" % name.encode()
    code = lib.pcre2_compile_8(pattern, ctypes.c_size_t(len(pattern)), 0x00080000 | 0x00020000, ctypes.byref(error), ctypes.byref(at), None)
    assert code, name
    data = lib.pcre2_match_data_create_8(1, None)
    members = set()
    for c in CHARACTERS:
        text = chr(c).encode()
        if lib.pcre2_match_8(ctypes.c_void_p(code), text, ctypes.c_size_t(len(text)), ctypes.c_size_t(0), 0, ctypes.c_void_p(data), None) > 0:
            members.add(c)
    return members


def ranges(members):
    out = []
    for c in sorted(members):
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return "".join("\\\\x{%x}" % a if a == b else "\\\\x{%x}-\\\\x{%x}" % (a, b) for a, b in out)


def main():
    print("// Made by scripts/make_regex_tables.py (tokenizers 0.23.3, PCRE2 10.42): what Oniguruma's newer Unicode version adds.")
    print('#include "caravan/text/onig_tables.h"\n\nnamespace caravan::text {\n')
    print("namespace {\n\nstruct Added {\n  std::string_view property, members;\n};\nconstexpr Added kAdded[] = {")
    for name in CLASSES:
        ours, theirs = pcre2(name), reference(name)
        if theirs - ours:
            text = ranges(theirs - ours)
            print('      {"%s",' % name)
            parts = text.replace("\\\\x", "\n\\\\x").split("\n")[1:]
            line = ""
            lines = []
            for part in parts:
                if len(line) + len(part) > 100 and not line.endswith("-"):
                    lines.append(line)
                    line = ""
                line += part
            lines.append(line)
            print("\n".join('       "%s"' % l for l in lines) + "},")
        if ours - theirs:
            print(name, "only in PCRE2:", ranges(ours - theirs)[:2000], file=sys.stderr)
    print("};\n\n}  // namespace\n\nstd::string_view added_members(std::string_view property) {\n  for (const Added& a : kAdded)\n    if (a.property == property) return a.members;\n  return {};\n}\n")
    print("}  // namespace caravan::text")


main()
