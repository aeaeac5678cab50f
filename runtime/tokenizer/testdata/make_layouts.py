"""Write t5/tokenizer.json, t5/layouts.jsonl and scores.jsonl: other layouts of tokenizer.json than the main fixture's.

make_layouts.py     (in this folder; pip install -r requirements.txt)

t5/tokenizer.json is a small T5 v1.1-like vocabulary with extra ids, trained on the Latin texts of cases.jsonl, as
transformers.T5TokenizerFast converts it. Its character map is made by hand, to be small and to hold each kind of rule.
Each line of t5/layouts.jsonl has a "name", a "patch" (members that replace those of t5/tokenizer.json) and "cases" as in
cases.jsonl with "cut" besides: the ids for truncation to CUT tokens. scores.jsonl: how numbers are read as scores.
"""
import copy
import json
import os
import random
import struct
import tempfile

import sentencepiece
import tokenizers
import transformers

from make_cases import expectation, line

CUT = 6

# Source and target of the character map, in hexadecimal code points.
RULES = """
9 20|A 20|D_A 20|A0 20|2003 20|3000 20
200B |200E |AD |0307 
FF21 41|FF53 73|FF0F 2F|FF1C 3C|FF1E 3E|FF5F 28
65_301 E9|41_30A C5|FF21_30A C5
FB01 66_69|2122 54_4D|BD 31_2044_32|338F 6B_67|1D15E 1D157_1D165
""".replace("|", "\n").replace(" ", "\t").replace("_", " ").strip("\n").replace("\t\n", "\t\n")

TEXTS = [
    "", " ", "  ", "\t\n", "a", " a", "a ", "  a  b  ", "a\tb", "\na\n\nb\n", "\u3000x\u3000", "a\u00a0\u00a0b", "a \u2003 b", "x  ▁  y",
    "▁", "▁▁", "▁a", "a▁b", " ▁ ", "a▁▁b ▁", "</s>", "x</s>y", "x </s> y", "  </s>  ", "</s></s>", "＜/s＞", "＜／s＞", "<／ｓ>",
    "<unk>", "<pad>", "<extra_id_0>", "a<extra_id_1>b", "a  <extra_id_1>  b", "<extra_id_10><extra_id_1>", "<extra_id_0> \t <extra_id_1>", "<extra_id_100>", "<extra",
    "<ex", "<s>", "<s> x", "</S>", "ภาษาไทย คำ", "สวัสดี", "👨‍👩‍👧‍👦", "🏳️‍🌈 ok", "👩🏽‍🚀", "🇫🇷🇯🇵", "한국어", "a\u0301", "e\u0301", "e\u0301\u0302",
    "e\u0302\u0301", "\u0301", "A\u030a", "Ａ\u030a", "Ａ\u0301", "x\u0307\u0307y", "\u0307x", "\u200bx", "\u200b\u200bxy z", "x\u200b", "x\u200b\u200b y", "\u200b",
    "ﬁ\u200bx", "™\u200b\u200bx", "½½", "㎏\u0307a", "\u00ad\u00adshy", "𝅗𝅥", "\U0001d15ex", "\0", "a\0b", "\0\0 x", "\r\n", "a\r\nb", "a\rb", "a\n\r\rb", "…", "\ufffd", "\ufeffa",
    "क्षि", "क\u0301\u094dत", "\u0600a", "\u0600Ａ", "a" * 300, "é" * 100, "ab " * 40, "日本" * 30, "The service was excellent, thank you!",
    "Das Essen war kalt.", "Le film était très mauvais…", "100 % sure: it's ½ price™ (ﬁnal)", "  Leading and trailing   ", "line one\nline two",
]


def texts():
    with open("cases.jsonl", encoding="utf-8", newline="\n") as f:
        return [json.loads(x)["text"] for x in f]


def train(lines, folder):
    """Train the vocabulary and return the path of its model."""
    with open(folder + "/train.txt", "w", encoding="utf-8") as f:
        f.writelines(" ".join(x.split()) + "\n" for x in lines)
    with open(folder + "/rules.tsv", "w", encoding="utf-8") as f:
        f.write(RULES + "\n")
    sentencepiece.SentencePieceTrainer.train(
        input=folder + "/train.txt", model_prefix=folder + "/t5", vocab_size=700, model_type="unigram",
        normalization_rule_tsv=folder + "/rules.tsv", pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
        character_coverage=0.995, num_threads=1, minloglevel=2)
    return folder + "/t5.model"


def convert(model, folder, **settings):
    """Return tokenizer.json as transformers writes it."""
    transformers.T5TokenizerFast(vocab_file=model, extra_ids=100, **settings).save_pretrained(folder)
    with open(folder + "/tokenizer.json", encoding="utf-8") as f:
        return json.load(f)


def metaspace(**settings):
    return {"type": "Metaspace", "replacement": "▁", **settings}


def layouts(base, prefixed):
    """Yield names and patches; base is the default conversion, prefixed the one with add_prefix_space."""
    charsmap = base["normalizer"]["normalizers"][0]
    strip = lambda left, right: {"type": "Strip", "strip_left": left, "strip_right": right}
    collapse = lambda to: {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": to}
    normalizers = lambda *steps: {"type": "Sequence", "normalizers": [charsmap, *steps]}
    split = lambda m: {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, m]}
    both = lambda m, **more: {"pre_tokenizer": m, "decoder": m, **more}
    legacy = metaspace(add_prefix_space=True)
    first = metaspace(prepend_scheme="first", split=True)
    always = metaspace(prepend_scheme="always", split=True)
    yield "converted", {}
    yield "converted with add_prefix_space", {k: prefixed[k] for k in ("normalizer", "pre_tokenizer", "decoder")}
    yield "white-space split, legacy Metaspace", {"normalizer": charsmap, "pre_tokenizer": split(legacy), "decoder": legacy}
    yield "legacy Metaspace, str_rep", both(metaspace(str_rep="▁", add_prefix_space=True), normalizer=normalizers(collapse(" ")))
    yield "legacy Metaspace, no prefix", both(metaspace(add_prefix_space=False, prepend_scheme="never"))
    yield "first", both(first)
    yield "white-space split, first", {"pre_tokenizer": split(first), "decoder": first}
    yield "white-space split, collapse to marker", {"pre_tokenizer": split(always), "decoder": always, "normalizer": normalizers(collapse("▁"))}
    yield "strip both ends, then collapse", both(always, normalizer=normalizers(strip(True, True), collapse(" ")))
    yield "collapse, then strip", both(always, normalizer=normalizers(collapse("▁"), strip(True, True)))
    yield "charsmap alone", both(always, normalizer=charsmap)

    added = copy.deepcopy(base["added_tokens"])
    token = {**added[-1], "id": len(base["model"]["vocab"]), "content": "<s>"}
    item = lambda name: {"SpecialToken": {"id": name, "type_id": 0}}
    template = copy.deepcopy(base["post_processor"])
    template["single"] = [item("<s>"), {"Sequence": {"id": "A", "type_id": 0}}, item("</s>")]
    template["pair"] = template["single"] + [{"Sequence": {"id": "B", "type_id": 1}}, item("</s>")]
    template["special_tokens"]["<s>"] = {"id": "<s>", "ids": [token["id"]], "tokens": ["<s>"]}
    yield "model without type", {"model": {k: v for k, v in base["model"].items() if k != "type"}}
    yield "<s> $A </s>", {"added_tokens": added + [token], "post_processor": template}

    prefixes = [{**token, "id": token["id"] + i, "content": x, "special": False} for i, x in enumerate(("<ex", "<extra_id_"))]
    yield "overlapping added tokens", {"added_tokens": added + prefixes}
    for a in added:
        a["lstrip"], a["rstrip"] = a["content"] != "</s>", a["content"] != "<pad>"
    yield "tokens that take white space along", both(always, added_tokens=added)


def cases(tokenizer, given):
    whole = tokenizers.Tokenizer.from_str(json.dumps(tokenizer))
    cut = tokenizers.Tokenizer.from_str(json.dumps(tokenizer))
    cut.enable_truncation(max_length=CUT)
    return [{**expectation(whole, "", x), "cut": cut.encode(x).ids} for x in given]


def scores():
    """Return numbers as written, with the value that tokenizers reads."""
    rng = random.Random(3)
    single = lambda: struct.unpack("f", struct.pack("f", -25 * rng.random()))[0]
    numbers = ["0", "-0", "-0.0", "5", "-5", "-4.0", "0.1", "-1e-5", "1E5", "1e+2", "1e22", "1e23", "8.5e-30", "-2.2250738585072014e-308", "4e-320", "1.5e-400",
               "18446744073709551615", "18446744073709551616", "-123456789012345678901234.5", "-0.30000000000000004", "0." + 30 * "0" + "123456789012345678901234"]
    numbers += [f"-{rng.random()}e-{n}" for n in (20, 22, 23, 33, 34, 37, 57, 105, 304, 308)]
    numbers += [f"{-25 * rng.random():.{rng.randint(10, 19)}f}" for _ in range(300)] + [repr(single()) for _ in range(200)]
    vocab = ",".join(f'["{i}",{n}]' for i, n in enumerate(numbers))
    tok = tokenizers.Tokenizer.from_str('{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,"pre_tokenizer":null,'
                                        f'"post_processor":null,"decoder":null,"model":{{"type":"Unigram","unk_id":0,"vocab":[{vocab}],"byte_fallback":false}}}}')
    return [{"number": n, "value": float(v).hex()} for n, (_, v) in zip(numbers, json.loads(tok.to_str())["model"]["vocab"])]


def main():
    given = texts()
    latin = [x for x in given if len(x) > 20 and max(map(ord, x)) < 0x180]
    with tempfile.TemporaryDirectory() as folder:
        model = train(latin, folder)
        base = convert(model, folder)
        prefixed = convert(model, folder, add_prefix_space=True)
    sample = TEXTS + random.Random(2).sample(latin, 30) + random.Random(5).sample(given, 40)
    os.makedirs("t5", exist_ok=True)
    with open("t5/tokenizer.json", "w", encoding="utf-8", newline="\n") as f:
        f.write(line(base))
    with open("t5/layouts.jsonl", "w", encoding="utf-8", newline="\n") as f:
        for name, patch in layouts(base, prefixed):
            f.write(line({"name": name, "patch": patch, "cases": cases({**base, **patch}, sample)}))
    with open("scores.jsonl", "w", encoding="utf-8", newline="\n") as f:
        f.writelines(map(line, scores()))


if __name__ == "__main__":
    main()
