#!/usr/bin/env python3
"""What recommending shares with Hugging Face's packages, compared with them: a sentence encoder's vectors, a language model
whose vocabulary was extended by item codes, a recommender's folder as transformers' LLaMA, the code tokenizer.

    python scripts/differential_recommend.py build/release/bin/caravan --encoder all-MiniLM-L6-v2 --lm SmolLM2-135M

Each part runs where its folder is given; the recommender's always. Needs torch, transformers, tokenizers, numpy.
"""

import argparse
import json
import pathlib
import random
import subprocess
import tempfile
import time

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

WORDS = ("Red nail lacquer, 0.5-fluid ounce | Crème für trockene Haut; SPF 30+ | 手工皂 olive & oat soap (3 pack) | "
         "Men's 2-in-1 shampoo/conditioner | Ultra-fine eyeliner #5 — jet black | 100% argan oil for hair").split()


def run(caravan, *arguments):
    done = subprocess.run([caravan, *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"caravan {' '.join(map(str, arguments))}: exit {done.returncode}\n{done.stderr[-3000:]}")
    return done.stdout


def make_dataset(caravan, folder, items=400, seed=1):
    """Random users over items whose titles are random words: -> (folder, texts in the catalogue's order)."""
    draw = random.Random(seed)
    titles = [" ".join(draw.choices(WORDS, k=draw.randint(1, 40))).replace(",", "") for _ in range(items)]
    with open(folder / "log.csv", "w") as log:
        log.write("user,item,time\n")
        for user in range(200):
            start = draw.randrange(items)
            for t in range(draw.randint(4, 20)):
                log.write(f"u{user},i{(start * (t + 1) + t) % items},{t}\n")
    with open(folder / "items.csv", "w") as out:
        out.write("id,title\n" + "".join(f"i{i},{title}\n" for i, title in enumerate(titles)))
    run(caravan, "items", "prepare", folder / "log.csv", "--items", folder / "items.csv", "-o", folder / "data", "-q",
        "--keep-cold-items")
    lines = [json.loads(line) for line in open(folder / "data/items.jsonl")]
    return folder / "data", [line["title"] for line in lines]


def pooled(encoder, tokenizer, texts, length):
    batch = tokenizer(texts, padding=True, truncation=True, max_length=length, return_tensors="pt")
    mask = batch["attention_mask"][..., None].float()
    states = encoder(**batch).last_hidden_state
    return torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1))


def compare_encoder(caravan, path, folder, data, texts):
    """Mean pooling and normalization, as sentence-transformers' all-MiniLM-L6-v2 has them."""
    began = time.time()
    run(caravan, "items", "build", "--data", data, "--vectors", f"bert:{path}", "--levels", 2, "--codebook", 16,
        "--save-vectors", folder / "vectors.safetensors", "-q", "-t", torch.get_num_threads())
    ours_seconds = time.time() - began
    ours = load_file(folder / "vectors.safetensors")["vectors"]
    length = json.load(open(pathlib.Path(path) / "sentence_bert_config.json"))["max_seq_length"]
    encoder, tokenizer = AutoModel.from_pretrained(path).eval(), AutoTokenizer.from_pretrained(path)
    with torch.no_grad():
        began = time.time()
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        theirs = torch.empty_like(ours)
        for at in range(0, len(order), 32):
            rows = order[at:at + 32]
            theirs[rows] = pooled(encoder, tokenizer, [texts[i] for i in rows], length)
        seconds = time.time() - began
    print(f"encoder: {len(texts)} texts, largest difference {float((ours - theirs).abs().max()):.2e}; {ours_seconds:.1f} s here "
          f"with loading and codes, {seconds:.1f} s in transformers (sorted by length, batches of 32, without loading)")


def largest_difference(caravan, model, path, folder, sequences):
    worst = 0.0
    for ids in sequences:
        run(caravan, "forward", "--dtype", "f32", "-m", path, "--ids", ",".join(map(str, ids)), "-o", folder / "logits.safetensors", "-q",
            "--overwrite")
        ours = load_file(folder / "logits.safetensors")["logits"].float().reshape(len(ids), -1)
        with torch.no_grad():
            theirs = model(torch.tensor([ids])).logits[0].float()
        assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
        worst = max(worst, float((ours - theirs).abs().max()))
    return worst


def compare_extended(caravan, path, folder, data):
    run(caravan, "items", "build", "--data", data, "--vectors", "tfidf,cooccurrence", "--levels", 3, "--codebook", 32, "-q",
        "--overwrite")
    run(caravan, "items", "extend", "-m", path, "--data", data, "-o", folder / "extended")
    model = AutoModelForCausalLM.from_pretrained(folder / "extended", dtype=torch.float32).eval()
    old = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    known = old.get_input_embeddings().weight.shape[0]
    same = torch.equal(model.get_input_embeddings().weight[:known], old.get_input_embeddings().weight)
    tokenizer = AutoTokenizer.from_pretrained(folder / "extended")
    before = AutoTokenizer.from_pretrained(path)
    text = "I bought <a_3><b_1><c_7> and then <a_0> <b_31> <c_2>, which was great."
    ids = tokenizer(text)["input_ids"]
    ours = json.loads(run(caravan, "tokenize", "-m", folder / "extended", "-p", text, "--json"))["ids"]
    plain = "No codes in this line, only <b> words_1 & Ünïcode."
    draw = random.Random(2)
    sequences = [ids] + [[draw.randrange(len(tokenizer)) for _ in range(n)] for n in (1, 7, 40)]
    # Both read the weights in fp32.
    worst = largest_difference(caravan, model, folder / "extended", folder, sequences)
    print(f"extended vocabulary: {known} -> {model.get_input_embeddings().weight.shape[0]} rows, old rows equal: {same}; ids equal: "
          f"{ours == ids}, unchanged without codes: {tokenizer(plain)['input_ids'] == before(plain)['input_ids']}; "
          f"largest difference of a logit {worst:.2e}")


def compare_recommender(caravan, folder, data):
    """With items' own tokens and the objective over both; the saved folder as transformers' LLaMA."""
    run(caravan, "items", "build", "--data", data, "--vectors", "tfidf,cooccurrence", "--levels", 3, "--codebook", 32, "-q",
        "--overwrite")
    options = {"output": folder / "run", "data.kind": "items", "data.dataset": data, "data.item_tokens": "true",
               "training.objective": "codes_and_items", "training.steps": 20, "model.model_type": "llama-rec",
               "model.hidden_size": 32, "model.intermediate_size": 64, "model.num_hidden_layers": 2,
               "model.num_attention_heads": 4, "model.num_key_value_heads": 2, "model.initializer_range": 0.2,
               "model.tie_word_embeddings": "true"}
    run(caravan, "train", "-q", *(part for key, value in options.items() for part in (f"--{key}", value)))
    final = folder / "run/final"
    config = json.load(open(final / "config.json"))
    model = LlamaForCausalLM.from_pretrained(final, config=LlamaConfig(**{k: v for k, v in config.items() if k != "model_type"}))
    draw = random.Random(3)
    sequences = [[draw.randrange(config["vocab_size"]) for _ in range(n)] for n in (1, 5, 60)]
    worst = largest_difference(caravan, model.eval(), final, folder, sequences)
    text = "<bos> <a_3> <b_1> <c_7> <item:5> <a_99> <q_1>"
    plain, fast = Tokenizer.from_file(str(final / "tokenizer.json")), PreTrainedTokenizerFast(tokenizer_file=str(final / "tokenizer.json"))
    ours = json.loads(run(caravan, "tokenize", "-m", final, "-p", text, "--json"))["ids"]
    print(f"recommender as transformers' LLaMA: largest difference of a logit {worst:.2e}; ids equal: "
          f"{plain.encode(text).ids == ours and fast(text)['input_ids'] == ours}")


def compare_code_tokenizer(caravan, folder, lines=2000):
    """LLaMA-Rec's ids: words between single spaces, sorted. Sequences of any depth, texts with unseen codes."""
    draw = random.Random(4)

    def words(highest, depth):
        return [f"<{'abcdefgh'[level]}_{draw.randrange(highest)}>" for level in range(draw.randint(1, depth))]

    def sequence(highest, depth):
        return " ".join(word for _ in range(draw.randint(1, 8)) for word in words(highest, depth))

    dataset = [sequence(1200, 5) for _ in range(lines)]
    (folder / "sequences.txt").write_text("\n".join(dataset) + "\n")
    vocabulary = ["[PAD]", "[UNK]", "[BOS]", "[EOS]", *sorted({word for text in dataset for word in text.split(" ")})]
    id_of = {word: i for i, word in enumerate(vocabulary)}
    texts = [sequence(1400, 7) for _ in range(lines)]
    (folder / "texts.txt").write_text("\n".join(texts) + "\n")
    run(caravan, "items", "tokenizer", "-f", folder / "sequences.txt", "-o", folder / "codes-tokenizer")
    shown = run(caravan, "tokenize", "-m", folder / "codes-tokenizer", "-f", folder / "texts.txt", "--json")
    ours = [json.loads(line)["ids"] for line in shown.splitlines()]
    plain = Tokenizer.from_file(str(folder / "codes-tokenizer/tokenizer.json"))
    fast = PreTrainedTokenizerFast.from_pretrained(folder / "codes-tokenizer")
    equal = sum(a == plain.encode(t).ids == fast(t)["input_ids"] == [id_of.get(word, 1) for word in t.split()]
                for a, t in zip(ours, texts, strict=True))
    unknown = sum(ids.count(fast.unk_token_id) for ids in ours)
    print(f"code tokenizer: {equal} of {lines} texts have LLaMA-Rec's ids, and equal ones in tokenizers and PreTrainedTokenizerFast; {unknown} unseen codes")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("caravan")
    parser.add_argument("--encoder", help="sentence-transformers folder of the BERT family, mean pooling, normalized")
    parser.add_argument("--lm", help="language model's folder")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        data, texts = make_dataset(args.caravan, folder)
        if args.encoder:
            compare_encoder(args.caravan, args.encoder, folder, data, texts)
        compare_code_tokenizer(args.caravan, folder)
        compare_recommender(args.caravan, folder, data)
        if args.lm:
            compare_extended(args.caravan, args.lm, folder, data)


if __name__ == "__main__":
    main()
