#!/usr/bin/env python3
"""Goldens of the tokenizer components: tests/golden/tokenizer/*.json.

Small tokenizers, made with Hugging Face `tokenizers`, for every component and flag, each with what the package answers on
a list of nasty texts. Ran with: tokenizers 0.23.3. Usage: scripts/golden/tokenizer.py [GROUP...] (writes into the repository).
"""
import json
import os
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, trainers
from tokenizers import normalizers as N
from tokenizers import pre_tokenizers as P
from tokenizers import processors

SENTENCES = ["the quick brown fox jumps over the lazy dog", "don't stop the music, it's 1999 now!", "hello world hello there", "low lower lowest new newer newest",
             "naïve café déjà vu", "日本語 中文 한국어", "def f(x):\n    return x + 12345", "wider widest unhappiness happily"] * 4

TEXTS = ["", "Hello  World, don't stop!\n\nIt's 12345 lowest", " ▁é e\u0301 ﬁ Å İß\u00a0\u3000日本語中文\u200d👨‍👩‍👧🏽 𝒳", "<s>hello</s> <mask> newest<mask>er [SEP] Day\t<unk>",
         "עִבְרִית العربية हिन्दी\u0000\u0007\ufffd١٢٣ ½Ⅻ\r\n\u2028x\u0378", "a" * 60 + "  lower the\u0323\u0307 가각ᄀ", "don’t\u0085“stop” snake_case 3.14 $€ <0x0A>\u180e"]

UNKNOWN = models.Unigram([("<unk>", 0.0)], 0, False)  # a token for each piece, with its text


def bpe(byte_level=False, **options):
    tokenizer = Tokenizer(models.BPE(**options))
    tokenizer.pre_tokenizer = P.ByteLevel(add_prefix_space=False) if byte_level else P.Whitespace()
    tokenizer.train_from_iterator(SENTENCES, trainers.BpeTrainer(
        vocab_size=420 if byte_level else 120, show_progress=False, special_tokens=[t for t in [options.get("unk_token")] if t],
        initial_alphabet=P.ByteLevel.alphabet() if byte_level else [],
        **{k: v for k, v in options.items() if k in ("continuing_subword_prefix", "end_of_word_suffix")}))
    return tokenizer.model


def sentencepiece_bpe(**options):
    """Merges over U+2581, byte tokens, as Llama 2 has them."""
    plain = Tokenizer(models.BPE())
    plain.pre_tokenizer = P.Metaspace()
    plain.train_from_iterator(SENTENCES, trainers.BpeTrainer(vocab_size=110, show_progress=False))
    model = json.loads(plain.to_str())["model"]
    vocab = {"<unk>": 0}
    for b in range(256):
        vocab[f"<0x{b:02X}>"] = len(vocab)
    for token in model["vocab"]:
        vocab.setdefault(token, len(vocab))
    return models.BPE(vocab=vocab, merges=[tuple(m) for m in model["merges"]], unk_token="<unk>", **options)


def unigram(byte_fallback=False):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = P.Metaspace()
    tokenizer.train_from_iterator(SENTENCES, trainers.UnigramTrainer(vocab_size=90, show_progress=False, special_tokens=["<unk>"], unk_token="<unk>"))
    model = json.loads(tokenizer.to_str())["model"]
    vocab = [tuple(v) for v in model["vocab"]]
    if byte_fallback:
        vocab += [(f"<0x{b:02X}>", -20.0) for b in range(256)]
    return models.Unigram(vocab, 0, byte_fallback)


def word_piece(**options):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = P.BertPreTokenizer()
    tokenizer.train_from_iterator(SENTENCES, trainers.WordPieceTrainer(vocab_size=110, show_progress=False, special_tokens=["[UNK]", "[CLS]", "[SEP]", "[MASK]"]))
    vocab = json.loads(tokenizer.to_str())["model"]["vocab"]
    return models.WordPiece(vocab=vocab, unk_token="[UNK]", **options)


def word_level():
    words = ["<unk>", "the", "quick", "hello", "Hello", "World", ",", "lowest", "12345"]
    return models.WordLevel(vocab={w: i for i, w in enumerate(words)}, unk_token="<unk>")


def build(model, normalizer=None, pre_tokenizer=None, post_processor=None, decoder=None, added=()):
    tokenizer = Tokenizer(model)
    if normalizer:
        tokenizer.normalizer = normalizer
    if pre_tokenizer:
        tokenizer.pre_tokenizer = pre_tokenizer
    if post_processor:
        tokenizer.post_processor = post_processor
    if decoder:
        tokenizer.decoder = decoder
    if added:
        tokenizer.add_tokens([t for t in added if not t.special])
        tokenizer.add_special_tokens([t for t in added if t.special])
    return tokenizer


def model_cases():
    yield "bpe_plain", build(bpe(), pre_tokenizer=P.Whitespace())
    yield "bpe_unknown", build(bpe(unk_token="<unk>"), pre_tokenizer=P.Whitespace())
    yield "bpe_fuse", build(bpe(unk_token="<unk>", fuse_unk=True), pre_tokenizer=P.WhitespaceSplit())
    yield "bpe_affixes", build(bpe(unk_token="<unk>", continuing_subword_prefix="##", end_of_word_suffix="</w>"), pre_tokenizer=P.Whitespace(),
                               decoder=decoders.BPEDecoder("</w>"))
    yield "bpe_suffix", build(bpe(unk_token="<unk>", end_of_word_suffix="</w>"), pre_tokenizer=P.Whitespace(), decoder=decoders.BPEDecoder("</w>"))
    byte_level = bpe(True)
    yield "byte_level", build(byte_level, pre_tokenizer=P.ByteLevel(add_prefix_space=False), decoder=decoders.ByteLevel(), post_processor=processors.ByteLevel(trim_offsets=True))
    yield "byte_level_prefix", build(byte_level, pre_tokenizer=P.ByteLevel(add_prefix_space=True), decoder=decoders.ByteLevel(),
                                     post_processor=processors.ByteLevel(trim_offsets=True, add_prefix_space=False))
    yield "byte_level_whole", build(byte_level, N.NFC(), P.ByteLevel(add_prefix_space=False, use_regex=False), decoder=decoders.ByteLevel(),
                                    post_processor=processors.ByteLevel(trim_offsets=False))
    yield "byte_level_normalizer", build(byte_level, N.ByteLevel(), decoder=decoders.ByteLevel())
    llama = N.Sequence([N.Prepend("▁"), N.Replace(" ", "▁")])
    undo = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    yield "llama", build(sentencepiece_bpe(fuse_unk=True, byte_fallback=True), llama, decoder=undo)
    yield "llama_no_bytes", build(sentencepiece_bpe(fuse_unk=True), llama, decoder=undo)
    yield "ignore_merges", build(sentencepiece_bpe(ignore_merges=True, byte_fallback=True), None, P.Metaspace(), decoder=decoders.Metaspace())
    yield "unigram", build(unigram(), N.NFKC(), P.Metaspace(), decoder=decoders.Metaspace())
    yield "unigram_whole", build(unigram(), None, P.Metaspace(prepend_scheme="first", split=False), decoder=decoders.Metaspace())
    yield "unigram_bytes", build(unigram(True), None, P.Metaspace(prepend_scheme="never"), decoder=decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()]))
    yield "word_piece", build(word_piece(), N.BertNormalizer(), P.BertPreTokenizer(), decoder=decoders.WordPiece())
    yield "word_piece_short", build(word_piece(max_input_chars_per_word=6), N.BertNormalizer(lowercase=False), P.BertPreTokenizer(), decoder=decoders.WordPiece(cleanup=False))
    yield "word_level", build(word_level(), None, P.Whitespace())


def normalizer_cases():
    cases = {
        "nfc": N.NFC(), "nfd": N.NFD(), "nfkc": N.NFKC(), "nfkd": N.NFKD(), "nmt": N.Nmt(), "lowercase": N.Lowercase(), "strip_accents": N.StripAccents(),
        "nfd_strip_accents": N.Sequence([N.NFD(), N.StripAccents(), N.Lowercase()]), "strip": N.Strip(), "strip_left": N.Strip(True, False),
        "replace_text": N.Replace("l", "LL"), "replace_regex": N.Replace(Regex(r"\s+"), "_"), "replace_drop": N.Replace(Regex("[aeiou]"), ""),
        "prepend": N.Prepend("▁▁"), "bert": N.BertNormalizer(), "bert_plain": N.BertNormalizer(False, False, False, False), "bert_accents": N.BertNormalizer(True, False, True, False),
        "byte_level": N.ByteLevel(), "all": N.Sequence([N.Strip(), N.NFKD(), N.Replace(" ", "▁"), N.Prepend("▁"), N.NFC()]),
        "precompiled": N.Precompiled(charsmap()),
    }
    for name, normalizer in cases.items():
        yield name, build(UNKNOWN, normalizer, P.Split("", "isolated"))


def charsmap():
    """A small double array in SentencePiece's form, every node with a block of its own."""
    rules = {"\u212b": "Å", "ﬁ": "fi", "Ａ": "A", "\u200d": "", "\u3000": " ", "e\u0301": "é", "½": "1⁄2"}
    normalized, values = b"", {}
    for key, value in rules.items():
        values[key.encode()] = len(normalized)
        normalized += value.encode() + b"\0"
    units = {}
    used = {0}
    def place(position, keys, depth):
        labels = sorted({k[depth] for k in keys if len(k) > depth})
        leaf = [k for k in keys if len(k) == depth]
        base = 256
        while any((base ^ c) in used for c in labels + [0]) or base >> 8 == position >> 8:
            base += 256  # a block for each node: the offset then needs no low bits
        for c in labels + [0]:
            used.add(base ^ c)
        offset = position ^ base
        label = units.get(position, 0)
        units[position] = label | offset << 10 | (256 if leaf else 0)
        if leaf:
            units[base] = values[leaf[0]] | 1 << 31
        for c in labels:
            units[base ^ c] = c
            place(base ^ c, [k for k in keys if len(k) > depth and k[depth] == c], depth + 1)
    place(0, list(values), 0)
    size = (max(used) // 256 + 1) * 256
    blob = b"".join(units.get(i, 0).to_bytes(4, "little") for i in range(size))
    return len(blob).to_bytes(4, "little") + blob + normalized


def pre_tokenizer_cases():
    for behavior in ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]:
        yield "split_" + behavior, build(UNKNOWN, None, P.Split(Regex(r"[\s']"), behavior))
        yield "split_inverted_" + behavior, build(UNKNOWN, None, P.Split(Regex(r"\w+"), behavior, invert=True))
        yield "punctuation_" + behavior, build(UNKNOWN, None, P.Punctuation(behavior))
    patterns = {
        "text": "lo", "llama3": Regex(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"),
        "o200k": Regex(r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"),
        "bloom": Regex(r" ?[^(\s|[.,!?…。，、।۔،])]+"), "intersection": Regex(r"[\p{L}&&[^aeiou]]+|[\p{Han}]+"), "possessive": Regex(r"\p{N}{1,2}+|\w++|\s?+"),
        "classes": Regex(r"[[:alpha:]]+|[[:punct:]]+|\d+|\h{2}"), "boundary": Regex(r"\b|(?<=1)(?=2)"), "anchors": Regex(r"^\w|\w$|(?m:o.)"),
    }
    for name, pattern in patterns.items():
        yield "split_" + name, build(UNKNOWN, None, P.Split(pattern, "isolated"))
    cases = {
        "digits": P.Digits(), "digits_each": P.Digits(True), "whitespace": P.Whitespace(), "whitespace_split": P.WhitespaceSplit(), "bert": P.BertPreTokenizer(),
        "delimiter": P.CharDelimiterSplit("l"), "scripts": P.UnicodeScripts(), "fixed": P.FixedLength(4), "metaspace": P.Metaspace(), "metaspace_first": P.Metaspace(prepend_scheme="first"),
        "metaspace_never": P.Metaspace(prepend_scheme="never"), "metaspace_whole": P.Metaspace("_", "always", False), "byte_level": P.ByteLevel(), "byte_level_whole": P.ByteLevel(False, use_regex=False),
        "sequence": P.Sequence([P.WhitespaceSplit(), P.Punctuation(), P.Digits(True), P.ByteLevel(False)]), "sequence_first": P.Sequence([P.Digits(), P.Metaspace(prepend_scheme="first")]),
    }
    for name, pre_tokenizer in cases.items():
        yield name, build(UNKNOWN, None, pre_tokenizer)
    yield "first_after_strip", build(UNKNOWN, N.Strip(), P.Metaspace(prepend_scheme="first"))


def added_cases():
    for flags in [{}, {"lstrip": True}, {"rstrip": True}, {"lstrip": True, "rstrip": True}, {"single_word": True}, {"normalized": True}, {"normalized": True, "lstrip": True, "single_word": True}]:
        tokens = [AddedToken("<mask>", **{"special": True, "normalized": False, **flags}), AddedToken("newest", **{"special": False, "normalized": False, **flags}),
                  AddedToken("Day", **{"special": False, **flags}), AddedToken("<s>", special=True, normalized=False), AddedToken("</s>", special=True, normalized=True)]
        name = "_".join(flags) or "none"
        yield "added_" + name, build(UNKNOWN, N.Lowercase(), P.WhitespaceSplit(), added=tokens)
        yield "added_prepend_" + name, build(UNKNOWN, N.Sequence([N.Prepend("▁"), N.Replace(" ", "▁")]), added=tokens)


def processor_cases():
    template = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A:2 [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    cases = {"template": template, "bert": processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1)), "roberta": processors.RobertaProcessing(("</s>", 2), ("<s>", 0)),
             "roberta_plain": processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=False, add_prefix_space=False),
             "sequence": processors.Sequence([processors.ByteLevel(trim_offsets=True), template]), "none": None}
    for name, processor in cases.items():
        for direction, strategy, length in [(None, None, None), ("right", "longest_first", 10), ("left", "longest_first", 11), ("right", "only_first", 32)]:
            tokenizer = build(UNKNOWN, None, P.ByteLevel() if "roberta" in name else P.Whitespace(), processor)
            if direction:
                tokenizer.enable_truncation(length, stride=1, strategy=strategy, direction=direction)
                tokenizer.enable_padding(direction=direction, pad_id=3, pad_token="[PAD]", pad_to_multiple_of=8)
            yield f"{name}_{strategy or 'full'}_{direction or 'none'}", tokenizer


def decoder_cases():
    """Tokens to text alone: the vocabulary is a list of nasty tokens."""
    tokens = ["<unk>", "▁Hello", "▁", "▁▁wor", "ld", "##ing", "##", "<0xE6>", "<0x97>", "<0xA5>", "<0xZZ>", "<0x-1>", "<0x0a>", "Ġthe", "Ċ", "âĢ", "Ļ", "日", "low</w>", "er</w>", "|", "<pad>",
              "l", "l", " .", " n't", "do", " not", ",", "é", " ", ""]
    vocab = [(t, 0.0) for t in tokens]
    cases = {"none": None, "byte_level": decoders.ByteLevel(), "metaspace": decoders.Metaspace(), "metaspace_never": decoders.Metaspace(prepend_scheme="never"),
             "word_piece": decoders.WordPiece(), "word_piece_raw": decoders.WordPiece("##", False), "bpe": decoders.BPEDecoder(), "ctc": decoders.CTC(), "ctc_raw": decoders.CTC(cleanup=False),
             "fallback": decoders.ByteFallback(), "fuse_strip": decoders.Sequence([decoders.Fuse(), decoders.Strip("▁", 2, 0)]), "replace": decoders.Replace(Regex("[lo]+"), "X"),
             "llama": decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]),
             "strip_start": decoders.Strip("▁", 1, 0), "bytes_metaspace": decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])}
    for name, decoder in cases.items():
        yield name, build(models.Unigram(vocab, 0, False), decoder=decoder, added=[AddedToken("<pad>", special=True, normalized=False)])


def published_cases():
    """The settings of published models; those with a charsmap are too large for here."""
    import tokenizer_kinds
    for name, tokenizer in tokenizer_kinds.published().items():
        if "precompiled_charsmap" not in tokenizer.to_str():
            yield name, tokenizer


SEQUENCES = [[], [1, 3, 4, 5], [7, 8, 9, 17, 7, 8, 4], [7, 8, 9], [7, 8, 9, 7, 8, 9, 10, 11, 12, 1], [13, 14, 15, 16, 13, 15], [18, 19, 18], [22, 22, 23, 21, 22, 20, 26, 25, 24, 26, 27],
             [2, 1, 2, 3, 2, 30, 30], [29, 28, 31, 6, 5, 999], [15], [21, 1, 21]]

GROUPS = {"models": model_cases, "normalizers": normalizer_cases, "pre_tokenizers": pre_tokenizer_cases, "added": added_cases, "processors": processor_cases, "decoders": decoder_cases, "published": published_cases}


def tokenizers():
    """All of them, for scripts/differential_tokenizers.py."""
    return {f"{group}-{name}": tokenizer for group, cases in GROUPS.items() if group != "published" for name, tokenizer in cases()}


def describe(e):
    out = {"ids": e.ids, "tokens": e.tokens, "offsets": [n for o in e.offsets for n in o], "words": [-1 if w is None else w for w in e.word_ids],
           "types": "".join(map(str, e.type_ids)), "special": "".join(map(str, e.special_tokens_mask)), "attention": "".join(map(str, e.attention_mask))}
    if e.overflowing:
        out["overflowing"] = [{"ids": o.ids, "types": "".join(map(str, o.type_ids))} for o in e.overflowing]
    return out


def main():
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "golden", "tokenizer")
    for group, cases in GROUPS.items():
        if sys.argv[1:] and group not in sys.argv[1:]:
            continue
        shared, out = [], []
        for name, tokenizer in cases():
            parts = json.loads(tokenizer.to_str())
            model = json.dumps(parts.pop("model"))
            if model not in shared:
                shared.append(model)
            entry = {"name": name, "model": shared.index(model), "parts": parts}
            if group == "decoders":
                entry["decode"] = [[ids, tokenizer.decode(ids, skip_special_tokens=True), tokenizer.decode(ids, skip_special_tokens=False)] for ids in SEQUENCES]
            else:
                texts = TEXTS if group in ("models", "normalizers", "pre_tokenizers") else TEXTS[1:4]
                entry["encode"] = []
                for i, text in enumerate(texts):
                    e = tokenizer.encode(text)
                    case = {"text": text, **describe(e)}
                    if group in ("models", "published"):
                        case["decoded"] = tokenizer.decode(e.ids)
                    entry["encode"].append(case)
                if group == "processors":
                    entry["encode"].append({"text": TEXTS[3], "pair": TEXTS[1], **describe(tokenizer.encode(TEXTS[3], TEXTS[1]))})
            out.append(entry)
        with open(os.path.join(folder, group + ".json"), "w") as f:
            json.dump({"models": [json.loads(m) for m in shared], "tokenizers": out}, f, ensure_ascii=False, separators=(",", ":"))
            f.write("\n")


if __name__ == "__main__":
    main()
