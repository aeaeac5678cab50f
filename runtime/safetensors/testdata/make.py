# /// script
# requires-python = "==3.11.*"
# dependencies = ["torch==2.11.0", "safetensors==0.8.0", "numpy==2.4.6"]
# ///
"""Write the fixtures of this folder with the safetensors library; the same bytes every run.

    python make.py

dtypes.safetensors   a tensor of each element type, sixteen bytes each
names.safetensors    names and metadata that need escapes; a scalar and an empty tensor
plain.safetensors    no metadata
bare.safetensors     empty metadata
empty.safetensors    no tensor
floats.safetensors   the values of floats.json as F64, F32, F16 and BF16
floats.json          for each of them, the elements as float32 bit patterns
"""

import json
import pathlib

import torch
from safetensors.torch import save

HERE = pathlib.Path(__file__).parent

DTYPES = [
    torch.bool, torch.uint8, torch.int8, torch.float8_e5m2, torch.float8_e4m3fn, torch.float8_e8m0fnu,
    torch.float8_e4m3fnuz, torch.float8_e5m2fnuz, torch.int16, torch.uint16, torch.float16, torch.bfloat16,
    torch.int32, torch.uint32, torch.float32, torch.complex64, torch.float64, torch.int64, torch.uint64,
]  # fmt: skip

VALUES = [0.0, -0.0, 1.0, -1.5, 1 / 3, 65504.0, -65504.0, 1e-7, 6e-8, 3e-5, 1e30, 1e-40, float("inf"), float("-inf")]


def write(name: str, tensors: dict, metadata: dict | None) -> None:
    (HERE / name).write_bytes(save(tensors, metadata))


def main() -> None:
    ones = torch.ones(16, dtype=torch.uint8)
    # Names run against the order of the types, and two tensors share each type.
    dtypes = {f"{i:02d}{suffix}": ones.clone().view(d) for i, d in enumerate(DTYPES) for suffix in "ba"}
    write("dtypes.safetensors", dtypes, {"format": "pt"})
    names = {
        'quote " backslash \\ newline \n tab \t return \r feed \f back \b bell \x07 delete \x7f': torch.ones(2, 3),
        "é \u2028 < > & 😀 \uffff": torch.tensor(2.5),
        "": torch.zeros(0, 3),
    }
    write("names.safetensors", names, {"a \"\\\n\x01": "é \u2029 </script>"})
    write("plain.safetensors", {"w": torch.arange(6.0).reshape(2, 3)}, None)
    write("bare.safetensors", {"w": torch.ones(1)}, {})
    # With neither tensor nor metadata entry the library writes "{}" and the empty metadata behind it.
    write("empty.safetensors", {}, {"format": "pt"})
    wide = torch.tensor(VALUES, dtype=torch.float64)
    floats = {str(d).removeprefix("torch."): wide.to(d) for d in (torch.float64, torch.float32, torch.float16, torch.bfloat16)}
    write("floats.safetensors", floats, None)
    bits = {k: (v.to(torch.float32).view(torch.int32).to(torch.int64) & 0xFFFFFFFF).tolist() for k, v in floats.items()}
    (HERE / "floats.json").write_text(json.dumps(bits, indent=1) + "\n")


if __name__ == "__main__":
    main()
