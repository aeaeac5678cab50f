"""The small random checkpoints, and their adapters made by PEFT."""
import json
import shutil
from dataclasses import dataclass

import numpy as np
import torch
from peft import IA3Config, PeftModel, get_peft_model
from transformers import AutoModelForSeq2SeqLM, MT5Config, MT5ForConditionalGeneration, T5Config, T5ForConditionalGeneration

EOS = 1
CLASSES = {"mt5": (MT5Config, MT5ForConditionalGeneration), "t5": (T5Config, T5ForConditionalGeneration)}
COMMON = dict(vocab_size=128, d_model=32, d_ff=48, num_heads=4, d_kv=6, num_layers=2, num_decoder_layers=2,
              relative_attention_num_buckets=32, relative_attention_max_distance=128, layer_norm_epsilon=1e-6,
              pad_token_id=0, eos_token_id=EOS, decoder_start_token_id=0)

# Some modules of some layers, over every site kind; matches gated and ungated feed-forwards.
REGEX = (r".*(encoder\.block\.0\.layer\.0\.SelfAttention\.(q|v|o)|decoder\.block\.1\.layer\.1\.EncDecAttention\.(k|o)"
         r"|decoder\.block\.0\.layer\.0\.SelfAttention\.v|(en|de)coder\.block\.1\.layer\.[12]\.DenseReluDense\.(wi(_1)?|wo))")

EMBEDDING_WHEN_TIED = 0.3   # standard deviation


@dataclass(frozen=True)
class Variant:
    name: str
    kind: str                     # model_type
    seed: int
    config: dict                  # what differs from COMMON
    dtype: torch.dtype = torch.float32
    shard: str = "1GB"
    states: tuple = ("base", "default")   # whose hidden states the reference keeps

    @property
    def gated(self):
        return self.config["feed_forward_proj"].startswith("gated")


VARIANTS = [
    Variant("mt5", "mt5", 1, dict(feed_forward_proj="gated-gelu", tie_word_embeddings=False)),
    Variant("t5", "t5", 2, dict(feed_forward_proj="relu", tie_word_embeddings=True, num_layers=3, d_kv=8, vocab_size=125)),
    Variant("t5v11", "t5", 15, dict(feed_forward_proj="gated-silu", tie_word_embeddings=False, num_heads=3, d_ff=44)),
    Variant("mt5-bf16-sharded", "mt5", 4, dict(feed_forward_proj="gated-gelu", tie_word_embeddings=False),
            torch.bfloat16, "30KB", ("base",)),
    Variant("mt5-fp16-tied", "mt5", 5, dict(feed_forward_proj="gated-gelu", tie_word_embeddings=True,
            relative_attention_num_buckets=16, relative_attention_max_distance=40), torch.float16, states=("base",)),
]


def adapter_configs(variant):
    wi = "wi_0" if variant.gated else "wi"
    return {
        "default": dict(),
        "second": dict(),
        "custom": dict(target_modules=["q", "o", wi, "wo"], feedforward_modules=["wo"]),
        "regex": dict(target_modules=REGEX, feedforward_modules=r".*\.(wo|o)"),
    }


def fill(model, seed):
    """Random weights under which every part of the model shows in the logits.

    Projections keep the variance of their input or raise it a little, so attention is neither flat nor one-hot;
    layer norms differ from one; biases are as large as scores; the end marker is written often enough. A tied head
    would repeat the last token for ever, were the embedding as large as what the layers add to it.
    """
    rng = np.random.default_rng(seed)
    tied = model.config.tie_word_embeddings
    for name, w in model.named_parameters():
        x = torch.from_numpy(rng.standard_normal(tuple(w.shape)).astype(np.float32))
        if "layer_norm" in name:
            x = 1 + 0.3 * x
            if tied and name == "decoder.final_layer_norm.weight":
                x = 2 / EMBEDDING_WHEN_TIED * x
        elif "relative_attention_bias" in name:
            pass
        elif name == "lm_head.weight":
            x = 2 * x / w.shape[1] ** 0.5
        elif name == "shared.weight":
            x = EMBEDDING_WHEN_TIED * x if tied else x
        else:
            x = x / w.shape[1] ** 0.5
        if name == ("shared.weight" if tied else "lm_head.weight"):
            x[EOS] *= 1.5
        w.data.copy_(x)


def write_checkpoint(variant, folder):
    """Writes config.json, generation_config.json and the weights as transformers' save_pretrained does."""
    config_class, model_class = CLASSES[variant.kind]
    model = model_class(config_class(**{**COMMON, **variant.config}))
    fill(model, variant.seed)
    model.to(variant.dtype).save_pretrained(folder, max_shard_size=variant.shard)
    loaded = load(folder)
    assert loaded.config.tie_word_embeddings == variant.config["tie_word_embeddings"]
    for (name, a), (_, b) in zip(model.named_parameters(), loaded.named_parameters(), strict=True):
        assert torch.equal(a.float(), b), name


def write_adapters(variant, folder):
    """Writes one PEFT folder an adapter: 1 + 0.5 randn in every vector."""
    for seed, (name, options) in enumerate(adapter_configs(variant).items()):
        rng = np.random.default_rng([variant.seed, seed])
        model = get_peft_model(load(folder), IA3Config(task_type="SEQ_2_SEQ_LM", **options))
        for key, p in model.named_parameters():
            if "ia3_l" in key:
                p.data.copy_(1 + 0.5 * torch.from_numpy(rng.standard_normal(tuple(p.shape)).astype(np.float32)))
        out = folder / "adapters" / name
        model.peft_config["default"].base_model_name_or_path = "fixture"
        model.save_pretrained(out, save_embedding_layers=False)
        tidy(out)


def tidy(folder):
    """Drops what PEFT adds beside the two files, and sorts lists that it wrote in a set's random order."""
    for extra in set(folder.iterdir()) - {folder / "adapter_config.json", folder / "adapter_model.safetensors"}:
        shutil.rmtree(extra) if extra.is_dir() else extra.unlink()
    path = folder / "adapter_config.json"
    config = {k: sorted(v) if isinstance(v, list) else v for k, v in json.loads(path.read_text()).items()}
    assert config["base_model_name_or_path"] == "fixture", config
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def load(folder, adapter=None):
    """The model in float32, with an adapter's vectors in its modules when one is named."""
    model = AutoModelForSeq2SeqLM.from_pretrained(folder).float()
    if adapter:
        model = PeftModel.from_pretrained(model, folder / "adapters" / adapter).get_base_model()
    return model.eval()
