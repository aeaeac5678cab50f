"""Step 8: rows for the adapters that ship with the base, out of the rows of step 1.

    python adapters.py --work FOLDER --out FOLDER [--rows N]

Writes OUT/NAME-train.jsonl, at most N rows of the training split, and OUT/NAME-held-out.jsonl, the development rows, with
the fields text and label. What `valence train` does with them is in the README.md of each adapter in ../adapters.
"""
import argparse
import json
import random
from pathlib import Path

from common import Row, atomic_file, read_rows

ADAPTERS = {
    "emotions": ("emotion", {"goemotions"}),
    "stars": ("rating", {"vader-amazon", "vader-movies", "vader-tweets", "vader-nyt"}),
    "african": ("sentiment", {"afrisenti"}),
}
"""Task and sources of each adapter's rows. GoEmotions' rows with several labels are left out."""


def rows_of(rows: list[Row], name: str, split: str) -> list[Row]:
    task, sources = ADAPTERS[name]
    return [r for r in rows if (r.task, r.split) == (task, split) and r.source in sources and len(r.labels) == 1]


def write(path: Path, rows: list[Row]) -> None:
    with atomic_file(path) as out:
        for row in rows:
            out.write(json.dumps({"text": row.text, "label": row.labels[0]}, ensure_ascii=False) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder that holds rows.jsonl")
    parser.add_argument("--out", type=Path, required=True, help="folder for the rows")
    parser.add_argument("--rows", type=int, default=9000, help="training rows of an adapter at most (default 9000)")
    parser.add_argument("--seed", type=int, default=7, help="seed of the choice (default 7)")
    args = parser.parse_args()
    rows = read_rows(args.work / "rows.jsonl")
    for name in ADAPTERS:
        train = rows_of(rows, name, "train")
        random.Random(args.seed).shuffle(train)
        write(args.out / f"{name}-train.jsonl", train[:args.rows])
        write(args.out / f"{name}-held-out.jsonl", rows_of(rows, name, "dev"))


if __name__ == "__main__":
    main()
