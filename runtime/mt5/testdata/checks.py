"""Proof that a fixture can fail: each part of the model, taken away, moves the logits by far more than a test's tolerance."""
import math
from collections import defaultdict
from contextlib import contextmanager

import torch

from scoring import forward, pad

MOVES = 0.5         # smallest change of some logit that counts as one; tests compare within 1e-3 or less
SPREAD = 1.0        # smallest standard deviation of the logits


@contextmanager
def without(tensor, value):
    """Sets a tensor to a constant for the time of the block."""
    kept = tensor.data.clone()
    tensor.data.fill_(value)
    try:
        yield
    finally:
        tensor.data.copy_(kept)


@contextmanager
def attribute(owner, name, value):
    kept = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, kept)


class Check:
    """Compares the logits of one case with those of the same case on a changed model."""

    def __init__(self, model, case):
        self.model, self.case = model, case
        self.want = self.logits()
        self.moved = {}
        assert self.want.std() > SPREAD, f"{case['name']}: logits are flat: {self.want.std()}"

    def logits(self, mask=None):
        return forward(self.model, self.case["input_ids"], self.case["decoder_input_ids"], mask)[1]

    def moves(self, what, mask=None):
        d = (self.logits(mask) - self.want).abs().max().item()
        assert d > MOVES, f"{self.case['name']}: {what} moves the logits by {d} only"
        self.moved[what] = d


def base_matters(model, padded, long):
    """The mask, both position biases and their buckets, and the scaling that belongs to the head."""
    c = Check(model, padded)
    c.moves("no mask", torch.ones_like(pad(padded["input_ids"])[1]))
    with attribute(model.config, "tie_word_embeddings", not model.config.tie_word_embeddings):
        c.moves("the other head scaling")
    for stack in (model.encoder, model.decoder):
        with without(stack.block[0].layer[0].SelfAttention.relative_attention_bias.weight, 0):
            c.moves(f"no position bias, decoder={stack.is_decoder}")
    moved = dict(c.moved)

    c = Check(model, long)
    attention = model.encoder.block[0].layer[0].SelfAttention
    with attribute(attention, "relative_attention_max_distance", attention.relative_attention_max_distance * 2):
        c.moves("twice the maximum distance")
    for stack in (model.encoder, model.decoder):
        attention = stack.block[0].layer[0].SelfAttention
        with attribute(attention, "is_decoder", not attention.is_decoder):
            c.moves(f"the other direction's buckets, decoder={stack.is_decoder}")
    return {**moved, **c.moved}


def vectors_matter(model, padded):
    """Every kind of IA3 site: encoder or decoder, kind of sub-layer, projection."""
    sites = defaultdict(list)
    for name, module in model.named_modules():
        if hasattr(module, "ia3_l"):
            path = name.split(".")
            sites[" ".join((path[0], *path[-2:]))].append(module.ia3_l["default"])
    c = Check(model, padded)
    for kind, vectors in sorted(sites.items()):
        kept = [v.data.clone() for v in vectors]
        for v in vectors:
            v.data.fill_(1)
        c.moves(f"ones at {kind}")
        for v, k in zip(vectors, kept):
            v.data.copy_(k)
    return c.moved


def row_alone_agrees(model, case, logits, texts, greedy):
    """A padded batch gives each row what the row gets alone."""
    for i, row in enumerate(case["input_ids"]):
        alone = forward(model, [row], [case["decoder_input_ids"][i]])[1][0]
        torch.testing.assert_close(alone, logits[i], atol=1e-4, rtol=0)
        assert greedy(model, [row])[0][0] == texts[i], f"{case['name']}: row {i}"


def probabilities_sum_to_one(log_probs):
    assert abs(math.fsum(map(math.exp, log_probs)) - 1) < 1e-5, log_probs
