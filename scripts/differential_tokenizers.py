#!/usr/bin/env python3
"""Compares Caravan's tokenizers with Hugging Face `tokenizers` on random Unicode text.

usage: differential_tokenizers.py TOOL [-n COUNT] [--seed S] [--synthetic] [--published] [--random N] tokenizer.json...
TOOL is the program built from benchmarks/tokenizer_bench.cc. --synthetic adds the small tokenizers of
scripts/golden/tokenizer.py, --published and --random those of tokenizer_kinds.py there. Compared: ids, tokens, offsets, type ids, masks, word ids, overflowing parts, decoded text.
Written against tokenizers 0.23.3.
"""
import argparse
import json
import os
import random
import subprocess
import sys
import tempfile

from tokenizers import Tokenizer

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden"))

SNIPPETS = ["Hello world", "it's", "We'LL", " don't", "'ſ", "ſ's", "  ", "\n", "\r\n", "\n\n\n", "\t", " \t ", "\u00a0", "\u3000", "\u2028",
            "\u180e", "\u200b", "\u200d", "\ufeff", "\ufffd", "\u0085", "12345", "３４５", "½", "Ⅻ", "²³", "١٢٣", "e\u0301", "é", "ﬁ", "Å", "Å",
            "a\u0323\u0307", "a\u0307\u0323", "가각", "\u1100\u1161\u11a8", "日本語", "中文,。", "ひらがなカタカナー", "العربية", "עִבְרִית", "हिन्दी", "ไทย", "ß", "İ", "ıI",
            "ΑΣ", "ДЖ", "👍🏽", "👨‍👩‍👧‍👦", "🇺🇸", "\U0001F600", "x=1;", "{}[]()", "!!!", "...", "\"quote\"", "<s>", "</s>", "<unk>", "[UNK]", "[CLS]", "[MASK]",
            "<|im_start|>", "<|endoftext|>", "<|eot_id|>", "<think>", "<mask>", "<added>", "<0x0A>", "▁", "▁▁a", "Ġ", "\u0000", "\u0007", "\x7f",
            "def f(x):\n    return x", "https://a.b/c?d=e", "a" * 50, " " * 40, "CamelCaseWord", "snake_case_word", "ÀÉÎ", "\u0378", "\U0001F9FF",
            "Ａｂｃ", "①", "㍿", "ｶﾞ", "\u0f71\u0f72", "𝒳", "don’t", "–—", "$€", "don't   stop", "Übermäßig", "naïve", "word", "the", "quick", "brown"]


def random_text(rng):
    out = []
    for _ in range(rng.choice([0, 1, 2, 3, 5, 8, 13, 30])):
        kind = rng.random()
        if kind < 0.55:
            out.append(rng.choice(SNIPPETS))
        elif kind < 0.65:
            out.append(" ")
        elif kind < 0.75:
            out.append("".join(rng.choice("abcdefghij ,.'\nABC019") for _ in range(rng.randint(1, 12))))
        elif kind < 0.85:
            low, high = rng.choice([(0, 0x80), (0x80, 0x500), (0x300, 0x370), (0x900, 0x1200), (0x2000, 0x2100), (0x3000, 0x3100), (0x4E00, 0x9FFF),
                                    (0x1F300, 0x1FA00)])
            out.append("".join(chr(rng.randrange(low, high)) for _ in range(rng.randint(1, 6))))
        elif kind < 0.9:
            c = rng.randrange(0x110000)
            out.append(chr(c) if not 0xD800 <= c < 0xE000 else "?")
        else:
            out.append(rng.choice(["", " "]) + rng.choice(SNIPPETS) + rng.choice(["", " "]))
    return "".join(out)


def requests(rng, count, is_added):
    extra = ["", " ".join(is_added)]
    for i in range(count):
        text = extra[i] if i < len(extra) else random_text(rng)
        if is_added and rng.random() < 0.3:
            at = rng.randint(0, len(text))
            text = text[:at] + rng.choice(is_added) + text[at:]
        request = {"text": text, "add_special_tokens": rng.random() < 0.7}
        if rng.random() < 0.2:
            request["pair"] = random_text(rng)
        if i % 50 == 20:
            length = rng.choice([5, 8, 13])
            request["truncation"] = {"max_length": length, "stride": rng.randint(0, 2 if length > 5 else 0),
                                     "strategy": rng.choice(["longest_first", "only_first", "only_second"]),
                                     "direction": rng.choice(["left", "right"])}
        if i % 50 == 30:
            request["padding"] = {"length": rng.choice([None, 6, 20]), "pad_to_multiple_of": rng.choice([0, 4]), "pad_id": 1,
                                  "direction": rng.choice(["left", "right"])}
        if i % 50 == 40:
            request["truncation"] = None
            request["padding"] = None
        yield request


def describe(e):
    return {"ids": e.ids, "tokens": e.tokens, "type_ids": e.type_ids, "special": e.special_tokens_mask, "attention": e.attention_mask,
            "words": [-1 if w is None else w for w in e.word_ids], "offsets": [list(o) for o in e.offsets],
            "overflowing": [describe(o) for o in e.overflowing]}


def expected(tokenizer, request):
    try:
        if "truncation" in request:
            t = request["truncation"]
            tokenizer.no_truncation() if t is None else tokenizer.enable_truncation(**t)
        if "padding" in request:
            p = request["padding"]
            if p is None:
                tokenizer.no_padding()
            else:
                tokenizer.enable_padding(direction=p["direction"], pad_id=p["pad_id"], pad_to_multiple_of=p["pad_to_multiple_of"] or None,
                                         length=p["length"])
        e = tokenizer.encode(request["text"], request.get("pair"), add_special_tokens=request["add_special_tokens"])
        out = describe(e)
        out["decoded"] = tokenizer.decode(e.ids)
        out["decoded_all"] = tokenizer.decode(e.ids, skip_special_tokens=False)
        return out
    except BaseException as error:  # the package panics on some inputs
        if isinstance(error, KeyboardInterrupt):
            raise
        return {"panic" if type(error).__name__ == "PanicException" else "error": str(error)}


def compare(tool, path, count, seed, show):
    rng = random.Random(seed)
    tokenizer = Tokenizer.from_file(path)
    added = [t.content for t in tokenizer.get_added_tokens_decoder().values()][:20]
    batch = list(requests(rng, count, added))
    answers = subprocess.run([tool, "--dump", path], input="\n".join(map(json.dumps, batch)), capture_output=True, text=True)
    lines = answers.stdout.split("\n")
    if answers.returncode or len(lines) != len(batch) + 1:
        print(f"  {path}: the tool ended with {answers.returncode}: {answers.stderr[:300]} after {len(lines)} lines of {len(batch)}")
        return 1
    different = failed = panics = 0
    for request, line in zip(batch, lines):
        want, got = expected(tokenizer, request), json.loads(line)
        if "panic" in want:  # what Caravan gives there is an error or a plain result
            panics += 1
            continue
        if "error" in want and "error" in got:
            failed += 1
            continue
        if want == got:
            continue
        different += 1
        if different <= show:
            keys = [k for k in set(want) | set(got) if want.get(k) != got.get(k)]
            print("  request", json.dumps(request))
            for k in keys:
                print(f"    {k}: want {str(want.get(k))[:300]!r}\n    {k}: got  {str(got.get(k))[:300]!r}")
    print(f"{os.path.relpath(path)}: {count} texts, {different} differences, {failed} refused by both, {panics} on which the package panics", flush=True)
    return different


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("tool")
    parser.add_argument("files", nargs="*")
    parser.add_argument("-n", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=2)
    parser.add_argument("--synthetic", action="store_true")
    parser.add_argument("--published", action="store_true")
    parser.add_argument("--random", type=int, default=0, metavar="N")
    options = parser.parse_intermixed_args()
    total = 0
    with tempfile.TemporaryDirectory() as folder:
        files = list(options.files)
        made = {}
        if options.synthetic:
            import tokenizer as synthetic
            made |= synthetic.tokenizers()
        if options.published or options.random:
            import tokenizer_kinds
            made |= tokenizer_kinds.published() if options.published else {}
            made |= tokenizer_kinds.at_random(options.random, options.seed)
        for name, tokenizer in made.items():
            path = os.path.join(folder, name + ".json")
            tokenizer.save(path)
            files.append(path)
        for path in files:
            total += compare(options.tool, path, options.n, options.seed, options.show)
    print("total differences:", total)
    return total > 0


sys.exit(main())
