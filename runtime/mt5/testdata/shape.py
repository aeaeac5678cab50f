"""Writes a random checkpoint with the shape of a published model, in the layout of the Hub, and a PEFT adapter for it.

    python shape.py OUT [--adapter OUT] [--size large|tiny] [--kind mt5|t5] [--dtype bfloat16] [--seed 0]

`large` with `mt5` has bigscience/mt0-large's shape: 1,229,581,312 parameters, untied head; the default adapter has 282,624.
The weights are scaled so that label probabilities are neither flat nor certain and differ from text to text.
"""
import argparse
import math
from pathlib import Path

import torch
from peft import IA3Config, get_peft_model
from transformers.modeling_utils import no_init_weights
from variants import CLASSES, tidy

SIZES = {
    "large": dict(vocab_size=250112, d_model=1024, d_kv=64, d_ff=2816, num_layers=24, num_decoder_layers=24, num_heads=16),
    "tiny": dict(vocab_size=1024, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_decoder_layers=2, num_heads=4),
}
HEADS = {"mt5": dict(feed_forward_proj="gated-gelu", tie_word_embeddings=False),
         "t5": dict(feed_forward_proj="relu", tie_word_embeddings=True)}


def scale(name, shape, config):
    """The standard deviation of a weight: logits get one of about 2, attention scores one of about 2."""
    if name == "shared.weight":
        return 2 / math.sqrt(shape[1]) if config.tie_word_embeddings else 1.0
    if name == "lm_head.weight":
        return 2 / math.sqrt(shape[1])
    if "relative_attention_bias" in name:
        return 1.0
    if name.endswith("Attention.q.weight"):     # scores sum d_kv products
        return 2 / math.sqrt(shape[1] * config.d_kv)
    return 1 / math.sqrt(shape[1])


@torch.no_grad()
def write_base(out, kind, size, dtype, seed):
    config_class, model_class = CLASSES[kind]
    config = config_class(**SIZES[size], **HEADS[kind], decoder_start_token_id=0)
    torch.set_default_dtype(dtype)
    with no_init_weights():
        model = model_class(config)
    torch.set_default_dtype(torch.float32)
    model.tie_weights()
    rng = torch.Generator().manual_seed(seed)
    for name, w in model.named_parameters():
        if "layer_norm" in name:
            w.copy_(1 + 0.1 * torch.randn(w.shape, generator=rng))
            if config.tie_word_embeddings and name == "decoder.final_layer_norm.weight":
                w.mul_(math.sqrt(config.d_model))       # undoes the scaling before a tied head
        else:
            w.normal_(0, scale(name, w.shape, config), generator=rng)
    model.save_pretrained(out)
    print(f"{sum(w.numel() for w in model.parameters()):,} parameters")
    return model


@torch.no_grad()
def write_adapter(model, out, seed):
    model = get_peft_model(model, IA3Config(task_type="SEQ_2_SEQ_LM"))
    rng = torch.Generator().manual_seed(seed)
    count = 0
    for name, vector in model.named_parameters():
        if "ia3_l" in name:
            vector.data = 1 + 0.3 * torch.randn(vector.shape, generator=rng)
            count += vector.numel()
    model.peft_config["default"].base_model_name_or_path = "fixture"
    model.save_pretrained(out, save_embedding_layers=False)
    tidy(out)
    print(f"{count:,} adapter parameters")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", type=Path)
    p.add_argument("--adapter", type=Path)
    p.add_argument("--size", choices=SIZES, default="large")
    p.add_argument("--kind", choices=HEADS, default="mt5")
    p.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="bfloat16")
    p.add_argument("--seed", type=int, default=0)
    a = p.parse_args()
    model = write_base(a.out, a.kind, a.size, getattr(torch, a.dtype), a.seed)
    if a.adapter:
        write_adapter(model, a.adapter, a.seed + 1)


if __name__ == "__main__":
    main()
