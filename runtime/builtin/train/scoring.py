"""Scores texts with an exported folder, as transformers does in float32."""
import json
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import f1_score
from transformers import AutoTokenizer, MT5ForConditionalGeneration

from common import LABELS

BATCH = 128


class Scorer:
    """The exported base in `folder`."""

    def __init__(self, folder: Path):
        self.tok = AutoTokenizer.from_pretrained(folder)
        self.model = MT5ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
        self.words = [self.first(name) for name in LABELS]

    def first(self, word: str) -> int:
        """The id of a label's first piece."""
        return self.tok(word).input_ids[0]

    @torch.inference_mode()
    def log_probabilities(self, texts: list[str], max_tokens: int = 256, words: list[int] | None = None) -> np.ndarray:
        """Log-probabilities [texts, labels] over the labels' first pieces, at temperature 1.

        `words` are the first pieces of another task's labels.
        """
        words = words or self.words
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        out = np.zeros((len(texts), len(words)))
        for at in range(0, len(order), BATCH):
            part = order[at:at + BATCH]
            enc = self.tok([texts[i] for i in part], padding=True, truncation=True, max_length=max_tokens,
                           return_tensors="pt")
            start = torch.full((len(part), 1), self.model.config.decoder_start_token_id)
            logits = self.model(**enc, decoder_input_ids=start).logits[:, 0, words]
            out[part] = logits.log_softmax(-1).numpy()
        return out

    @torch.inference_mode()
    def generate(self, texts: list[str]) -> list[list[int]]:
        """Ids that greedy decoding writes, text by text, without the start token."""
        out = []
        for text in texts:
            enc = self.tok(text, return_tensors="pt")
            out.append(self.model.generate(**enc, max_new_tokens=10, num_beams=1, do_sample=False)[0, 1:].tolist())
        return out


def softmax(log_p: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Probabilities [rows, labels] of log-probabilities at a temperature."""
    scaled = log_p / temperature
    e = np.exp(scaled - scaled.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def fit_temperature(log_p: np.ndarray, targets: np.ndarray) -> float:
    """The temperature from 0.5 to 3 with the least cross-entropy to targets [rows, labels], to 0.01."""
    grid = np.arange(50, 301) / 100
    losses = [-(targets * np.log(softmax(log_p, t) + 1e-12)).sum() for t in grid]
    return float(grid[int(np.argmin(losses))])


def calibration_error(p: np.ndarray, labels: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error of the top label over equal bins of confidence (Guo et al., 2017)."""
    confidence, right = p.max(1), p.argmax(1) == labels
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [abs(confidence[which == b].sum() - right[which == b].sum()) for b in range(bins)]
    return float(sum(gaps) / len(labels))


def macro_f1(p: np.ndarray, labels: np.ndarray) -> float:
    """Macro-F1 of the top labels of p [rows, labels]; a label that never occurs counts as 0."""
    return float(f1_score(labels, p.argmax(1), average="macro", labels=range(p.shape[1]), zero_division=0))


def read_plain(path: Path) -> tuple[list[str], np.ndarray]:
    """Texts and classes of a file of JSON lines with `text` and `label`."""
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [r["text"] for r in rows], np.array([LABELS.index(r["label"]) for r in rows])
