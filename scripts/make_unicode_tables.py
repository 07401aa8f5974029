#!/usr/bin/env python3
"""Writes caravan/text/unicode_tables.cc: what Hugging Face `tokenizers` answers for every code point.

The package mixes several Unicode versions (its regex engine, Rust's char methods, older crates for punctuation and
normalization). Asking it about every code point is the only way to agree with all of them.
Ran with: tokenizers 0.23.3, Python 3.11 (unicodedata 14.0). Usage: make_unicode_tables.py > caravan/text/unicode_tables.cc
"""
import sys
import unicodedata

import tokenizers
from tokenizers import Regex
from tokenizers import normalizers as N
from tokenizers import pre_tokenizers as P

CODES = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
BLOCK = 4096


def kept(pre_tokenizer):
    """Code points that the pre-tokenizer does not remove."""
    out = set()
    for i in range(0, len(CODES), BLOCK):
        block = CODES[i:i + BLOCK]
        for _, (a, b) in pre_tokenizer.pre_tokenize_str("".join(map(chr, block))):
            out.update(block[a:b])
    return out


def matching(regex):
    return kept(P.Split(Regex(regex), "removed", invert=True))


def isolated(pre_tokenizer):
    """Code points that become a piece of their own between two letters."""
    out = set()
    for i in range(0, len(CODES), BLOCK):
        block = CODES[i:i + BLOCK]
        for _, (a, b) in pre_tokenizer.pre_tokenize_str("".join("a" + chr(c) + "a" for c in block)):
            if b - a == 1 and a % 3 == 1:
                out.add(block[a // 3])
    return out


def word_characters():
    out = set()
    for i in range(0, len(CODES), BLOCK):
        block = CODES[i:i + BLOCK]
        for _, (a, b) in P.Whitespace().pre_tokenize_str(" ".join("a" + chr(c) + "a" for c in block)):
            if b - a == 3:
                out.add(block[a // 4])
    return out


def removed(normalizer):
    return {c for c in CODES if normalizer.normalize_str("a" + chr(c) + "a") == "aa"}


def changed(normalizer):
    return {c for c in CODES if normalizer.normalize_str(chr(c)) != chr(c)}


def reordering():
    """Code points whose canonical combining class is not 0 in the package."""
    nfd = N.NFD()
    # A mark of class 230 goes behind one of class 1, and one of class 1 before one of class 230.
    return {c for c in CODES if unicodedata.combining(chr(c)) and any(
        nfd.normalize_str("a" + m + chr(c)) != "a" + m + nfd.normalize_str(chr(c)) or
        nfd.normalize_str("a" + chr(c) + m) != "a" + nfd.normalize_str(chr(c)) + m for m in "\u0334\u0301\u0345")}


def properties():
    marks = reordering()
    seconds = {ord(unicodedata.normalize("NFD", chr(c))[-1]) for c in CODES
               if len(unicodedata.decomposition(chr(c)).split()) == 2 and "<" not in unicodedata.decomposition(chr(c))}
    seconds |= set(range(0x1161, 0x1176)) | set(range(0x11A8, 0x11C3))
    bert = dict(handle_chinese_chars=False, lowercase=False)
    return [  # in the order of the bits in unicode.h
        matching(r"\p{L}"),
        matching(r"\p{N}"),
        set(CODES) - kept(P.WhitespaceSplit()),
        isolated(P.Punctuation()),
        isolated(P.Digits(individual_digits=True)),
        word_characters(),
        removed(N.StripAccents()),
        removed(N.BertNormalizer(clean_text=True, strip_accents=False, **bert)),
        removed(N.BertNormalizer(clean_text=False, strip_accents=True, **bert)),
        changed(N.NFC()) | marks | seconds,
        changed(N.NFD()) | marks,
        changed(N.NFKC()) | marks | seconds,
        changed(N.NFKD()) | marks,
        marks,
    ]


def scripts():
    """Class of every code point under UnicodeScripts: 0 goes with anything."""
    split = P.UnicodeScripts().pre_tokenize_str
    together = lambda a, b: len(split(chr(a) + chr(b))) == 1
    any_script = {c for c in CODES if len(split("a" + chr(c))) == 1 and len(split("\u4e2d" + chr(c))) == 1}
    representatives, out, previous = [], [0] * 0x110000, None
    for c in CODES:
        if c in any_script:
            continue
        if previous is not None and together(previous, c):
            out[c] = out[previous]
        else:
            for index, r in enumerate(representatives):
                if together(r, c):
                    out[c] = index + 1
                    break
            else:
                representatives.append(c)
                out[c] = len(representatives)
        previous = c
    return out


def runs(values):
    out = []
    for v in values:
        if out and out[-1][1] == v:
            out[-1][0] += 1
        else:
            out.append([1, v])
    return out


def lowercase():
    """(first, count, step, distance) of single-character mappings, and the others."""
    out, special = [], []
    normalizer = N.Lowercase()
    for c in CODES:
        to = normalizer.normalize_str(chr(c))
        if to == chr(c):
            continue
        if len(to) > 1:
            special.append((c, to))
            continue
        distance = ord(to) - c
        if out and out[-1][3] == distance:
            first, count, step, _ = out[-1]
            if count == 1 and c - first <= 2:
                out[-1] = (first, 2, c - first, distance)
                continue
            if count > 1 and c == first + count * step:
                out[-1] = (first, count + 1, step, distance)
                continue
        out.append((c, 1, 1, distance))
    assert [(0x130, "i\u0307")] == special, special
    return out


def emit(name, kind, numbers):
    print(f"const {kind} {name}[] = {{")
    line = "   "
    for n in numbers:
        if len(line) + len(str(n)) + 2 > 120:
            print(line)
            line = "   "
        line += f" {n},"
    print(line + f"\n}};\nconst size_t {name}Size = {len(numbers)};\n")


def main():
    print(f"""// Unicode facts as Hugging Face tokenizers {tokenizers.__version__} has them, for every code point, run-length coded.
// Written by scripts/make_unicode_tables.py: do not edit.
#include "caravan/text/unicode_tables.h"

// clang-format off
namespace caravan::text {{
""")
    masks = [0] * 0x110000
    for bit, codes in enumerate(properties()):
        for c in codes:
            masks[c] |= 1 << bit
    emit("kPropertyRuns", "uint32_t", [x for run in runs(masks) for x in run])
    emit("kScriptRuns", "uint32_t", [x for run in runs(scripts()) for x in run])
    emit("kLowercaseRuns", "int32_t", [x for run in lowercase() for x in run])
    print("}  // namespace caravan::text\n// clang-format on")
    sys.stdout.flush()


main()
