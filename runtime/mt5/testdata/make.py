"""Writes the reference fixtures: small random T5 and mT5 checkpoints, IA3 adapters, and what transformers and PEFT
compute with them. README.md beside this file documents the format.

    python make.py [--out DIR] [VARIANT ...]

The same machine writes the same bytes each time: random numbers come from numpy's PCG64, torch runs on one thread.
"""
import argparse
import json
import os
import re
import shutil
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}

import numpy as np
import torch
from safetensors.torch import save_file
from transformers.utils import logging

import checks
from scoring import EOS, START, forward, greedy, label_log_probs
from variants import VARIANTS, adapter_configs, load, write_adapters, write_checkpoint

TRIES = {
    "distinct": [[20, 30, EOS], [40, EOS], [50, EOS]],
    "shared": [[20, 30, EOS], [20, 31, EOS], [40, EOS], [40, 41, EOS]],
    "seven": [[10, EOS], [11, 12, 13, EOS], [11, 12, 14, EOS], [11, 15, EOS], [16, 17, EOS], [18, EOS], [18, 19, 20, EOS]],
}
# name: (ids a row with the end marker, decoder ids)
CASES = {"single": ([12], 5), "padded": ([1, 3, 9, 17, 40], 5), "long": ([160], 24)}
MIXED = [7, 23, 12, 4, 31]
MAX_NEW_TOKENS = 10
GAP = 0.003     # smallest lead of a greedily chosen token, so that rounding never decides


def make_case(name, lengths, steps, vocab, seed):
    rng = np.random.default_rng(seed)
    return dict(
        name=name,
        input_ids=[[*rng.integers(3, vocab, n - 1).tolist(), EOS] for n in lengths],
        decoder_input_ids=[[START, *rng.integers(3, vocab, steps - 1).tolist()] for _ in lengths],
    )


def ends_both_ways(texts):
    """Some row writes the end marker after a few tokens and some row never does."""
    return any(3 <= len(t) < MAX_NEW_TOKENS for t in texts) and any(EOS not in t for t in texts)


def search(variant, models, name, lengths, steps, vocab):
    """The first seed whose rows decode without near ties, in a batch also both ways of ending for base and default."""
    for seed in range(2000):
        case = make_case(name, lengths, steps, vocab, [variant.seed, len(lengths), max(lengths), seed])
        outcomes = ((who, *greedy(m, case["input_ids"])) for who, m in models.items())
        if all(gap > GAP and (name != "padded" or who not in ("base", "default") or ends_both_ways(texts))
               for who, texts, gap in outcomes):
            return case
    raise SystemExit(f"{variant.name}: no seed gives the case {name}; change the variant's seed")


def run(model, case, adapter, states_kept, tensors):
    """One adapter over all rows of a case."""
    states, logits = forward(model, case["input_ids"], case["decoder_input_ids"])
    texts, _ = greedy(model, case["input_ids"])
    checks.row_alone_agrees(model, case, logits, texts, greedy)
    prefix = f"{case['name']}/{adapter}/"
    tensors[prefix + "logits"] = logits
    if states_kept:
        tensors.update({prefix + k: v for k, v in states.items()})
    return dict(name=adapter, adapters=[adapter] * len(texts), states=states_kept, generated=texts,
                label_log_probs=label_rows([model] * len(texts), case))


def run_mixed(models, case, tensors):
    """Each row alone with its own adapter."""
    order = list(models)
    logits = [forward(models[a], [r], [d])[1] for a, r, d in zip(order, case["input_ids"], case["decoder_input_ids"], strict=True)]
    tensors["mixed/mixed/logits"] = torch.cat(logits)
    texts = [greedy(models[a], [r])[0][0] for a, r in zip(order, case["input_ids"])]
    return dict(name="mixed", adapters=order, states=False, generated=texts,
                label_log_probs=label_rows(list(models.values()), case))


def label_rows(models, case):
    out = {name: [label_log_probs(m, r, labels) for m, r in zip(models, case["input_ids"], strict=True)]
           for name, labels in TRIES.items()}
    for rows in out.values():
        for row in rows:
            checks.probabilities_sum_to_one(row)
    return out


def make_reference(variant, folder):
    names = ["base", *adapter_configs(variant)]
    models = {n: load(folder, None if n == "base" else n) for n in names}
    vocab, tensors, cases = models["base"].config.vocab_size, {}, []
    for name, (lengths, steps) in CASES.items():
        kept = variant.states[:1] if name == "long" else variant.states
        case = search(variant, models, name, lengths, steps, vocab)
        cases.append(dict(**case, runs=[run(m, case, n, n in kept, tensors) for n, m in models.items()]))
    case = search(variant, models, "mixed", MIXED, 5, vocab)
    cases.append(dict(**case, runs=[run_mixed(models, case, tensors)]))

    padded, long = cases[1], cases[2]
    report = {"base": checks.base_matters(models["base"], padded, long)}
    report |= {n: checks.vectors_matter(m, padded) for n, m in models.items() if n != "base"}
    for who, moved in report.items():
        what = min(moved, key=moved.get)
        print(f"{variant.name} {who}: {len(moved)} checks, least: {what}, {moved[what]:.3f}")
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "reference.safetensors")
    index = dict(variant=variant.name, adapters=names[1:], max_new_tokens=MAX_NEW_TOKENS, tries=TRIES, cases=cases)
    write_json(folder / "reference.json", index)


def write_json(path, value):
    """Indented, with each list of numbers on one line."""
    text = json.dumps(value, indent=1)
    text = re.sub(r"\[[^][{}]*\]", lambda m: re.sub(r"\s+", " ", m[0]).replace("[ ", "[").replace(" ]", "]"), text)
    path.write_text(text + "\n")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("variants", nargs="*", metavar="VARIANT", help="all unless named")
    p.add_argument("--out", type=Path, default=Path(__file__).parent)
    a = p.parse_args()
    if unknown := set(a.variants) - {v.name for v in VARIANTS}:
        p.error(f"unknown variants: {', '.join(sorted(unknown))}")
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    for variant in VARIANTS:
        if a.variants and variant.name not in a.variants:
            continue
        folder = a.out / variant.name
        shutil.rmtree(folder, ignore_errors=True)
        write_checkpoint(variant, folder)
        write_adapters(variant, folder)
        make_reference(variant, folder)
        for path in folder.rglob("*.safetensors"):
            path.chmod(0o644)       # safetensors writes 0600


if __name__ == "__main__":
    main()
