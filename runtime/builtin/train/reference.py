"""Step 7: write the reference answers that the Go code is tested against.

    python reference.py --base ../base --out ../testdata/reference.json

Texts of many kinds with what transformers in float32 gives for the exported folder: the input ids, the
log-probabilities over the labels' first pieces (temperature 1) and the ids that greedy decoding writes.
"""
import argparse
import json
from pathlib import Path

import torch
import transformers

from common import LABELS, atomic_file
from scoring import Scorer

TEXTS = (
    "I love this phone, the camera is wonderful.",
    "The food was cold and the waiter was rude.",
    "The meeting starts at 10 on Tuesday.",
    "The robust growth was the result of the inclusion of clothing chain Lindex in the Group in December 2007 .",
    "Not bad at all!",
    "It's fine, I guess.",
    "ok",
    "?",
    "",
    "   spaces   around\tand\nbetween  ",
    "WORST. SERVICE. EVER.",
    "@user thanks so much for the help 🙏❤️ http://example.org",
    "😡😡😡",
    "ﬁne ｆｕｌｌ－ｗｉｄｔｈ ①②③",
    "Das Essen war kalt und der Kellner unhöflich.",
    "Quel film magnifique, j'ai adoré chaque minute !",
    "La reunión empieza a las diez.",
    "Que serviço horrível, nunca mais volto.",
    "Non mi è piaciuto per niente.",
    "الخدمة ممتازة والموظفون لطفاء",
    "यह फिल्म बहुत अच्छी है",
    "日本語はほとんど学んでいません。",
    "The room was clean, but " + "the street outside was loud and " * 12 + "we slept badly.",
    "Profit fell by 12 % because of weak demand, and the plant in Lyon will close. " * 4,
)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True, help="the exported folder")
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    args = parser.parse_args()
    torch.set_num_threads(1)
    scorer = Scorer(args.base)
    written = scorer.generate(list(TEXTS))
    rows = []
    for text, ids in zip(TEXTS, written):
        log_p = scorer.log_probabilities([text], max_tokens=512)[0]
        rows.append({"text": text, "input_ids": scorer.tok(text).input_ids,
                     "log_probabilities": [round(float(v), 6) for v in log_p], "generated_ids": ids,
                     "generated_text": scorer.tok.decode(ids, skip_special_tokens=True)})
    head = {"made_by": "train/reference.py", "transformers": transformers.__version__, "torch": torch.__version__,
            "labels": list(LABELS), "label_first_ids": scorer.words}
    with atomic_file(args.out) as out:
        lines = ",\n  ".join(json.dumps(r, ensure_ascii=False) for r in rows)
        out.write(json.dumps(head)[:-1] + ', "rows": [\n  ' + lines + "\n]}\n")


if __name__ == "__main__":
    main()
