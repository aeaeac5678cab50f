"""Write what tokenizers gives for the texts of a case file, one JSON object a line.

make_cases.py TOKENIZER_JSON CASES OUT     (pip install -r requirements.txt)

Each line of CASES has "cat" and "text"; OUT gets "ids" (special tokens included), "offsets" (start, end, start, end ... in
code points) and "dec" (the ids decoded without special tokens) in place of whatever CASES had.
"""
import json
import sys

import tokenizers

assert tokenizers.__version__ == "0.22.2", tokenizers.__version__


def expectation(tok, cat, text):
    encoding = tok.encode(text)
    offsets = [x for span in encoding.offsets for x in span]
    return {"cat": cat, "text": text, "ids": encoding.ids, "offsets": offsets, "dec": tok.decode(encoding.ids)}


def line(value):
    """One line of JSON that holds no line separator but its own."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for c in "\x85\u2028\u2029":
        text = text.replace(c, f"\\u{ord(c):04x}")
    return text + "\n"


def main(tokenizer_json, cases, out):
    tok = tokenizers.Tokenizer.from_file(tokenizer_json)
    with open(cases, encoding="utf-8", newline="\n") as f:
        given = [json.loads(x) for x in f]
    with open(out, "w", encoding="utf-8", newline="\n") as f:
        f.writelines(line(expectation(tok, c["cat"], c["text"])) for c in given)


if __name__ == "__main__":
    main(*sys.argv[1:])
