# /// script
# requires-python = "==3.11.*"
# dependencies = ["scikit-learn==1.9.1", "numpy==2.4.6", "scipy==1.17.1"]
# ///
"""Write reference.json: random answers of a classifier and what scikit-learn and scipy say of them.

    python make.py
"""
import json
import pathlib

import numpy as np
from scipy.optimize import minimize_scalar
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_recall_fscore_support


def ece(probs, truth, bins=15):
    """Guo et al. 2017, written from the definition."""
    best, label = probs.max(1), probs.argmax(1)
    total = 0.0
    for i in range(bins):
        inside = (best > i / bins) & (best <= (i + 1) / bins)
        if inside.any():
            total += abs(best[inside].mean() - (label[inside] == truth[inside]).mean()) * inside.mean()
    return total


def temperature(probs, truth):
    def loss(log_t):
        z = np.log(np.maximum(probs, 1e-300)) / np.exp(log_t)
        z -= z.max(1, keepdims=True)
        return -(z[np.arange(len(z)), truth] - np.log(np.exp(z).sum(1))).sum()

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded", options=dict(xatol=1e-8)).x))


def case(name, labels, rows, sharp, seed, present=None):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, present or labels, rows)
    logits = rng.normal(size=(rows, labels))
    logits[np.arange(rows), truth] += 1.2
    if present:
        logits[:, present:] = -30  # never answered either
    probs = np.exp(sharp * logits)
    probs = np.round(probs / probs.sum(1, keepdims=True), 6)
    answer = probs.argmax(1)
    p, r, f, support = precision_recall_fscore_support(truth, answer, labels=range(labels), zero_division=0)
    return dict(name=name, labels=labels, truth=truth.tolist(), probs=probs.tolist(), accuracy=accuracy_score(truth, answer),
                macro_f1=f1_score(truth, answer, average="macro", zero_division=0), ece=ece(probs, truth), temperature=temperature(probs, truth),
                confusion=confusion_matrix(truth, answer, labels=range(labels)).tolist(), precision=p.tolist(), recall=r.tolist(), f1=f.tolist(),
                support=support.tolist())


cases = [case("three labels", 3, 90, 1.0, 0), case("overconfident", 3, 90, 3.0, 1), case("seven labels", 7, 60, 0.5, 2), case("labels that never occur", 5, 40, 1.0, 3, present=3)]
(pathlib.Path(__file__).parent / "reference.json").write_text(json.dumps(cases) + "\n")
