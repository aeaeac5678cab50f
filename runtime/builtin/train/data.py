"""Step 1: read the labelled sets and the hand-written sentences into one file of rows.

    python data.py --data FOLDER --work FOLDER

FOLDER holds one folder a set, as each project publishes it: umsab, goemotions, vader, xed, afrisenti.
Writes WORK/rows.jsonl. Every source is under a permissive licence; see the model card.

The umsab validation split becomes the test split: nothing is trained, tuned or chosen on it.
"""
import argparse
import html
import random
import re
from collections import Counter
from pathlib import Path

import sentences
from common import Row, write_rows

UMSAB = {"arabic": "ar", "english": "en", "french": "fr", "german": "de",
         "hindi": "hi", "italian": "it", "portuguese": "pt", "spanish": "es"}
XED_PROJECTIONS = ("ar", "de", "es", "fr", "it", "pt")
# AfriSenti languages whose words the small vocabulary can hold: Nigerian Pidgin, Mozambican
# Portuguese, Algerian and Moroccan Arabic.
AFRISENTI = {"pcm": "pcm", "por": "pt", "arq": "ar", "ary": "ar"}
VADER = {"tweets": "tweets_GroundTruth.txt", "amazon": "amazonReviewSnippets_GroundTruth.txt",
         "movies": "movieReviewSnippets_GroundTruth.txt", "nyt": "nytEditorialSnippets_GroundTruth.txt"}
VADER_THRESHOLD = 0.5
"""Mean rating (-4 to 4) from which a VADER snippet counts as positive, or negative below its opposite."""

# Plutchik's emotions as XED numbers them. Anticipation (2) and surprise (7) say nothing of polarity.
XED_POSITIVE, XED_NEGATIVE = {5, 8}, {1, 3, 4, 6}
PROJECTED_SHARE = 0.35
"""Share of XED's projected lines that is kept: their labels come from other languages' subtitles, and are noisy."""
DEV_SHARE = 0.04


def clean(text: str) -> str:
    """Undoes HTML and backslash-u escapes and doubled CSV quotes, and folds white space."""
    text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda m: chr(int(m[1], 16)), html.unescape(text))
    text = re.sub(r'\\?"{2,}', '"', text).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return re.sub(r"\s+", " ", text).strip()


def tsv(path: Path):
    """Yields the fields of each line. The sets hold bare quotes, so this is not a CSV dialect."""
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            yield line.rstrip("\r\n").split("\t")


def umsab(root: Path):
    for folder, language in UMSAB.items():
        for part, split in (("train", "train"), ("val", "test")):
            base = root / "umsab" / "data" / folder
            texts = (base / f"{part}_text.txt").read_text("utf-8").rstrip("\n").split("\n")
            labels = (base / f"{part}_labels.txt").read_text("utf-8").split()
            if len(texts) != len(labels):
                raise ValueError(f"umsab {folder} {part}: {len(texts)} texts but {len(labels)} labels")
            for text, label in zip(texts, labels):
                yield Row(clean(text), int(label), "umsab", language, split)


def goemotions(root: Path):
    """Comments with one polarity group; ambiguous and mixed ones are left out."""
    groups = {"1": 0, "2": 1, "3": 2}
    for part in ("train", "dev"):
        for text, group, *_ in tsv(root / "goemotions" / "data" / "group" / f"{part}.tsv"):
            if group in groups:
                yield Row(clean(text), groups[group], "goemotions", "en", part)


def vader(root: Path):
    for name, file in VADER.items():
        for _, rating, text in tsv(root / "vader" / file):
            rating = float(rating)
            label = 1 + (rating >= VADER_THRESHOLD) - (rating <= -VADER_THRESHOLD)
            yield Row(clean(text), label, f"vader-{name}", "en", "train")


def xed_text(text: str) -> str:
    """Removes the anonymised names and the subtitle dashes and spaced punctuation."""
    text = re.sub(r"\[(PERSON|LOCATION|ORGANIZATION|RELIGION)\]", "", text)
    text = re.sub(r"\s+([.,!?;:'])", r"\1", text)
    return clean(re.sub(r"^\s*[-*]\s*", "", text))


def xed(root: Path):
    files = [("en", root / "xed" / "AnnotatedData" / "en-annotated.tsv")]
    files += [(l, root / "xed" / "Projections" / f"{l}-projections.tsv") for l in XED_PROJECTIONS]
    for language, path in files:
        # A few projected files hold broken lines of their alignment tables.
        for text, emotions in (fields for fields in tsv(path) if len(fields) == 2):
            found = {int(e) for e in emotions.split(",")}
            positive, negative = found & XED_POSITIVE, found & XED_NEGATIVE
            if bool(positive) != bool(negative):
                yield Row(xed_text(text), 2 if positive else 0, "xed", language, "train")
    for _, text, *_ in tsv(root / "xed" / "AnnotatedData" / "neu_en.txt"):
        yield Row(xed_text(text), 1, "xed", "en", "train")


def afrisenti(root: Path):
    labels = {"negative": 0, "neutral": 1, "positive": 2}
    for folder, language in AFRISENTI.items():
        for part in ("train", "dev"):
            for text, label in list(tsv(root / "afrisenti" / "data" / folder / f"{part}.tsv"))[1:]:
                yield Row(clean(text), labels[label], "afrisenti", language, part)


def written(seed: int):
    for text, label in sentences.generate(seed):
        yield Row(text, label, "written", "en", "train")


def gather(root: Path, seed: int) -> list[Row]:
    """All rows, each text once: a text of the test split is never also a training text."""
    rows = [r for source in (umsab, goemotions, vader, xed, afrisenti) for r in source(root)]
    rows += written(seed)
    rows.sort(key=lambda r: r.split != "test")
    rng, seen, out = random.Random(seed), set(), []
    for row in rows:
        key = re.sub(r"\W+", " ", row.text.casefold()).strip()
        if len(row.text) < 3 or not key or key in seen:
            continue
        seen.add(key)
        if row.source == "xed" and row.language != "en" and rng.random() >= PROJECTED_SHARE:
            continue
        if row.split == "train" and row.source != "umsab" and rng.random() < DEV_SHARE:
            row = Row(row.text, row.label, row.source, row.language, "dev")
        out.append(row)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the data sets")
    parser.add_argument("--work", type=Path, required=True, help="folder for what the steps produce")
    parser.add_argument("--seed", type=int, default=7, help="seed of the split and of the sentences (default 7)")
    args = parser.parse_args()
    rows = gather(args.data, args.seed)
    write_rows(args.work / "rows.jsonl", rows)
    for key, count in sorted(Counter((r.split, r.source, r.label) for r in rows).items()):
        print(*key, count)


if __name__ == "__main__":
    main()
