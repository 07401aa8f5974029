"""A tiny BERT with its hidden states from transformers: tests/golden/codes/bert/; and as a sentence encoder the pooled
and normalized vectors of some texts.

Made with transformers 5.23.0, tokenizers 0.23.3, torch 2.13.0. Usage: python scripts/golden/bert.py tests/golden/codes/bert
"""

import json
import os
import sys

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

TEXTS = ["Nail lacquer, red", "hair", "Shampoo and conditioner with red hair red hair red", "", "nail nail xyz"]
WORDS = ["nail", "lac", "##quer", "red", "hair", "shampoo", "and", "condition", "##er", "with", ","]


def main(folder):
    os.makedirs(folder + "/1_Pooling", exist_ok=True)
    torch.manual_seed(0)
    config = BertConfig(vocab_size=24, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=24,
                        max_position_embeddings=16, initializer_range=0.5)
    model = BertModel(config, add_pooling_layer=False).eval()
    for p in model.parameters():  # biases and norms that are not trivial
        p.data += torch.randn_like(p) * 0.1
    model.save_pretrained(folder)
    vocabulary = {w: i for i, w in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]"] + WORDS)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    tokenizer.enable_padding(length=12)  # sentence-transformers' files do so; Caravan must not pad
    tokenizer.save(folder + "/tokenizer.json")
    json.dump({"max_seq_length": 10, "do_lower_case": False}, open(folder + "/sentence_bert_config.json", "w"))
    stages = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    json.dump([{"idx": i, "name": str(i), "path": p, "type": "sentence_transformers.models." + t}
               for i, (p, t) in enumerate(stages)], open(folder + "/modules.json", "w"))
    json.dump({"word_embedding_dimension": 16, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True},
              open(folder + "/1_Pooling/config.json", "w"))

    lengths = [5, 1, 9]
    ids = torch.randint(0, 24, (sum(lengths),))
    types = torch.randint(0, 2, (sum(lengths),))
    hidden, embeddings, at = [], [], 0
    with torch.no_grad():
        for n in lengths:
            out = model(ids[None, at:at + n], token_type_ids=types[None, at:at + n], output_hidden_states=True)
            hidden.append(out.last_hidden_state[0])
            embeddings.append(out.hidden_states[0][0])
            at += n
        fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]")
        batch = fast(TEXTS, padding=True, truncation=True, max_length=10, return_tensors="pt")
        mask = batch["attention_mask"][..., None].float()
        states = model(**{k: batch[k] for k in ("input_ids", "attention_mask")}).last_hidden_state
        pooled = torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1))
    save_file({"lengths": torch.tensor(lengths), "ids": ids, "token_types": types, "hidden": torch.cat(hidden),
               "embeddings": torch.cat(embeddings), "sentences": pooled}, folder + "/hidden.safetensors")
    json.dump(TEXTS, open(folder + "/texts.json", "w"))


main(sys.argv[1])
