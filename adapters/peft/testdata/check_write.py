# /// script
# requires-python = "==3.11.*"
# dependencies = ["torch==2.11.0", "transformers==4.57.6", "peft==0.18.0", "safetensors==0.8.0", "numpy==2.4.6"]
# ///
"""Check with PEFT what this package writes.

    go test ./adapters/peft -run TestWriteFixtures -keep DIR
    HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 python check_write.py DIR

PEFT must load every folder and give the logits of the fixture that it was read from; the configuration, the tensors
and the digest must be the fixture's too.
"""

import json
import os
import pathlib
import sys
import tempfile

import torch
from peft import AutoPeftModelForSeq2SeqLM, PeftModel
from safetensors import safe_open

from make import ADAPTERS, HERE, base, digest, load_adapter

TOLERANCE = 1e-4
INPUTS = dict(
    input_ids=torch.tensor([[3, 7, 11, 16, 1], [5, 2, 1, 0, 0]]),
    attention_mask=torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
    decoder_input_ids=torch.tensor([[0, 4, 9], [0, 12, 1]]),
)


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model.float().eval()(**INPUTS).logits


def config(folder: pathlib.Path) -> dict:
    return json.loads((folder / "adapter_config.json").read_text(encoding="ascii"))


def check(name: str, written: pathlib.Path) -> str:
    fixture, model_type = HERE / name, name.split("/")[0]
    expected = {k: t.float() for k, t in load_adapter(fixture).items()}
    with safe_open(written / "adapter_model.safetensors", "pt") as f:
        assert f.metadata() == {"format": "pt"}, f.metadata()
    tensors = load_adapter(written)
    assert tensors.keys() == expected.keys(), tensors.keys() ^ expected.keys()
    for key, t in tensors.items():
        assert t.dtype == torch.float32 and t.equal(expected[key]), key
    assert config(written) == config(fixture)
    sidecar = written / "valence.json"
    sidecar = json.loads(sidecar.read_text()) if sidecar.exists() else None
    assert digest(tensors, sidecar) == json.loads((HERE / "expected.json").read_text())[name]["digest"]

    want = logits(PeftModel.from_pretrained(base(model_type), fixture))
    got = logits(PeftModel.from_pretrained(base(model_type), written))
    auto = logits(AutoPeftModelForSeq2SeqLM.from_pretrained(written))
    error = max((got - want).abs().max().item(), (auto - want).abs().max().item())
    effect = (want - logits(base(model_type))).abs().max().item()
    assert error <= TOLERANCE < effect, (error, effect)
    return f"{name}: {len(tensors)} vectors, logits differ by {error:.1e}, from the base's by {effect:.1e}"


def main() -> None:
    written = pathlib.Path(sys.argv[1]).resolve()
    for name in ADAPTERS:
        # The configurations name the base "base": a folder of that name in the working directory.
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            base(name.split("/")[0]).save_pretrained("base")
            print(check(name, written / name))
            os.chdir(HERE)


if __name__ == "__main__":
    main()
