"""Step 8: check an exported folder, and fail when it is not fit to ship.

    python check.py --base ../base --plain ../testdata/plain.jsonl

Greedy decoding must write exactly a label for every text; the canary rows must give their recorded
scores; activations must stay small; the sentences of the product's promise must come out right.
"""
import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch

from common import LABELS
from scoring import Scorer, read_plain, softmax

PROMISES = (
    ("I love this phone, the camera is wonderful.", "positive"),
    ("The food was cold and the waiter was rude.", "negative"),
    ("The meeting starts at 10 on Tuesday.", "neutral"),
    ("The robust growth was the result of the inclusion of clothing chain Lindex in the Group in December 2007 .",
     "positive"),
)
ACTIVATION_LIMIT = 30_000.0
"""Half of float16's range: beyond it a change of precision becomes a risk."""
PLAIN_ACCURACY = 0.80


def largest_activation(scorer: Scorer, texts: list[str]) -> float:
    """The largest magnitude that any module gives for the texts."""
    seen = [0.0]

    def watch(_, __, output):
        if isinstance(output, torch.Tensor) and output.is_floating_point():
            seen[0] = max(seen[0], output.abs().max().item())

    hooks = [m.register_forward_hook(watch) for m in scorer.model.modules()]
    scorer.log_probabilities(texts)
    for hook in hooks:
        hook.remove()
    return seen[0]


def faults(scorer: Scorer, folder: Path, plain: Path):
    """Yields a sentence for everything that is wrong."""
    texts, labels = read_plain(plain)
    log_p = scorer.log_probabilities(texts)
    accuracy = (log_p.argmax(1) == labels).mean()
    print(f"plain sentences: {accuracy:.3f}")
    if accuracy < PLAIN_ACCURACY:
        yield f"only {accuracy:.3f} of the plain sentences are right, {PLAIN_ACCURACY} are wanted"
    for text, row, ids in zip(texts, log_p, scorer.generate(texts)):
        written = scorer.tok.decode(ids, skip_special_tokens=True)
        if written != LABELS[row.argmax()]:
            yield f"decoding writes {written!r}, scoring says {LABELS[row.argmax()]}: {text}"
    for text, want in PROMISES:
        p = softmax(scorer.log_probabilities([text]))[0]
        print(f"{LABELS[p.argmax()]} {p.max():.3f} {text}")
        if LABELS[p.argmax()] != want:
            yield f"{want} is wanted for: {text}"
    sidecar = json.loads((folder / "valence.json").read_text("utf-8"))
    for row in sidecar["canary"]:
        p = softmax(scorer.log_probabilities([row["text"]]), sidecar["temperature"])[0]
        if np.abs(p - [row["scores"][n] for n in LABELS]).max() > 1e-4:
            yield f"canary row differs, {p.round(6)}: {row['text']}"
    largest = largest_activation(scorer, texts)
    print(f"largest activation: {largest:.1f}")
    if not largest < ACTIVATION_LIMIT:
        yield f"an activation reaches {largest:.0f}, above {ACTIVATION_LIMIT:.0f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True, help="the exported folder")
    parser.add_argument("--plain", type=Path, required=True, help="JSON lines of plain sentences")
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = list(faults(Scorer(args.base), args.base, args.plain))
    for fault in found:
        print("FAULT:", fault)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
