"""Prints, as JSON, the label log-probabilities that transformers and PEFT give one row of token ids in float32.

    python compare.py MODEL_DIR [ADAPTER_DIR] --ids ID,ID,... [--labels ID,ID,... ...] [--threads 1]

The default labels are what the mT5 vocabulary writes for negative, neutral and positive. Without ADAPTER_DIR: the base.
"""
import argparse
import json

import torch
from peft import PeftModel
from scoring import label_log_probs
from transformers import AutoModelForSeq2SeqLM

LABELS = [[259, 32588, 1], [59006, 1], [18205, 1]]


def ids(text):
    return [int(x) for x in text.split(",")]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("adapter", nargs="?")
    p.add_argument("--ids", type=ids, action="append", required=True, help="a row with its end marker; repeat for more rows")
    p.add_argument("--labels", type=ids, nargs="+", default=LABELS, help="each label with its end marker")
    p.add_argument("--threads", type=int, default=1)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    model = AutoModelForSeq2SeqLM.from_pretrained(a.model).float()
    if a.adapter:
        model = PeftModel.from_pretrained(model, a.adapter).get_base_model()
    rows = [dict(ids=row, log_probs=label_log_probs(model.eval(), row, a.labels)) for row in a.ids]
    print(json.dumps(dict(labels=a.labels, rows=rows)))


if __name__ == "__main__":
    main()
