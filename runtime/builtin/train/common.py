"""What every step shares: the labels, the row type and reading and writing rows."""
import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

LABELS = ("negative", "neutral", "positive")
"""Label names in class order; each one is also its own verbaliser."""


@dataclass(frozen=True)
class Row:
    """One labelled text. `label` is an index into LABELS; `split` is train, dev or test."""

    text: str
    label: int
    source: str
    language: str
    split: str


def write_rows(path: Path, rows: list[Row]) -> None:
    """Writes rows as JSON lines, by a temporary file and a rename."""
    with atomic_file(path) as out:
        for row in rows:
            out.write(json.dumps(asdict(row), ensure_ascii=False) + "\n")


def read_rows(path: Path) -> list[Row]:
    """Reads what write_rows wrote."""
    with open(path, encoding="utf-8") as lines:
        return [Row(**json.loads(line)) for line in lines]


class atomic_file:
    """A text file that appears under its name only when it is complete."""

    def __init__(self, path: Path):
        self.path = Path(path)

    def __enter__(self):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.file = tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", newline="\n", dir=self.path.parent, delete=False
        )
        return self.file

    def __exit__(self, failure, *_):
        self.file.close()
        if failure:
            os.unlink(self.file.name)
            return
        os.chmod(self.file.name, 0o644)
        os.replace(self.file.name, self.path)
