# /// script
# requires-python = "==3.11.*"
# dependencies = ["torch==2.11.0", "transformers==4.57.6", "peft==0.18.0", "safetensors==0.8.0", "numpy==2.4.6"]
# ///
"""Write the fixtures of this folder with transformers and PEFT; the same bytes every run.

    OMP_NUM_THREADS=1 python make.py

<base>/config.json       two tiny models
<base>/modules.json      every module of them that is no projection, by name
<base>/<adapter>/        adapters as PEFT saves them, random vectors; mt5/pickle and t5/legacy as adapter_model.bin
expected.json            for each adapter: the digest, and the shape of each tensor
matching.json            which projections PEFT adapts for a choice of modules: for each case a character a
                         projection, "." left alone, "o" output scaled, "i" input scaled, or PEFT's error;
                         "refused" where this project refuses what PEFT accepts
"""

import hashlib
import json
import pathlib
import shutil
import struct
import warnings

import torch
from peft import IA3Config, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import load_file
from transformers import MT5Config, MT5ForConditionalGeneration, T5Config, T5ForConditionalGeneration

HERE = pathlib.Path(__file__).parent
# Every size differs, so that no two of them can be mixed up unseen.
SIZES = dict(
    vocab_size=17, d_model=4, d_kv=3, d_ff=10, num_layers=2, num_decoder_layers=1, num_heads=2,
    relative_attention_num_buckets=8, relative_attention_max_distance=20,
)  # fmt: skip

ADAPTERS = {
    "mt5/default": {},
    "mt5/list": dict(target_modules=["q", "o", "wi_0", "wo"], feedforward_modules=["wo", "o"]),
    "mt5/regex": dict(target_modules=r".*(encoder\.block\.1|EncDecAttention).*\.(k|v|wo)", feedforward_modules=r".*\.wo"),
    "mt5/labels": {},
    "t5/default": {},
    # With the default feedforward_modules PEFT would write a folder that it cannot read itself: it lists every
    # projection by its path, and "wo" is not in that list.
    "t5/linear": dict(target_modules="all-linear", feedforward_modules=[], exclude_modules=["q"]),
    "t5/half": {},
    "t5/bfloat": {},
    "mt5/pickle": {},
    "t5/legacy": {},
}
PICKLED = {"mt5/pickle", "t5/legacy"}
DTYPES = {"t5/half": torch.float16, "t5/bfloat": torch.bfloat16}
SIDECAR = {
    "format": 1,
    "labels": [{"name": "bad", "verbaliser": "très bad"}, {"verbaliser": "good", "name": "good"}],
    "template": "Stimmung von: {text}",
    "temperature": 1.25,
    "abstain_below": 0.4,
    "metrics": {"accuracy": 0.5},
}

ATTENTION_K = "encoder.block.0.layer.0.SelfAttention.k"
CONTAINERS = r"shared|lm_head|(en|de)coder|.*(block|layer|[0-9]|Attention|Dense|norm|bias|dropout|act)"
# (target, feedforward, exclude, refused here)
CASES = [
    (None, None, None, False),
    (None, [], None, False),
    (None, None, ["v"], False),
    (["k", "v"], None, None, False),
    (["k", "v", "k"], [], None, False),
    (["q", "o", "wo"], ["wo"], None, False),
    (["o", "wo"], ["o"], None, False),  # the plain ending "o" is also that of "wo"
    (["wo"], ["o"], None, False),  # not a subset
    (["k"], r".*\.wo", None, False),
    (["k", "wo"], r".*wo", None, False),
    ([ATTENTION_K], [], None, False),
    ([ATTENTION_K], [ATTENTION_K], None, False),
    (["SelfAttention.k", "wo"], ["wo"], None, False),
    (["Attention.k"], [], None, False),
    (["wi"], [], None, False),
    (["K"], [], None, False),
    (["absent", "v"], [], None, False),
    (["absent"], [], None, False),
    ([], [], None, False),
    ([""], [], None, False),
    (["k", ""], [""], None, False),  # every name ends in the empty string
    ("all-linear", None, None, False),
    ("All-Linear", ["wo", "v"], None, False),
    ("all-linear", [], ["k", "wo"], False),
    (r".*\.(k|v)", [], None, False),
    (r".*\.(k|v)", ["v"], None, False),
    (r".*\.(k|v)", r".*decoder.*", None, False),
    (r".*\.(k|v)", r"decoder", None, False),
    ("k", [], None, False),
    ("", [], None, False),
    (r".*\.k|.*\.v", [], None, False),
    (r"^encoder.*\.k$", [], None, False),
    (r"(?i).*SELFATTENTION\.K", [], None, False),
    (r".*\.(?i:K)", [], None, False),
    (r".*block\.\d+\..*\.(?:k|v)", [], None, False),
    (r"(?P<half>encoder|decoder).*\.[qo]", [], None, False),
    (r".*layer\.[^0]\..*\.(q|o|w\w+)", [r"_0"], None, False),
    (r".*\bwi(_[01])?", [], None, False),
    (r".*\.[a-z]{1,2}", [], r".*dropout|.*act", False),
    (r".*\x2ek", [], None, False),
    (r".*", [], CONTAINERS, False),
    (r".*", [], None, False),
    (r".*\.[kv]", [], ["SelfAttention.k"], False),
    (r".*\.[kv]", [], r".*encoder.*", False),
    (r".*\.[kv]", [], r"encoder", False),
    (["k", "v"], [], [], False),
    (["k", "v"], [], "", False),
    (["k", "v"], [], ["k", "v"], False),
    (["k", "v"], [], ["k", "v", "q"], False),
    (["SelfAttention"], [], None, False),
    (["shared"], [], None, False),
    (["0"], [], None, False),
    (["k", "encoder"], [], None, False),
    (["relative_attention_bias"], [], None, False),
    (["k", "dropout"], [], None, False),
    (r".*\.act", [], None, False),
    (r"(.*\.k", [], None, False),
    (r"a)(b", [], None, False),
    (["k", "lm_head"], [], None, True),
    (r".*\.k|lm_head", [], None, True),
    (r"(?!encoder).*\.k", [], None, True),
    (r".*(?<=Self)Attention\.k", [], None, True),
    (r".*(\.)block.*layer\1.*k", [], None, True),
    (r".*\.k\Z", [], None, True),
    (r".*\.wi_?[01]{,1}", [], None, True),
    (r".*\.[[:k:]]?", [], None, True),
    (r"(?>.*\.)k", [], None, True),
    (r"(?x) .* \.k", [], None, True),
    (r".*\.k(?#the keys)", [], None, True),
    (r".*\u002ek", [], None, True),
]  # fmt: skip


def base(name: str):
    torch.manual_seed(1)
    if name == "mt5":
        model = MT5ForConditionalGeneration(MT5Config(**SIZES))
    else:
        model = T5ForConditionalGeneration(T5Config(**SIZES))
    model.name_or_path = "base"
    return model


def netstring(data: bytes) -> bytes:
    return str(len(data)).encode() + b":" + data + b","


def digest(tensors: dict, sidecar: dict | None) -> str:
    out = netstring(b"valence adapter 1")
    for key in sorted(tensors):
        values = tensors[key].float().flatten().tolist()
        out += netstring(key.encode())
        out += netstring("x".join(map(str, tensors[key].shape)).encode())
        out += netstring(struct.pack(f"<{len(values)}f", *values))
    for label in (sidecar or {}).get("labels", []):
        out += netstring(b"label") + netstring(label["name"].encode()) + netstring(label["verbaliser"].encode())
    for field, default in (("template", ""), ("temperature", 1), ("abstain_below", 0)):
        value = (sidecar or {}).get(field, default)
        out += netstring(field.encode())
        out += netstring(value.encode() if field == "template" else struct.pack("<d", value))
    return "sha256:" + hashlib.sha256(out).hexdigest()


def save_legacy(path: pathlib.Path) -> None:
    """Write a pickle again in PyTorch's format before the zip archive, with one storage.

    Storages are named by their addresses there: one that has another name instead is the same every run.
    """
    tensors = torch.load(path, weights_only=True)
    views = torch.cat([t.flatten() for t in tensors.values()]).split([t.numel() for t in tensors.values()])
    tensors = {k: v.reshape(t.shape) for (k, t), v in zip(tensors.items(), views)}
    torch.save(tensors, path, _use_new_zipfile_serialization=False)
    key = str(views[0].untyped_storage()._cdata).encode()
    path.write_bytes(path.read_bytes().replace(b"X" + struct.pack("<I", len(key)) + key, b"X\1\0\0\x000"))


def load_adapter(folder: pathlib.Path) -> dict:
    pickled = folder / "adapter_model.bin"
    return torch.load(pickled, weights_only=True) if pickled.exists() else load_file(folder / "adapter_model.safetensors")


def save_adapter(name: str, options: dict) -> dict:
    folder = HERE / name
    model = get_peft_model(base(name.split("/")[0]), IA3Config(task_type="SEQ_2_SEQ_LM", **options))
    generator = torch.Generator().manual_seed(len(name))
    for key, p in model.named_parameters():
        if "ia3_l" in key:
            p.data = (1 + 0.5 * torch.randn(p.shape, generator=generator)).to(DTYPES.get(name, torch.float32))
    # With embedding layers PEFT would look for the base to compare vocabularies.
    model.save_pretrained(folder, save_embedding_layers=False, safe_serialization=name not in PICKLED)
    if name == "t5/legacy":
        save_legacy(folder / "adapter_model.bin")
    (folder / "README.md").unlink()
    # PEFT writes sets in an order that changes from run to run.
    config = json.loads((folder / "adapter_config.json").read_text())
    config = {k: sorted(v) if isinstance(v, list) else v for k, v in config.items()}
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True))
    sidecar = SIDECAR if name == "mt5/labels" else None
    if sidecar:
        (folder / "valence.json").write_text(json.dumps(sidecar, indent=1, ensure_ascii=False) + "\n")
    PeftModel.from_pretrained(base(name.split("/")[0]), folder)
    tensors = load_adapter(folder)
    return {"digest": digest(tensors, sidecar), "shapes": {k: list(t.shape) for k, t in tensors.items()}}


def projections(model) -> list:
    return [n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and n != "lm_head"]


def match(name: str, target, feedforward, exclude, refused: bool) -> dict:
    case = {"target_modules": target, "feedforward_modules": feedforward, "exclude_modules": exclude}
    model = base(name)
    modules = projections(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tensors = get_peft_model_state_dict(get_peft_model(model, IA3Config(**case)), save_embedding_layers=False)
        except Exception as e:
            assert not refused, (case, e)
            return case | {"error": f"{type(e).__name__}: {e}".splitlines()[0][:80]}
    marks = {k.removeprefix("base_model.model.").removesuffix(".ia3_l"): "i" if t.shape[0] == 1 else "o" for k, t in tensors.items()}
    sites = "".join(marks.pop(m, ".") for m in modules)
    assert not marks or refused, (case, marks)
    return case | {"sites": sites} | ({"refused": True} if refused else {})


def lines(rows: list) -> str:
    return "[\n" + ",\n".join(json.dumps(r) for r in rows) + "\n]\n"


def main() -> None:
    matching = {}
    for name in ("mt5", "t5"):
        shutil.rmtree(HERE / name, ignore_errors=True)
        model = base(name)
        model.config.save_pretrained(HERE / name)
        known = {*projections(model), ""}
        (HERE / name / "modules.json").write_text(lines(sorted(n for n, _ in model.named_modules() if n not in known)))
        matching[name] = lines([match(name, *case) for case in CASES])
    (HERE / "matching.json").write_text("{" + ",\n".join(f"{json.dumps(k)}: {v}" for k, v in matching.items()) + "}\n")
    expected = {name: save_adapter(name, options) for name, options in ADAPTERS.items()}
    rows = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in sorted(expected.items()))
    (HERE / "expected.json").write_text("{\n" + rows + "\n}\n")


if __name__ == "__main__":
    main()
