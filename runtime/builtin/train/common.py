"""What every step shares: the tasks and their labels, the row type and reading and writing rows."""
import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

LABELS = ("negative", "neutral", "positive")
"""Labels of the task that is shipped, in class order; each one is also its own verbaliser."""

TASKS = {
    "sentiment": LABELS,
    "polarity": ("negative", "positive"),
    "emotion": ("anger", "anticipation", "disgust", "fear", "joy", "neutral", "sadness", "surprise", "trust"),
    "rating": ("terrible", "bad", "okay", "good", "great"),
}
"""Label sets that the base learns. Several of them make it a better start for an adapter's own labels."""
PREFIXES = {"sentiment": "", "polarity": "polarity: ", "emotion": "emotion: ", "rating": "rating: "}
"""What is written before a text to ask for a task; the shipped one is asked for by the text alone."""
WORDS = tuple(dict.fromkeys(word for labels in TASKS.values() for word in labels))
"""Every label of every task, once. Targets are rows over these."""


@dataclass(frozen=True)
class Row:
    """One text of a task. Several labels share the target equally; without any, the teacher alone has a say.

    `split` is train, dev or test.
    """

    text: str
    labels: list[str]
    task: str
    source: str
    language: str
    split: str

    @property
    def label(self) -> int:
        """The first label as an index into its task's label set."""
        return TASKS[self.task].index(self.labels[0])

    @property
    def asked(self) -> str:
        """The text as the model reads it."""
        return PREFIXES[self.task] + self.text


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
