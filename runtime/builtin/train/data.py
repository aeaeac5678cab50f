"""Step 1: read the labelled sets and the hand-written sentences into one file of rows.

    python data.py --data FOLDER --work FOLDER

FOLDER holds one folder a set, as each project publishes it: umsab, goemotions, vader, xed, afrisenti.
Writes WORK/rows.jsonl. Some rows have no label: only the teacher's opinion is learnt from them. Every source is under a permissive licence; see the model card.

The umsab validation split becomes the test split: nothing is trained or tuned on it.
"""
import argparse
import hashlib
import html
import random
import re
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import phrases
import sentences
from common import LABELS, Row, write_rows

UMSAB = {"arabic": "ar", "english": "en", "french": "fr", "german": "de",
         "hindi": "hi", "italian": "it", "portuguese": "pt", "spanish": "es"}
AFRISENTI = {"amh": "am", "arq": "ar", "ary": "ar", "hau": "ha", "ibo": "ig", "kin": "rw", "orm": "om", "pcm": "pcm",
             "por": "pt", "swa": "sw", "tir": "ti", "tso": "ts", "twi": "tw", "yor": "yo"}
VADER = {"tweets": "tweets_GroundTruth.txt", "amazon": "amazonReviewSnippets_GroundTruth.txt",
         "movies": "movieReviewSnippets_GroundTruth.txt", "nyt": "nytEditorialSnippets_GroundTruth.txt"}
VADER_THRESHOLD = 0.5
"""Mean rating (-4 to 4) from which a VADER snippet counts as positive, or negative below its opposite."""
RATINGS = ((-2.0, "terrible"), (-0.75, "bad"), (0.75, "okay"), (2.0, "good"), (9.0, "great"))
"""Upper bounds of the mean rating for the five steps."""

# Plutchik's emotions as XED numbers them. Anticipation (2) and surprise (7) say nothing of polarity.
XED_EMOTIONS = {1: "anger", 2: "anticipation", 3: "disgust", 4: "fear", 5: "joy", 6: "sadness", 7: "surprise", 8: "trust"}
XED_POSITIVE, XED_NEGATIVE = {5, 8}, {1, 3, 4, 6}
XED_CODES = {"br": "pt", "cn": "zh", "tw": "zh"}
"""Projections whose file name is not the language's code."""
EKMAN = ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")
"""GoEmotions' groups of emotions, as its files number them."""
LANGUAGE_CAP = 2500
"""Rows of one task, source and language at most, where a source holds many languages."""
CAPPED = {"xed", "afrisenti"}
DEV_PERCENT = 4
SHOUTED, SHOUTED_SHARE = {"umsab", "written", "phrases", "vader-tweets", "vader-amazon"}, 0.06
"""Sources of which a share is copied in capitals."""
SPLICES, DROPPED_SHARE = 2, 0.08
"""Spliced texts for each tweet, and the share of their words that is dropped."""
UNLABELLED = {"xed"}
"""Sources whose rows of other tasks are asked for their sentiment too."""


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
                yield Row(clean(text), [LABELS[int(label)]], "sentiment", "umsab", language, split)


def goemotions(root: Path):
    """Comments with one polarity group, and their Ekman emotions; ambiguous and mixed ones are left out."""
    groups = {"1": "negative", "2": "neutral", "3": "positive"}
    for part in ("train", "dev"):
        for text, group, *_ in tsv(root / "goemotions" / "data" / "group" / f"{part}.tsv"):
            if group in groups:
                yield Row(clean(text), [groups[group]], "sentiment", "goemotions", "en", "train")
        for text, numbers, *_ in tsv(root / "goemotions" / "data" / "ekman" / f"{part}.tsv"):
            yield Row(clean(text), [EKMAN[int(n)] for n in numbers.split(",")], "emotion", "goemotions", "en", "train")


def vader(root: Path):
    for name, file in VADER.items():
        for _, rating, text in tsv(root / "vader" / file):
            rating, text = float(rating), clean(text)
            label = LABELS[1 + (rating >= VADER_THRESHOLD) - (rating <= -VADER_THRESHOLD)]
            yield Row(text, [label], "sentiment", f"vader-{name}", "en", "train")
            step = next(word for bound, word in RATINGS if rating < bound)
            yield Row(text, [step], "rating", f"vader-{name}", "en", "train")


def xed_text(text: str) -> str:
    """Removes the anonymised names and the subtitle dashes and spaced punctuation."""
    text = re.sub(r"\[(PERSON|LOCATION|ORGANIZATION|RELIGION)\]", "", text)
    text = re.sub(r"\s+([.,!?;:'])", r"\1", text)
    return clean(re.sub(r"^\s*[-*]\s*", "", text))


def xed(root: Path):
    """Subtitle lines. Only the annotated languages have neutral lines, so only they are rows of sentiment."""
    folder = root / "xed"
    files = [(l, True, folder / "AnnotatedData" / f"{l}-annotated.tsv") for l in ("en", "fi")]
    for path in sorted((folder / "Projections").glob("*.tsv")):
        code = path.name.split("-")[0]
        files.append((XED_CODES.get(code, code), False, path))
    for language, annotated, path in files:
        # A few projected files hold a header or broken lines of their alignment tables.
        for text, emotions in (f for f in tsv(path) if len(f) == 2 and re.fullmatch(r"[1-8](, [1-8])*", f[1])):
            text, found = xed_text(text), {int(e) for e in emotions.split(", ")}
            yield Row(text, sorted(XED_EMOTIONS[e] for e in found), "emotion", "xed", language, "train")
            positive, negative = found & XED_POSITIVE, found & XED_NEGATIVE
            if bool(positive) != bool(negative):
                task = "sentiment" if annotated else "polarity"
                yield Row(text, ["positive" if positive else "negative"], task, "xed", language, "train")
    for language in ("en", "fi"):
        for fields in tsv(folder / "AnnotatedData" / f"neu_{language}.txt"):
            text = xed_text(fields[1])
            yield Row(text, ["neutral"], "sentiment", "xed", language, "train")
            yield Row(text, ["neutral"], "emotion", "xed", language, "train")


def afrisenti(root: Path):
    for folder, language in AFRISENTI.items():
        for part in ("train", "dev"):
            path = root / "afrisenti" / "data" / folder / f"{part}.tsv"
            if path.exists():
                for *_, text, label in list(tsv(path))[1:]:
                    yield Row(clean(text), [label], "sentiment", "afrisenti", language, "train")


def written(seed: int):
    for text, label in sentences.generate(seed):
        yield Row(text, [LABELS[label]], "sentiment", "written", "en", "train")
    for text, label, language in phrases.generate(seed):
        yield Row(text, [LABELS[label]], "sentiment", "phrases", language, "train")


def fold(text: str) -> str:
    """What two texts share when they are the same but for case and punctuation."""
    return re.sub(r"\W+", " ", text.casefold()).strip()


def is_dev(key: str) -> bool:
    """A text is in the development split for every task or for none."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") % 100 < DEV_PERCENT


def gather(root: Path, seed: int) -> list[Row]:
    """All rows, each text once a task: a text of the test split is never also a training text.

    The written sentences come last, so that a new one changes nothing about the rows of the public sets.
    """
    rows = [r for source in (umsab, goemotions, vader, xed, afrisenti) for r in source(root)]
    random.Random(seed).shuffle(rows)
    rows += written(seed)
    tests = {fold(r.text) for r in rows if r.split == "test"}
    seen, counts, out = set(), defaultdict(int), []
    for row in rows:
        key, group = fold(row.text), (row.task, row.source, row.language)
        if len(row.text) < 3 or not key or (row.task, key) in seen or (row.split != "test" and key in tests):
            continue
        if row.source in CAPPED and row.language != "en" and counts[group] >= LANGUAGE_CAP:
            continue
        seen.add((row.task, key))
        counts[group] += 1
        split = "dev" if row.split == "train" and is_dev(key) else row.split
        out.append(Row(row.text, row.labels, row.task, row.source, row.language, split))
    rng = random.Random(seed)
    return out + shouted(out, rng) + spliced(out, rng) + unlabelled(out)


def shouted(rows: list[Row], rng: random.Random) -> list[Row]:
    """Copies of some training rows of sentiment in capitals, where the script has them."""
    return [replace(r, text=r.text.upper(), source="shouted") for r in rows
            if r.split == "train" and r.task == "sentiment" and r.source in SHOUTED and rng.random() < SHOUTED_SHARE
            and r.text.upper() != r.text]


def spliced(rows: list[Row], rng: random.Random) -> list[Row]:
    """New texts for the teacher to judge: the beginning of one training tweet and the end of another of its language.

    Some words are dropped besides, as in the augmentation for TinyBERT (Jiao et al., 2020) some are replaced.
    """
    languages = defaultdict(list)
    for row in rows:
        if row.source == "umsab" and row.split == "train":
            languages[row.language].append(row.text.split())
    out = []
    for language, texts in sorted(languages.items()):
        for first in texts * SPLICES:
            second = rng.choice(texts)
            words = first[:int(len(first) * rng.uniform(0.3, 0.8))] + second[int(len(second) * rng.uniform(0.2, 0.7)):]
            kept = [w for w in words if rng.random() >= DROPPED_SHARE]
            if len(kept) >= 3:
                out.append(Row(" ".join(kept), [], "sentiment", "spliced", language, "train"))
    return out


def unlabelled(rows: list[Row]) -> list[Row]:
    """The training texts that no set gives a sentiment, for the teacher to judge: subtitle lines, most of them."""
    known = {r.text for r in rows if r.task == "sentiment" or r.split == "test"}
    others = {r.text: r for r in rows if r.text not in known and r.split == "train" and r.source in UNLABELLED}
    return [Row(r.text, [], "sentiment", "unlabelled", r.language, "train") for r in others.values()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the data sets")
    parser.add_argument("--work", type=Path, required=True, help="folder for what the steps produce")
    parser.add_argument("--seed", type=int, default=7, help="seed of the order and of the sentences (default 7)")
    args = parser.parse_args()
    rows = gather(args.data, args.seed)
    write_rows(args.work / "rows.jsonl", rows)
    for key, count in sorted(Counter((r.split, r.task, r.source, r.language) for r in rows).items()):
        print(*key, count)


if __name__ == "__main__":
    main()
