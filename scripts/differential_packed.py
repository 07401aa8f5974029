#!/usr/bin/env python3
"""Checkpoints that the packages of others quantized, read by Caravan: weights beside those packages' own dequantization, logits
beside transformers in fp32 on those weights.

usage: differential_packed.py CARAVAN MODEL_FOLDER TEXT [--layers 4] [--cases gptq_act,awq] [--keep FOLDER]
MODEL_FOLDER, a Hugging Face folder of a small model, is cut to its first layers; llm-compressor writes compressed-tensors
folders (GPTQ with activation order on TEXT, rounding by group, channel and tensor), AutoRound GPTQ, AWQ and its own. Needs
llmcompressor 0.14 (compressed-tensors 0.19, transformers 5.15 to 5.17), auto-round 0.15, datasets; for AWQ's dequantization
AutoAWQ's awq/utils/packing_utils.py (--autoawq FOLDER of its sources). All of it runs on a CPU.

Weights: `caravan convert --dtype f32` must give scale * (level - zero), up to what Caravan says it rounds: offsets of q4_1 to
halves (15/2048 of a step), dense weights to the scales' type. Logits: within 1e-4 of the largest of what transformers computes
with Caravan's weights, and the distance to those with the exact weights is printed.
"""
import argparse
import contextlib
import importlib.util
import glob
import json
import os
import subprocess
import tempfile

import numpy as np
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

COMPRESSED = {  # weights' arguments; GPTQ where an activation order is given
    "gptq_group": {"num_bits": 4, "strategy": "group", "group_size": 64, "symmetric": True, "actorder": None},
    "gptq_act": {"num_bits": 4, "strategy": "group", "group_size": 64, "symmetric": True, "actorder": "weight"},
    "gptq_act_zeros": {"num_bits": 4, "strategy": "group", "group_size": 32, "symmetric": False, "actorder": "weight"},
    "int8_channel": {"num_bits": 8, "strategy": "channel", "symmetric": True},
    "int8_tensor": {"num_bits": 8, "strategy": "tensor", "symmetric": True},
    "int8_tensor_zero": {"num_bits": 8, "strategy": "tensor", "symmetric": False},
    "int8_group_zeros": {"num_bits": 8, "strategy": "group", "group_size": 96, "symmetric": False},
    "int4_channel_zeros": {"num_bits": 4, "strategy": "channel", "symmetric": False},
    "w8a8": "W8A8",
}
ROUNDED = {  # AutoRound's format and scheme
    "auto_gptq": ("auto_gptq", {"bits": 4, "group_size": 64, "sym": True}),
    "auto_gptq_zeros": ("auto_gptq", {"bits": 4, "group_size": 32, "sym": False}),
    "auto_gptq_8": ("auto_gptq", {"bits": 8, "group_size": 64, "sym": True}),
    "auto_gptq_2": ("auto_gptq", {"bits": 2, "group_size": 32, "sym": False}),
    "auto_awq": ("auto_awq", {"bits": 4, "group_size": 64, "sym": False}),
    "round": ("auto_round", {"bits": 4, "group_size": 64, "sym": True}),
    "round_zeros": ("auto_round", {"bits": 4, "group_size": 32, "sym": False}),
    "round_3": ("auto_round", {"bits": 3, "group_size": 64, "sym": True}),
    "round_mixed": ("auto_round", {"bits": 4, "group_size": 64, "sym": True, "layer_config": {
        "down_proj": {"bits": 8, "group_size": 32}, "o_proj": {"bits": 2}, "v_proj": {"bits": 16}}}),
    "round_awq": ("auto_round:auto_awq", {"bits": 4, "group_size": 64, "sym": False}),
}


def cut(source, folder, layers):
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.bfloat16)
    model.model.layers = model.model.layers[:layers]
    model.config.num_hidden_layers = layers
    if getattr(model.config, "layer_types", None):
        model.config.layer_types = model.config.layer_types[:layers]
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)


def make_compressed(source, folder, scheme, text):
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    from datasets import Dataset
    from llmcompressor import oneshot
    from llmcompressor.modifiers.quantization import GPTQModifier, QuantizationModifier

    tokenizer = AutoTokenizer.from_pretrained(source)
    model, data = AutoModelForCausalLM.from_pretrained(source, dtype=torch.bfloat16), {}
    if isinstance(scheme, str):
        recipe = QuantizationModifier(targets="Linear", scheme=scheme, ignore=["lm_head"])
    else:
        kind = GPTQModifier if "actorder" in scheme else QuantizationModifier
        group = QuantizationScheme(targets=["Linear"], weights=QuantizationArgs(**scheme))
        recipe = kind(config_groups={"group_0": group}, ignore=["lm_head"])
        if kind is GPTQModifier:
            ids = tokenizer(text, add_special_tokens=False).input_ids
            rows = Dataset.from_dict({"input_ids": [ids[i * 256:(i + 1) * 256] for i in range(8)]})
            data = {"dataset": rows, "max_seq_length": 256, "num_calibration_samples": 8}
    oneshot(model=model, recipe=[recipe], **data)
    model.save_pretrained(folder, save_compressed=True)
    tokenizer.save_pretrained(folder)
    return folder


def make_rounded(source, folder, form, scheme):
    from auto_round import AutoRound

    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    AutoRound(model, AutoTokenizer.from_pretrained(source), iters=0, device_map="cpu", disable_opt_rtn=True,
              **scheme).quantize_and_save(folder, format=form)
    return os.path.dirname(glob.glob(f"{folder}/**/config.json", recursive=True)[0])


def compressed_weight(parts, config):
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationScheme

    scheme = QuantizationScheme(**{k: v for k, v in next(iter(config["config_groups"].values())).items() if k != "format"})
    parts = {f"{k}": (v.float() if k == "weight_scale" else v) for k, v in parts.items()}
    return BaseCompressor.get_value_from_registry(config["format"]).decompress(parts, scheme)["weight"]


def gptq_weight(parts, config):
    shifted = config.get("packing_format") not in ("auto_round", "auto_round:gptqmodel")
    package = importlib.import_module("auto_round_extension.torch.qlinear_torch" + ("_zp" if shifted else ""))
    groups, out = parts["scales"].shape
    bits = parts["qzeros"].shape[1] * 32 // out
    columns = parts["qweight"].shape[0] * 32 // bits
    layer = package.QuantLinear(bits, columns // groups, columns, out, False)
    index = torch.arange(columns) // layer.group_size
    assert torch.equal(parts.get("g_idx", index), index)  # AutoRound has no activation order
    layer.qweight, layer.qzeros, layer.scales = parts["qweight"], parts["qzeros"], parts["scales"].float()
    weight, highest = layer(torch.eye(columns)), 2**bits - 1
    if shifted:  # 0 is stored as the highest number, which AutoRound's reader makes 2^bits and not 0 again
        stream = np.unpackbits(parts["qzeros"].numpy().view(np.uint8), axis=-1, bitorder="little")
        stored = torch.from_numpy(stream.reshape(groups, out, bits) @ 2 ** np.arange(bits))
        wrapped = (stored == highest) * layer.scales * (highest + 1)
        weight += wrapped.repeat_interleave(layer.group_size, 0)
    return weight.T.contiguous()


def awq_weight(parts, config, autoawq):
    spec = importlib.util.spec_from_file_location("packing_utils", os.path.join(autoawq, "awq/utils/packing_utils.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    weight = module.dequantize_gemm(parts["qweight"], parts["qzeros"], parts["scales"].float(), 4, config["group_size"])
    return weight.T.contiguous()


def exact_weights(folder, autoawq):
    """The folder's tensors, packed ones by their packages; the largest step of each packed matrix."""
    stored = load_file(os.path.join(folder, "model.safetensors"))
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        config = json.load(file)["quantization_config"]
    marks = ("weight_scale", "scales")
    layers = {n.rsplit(".", 1)[0]: v.float().abs().max().item() for n, v in stored.items() if n.rsplit(".", 1)[-1] in marks}
    weights, packed = {}, set()
    for layer in layers:
        parts = {n.rsplit(".", 1)[-1]: v for n, v in stored.items() if n.rsplit(".", 1)[0] == layer}
        packed.update(f"{layer}.{n}" for n in parts)
        method = config["quant_method"]
        if method == "compressed-tensors":
            weights[f"{layer}.weight"] = compressed_weight(parts, config)
        else:
            is_awq = "awq" in method + config.get("packing_format", "")
            weights[f"{layer}.weight"] = awq_weight(parts, config, autoawq) if is_awq else gptq_weight(parts, config)
    weights |= {n: v.float() for n, v in stored.items() if n not in packed}
    return weights, {f"{layer}.weight": step for layer, step in layers.items()}


def logits_of(model, weights, ids):
    missing = model.load_state_dict({n: v for n, v in weights.items()}, strict=False)
    assert not missing.unexpected_keys and set(missing.missing_keys) <= {"lm_head.weight"}, missing
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0]


def compare(args, base, made, name, ids):
    read = os.path.join(made, "caravan")
    quiet = {"check": True, "stdout": subprocess.DEVNULL}
    subprocess.run([args.caravan, "convert", "-q", made, read, "--dtype", "f32", "--overwrite"], **quiet)
    mine = load_file(os.path.join(read, "model.safetensors"))
    exact, steps = exact_weights(made, args.autoawq)
    inspected = json.loads(subprocess.check_output([args.caravan, "inspect", made, "--json"]))
    worst = max((mine[n] - exact[n]).abs().max().item() / step for n, step in steps.items())
    others = max((mine[n] - v).abs().max().item() for n, v in exact.items() if n not in steps)
    out = os.path.join(made, "out.safetensors")
    distances = []
    for more in ([], ["--dtype", "f32"]):
        subprocess.run([args.caravan, "forward", "-q", "-m", made, "--ids", ",".join(map(str, ids)), "-o", out,
                        "--overwrite", *more], **quiet)
        mine_logits = load_file(out)["logits"].float().reshape(len(ids), -1)
        distances += [(mine_logits - logits_of(base, w, ids)).abs().max().item() / mine_logits.abs().max().item()
                      for w in (mine, exact)]
    kinds = sorted(kind for kind in inspected["dtypes"] if kind.startswith("q")) or ["dense"]
    bad = worst > 0.6 or others > 0 or distances[2] > 1e-4
    print(f"{name:18} as {'+'.join(kinds):5}: weights within {worst:.4f} of the largest step; logits within {distances[0]:.1e} "
          f"of transformers on the same weights ({distances[1]:.1e}: the exact ones), in f32 {distances[2]:.1e} "
          f"({distances[3]:.1e}){' OUTSIDE' if bad else ''}", flush=True)
    return bad


def main(args):
    with open(args.text, encoding="utf-8") as file:
        text = file.read()
    bad = 0
    with contextlib.ExitStack() as stack:
        folder = args.keep or stack.enter_context(tempfile.TemporaryDirectory())
        source = os.path.join(folder, "source")
        if not os.path.exists(source):
            cut(args.model, source, args.layers)
        ids = AutoTokenizer.from_pretrained(source)(text[-600:], add_special_tokens=False).input_ids[:64]
        base = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
        for name in args.cases.split(","):
            made = os.path.join(folder, name)
            found = glob.glob(f"{made}/**/quantization_config.json", recursive=True) or glob.glob(f"{made}/config.json")
            if found:
                made = os.path.dirname(found[0])
            elif name in COMPRESSED:
                made = make_compressed(source, made, COMPRESSED[name], text)
            else:
                made = make_rounded(source, made, *ROUNDED[name])
            bad += compare(args, base, made, name, ids)
    return bad > 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for positional in ("caravan", "model", "text"):
        parser.add_argument(positional)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--cases", default=",".join([*COMPRESSED, *ROUNDED]))
    parser.add_argument("--autoawq", default=".")
    parser.add_argument("--keep", help="the checkpoints stay there, and those that are there are not made again")
    raise SystemExit(main(parser.parse_args()))
