"""Goldens of torch.save: the same tensors saved in every way that the reader knows, and their bytes as safetensors.

Ran with torch 2.13.0, safetensors 0.8.0. Usage: python torch_checkpoint.py OUT (tests/golden/torch_checkpoint)
"""
import os
import sys
from collections import OrderedDict

import torch
from safetensors.torch import save_file


class HyperParameters(dict):
    """Stands for what training frameworks store beside the weights: a class that the reader does not know."""

    def __init__(self, **values):
        super().__init__(**values)
        self.attribute = "state"


def tensors():
    torch.manual_seed(0)
    base, tied = torch.randn(6, 8), torch.randn(3, 4)
    return OrderedDict(
        f32=base, transposed=base.t(), slice=base[1:5, 1:7:2], permuted=torch.randn(2, 3, 4).permute(2, 0, 1),
        expanded=torch.randn(3, 1).expand(3, 5), offset=base.view(-1)[5:11], bf16=base.bfloat16(), f16=base.half(),
        f64=base.double(), i64=torch.arange(5) - 2, i32=torch.arange(5, dtype=torch.int32),
        i16=torch.arange(5, dtype=torch.int16), i8=torch.arange(5, dtype=torch.int8), u8=torch.arange(5, dtype=torch.uint8),
        boolean=torch.tensor([True, False, True]), scalar=torch.tensor(2.5), empty=torch.empty(0, 3),
        parameter=torch.nn.Parameter(torch.randn(2, 2)), tied_a=tied, tied_b=tied,
        f8=torch.randn(4, 4).to(torch.float8_e4m3fn), u16=torch.arange(4).to(torch.uint16))


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(2, 3)
        self.model = torch.nn.Sequential(torch.nn.BatchNorm1d(2))


def write_big_endian(source, out):
    """torch.save on a big-endian machine: its byteorder record and swapped storages, in an archive written by hand."""
    import zipfile

    sizes = {"data/0": 4, "data/1": 2}
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(out, "w") as new:
        for info in old.infolist():
            data, name = old.read(info), info.filename.split("/", 1)[1]
            if name == "byteorder":
                data = b"big"
            if name in sizes:
                n = sizes[name]
                data = b"".join(data[i:i + n][::-1] for i in range(0, len(data), n))
            new.writestr(info.filename, data)


def main(out):
    os.makedirs(out, exist_ok=True)
    state = tensors()
    save_file({k: v.detach().contiguous().clone() for k, v in state.items()}, f"{out}/expected.safetensors")
    torch.save(state, f"{out}/zip.bin")
    torch.save(dict(state), f"{out}/zip_protocol4.pth", pickle_protocol=4)
    torch.save(state, f"{out}/stream.bin", _use_new_zipfile_serialization=False)
    torch.save(dict(state), f"{out}/stream_protocol4.pt", _use_new_zipfile_serialization=False, pickle_protocol=4)
    small = OrderedDict(weight=torch.arange(6.0).view(2, 3), half=torch.arange(3).bfloat16())
    torch.save({"model": small, "config": HyperParameters(lr=1e-4), "optimizer": {"state": {0: {"m": small["weight"]}}},
                "epoch": 3}, f"{out}/wrapped.pth")
    torch.save({"state_dict": {"model.weight": small["weight"]}, "hyper_parameters": HyperParameters(x=1)},
               f"{out}/lightning.ckpt")
    torch.save({"encoder": small, "decoder": {"block": small}, "step": 1}, f"{out}/nested.pt")
    torch.save(Net(), f"{out}/module.pt")
    torch.save(small, f"{out}/little.bin")
    write_big_endian(f"{out}/little.bin", f"{out}/big_endian.bin")
    torch.serialization.set_crc32_options(False)
    torch.save(small, f"{out}/no_checksums.bin")


if __name__ == "__main__":
    main(sys.argv[1])
