"""Small vocabularies with the component settings of published models, and tokenizers put together at random.

Used by scripts/differential_tokenizers.py (--published, --random N) and by tokenizer.py for tests/golden/tokenizer/published.json.
Ran with: tokenizers 0.23.3, sentencepiece 0.2.3.
"""
import io
import json
import random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, trainers
from tokenizers import normalizers as N
from tokenizers import pre_tokenizers as P
from tokenizers import processors

CORPUS = ["the quick brown fox jumps over the lazy dog", "Don't stop the music, it's 1999 now!", "Hello world hello there, Hello World", "low lower lowest new newer newest",
          "naïve café déjà vu Übermäßig", "日本語の文章 中文字符 한국어 문장", "def f(x):\n    return x + 12345\n", "wider widest unhappiness happily wonderful", "Привет мир, как дела?",
          "العربية हिन्दी ไทย", "for (int i = 0; i < 10; ++i) {\n\tprintf(\"%d\\n\", i);\n}", "👍🏽 😀 emoji ½ ﬁ", "I'll we've they're 3.14 $100 50%", "https://a.org/b?c=d&e=f"] * 4

GPT4 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = GPT4.replace(r"\p{N}{1,3}", r"\p{N}")
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
TEKKEN = O200K.replace("(?i:'s|'t|'re|'ve|'m|'ll|'d)?", "").replace(r"\p{N}{1,3}", r"\p{N}")
DEEPSEEK3 = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
CLIP = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
CACHE = {}


def kept(make):
    def get(*args):
        key = (make.__name__, *args)
        if key not in CACHE:
            CACHE[key] = make(*args)
        return CACHE[key]
    return get


@kept
def byte_bpe(size=420):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = P.ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=size, show_progress=False, initial_alphabet=P.ByteLevel.alphabet()))
    return json.loads(tokenizer.to_str())["model"]


@kept
def metaspace_bpe():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = P.Metaspace()
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=320, show_progress=False))
    return json.loads(tokenizer.to_str())["model"]


@kept
def suffix_bpe():
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = P.ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=700, show_progress=False, initial_alphabet=P.ByteLevel.alphabet(), end_of_word_suffix="</w>"))
    return json.loads(tokenizer.to_str())["model"]


@kept
def word_piece(lowercase):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = N.BertNormalizer(lowercase=lowercase), P.BertPreTokenizer()
    tokenizer.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=300, show_progress=False, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]))
    return json.loads(tokenizer.to_str())["model"]["vocab"]


@kept
def sentencepiece(kind, rule):
    """(pieces with scores, charsmap, id of unknown) of a model that the SentencePiece library trains."""
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2 as pb
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(CORPUS), model_writer=model, model_type=kind, vocab_size=260, normalization_rule_name=rule,
                                             hard_vocab_limit=False, minloglevel=2, character_coverage=0.9995)
    proto = pb.ModelProto.FromString(model.getvalue())
    return [(p.piece, p.score) for p in proto.pieces], proto.normalizer_spec.precompiled_charsmap


def gpt_model(**options):
    model = byte_bpe()
    return models.BPE(vocab=model["vocab"], merges=[tuple(m) for m in model["merges"]], **options)


def bytes_model(first=("<unk>", "<s>", "</s>"), **options):
    model = metaspace_bpe()
    vocab = {t: i for i, t in enumerate(first)}
    for b in range(256):
        vocab[f"<0x{b:02X}>"] = len(vocab)
    for token in model["vocab"]:
        vocab.setdefault(token, len(vocab))
    return models.BPE(vocab=vocab, merges=[tuple(m) for m in model["merges"]], unk_token="<unk>", fuse_unk=True, byte_fallback=True, **options)


def unigram(rule, first, byte_fallback=False):
    """(model, charsmap) with the special pieces of a published model in front."""
    pieces, charsmap = sentencepiece("unigram", rule)
    names = [f for f in first]
    vocab = [(n, 0.0) for n in names] + [p for p in pieces if p[0] not in names and p[0] not in ("<unk>", "<s>", "</s>")]
    if byte_fallback:
        vocab += [(f"<0x{b:02X}>", -30.0) for b in range(256)]
    return models.Unigram(vocab, names.index("<unk>") if "<unk>" in names else 1, byte_fallback), charsmap


def special(*texts, **flags):
    return [AddedToken(t, special=True, normalized=False, **flags) for t in texts]


def build(model, normalizer=None, pre_tokenizer=None, processor=None, decoder=None, added=()):
    tokenizer = Tokenizer(model)
    for name, part in [("normalizer", normalizer), ("pre_tokenizer", pre_tokenizer), ("decoder", decoder)]:
        if part is not None:
            setattr(tokenizer, name, part)
    tokenizer.add_special_tokens([t for t in added if t.special])
    tokenizer.add_tokens([t for t in added if not t.special])
    if callable(processor):
        processor = processor(tokenizer.token_to_id)
    if processor is not None:
        tokenizer.post_processor = processor
    return tokenizer


def template(single, pair, *names):
    return lambda ids: processors.TemplateProcessing(single=single, pair=pair, special_tokens=[(n, ids(n)) for n in names])


def splits(*patterns, behavior="isolated"):
    return [P.Split(Regex(p), behavior) for p in patterns]


def byte_level_kinds():
    undo, level = decoders.ByteLevel(), P.ByteLevel(add_prefix_space=False, use_regex=False)
    end = special("<|endoftext|>")
    yield "gpt2", build(gpt_model(), None, P.ByteLevel(add_prefix_space=False), processors.ByteLevel(trim_offsets=False), undo, end)
    marks = [*special("<s>", "<pad>", "</s>", "<unk>"), AddedToken("<mask>", lstrip=True, special=True, normalized=False)]
    yield "roberta", build(gpt_model(), None, P.ByteLevel(add_prefix_space=False), lambda ids: processors.RobertaProcessing(("</s>", ids("</s>")), ("<s>", ids("<s>")), trim_offsets=True, add_prefix_space=False), undo, marks)
    yield "longformer", build(gpt_model(), None, P.ByteLevel(add_prefix_space=True), lambda ids: processors.RobertaProcessing(("</s>", ids("</s>")), ("<s>", ids("<s>")), trim_offsets=True, add_prefix_space=True), undo, marks)
    yield "modernbert", build(gpt_model(), N.NFC(), P.ByteLevel(add_prefix_space=False), template("[CLS]:0 $A:0 [SEP]:0", "[CLS]:0 $A:0 [SEP]:0 $B:0 [SEP]:0", "[CLS]", "[SEP]"), undo,
                              [*special("[CLS]", "[SEP]", "[PAD]"), AddedToken("[MASK]", lstrip=True, special=True, normalized=False), *[AddedToken(" " * n, normalized=True) for n in range(2, 8)]])
    yield "gpt_neox", build(gpt_model(), N.NFC(), P.ByteLevel(add_prefix_space=False, trim_offsets=True), processors.ByteLevel(trim_offsets=True), undo, [*end, *[AddedToken(" " * n, normalized=True) for n in range(2, 12)]])
    yield "phi2", build(gpt_model(), None, P.ByteLevel(add_prefix_space=False), processors.ByteLevel(trim_offsets=True), undo, [*end, *[AddedToken(c * n, normalized=True) for c in " \t" for n in range(2, 9)]])
    yield "starcoder", build(gpt_model(), None, P.Sequence([P.Digits(True), P.ByteLevel(add_prefix_space=False)]), None, undo, special("<|endoftext|>", "<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<filename>"))
    yield "smollm", build(gpt_model(), None, P.Sequence([P.Digits(True), P.ByteLevel(add_prefix_space=False)]), None, undo, special("<|endoftext|>", "<|im_start|>", "<|im_end|>"))
    yield "falcon", build(gpt_model(), None, P.Sequence([P.Punctuation("contiguous"), P.ByteLevel(add_prefix_space=False), P.Digits(False), P.Split(Regex("[0-9][0-9][0-9]"), "isolated")]),
                          processors.ByteLevel(trim_offsets=True), undo, special("<|endoftext|>", ">>TITLE<<", ">>ABSTRACT<<"))
    yield "bloom", build(gpt_model(), None, P.Sequence([P.Split(Regex(r" ?[^(\s|[.,!?…。，、।۔،])]+"), "isolated"), P.ByteLevel(add_prefix_space=False, use_regex=False)]), processors.ByteLevel(trim_offsets=True, add_prefix_space=False), undo, special("<unk>", "<s>", "</s>", "<pad>"))
    yield "llama3", build(gpt_model(ignore_merges=True), None, P.Sequence([*splits(GPT4), level]), lambda ids: processors.Sequence([processors.ByteLevel(trim_offsets=False), template("<|begin_of_text|> $A", "<|begin_of_text|> $A <|begin_of_text|>:1 $B:1", "<|begin_of_text|>")(ids)]), undo,
                          special("<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"))
    yield "qwen2", build(gpt_model(), N.NFC(), P.Sequence([*splits(QWEN2), level]), processors.ByteLevel(trim_offsets=False, add_prefix_space=False), undo, [*special("<|endoftext|>", "<|im_start|>", "<|im_end|>"), AddedToken("<tool_call>", normalized=False), AddedToken("<think>", normalized=False)])
    yield "gpt_oss", build(gpt_model(), None, P.Sequence([*splits(O200K), level]), processors.ByteLevel(trim_offsets=True), undo, special("<|startoftext|>", "<|return|>", "<|channel|>", "<|message|>"))
    yield "tekken", build(gpt_model(ignore_merges=True), None, P.Sequence([*splits(TEKKEN), level]), template("<s> $A", "<s> $A <s>:1 $B:1", "<s>"), undo, special("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]"))
    yield "deepseek3", build(gpt_model(), None, P.Sequence([*splits(r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+", DEEPSEEK3), level]), template("<｜begin▁of▁sentence｜> $A", "<｜begin▁of▁sentence｜> $A $B:1", "<｜begin▁of▁sentence｜>"), undo,
                             [*special("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"), AddedToken("<｜User｜>", normalized=False), AddedToken("<think>", normalized=False)])
    yield "deepseek_coder", build(gpt_model(), None, P.Sequence([*splits("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+"), P.Digits(True), level]), None, undo, special("<｜fim▁hole｜>", "<|EOT|>"))
    yield "whisper", build(gpt_model(), None, P.ByteLevel(add_prefix_space=False), template("<|startoftranscript|> <|notimestamps|> $A <|endoftext|>", "<|startoftranscript|> <|notimestamps|> $A $B <|endoftext|>", "<|startoftranscript|>", "<|notimestamps|>", "<|endoftext|>"), undo,
                           [*special("<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|notimestamps|>"), *[AddedToken(f"<|{n / 50:.2f}|>", normalized=False) for n in range(0, 40, 7)]])
    model = suffix_bpe()
    vocab = {**model["vocab"], "<|startoftext|>": len(model["vocab"]), "<|endoftext|>": len(model["vocab"]) + 1}
    clip = models.BPE(vocab=vocab, merges=[tuple(m) for m in model["merges"]], end_of_word_suffix="</w>", unk_token="<|endoftext|>")
    yield "clip", build(clip, N.Sequence([N.NFC(), N.Replace(Regex(r"\s+"), " "), N.Lowercase()]), P.Sequence([P.Split(Regex(CLIP), "removed", invert=True), P.ByteLevel(add_prefix_space=False)]),
                        lambda ids: processors.RobertaProcessing(("<|endoftext|>", ids("<|endoftext|>")), ("<|startoftext|>", ids("<|startoftext|>")), trim_offsets=False, add_prefix_space=False), undo, special("<|startoftext|>", "<|endoftext|>"))


def piece_kinds():
    undo = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    bos = template("<s> $A", "<s> $A <s>:1 $B:1", "<s>")
    old = N.Sequence([N.Prepend("▁"), N.Replace(" ", "▁")])
    yield "llama2", build(bytes_model(), old, None, bos, undo, special("<unk>", "<s>", "</s>"))
    yield "llama_first", build(bytes_model(), None, P.Metaspace(prepend_scheme="first", split=False), bos, undo, special("<unk>", "<s>", "</s>"))
    yield "phi3", build(bytes_model(), old, None, bos, undo, [*special("<unk>", "<s>", "<|endoftext|>"), AddedToken("</s>", rstrip=True, normalized=False), *special("<|user|>", "<|assistant|>", "<|end|>", rstrip=True)])
    yield "gemma", build(bytes_model(("<pad>", "<eos>", "<bos>", "<unk>")), N.Replace(" ", "▁"), P.Split(" ", "merged_with_previous"), template("<bos> $A", "<bos> $A <bos>:1 $B:1", "<bos>"),
                         decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]), [*special("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>"), *[AddedToken("\n" * n, normalized=False) for n in range(1, 6)], *[AddedToken("▁" * n, normalized=False) for n in range(2, 6)]])
    yield "yi", build(bytes_model(), N.Replace(" ", "▁"), None, None, decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]), special("<unk>", "<|startoftext|>", "<|im_end|>"))
    model, charsmap = unigram("nmt_nfkc", ["<pad>", "</s>", "<unk>"])
    yield "t5", build(model, N.Precompiled(charsmap), P.Metaspace(), template("$A </s>", "$A </s> $B </s>", "</s>"), decoders.Metaspace(), special("<pad>", "</s>", "<unk>", *[f"<extra_id_{i}>" for i in range(5)]))
    yield "t5_split", build(model, N.Precompiled(charsmap), P.Sequence([P.WhitespaceSplit(), P.Metaspace()]), template("$A </s>", "$A </s> $B </s>", "</s>"), decoders.Metaspace(), special("<pad>", "</s>", "<unk>"))
    model, charsmap = unigram("nmt_nfkc", ["<s>", "<pad>", "</s>", "<unk>"])
    xlmr = template("<s> $A </s>", "<s> $A </s> </s> $B </s>", "<s>", "</s>")
    marks = [*special("<s>", "<pad>", "</s>", "<unk>"), AddedToken("<mask>", lstrip=True, special=True, normalized=False)]
    yield "xlm_roberta", build(model, N.Precompiled(charsmap), P.Sequence([P.WhitespaceSplit(), P.Metaspace()]), xlmr, decoders.Metaspace(), marks)
    yield "xlm_roberta_new", build(model, N.Sequence([N.Precompiled(charsmap), N.Replace(Regex(" {2,}"), " ")]), P.Metaspace(), xlmr, decoders.Metaspace(), marks)
    yield "nllb", build(model, N.Precompiled(charsmap), P.Metaspace(), template("eng_Latn $A </s>", "eng_Latn $A $B </s>", "eng_Latn", "</s>"), decoders.Metaspace(), [*marks, *special("eng_Latn", "deu_Latn")])
    model, charsmap = unigram("nmt_nfkc_cf", ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"])
    bert = template("[CLS]:0 $A:0 [SEP]:0", "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", "[CLS]", "[SEP]")
    yield "albert", build(model, N.Sequence([N.Replace("``", '"'), N.Replace("''", '"'), N.NFKD(), N.StripAccents(), N.Lowercase(), N.Precompiled(charsmap)]), P.Sequence([P.WhitespaceSplit(), P.Metaspace()]), bert, decoders.Metaspace(),
                          [*special("<pad>", "<unk>", "[CLS]", "[SEP]"), AddedToken("[MASK]", lstrip=True, special=True, normalized=False)])
    model, charsmap = unigram("identity", ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"])
    yield "deberta3", build(model, N.Sequence([N.Strip(), N.Replace(Regex(" {2,}"), " ")]), P.Metaspace(), bert, decoders.Metaspace(), special("<pad>", "[CLS]", "[SEP]", "[MASK]"))
    model, charsmap = unigram("nmt_nfkc", ["<unk>", "<s>", "</s>"], True)
    yield "unigram_bytes", build(model, N.Precompiled(charsmap), P.Metaspace(), bos, decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()]), special("<unk>", "<s>", "</s>"))


def word_kinds():
    marks = special("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    bert = template("[CLS]:0 $A:0 [SEP]:0", "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", "[CLS]", "[SEP]")
    for name, lower in [("bert_cased", False), ("bert_uncased", True)]:
        yield name, build(models.WordPiece(word_piece(lower), unk_token="[UNK]"), N.BertNormalizer(lowercase=lower), P.BertPreTokenizer(), bert, decoders.WordPiece(), marks)
    yield "bert_accents", build(models.WordPiece(word_piece(False), unk_token="[UNK]"), N.BertNormalizer(lowercase=True, strip_accents=False, handle_chinese_chars=False), P.BertPreTokenizer(), bert, decoders.WordPiece(cleanup=False), marks)


def published():
    return {name: tokenizer for kinds in (byte_level_kinds, piece_kinds, word_kinds) for name, tokenizer in kinds()}


# --- at random -------------------------------------------------------------------------------------------------------

PATTERNS = [r"\s+", r"\w+", r"[^\s]+", r"\p{L}+|\p{N}+", r"\d{1,3}(?=(\d{3})*\b)", r"\p{P}", GPT4, O200K, DEEPSEEK3, r"(?<=\s)\S", r"[a-z]+|[A-Z][a-z]*", r"\X", r"\p{Han}|\p{Hiragana}+|\p{Katakana}+", r"[\p{L}--[aeiou]]" if False else r"[\p{L}&&[^aeiou]]+",
            r"(?i)the|an?", r"\h+|\R", r"[[:upper:]]|[[:space:]]", r"\b", r"'(?:[sdmt]|ll|ve|re)|\s?\S+", r"[^\p{Cyrillic}]+", r".", r"(?m).", r"x*", r"\p{^Lu}+", r"[\u4e00-\u9fff]+" if False else "[一-鿿]+", r"(\w)\1", r"[\w&&\p{ASCII}]+"]
BEHAVIORS = ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]


def random_normalizer(rng, depth=1):
    if depth and rng.random() < 0.35:
        return N.Sequence([random_normalizer(rng, 0) for _ in range(rng.randint(0, 4))])
    return rng.choice([N.NFC, N.NFD, N.NFKC, N.NFKD, N.Nmt, N.Lowercase, N.StripAccents, N.ByteLevel, lambda: N.Strip(rng.random() < 0.5, rng.random() < 0.5),
                       lambda: N.Replace(rng.choice([" ", "e", "  ", "ll", Regex(rng.choice(PATTERNS[:12])), Regex(r"\s+$")]), rng.choice(["", "▁", "x", " ", "ab"])),
                       lambda: N.Prepend(rng.choice(["▁", " ", "ab"])), lambda: N.BertNormalizer(*(rng.random() < 0.5 for _ in range(4))), lambda: N.Precompiled(sentencepiece("unigram", rng.choice(["nmt_nfkc", "nmt_nfkc_cf"]))[1])])()


def random_pre_tokenizer(rng, depth=1):
    if depth and rng.random() < 0.4:
        return P.Sequence([random_pre_tokenizer(rng, 0) for _ in range(rng.randint(1, 3))])
    return rng.choice([lambda: P.Split(Regex(rng.choice(PATTERNS)), rng.choice(BEHAVIORS), rng.random() < 0.3), lambda: P.Split(Regex(rng.choice(PATTERNS)), rng.choice(BEHAVIORS), rng.random() < 0.3), lambda: P.Split(rng.choice([" ", "e", "ll", "."]), rng.choice(BEHAVIORS), rng.random() < 0.3),
                       lambda: P.ByteLevel(rng.random() < 0.5, use_regex=rng.random() < 0.5), lambda: P.Metaspace(rng.choice("▁_"), rng.choice(["always", "first", "never"]), rng.random() < 0.7), P.Whitespace, P.WhitespaceSplit,
                       lambda: P.Punctuation(rng.choice(BEHAVIORS)), P.BertPreTokenizer, lambda: P.Digits(rng.random() < 0.5), lambda: P.CharDelimiterSplit(rng.choice(" e,")), P.UnicodeScripts, lambda: P.FixedLength(rng.randint(1, 5))])()


def random_model(rng):
    def bpe():
        model = rng.choice([byte_bpe, metaspace_bpe])()
        vocab = dict(model["vocab"])
        unk = rng.choice([None, "<unk>"])
        if unk:
            vocab["<unk>"] = len(vocab)
        return models.BPE(vocab=vocab, merges=[tuple(m) for m in model["merges"]], unk_token=unk, fuse_unk=rng.random() < 0.5, ignore_merges=rng.random() < 0.3)
    def words():
        tokens = sorted({w for line in CORPUS for w in line.split()} | set("abcdehlostw ▁"))[:120]
        return models.WordLevel({w: i for i, w in enumerate(["<unk>", *tokens])}, unk_token="<unk>")
    return rng.choice([bpe, bpe, lambda: bytes_model(ignore_merges=rng.random() < 0.3), lambda: unigram(rng.choice(["nmt_nfkc", "identity"]), ["<unk>", "<s>", "</s>"], rng.random() < 0.3)[0],
                       lambda: models.WordPiece(word_piece(rng.random() < 0.5), unk_token="[UNK]", max_input_chars_per_word=rng.choice([100, 8])), words])()


def random_decoder(rng, depth=1):
    if depth and rng.random() < 0.4:
        return decoders.Sequence([random_decoder(rng, 0) for _ in range(rng.randint(0, 3))])
    return rng.choice([decoders.ByteLevel, lambda: decoders.Metaspace("▁", rng.choice(["always", "first", "never"]), rng.random() < 0.7), lambda: decoders.WordPiece(cleanup=rng.random() < 0.5), decoders.BPEDecoder, lambda: decoders.CTC("<s>", "e", rng.random() < 0.5), decoders.ByteFallback,
                       decoders.Fuse, lambda: decoders.Strip(rng.choice("▁ el"), rng.randint(0, 2), rng.randint(0, 2)), lambda: decoders.Replace(rng.choice(["▁", "e", Regex("[lo]+")]), rng.choice([" ", "", "X"]))])()


def random_added(rng):
    texts = ["<s>", "</s>", "<mask>", "the", "Hello", " ", "  ", "\n", "new", "er", "日本", "é", "E", "[SEP]", "a b", "▁", "ﬁ", "1", "'s", "<|x|>", "İ"]
    return [AddedToken(t, special=rng.random() < 0.5, normalized=rng.random() < 0.4, lstrip=rng.random() < 0.2, rstrip=rng.random() < 0.2, single_word=rng.random() < 0.2)
            for t in rng.sample(texts, rng.choice([0, 0, 1, 2, 4, 7]))]


def random_processor(rng):
    return rng.choice([lambda ids: None, lambda ids: None, lambda ids: processors.ByteLevel(trim_offsets=rng.random() < 0.5, add_prefix_space=rng.random() < 0.5),
                       lambda ids: processors.RobertaProcessing(("</s>", 2), ("<s>", 1), rng.random() < 0.5, rng.random() < 0.5), lambda ids: processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1)),
                       lambda ids: processors.TemplateProcessing(single="[A] $A:1 [B]:2", pair="[A] $B:1 [B] $A:0", special_tokens=[("[A]", 1), ("[B]", 2)]),
                       lambda ids: processors.Sequence([processors.ByteLevel(trim_offsets=True), processors.TemplateProcessing(single="$A [B]", pair="$A [B] $B", special_tokens=[("[B]", 2)])])])


def distinct(tokens, normalizer):
    """Without those that the reference has no answer for: a token that its normalizer empties matches between any two bytes (it
    panics on most texts); of two that become equal it takes one at random."""
    kept = {}
    for t in tokens:
        key = normalizer.normalize_str(t.content) if t.normalized and normalizer else t.content
        if key:
            kept.setdefault((t.normalized, key), t)
    return list(kept.values())


def at_random(count, seed):
    out = {}
    for i in range(count):
        rng = random.Random(seed * 100003 + i)
        normalizer = random_normalizer(rng) if rng.random() < 0.6 else None
        pre_tokenizer = random_pre_tokenizer(rng) if rng.random() < 0.8 else None
        decoder = random_decoder(rng) if rng.random() < 0.8 else None
        added = distinct(random_added(rng), normalizer)
        out[f"random-{seed}-{i}"] = build(random_model(rng), normalizer, pre_tokenizer, random_processor(rng), decoder, added)
    return out
