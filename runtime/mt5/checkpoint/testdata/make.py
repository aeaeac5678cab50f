# /// script
# requires-python = "==3.11.*"
# dependencies = ["torch==2.11.0", "transformers==4.57.6", "safetensors==0.8.0", "numpy==2.4.6"]
# ///
"""Write the fixtures of this folder with transformers; the same bytes every run.

    OMP_NUM_THREADS=1 python make.py

mt5/         untied head, float32, one file
t5/          tied head, float16, one file
sharded/     untied t5 with gated-silu, bfloat16, several files and their index
expected.json  for each folder: the digest, the element type, and for each weight its shape and the sha256 of its bytes
"""

import hashlib
import json
import pathlib
import shutil

import torch
from safetensors import safe_open
from transformers import MT5Config, MT5ForConditionalGeneration, T5Config, T5ForConditionalGeneration

HERE = pathlib.Path(__file__).parent
# Every size differs, so that no two of them can be mixed up unseen.
SIZES = dict(
    vocab_size=17, d_model=4, d_kv=3, d_ff=10, num_layers=2, num_decoder_layers=1, num_heads=2,
    relative_attention_num_buckets=8, relative_attention_max_distance=20,
)  # fmt: skip


def models():
    yield "mt5", "1GB", torch.float32, MT5ForConditionalGeneration(MT5Config(**SIZES))
    yield "t5", "1GB", torch.float16, T5ForConditionalGeneration(T5Config(**SIZES))
    v11 = T5Config(**SIZES, feed_forward_proj="gated-silu", tie_word_embeddings=False)
    yield "sharded", "1KB", torch.bfloat16, T5ForConditionalGeneration(v11)


def digest(folder: pathlib.Path) -> str:
    """sha256sum config.json *.safetensors | sha256sum"""
    files = [folder / "config.json", *sorted(folder.glob("*.safetensors"))]
    lines = "".join(f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}\n" for p in files)
    return "sha256:" + hashlib.sha256(lines.encode()).hexdigest()


def weights(folder: pathlib.Path) -> dict:
    out = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as f:
            for key in f.keys():
                t = f.get_tensor(key)
                raw = t.contiguous().view(torch.uint8).numpy().tobytes()
                out[key] = {"shape": list(t.shape), "sha256": hashlib.sha256(raw).hexdigest()}
    return out


def main() -> None:
    expected = {}
    torch.manual_seed(1)
    for name, shard, dtype, model in models():
        folder = HERE / name
        shutil.rmtree(folder, ignore_errors=True)
        model.to(dtype).save_pretrained(folder, max_shard_size=shard)
        (folder / "generation_config.json").unlink()
        kind = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}[dtype]
        expected[name] = {"digest": digest(folder), "dtype": kind, "weights": weights(folder)}
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
