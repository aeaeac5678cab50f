"""Writes what PEFT's IA3 learns step by step, for comparison: README.md beside this file documents the format.

    python make.py                                           the committed fixtures, on the small checkpoints of runtime/mt5
    python make.py --base DIR --rows FILE.tsv OUT.json       on any checkpoint with a tokenizer: FILE has label<TAB>text lines

The published recipe otherwise: torch's AdamW, linear decay without warm-up, batches of 8 in the order of the rows,
padded to their longest, dropout off.
"""
import argparse
import json
import os
import random
import time
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}

import numpy as np
import torch
from peft import IA3Config, get_peft_model
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, get_linear_schedule_with_warmup
from transformers.utils import logging

HERE = Path(__file__).parent
BATCH, RATE, EOS, PAD = 8, 8e-3, 1, 0


def synthetic(seed, rows, vocab, labels):
    """Rows whose label shows in a few of their tokens, most of the time."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(rows):
        label = int(rng.integers(len(labels)))
        ids = rng.integers(3, vocab, rng.integers(3, 30))
        marks = 60 + 10 * (label if rng.random() < 0.9 else rng.integers(len(labels))) + rng.integers(0, 10, 3)
        ids[rng.choice(len(ids), 3, replace=False)] = marks
        out.append(dict(ids=[*ids.tolist(), EOS], label=label))
    return out


def from_file(path, tokenizer, seed=0):
    """The rows of a file in seed_flow's order, 90/10, and the labels as they are written."""
    rows = [line.rstrip("\n").split("\t", 1) for line in open(path, encoding="utf-8")]
    names = sorted({label for label, _ in rows})
    random.Random(seed).shuffle(rows)
    encoded = [dict(ids=tokenizer(text, max_length=128, truncation=True).input_ids, label=names.index(label)) for label, text in rows]
    cut = len(rows) - round(len(rows) * 0.1)
    return encoded[:cut], encoded[cut:], [tokenizer(n, max_length=3, truncation=True).input_ids for n in names]


def pad(lists, value):
    width = max(map(len, lists))
    return torch.tensor([[*x, *[value] * (width - len(x))] for x in lists])


def token_losses(model, rows, labels):
    """-log p of each label token, and the logits."""
    ids = pad([r["ids"] for r in rows], PAD)
    y = pad([labels[r["label"]] for r in rows], -100)
    out = model(input_ids=ids, attention_mask=(ids != PAD).long(), labels=y)
    losses = torch.nn.functional.cross_entropy(out.logits.transpose(1, 2), y, ignore_index=-100, reduction="none")
    return losses, out, y


def seq2seq(model, rows, labels, weights):
    losses, out, y = token_losses(model, rows, labels)
    if weights is None:
        return out.loss
    w = torch.tensor([weights[r["label"]] for r in rows])[:, None] * (y != -100)
    return (losses * w).sum() / w.sum()


def label_losses(model, rows, labels):
    """-log p of each row's label among the labels: over its path, softmaxes over the tokens with which some label goes on."""
    ids = pad([r["ids"] for r in rows], PAD)
    y = pad([labels[r["label"]] for r in rows], -100)
    logits = model(input_ids=ids, attention_mask=(ids != PAD).long(), labels=y).logits
    losses = []
    for i, r in enumerate(rows):
        path, loss = labels[r["label"]], 0
        for depth, token in enumerate(path):
            children = sorted({p[depth] for p in labels if p[:depth] == path[:depth]})
            loss = loss - torch.log_softmax(logits[i, depth, children], 0)[children.index(token)]
        losses.append(loss)
    return torch.stack(losses)


def trie(model, rows, labels, weights):
    w = torch.tensor([1.0 if weights is None else weights[r["label"]] for r in rows])
    return (label_losses(model, rows, labels) * w).sum() / w.sum()


@torch.no_grad()
def validate(model, rows, labels, objective):
    """Mean loss of a label token (of a row for labels), and the rows whose label is the most probable one, over the whole
    vocabulary token by token (written) and among the labels (accuracy)."""
    total, parts, written, right = 0.0, 0, 0, 0
    for at in range(0, len(rows), BATCH):
        batch = rows[at:at + BATCH]
        losses, out, y = token_losses(model, batch, labels)
        written += ((out.logits.argmax(-1) == y) | (y == -100)).all(1).sum().item()
        scores = torch.stack([label_losses(model, [r | dict(label=k) for r in batch], labels) for k in range(len(labels))])
        right += (scores.argmin(0) == torch.tensor([r["label"] for r in batch])).sum().item()
        if objective == "labels":
            total, parts = total + label_losses(model, batch, labels).sum().item(), parts + len(batch)
        else:
            total, parts = total + losses.sum().item(), parts + (y != -100).sum().item()
    return dict(loss=total / parts, written=written / len(rows), accuracy=right / len(rows))


def train(base, rows, validation, labels, epochs, objective="seq2seq", clip=0.0, weights=None, steps=None, rate=RATE, double=False):
    model = get_peft_model(AutoModelForSeq2SeqLM.from_pretrained(base).float(), IA3Config(task_type="SEQ_2_SEQ_LM")).eval()
    model = model.double() if double else model
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(trained.values(), lr=rate)
    schedule = get_linear_schedule_with_warmup(optimizer, 0, -(-len(rows) // BATCH) * epochs)
    loss_of = dict(seq2seq=seq2seq, labels=trie)[objective]
    losses, reports, began = [], [], time.perf_counter()
    for _ in range(epochs):
        for at in range(0, len(rows), BATCH):
            loss = loss_of(model, rows[at:at + BATCH], labels, weights)
            loss.backward()
            if clip:
                torch.nn.utils.clip_grad_norm_(trained.values(), clip)
            optimizer.step(), schedule.step(), optimizer.zero_grad()
            losses.append(loss.item())
            if len(losses) == steps:
                break
        print(f"{len(losses)} steps, {time.perf_counter() - began:.1f} s with evaluation")
        reports.append(validate(model, validation, labels, objective))
        if len(losses) == steps:
            break
    vectors = {n.replace(".ia3_l.default", ".ia3_l"): p.detach().flatten().tolist() for n, p in trained.items()}
    return dict(objective=objective, epochs=epochs, learning_rate=rate, clip_norm=clip, class_weights=weights, labels=labels, train=rows, validation=validation,
                losses=losses, reports=reports, vectors=vectors)


def write(path, base, fixture):
    fixture["losses"] = [float(f"{x:.7g}") for x in fixture["losses"]]
    fixture["vectors"] = {k: [float(f"{x:.7g}") for x in v] for k, v in fixture["vectors"].items()}
    path.write_text(json.dumps(dict(base=base, **fixture), separators=(",", ":")) + "\n")
    print(path.name, fixture["losses"][0], "->", fixture["losses"][-1], fixture["reports"][-1])


def fixtures():
    labels = [[20, 30, EOS], [40, EOS], [50, EOS]]
    shared = [[20, 30, EOS], [20, 31, EOS], [40, EOS]]
    for seed, (name, base, labels, epochs, options) in enumerate([
        ("seq2seq-mt5", "mt5", labels, 5, {}),
        ("seq2seq-t5", "t5", labels, 3, dict(clip=0.5, weights=[1.0, 2.0, 0.5])),
        ("labels-mt5", "mt5", shared, 2, dict(objective="labels", clip=1.0, weights=[1.0, 3.0, 0.5])),
    ]):
        rows = synthetic(seed, 364, 100, labels)
        folder = HERE.parent.parent / "mt5" / "testdata" / base
        write(HERE / f"{name}.json", f"../mt5/testdata/{base}", train(folder, rows[:324], rows[324:], labels, epochs, **options))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", nargs="?", type=Path)
    p.add_argument("--base", type=Path)
    p.add_argument("--rows", type=Path)
    p.add_argument("--epochs", type=int, default=3)
    p.add_argument("--steps", type=int, help="stop after so many")
    p.add_argument("--rate", type=float, default=RATE)
    p.add_argument("--double", action="store_true", help="in double precision")
    a = p.parse_args()
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    if not a.out:
        return fixtures()
    rows, validation, labels = from_file(a.rows, AutoTokenizer.from_pretrained(a.base))
    write(a.out, str(a.base.resolve()), train(a.base, rows, validation, labels, a.epochs, steps=a.steps, rate=a.rate, double=a.double))


if __name__ == "__main__":
    main()
