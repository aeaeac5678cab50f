"""Step 6: write the trained base as the folder that the server embeds.

    python export.py --work FOLDER --name RUN --out ../base --plain ../testdata/plain.jsonl \
        --plain-languages ../testdata/plain-languages.jsonl

Projections are rounded to 8 bits, so that the server's int8 keeps them as they are (grid.py), and all weights to float16;
every figure is then measured on the exported folder itself, with transformers in float32. The temperature is fitted on
UMSAB's development rows, which neither the base nor its teacher has learnt from.
OUT is replaced as a whole once everything is written.
"""
import argparse
import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

import model as base
from common import LABELS, TASKS, Row, read_rows
from grid import round_projections
from scoring import Scorer, calibration_error, fit_temperature, macro_f1, read_plain, softmax

CARD = Path(__file__).parent / "card.md"
CANARIES = (
    "I love this phone, the camera is wonderful.",
    "The food was cold and the waiter was rude.",
    "The meeting starts at 10 on Tuesday.",
    "Not what I hoped for, but the support was kind and quick.",
    "@user thanks so much for the help 🙏",
)
TASK_ROWS = 600
"""Development rows that a task other than sentiment is measured on."""
SIZE_LIMIT = 47_500_000


def weights(work: Path, name: str) -> tuple[dict[str, torch.Tensor], int]:
    """The run's tensors in float32, each once, and the step it reached."""
    state = torch.load(work / name / "state.pt", weights_only=True)
    out = {}
    for key, value in state["trainee"].items():
        key = key.removeprefix("model.")
        if key.startswith("project.") or key.endswith("embed_tokens.weight") or key == "lm_head.weight":
            continue
        out[key] = value.float().contiguous()
    return out, state["step"]


def halved(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors in float16."""
    out = {key: value.half().contiguous() for key, value in tensors.items()}
    for key, value in out.items():
        if not torch.isfinite(value).all():
            raise ValueError(f"tensor {key}: a value is outside float16's range")
    return out


def write_model(folder: Path, tensors: dict[str, torch.Tensor], work: Path) -> None:
    path = folder / "model.safetensors"
    save_file(tensors, path, metadata={"format": "pt"})
    path.chmod(0o644)
    config = base.config(len(tensors["shared.weight"]), layers_of(tensors)).to_diff_dict()
    config |= {"architectures": ["MT5ForConditionalGeneration"], "tie_word_embeddings": True, "dtype": "float16",
               "int8_activation_bits": 16}
    write_json(folder / "config.json", config)
    write_json(folder / "generation_config.json", {
        "decoder_start_token_id": base.PAD, "eos_token_id": base.EOS, "pad_token_id": base.PAD, "max_new_tokens": 10})
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(work / name, folder / name)


def layers_of(tensors: dict[str, torch.Tensor]) -> int:
    """The number of encoder layers."""
    return sum(name.startswith("encoder.") and name.endswith("SelfAttention.q.weight") for name in tensors)


def write_json(path: Path, value) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", "utf-8")


def measure(scorer: Scorer, rows: list[Row], plain: Path, other_plain: Path) -> dict:
    """Held-out figures, and the temperature."""
    dev, test = ([r for r in rows if r.split == s and r.task == "sentiment"] for s in ("dev", "test"))
    dev_y, test_y = (np.array([r.label for r in part]) for part in (dev, test))
    dev_p = scorer.log_probabilities([r.text for r in dev])
    began = time.time()
    test_p = scorer.log_probabilities([r.text for r in test])
    rate = len(test) / (time.time() - began)
    sources = np.array([r.source for r in dev])
    tweets = sources == "umsab"
    temperature = fit_temperature(dev_p[tweets], np.eye(len(LABELS))[dev_y[tweets]])
    languages = np.array([r.language for r in test])
    f1 = {l: round(macro_f1(test_p[languages == l], test_y[languages == l]), 4) for l in sorted(set(languages))}
    plain_right, other_right = right(scorer, plain), right(scorer, other_plain)
    return {
        "temperature": temperature,
        "rows_per_second": round(rate, 1),
        "metrics": {
            "umsab_validation_macro_f1": f1 | {"average": round(float(np.mean(list(f1.values()))), 4)},
            "umsab_validation_ece": round(calibration_error(softmax(test_p, temperature), test_y), 4),
            "development_macro_f1": {s: round(macro_f1(dev_p[sources == s], dev_y[sources == s]), 4)
                                     for s in sorted(set(sources))},
            "other_tasks_development_macro_f1": {t: other_task(scorer, rows, t) for t in TASKS if t != "sentiment"},
            "umsab_development_ece": round(calibration_error(softmax(dev_p[tweets], temperature), dev_y[tweets]), 4),
            "plain_english_accuracy": round(float(plain_right.mean()), 4),
            "plain_english_rows": len(plain_right),
            "plain_other_languages_accuracy": round(float(other_right.mean()), 4),
            "plain_other_languages_rows": len(other_right),
        },
    }


def right(scorer: Scorer, path: Path) -> np.ndarray:
    """Which of the file's sentences are judged rightly; prints the others."""
    texts, labels = read_plain(path)
    guess = scorer.log_probabilities(texts).argmax(1)
    for text, label, got in zip(texts, labels, guess):
        if label != got:
            print(f"plain: {LABELS[label]} taken for {LABELS[got]}: {text}")
    return guess == labels


def other_task(scorer: Scorer, rows, task: str) -> float:
    """Macro-F1 of a task that is learnt beside sentiment, on development rows with one label."""
    part = [r for r in rows if r.split == "dev" and r.task == task and len(r.labels) == 1][:TASK_ROWS]
    p = scorer.log_probabilities([r.asked for r in part], words=[scorer.first(word) for word in TASKS[task]])
    return round(macro_f1(p, np.array([r.label for r in part])), 4)


def sidecar(scorer: Scorer, figures: dict) -> dict:
    """What the server reads beside the weights: labels, calibration, figures and canary rows."""
    p = softmax(scorer.log_probabilities(list(CANARIES)), figures["temperature"])
    return {
        "format": 1,
        "labels": [{"name": n, "verbaliser": n} for n in LABELS],
        "template": "",
        "temperature": figures["temperature"],
        "abstain_below": 0,
        "metrics": figures["metrics"],
        "canary": [{"text": t, "scores": {n: round(float(v), 6) for n, v in zip(LABELS, row)}}
                   for t, row in zip(CANARIES, p)],
    }


def card(figures: dict, step: int, tensors: dict[str, torch.Tensor]) -> str:
    """The model card: card.md with the measured figures in its tables."""
    metrics = figures["metrics"]
    table = lambda values: "\n".join(f"| {k} | {v:.3f} |" for k, v in values.items())
    fill = {"UMSAB": table(metrics["umsab_validation_macro_f1"]), "DEVELOPMENT": table(metrics["development_macro_f1"]),
            "TASKS": table(metrics["other_tasks_development_macro_f1"]),
            "PLAIN": f"{metrics['plain_english_accuracy']:.3f} of {metrics['plain_english_rows']}",
            "PLAIN_OTHER": f"{metrics['plain_other_languages_accuracy']:.3f} of {metrics['plain_other_languages_rows']}",
            "TEMPERATURE": f"{figures['temperature']:.2f}", "ECE": f"{metrics['umsab_validation_ece']:.3f}",
            "STEPS": f"{step:,}", "PARAMETERS": f"{sum(t.numel() for t in tensors.values()):,}",
            "VOCABULARY": f"{len(tensors['shared.weight']):,}", "LAYERS": str(layers_of(tensors))}
    text = CARD.read_text("utf-8")
    for key, value in fill.items():
        text = text.replace("{" + key + "}", value)
    return text


def replace(new: Path, out: Path) -> None:
    """Puts `new` in the place of `out`."""
    old = out.with_name(out.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        os.rename(out, old)
    os.rename(new, out)
    shutil.rmtree(old, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of the earlier steps")
    parser.add_argument("--name", default="run", help="the run to export (default run)")
    parser.add_argument("--out", type=Path, required=True, help="folder to replace, usually ../base")
    parser.add_argument("--plain", type=Path, required=True, help="JSON lines of plain English sentences to check")
    parser.add_argument("--plain-languages", type=Path, required=True, help="the same in other languages")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    new = args.out.with_name("." + args.out.name + ".new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    tensors, step = weights(args.work, args.name)
    rows = read_rows(args.work / "rows.jsonl")
    write_model(new, tensors, args.work)
    trained = Scorer(new)
    round_projections(trained, base.sample(rows))
    state = trained.model.state_dict()
    write_model(new, halved({key: state[key] for key in tensors}), args.work)
    scorer = Scorer(new)
    figures = measure(scorer, rows, args.plain, args.plain_languages)
    write_json(new / "valence.json", sidecar(scorer, figures))
    (new / "README.md").write_text(card(figures, step, tensors), "utf-8")
    size = sum(f.stat().st_size for f in new.iterdir())
    if size > SIZE_LIMIT:
        raise ValueError(f"{new} is {size} bytes, above the limit of {SIZE_LIMIT}")
    replace(new, args.out)
    print(json.dumps(figures, indent=1), f"\n{size:,} bytes")


if __name__ == "__main__":
    main()
