# /// script
# requires-python = ">=3.10"
# dependencies = ["pyarrow==26.0.1"]
# ///
"""Write the Parquet fixtures of this folder, as pyarrow writes them.

    python make.py
"""

import decimal
import pathlib

import pyarrow as pa
import pyarrow.parquet as pq

HERE = pathlib.Path(__file__).parent
TEXTS = ["I love it", "Ärger mit der Tür", None, "", "fine\nthen", "👍 great"]
LABELS = ["positive", "negative", "neutral", None, "neutral", "positive"]


def write(name, columns, **options):
    pq.write_table(pa.table(columns), HERE / f"{name}.parquet", **options)


def main():
    text, label = pa.array(TEXTS, pa.string()), pa.array(LABELS, pa.string())
    both = {"text": text, "label": label}
    write("plain", both, use_dictionary=False, compression="none")
    write("dictionary", both, use_dictionary=True, compression="snappy")
    write("pages_v2", both, data_page_version="2.0", compression="zstd")
    write("gzip", both, compression="gzip")
    write("large", {"text": text.cast(pa.large_string()), "label": label.dictionary_encode()})
    write("binary", {"text": text.cast(pa.binary()), "label": label})
    many = 5000
    write(
        "groups",
        {
            "id": pa.array(range(many), pa.int64()),
            "text": pa.array([f"text number {i % 700}" for i in range(many)]),
            "label": pa.array([i % 3 for i in range(many)], pa.int8()),
        },
        row_group_size=1024,
        data_page_size=2048,
        write_batch_size=64,
    )
    write(
        "types",
        {
            "text": pa.array(["a", "b"]),
            "int": pa.array([-1, 2], pa.int32()),
            "unsigned": pa.array([2**64 - 1, None], pa.uint64()),
            "float": pa.array([0.5, 1.0], pa.float64()),
            "half": pa.array([0.1, 3.0], pa.float32()),
            "bool": pa.array([True, False]),
            "time": pa.array([0, 1], pa.timestamp("us")),
            "decimal": pa.array([decimal.Decimal("1.50"), decimal.Decimal("2.25")], pa.decimal128(9, 2)),
            "list": pa.array([["x", "y"], []], pa.list_(pa.string())),
            "struct": pa.array([{"text": "x"}, {"text": "y"}]),
        },
    )
    write("latin1", {"text": pa.array([b"ok", b"caf\xe9"], pa.binary()), "label": pa.array(["a", "b"])})
    write("long", {"text": pa.array(["short", "x" * 1000]), "label": pa.array(["a", "b"])})
    write("empty", {"text": pa.array([], pa.string()), "label": pa.array([], pa.string())})


if __name__ == "__main__":
    main()
