"""Rounds projections to 8 bits a number, so that the server's int8 keeps them as they are.

Before it, inputs that are large where their weights are small are made smaller and the weights larger, or the other way
round, so that an output's scale suits all of its weights (SmoothQuant: Xiao, Lin, Seznec, Wu, Demouth and Han, 2023). What
an input is divided by is put into the norm or the projection that it comes from; the model stays the same but for rounding.
"""
from collections.abc import Iterator

import torch
from torch import nn

from scoring import Scorer

TOP = 127
"""Levels on either side of zero."""
LEAST = 1e-3
"""Inputs and weights count as so much of their mean at least."""


def projections(model: nn.Module) -> dict[str, nn.Linear]:
    """The encoder's and the decoder's matrices, by name."""
    return {name: module for name, module in model.named_modules()
            if isinstance(module, nn.Linear) and name.startswith(("encoder.", "decoder."))}


def sources(model: nn.Module) -> Iterator[tuple[nn.Parameter, list[str]]]:
    """What makes an input, a norm's weight or a projection's, and the projections that alone read it."""
    for side in ("encoder", "decoder"):
        for i, block in enumerate(getattr(model, side).block):
            at = f"{side}.block.{i}.layer"
            attentions = [(0, "SelfAttention", "qkv")] + [(1, "EncDecAttention", "q")] * (len(block.layer) - 2)
            for j, name, reads in attentions:
                yield block.layer[j].layer_norm.weight, [f"{at}.{j}.{name}.{x}" for x in reads]
                yield getattr(block.layer[j], name).v.weight, [f"{at}.{j}.{name}.o"]
            last = len(block.layer) - 1
            yield block.layer[last].layer_norm.weight, [f"{at}.{last}.DenseReluDense.{x}" for x in ("wi_0", "wi_1")]
            yield block.layer[last].DenseReluDense.wi_1.weight, [f"{at}.{last}.DenseReluDense.wo"]


@torch.inference_mode()
def sizes(scorer: Scorer, texts: list[str]) -> dict[str, torch.Tensor]:
    """Root of the summed squares [in] of what each projection reads when the texts are scored, by name."""
    squares = {name: torch.zeros(p.in_features) for name, p in projections(scorer.model).items()}

    def watch(sums: torch.Tensor):
        def hook(_, inputs):
            sums.add_(inputs[0].flatten(0, -2).square().sum(0))
        return hook

    hooks = [p.register_forward_pre_hook(watch(squares[name])) for name, p in projections(scorer.model).items()]
    for text in texts:  # one at a time: without padding
        scorer.log_probabilities([text])
    for hook in hooks:
        hook.remove()
    return {name: sums.sqrt() for name, sums in squares.items()}


def no_less(x: torch.Tensor) -> torch.Tensor:
    return x.clamp_min(LEAST * x.mean())


@torch.inference_mode()
def smooth(model: nn.Module, inputs: dict[str, torch.Tensor]) -> None:
    """Gives inputs and weights, column by column, sizes in the same proportion."""
    all_of = projections(model)
    for source, names in sources(model):
        weights = [all_of[name].weight for name in names]
        by = (no_less(inputs[names[0]]) / no_less(torch.cat(weights).square().sum(0).sqrt())).sqrt()
        by /= by.log().mean().exp()
        for weight in weights:
            weight.mul_(by)
        source.div_(by if source.dim() == 1 else by[:, None])


def rounded(weight: torch.Tensor) -> torch.Tensor:
    """The weight [out, in] with each output's numbers on TOP levels either side of zero. The largest is a number of
    float16 and on the last level: who quantises the weight so again finds the same levels."""
    largest = weight.abs().amax(1, keepdim=True).half().float().clamp_min(2**-14)
    return (weight * (TOP / largest)).round().clamp(-TOP, TOP) * (largest / TOP)


@torch.inference_mode()
def round_projections(scorer: Scorer, texts: list[str]) -> None:
    """Rounds all projections of a model, smoothed by what they read for the texts."""
    smooth(scorer.model, sizes(scorer, texts))
    for p in projections(scorer.model).values():
        p.weight.copy_(rounded(p.weight))
