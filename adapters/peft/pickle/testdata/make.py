# /// script
# requires-python = "==3.11.*"
# dependencies = ["torch==2.11.0", "numpy==2.4.6"]
# ///
"""Write the fixtures of this folder with torch.save; the same bytes every run.

    OMP_NUM_THREADS=1 python make.py

tensors.bin    every float type and layout, as a state dict with metadata
legacy.bin     two storages in the format before the zip archive
expected.json  for both: the type, shape and values of each tensor
refused/       what must not be read; some of it would run a command
"""

import collections
import json
import os
import pathlib
import shutil
import struct

import numpy
import torch

HERE = pathlib.Path(__file__).parent


class Calls:
    """Pickles as a call."""

    def __init__(self, function, *args):
        self.reduced = function, args

    def __reduce__(self):
        return self.reduced


def count(*shape: int) -> torch.Tensor:
    return torch.arange(1.0, 1 + torch.Size(shape).numel()).reshape(shape)


def state_dict() -> collections.OrderedDict:
    views = count(10)
    out = collections.OrderedDict(
        column=count(3, 1),
        half=count(2, 2).half() / 3,
        bfloat=count(1, 5).bfloat16() / 3,
        double=count(4).double() / 3,
        turned=count(2, 3).t(),
        turned_cube=count(2, 3, 4).permute(2, 0, 1),
        every_other=views[1:6:2],
        last=views[8:],
        scalar=torch.tensor(7.0),
        empty=torch.empty(0, 3),
        trained=count(2).requires_grad_(),
        **{"name with ü and 'quotes'": count(1)},
    )
    out._metadata = collections.OrderedDict({"": {"version": 1}})
    return out


def legacy(path: pathlib.Path) -> dict:
    """Keys of storages are addresses, and sorted: choose them so that runs agree."""
    first, discarded = count(6), []
    while True:
        second = count(4).half()
        keys = [str(t.untyped_storage()._cdata) for t in (first, second)]
        if keys == sorted(keys):
            break
        discarded.append(second)  # so that the next one lies elsewhere
    tensors = {"second": second.reshape(2, 2), "first": first[1:5].reshape(2, 2).t(), "all": first[:1]}
    torch.save(tensors, path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    for new, old in enumerate(keys):
        data = data.replace(b"X" + struct.pack("<I", len(old)) + old.encode(), b"X\1\0\0\0" + str(new).encode())
    path.write_bytes(data)
    return tensors


def expect(tensors: dict) -> dict:
    return {
        k: {"dtype": str(t.dtype).removeprefix("torch."), "shape": list(t.shape), "values": t.double().flatten().tolist()}
        for k, t in tensors.items()
    }


def refused() -> dict:
    module = torch.nn.Linear(1, 1)
    with torch.no_grad():
        for p in module.parameters():
            p.fill_(1)
    return {
        "system": {"a": Calls(os.system, "touch marker")},
        "eval": {"a": Calls(eval, "open('marker', 'w')")},
        "exec": Calls(exec, "open('marker', 'w')"),
        "getattr": {"a": Calls(getattr, "text", "upper")},
        "parameter": {"a": torch.nn.Parameter(count(2))},
        "module": module,
        "numpy": {"a": numpy.ones(2)},
        "numpy_scalar": {"a": numpy.float64(1)},
        "int": {"a": torch.ones(2, dtype=torch.int64)},
        "complex": {"a": torch.ones(2, dtype=torch.complex64)},
        "sparse": {"a": torch.eye(2).to_sparse()},
        "quantized": {"a": torch.quantize_per_tensor(count(2), 0.1, 0, torch.qint8)},
        "untyped": {"a": count(2).untyped_storage()},
        "float": {"a": 1.5},
        "bytes": {"a": b"x"},
        "nested": {"a": {"b": count(2)}},
        "list": [count(2)],
        "tensor": count(2),
        "expanded": {"a": torch.ones(1).expand(1 << 40)},
        "shared": {str(i): shared for shared in [count(1 << 10)] for i in range(9)},
    }


def main() -> None:
    shutil.rmtree(HERE / "refused", ignore_errors=True)
    (HERE / "refused").mkdir()
    tensors = state_dict()
    torch.save(tensors, HERE / "tensors.bin")
    expected = {"tensors.bin": expect(tensors), "legacy.bin": expect(legacy(HERE / "legacy.bin"))}
    files = (f"{json.dumps(f)}: {{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in t.items()) + "}" for f, t in expected.items())
    (HERE / "expected.json").write_text("{" + ",\n".join(files) + "}\n")
    for name, value in refused().items():
        torch.save(value, HERE / "refused" / f"{name}.bin")
    torch.save({"a": Calls(os.system, "touch marker")}, HERE / "refused" / "legacy_system.bin", _use_new_zipfile_serialization=False)
    torch.save({"a": count(2)}, HERE / "refused" / "protocol.bin", pickle_protocol=4)


if __name__ == "__main__":
    main()
