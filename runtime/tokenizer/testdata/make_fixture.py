"""Make tokenizer.json, a 16,100-piece vocabulary in mT5's layout, and cases.jsonl, texts with what tokenizers gives.

make_fixture.py DJANGO_DIR OUT_DIR

DJANGO_DIR is the unpacked wheel of Django 5.2.19, of which only the message catalogues (locale/*.po, BSD-3-Clause) are
read. Needs the packages of requirements-fixture.txt and PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=python. The result is the
same to the byte on every run.
"""
import collections
import json
import os
import random
import re
import sys
import tempfile
import unicodedata

import sentencepiece  # 0.1.99: of all releases, its nmt_nfkc map is nearest to T5's
import tokenizers
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors

from make_cases import expectation, line

SPACES = [" ", "  ", "\t", "\n", "\r\n", "\r", "\u00a0", "\u2003", "\u2009", "\u2028", "\u2029", "\u202f", "\u3000", "\u1680", "\x0b", "\x0c", "\x85", "\x1c"]
CONTROLS = [chr(c) for c in (*range(0, 32), *range(0x7F, 0xA0))] + list(
    "\u200b\u200c\u200d\u200e\u200f\u202a\u202e\u2060\u2066\ufeff\u00ad\u180e\u034f\u061c\u115f\u3164\ufff9\ufffd")
FORGED = ["</s>", "<pad>", "<unk>", "<s>", "<extra_id_0>", "<extra_id_99>", "▁<extra_id_0>", "▁</s>", "＜/s＞", "＜unk＞", "<0x41>", "▁", "▁▁", "▁a", "</S>",
          "<<unk>>", "</s", "<pad><pad>"]
JOINED = ["👨‍👩‍👧‍👦", "🏳️‍🌈", "👩🏽‍🚀", "❤️‍🔥", "1️⃣", "🇫🇷🇯🇵", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "☺️", "™️", "‼️", "🈂️"]
UNASSIGNED = ("Cn", "Cs", "Co")
category = unicodedata.category


def assigned(*ranges, keep=lambda c: True):
    return [chr(c) for r in ranges for c in range(*r) if keep(chr(c))]


MARKS = assigned((0x300, 0x370), (0x591, 0x5BE), (0x64B, 0x660), (0x93C, 0x94E), (0xE31, 0xE3B), (0xE47, 0xE4F), (0x20D0, 0x20F1), (0x3099, 0x309B),
                 keep=lambda c: category(c) in ("Mn", "Mc", "Me"))
EMOJI = assigned((0x1F300, 0x1F64F), (0x1F680, 0x1F6FF), (0x1F900, 0x1F9FF), (0x2600, 0x26FF), keep=lambda c: category(c) != "Cn")
COMPAT = assigned((0xA0, 0x30000), keep=lambda c: category(c) not in UNASSIGNED and unicodedata.normalize("NFKC", c) != c)
ANY = assigned((0x20, 0x32000), keep=lambda c: category(c) not in (*UNASSIGNED, "Cc"))


def translations(path):
    """Yield the translated messages of a .po file."""
    key, parts = None, []
    with open(path, encoding="utf-8") as f:
        for text in f:
            m = re.match(r'^(msgid|msgid_plural|msgstr(?:\[\d+\])?|msgctxt)\s+"(.*)"$', text.rstrip("\n"))
            if m:
                if key and key.startswith("msgstr"):
                    yield "".join(parts)
                key, parts = m.group(1), [m.group(2)]
            elif text.startswith('"'):
                parts.append(text.rstrip("\n")[1:-1])
            else:
                if key and key.startswith("msgstr"):
                    yield "".join(parts)
                key, parts = None, []
    if key and key.startswith("msgstr"):
        yield "".join(parts)


def unescape(s):
    return s.replace("\\n", "\n").replace('\\"', '"').replace("\\t", "\t").replace("\\\\", "\\")


def catalogues(root):
    """Return the messages of every language, sorted. The source text of the English catalogue counts as English."""
    found = collections.defaultdict(set)
    for folder, _, files in sorted(os.walk(root)):
        for path in (os.path.join(folder, f) for f in sorted(files) if f.endswith(".po")):
            language = path.split("/locale/")[1].split("/")[0]
            for text in map(unescape, translations(path)):
                if text.strip() and "Content-Type:" not in text and "PO-Revision" not in text:
                    found[language].add(text)
            if language == "en":
                with open(path, encoding="utf-8") as f:
                    matches = (re.match(r'^msgid "(.+)"$', x.rstrip("\n")) for x in f)
                    found[language].update(unescape(m.group(1)) for m in matches if m)
    return {language: sorted(found[language]) for language in sorted(found)}


def train(lines):
    """Train a SentencePiece model on lines."""
    with tempfile.TemporaryDirectory() as folder:
        with open(folder + "/train.txt", "w", encoding="utf-8") as f:
            f.write("\n".join(lines))
        sentencepiece.SentencePieceTrainer.train(
            input=folder + "/train.txt", model_prefix=folder + "/m", vocab_size=16000, model_type="unigram", normalization_rule_name="nmt_nfkc",
            byte_fallback=True, character_coverage=0.9995, pad_id=0, eos_id=1, unk_id=2, bos_id=-1, num_threads=1, max_sentence_length=20000, minloglevel=1)
        model = sentencepiece_model_pb2.ModelProto()
        with open(folder + "/m.model", "rb") as f:
            model.ParseFromString(f.read())
        return model


def build(model):
    """Return the tokenizer in mT5's layout: special pieces, bytes, pieces, extra ids."""
    vocab = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    vocab += [(f"<0x{i:02X}>", 0.0) for i in range(256)]
    vocab += [(p.piece, p.score) for p in model.pieces if p.type == 1]
    vocab += [(f"▁<extra_id_{i}>", 0.0) for i in range(99, -1, -1)]
    tok = tokenizers.Tokenizer(models.Unigram(vocab, unk_id=2, byte_fallback=False))
    metaspace = dict(replacement="▁", prepend_scheme="always", split=True)
    tok.normalizer = normalizers.Precompiled(model.normalizer_spec.precompiled_charsmap)
    tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(**metaspace)])
    tok.decoder = decoders.Metaspace(**metaspace)
    tok.post_processor = processors.TemplateProcessing(single=["$A", "</s>"], pair=["$A", "</s>", "$B", "</s>"], special_tokens=[("</s>", 1)])
    tok.add_special_tokens([AddedToken(x, normalized=False, special=True) for x in ("<pad>", "</s>", "<unk>")])
    return tok


def fullwidth(s):
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else "\u3000" if c == " " else c for c in s)


class Texts:
    """Draws the texts of the cases, from messages and by category."""

    def __init__(self, rng, messages):
        self.rng, self.messages = rng, messages
        self.short = [s for v in messages.values() for s in v if 3 < len(s) < 90]

    def message(self):
        return self.rng.choice(self.short)

    def cut(self, n=24):
        s = self.message()
        i = self.rng.randrange(len(s))
        return s[i:i + self.rng.randint(1, n)]

    def join(self, alphabet, n):
        return "".join(self.rng.choice(alphabet) for _ in range(n))

    def emoji(self):
        return self.cut(12) + self.join(EMOJI, self.rng.randint(1, 3)) + self.rng.choice(["", " ", self.cut(8)])

    def joined_emoji(self):
        r = self.rng
        return r.choice(["", self.cut(8)]) + r.choice(JOINED) + r.choice(["", " ", self.cut(8), r.choice(JOINED)])

    def decomposed(self):
        return unicodedata.normalize("NFD", self.message())

    def marked(self):
        r = self.rng
        return "".join(c + self.join(MARKS, r.choice([0, 0, 1, 2])) for c in r.choice([self.cut(8), r.choice(COMPAT) + self.cut(4)]))

    def jamo(self):
        return unicodedata.normalize("NFD", self.rng.choice(self.messages["ko"])[:30])

    def fullwidth(self):
        return fullwidth(self.rng.choice(self.messages["en"] + self.messages["de"])[:30])

    def compat(self):
        return "".join(self.rng.choice(COMPAT) if self.rng.random() < .5 else c for c in self.cut(8))

    def control(self):
        s = list(self.cut(20))
        for _ in range(self.rng.randint(1, 4)):
            s.insert(self.rng.randint(0, len(s)), self.rng.choice(CONTROLS))
        return "".join(s)

    def spaced(self):
        r = self.rng
        return "".join(r.choice(SPACES) * r.choice([1, 1, 2, 4]) if r.random() < .5 else self.cut(8) for _ in range(r.randint(1, 6)))

    def url(self):
        r = self.rng
        return (r.choice(["", self.cut(10) + " "]) + r.choice(["http://", "https://", "www."])
                + self.join("abcdefghijklmnopqrstuvwxyz0123456789-", r.randint(3, 10)) + r.choice([".com", ".org/a_b?q=1&x=%20", ".рф/путь", ".jp/日本"]))

    def number(self):
        r = self.rng
        return r.choice(["", self.cut(10) + " "]) + r.choice([
            str(r.randrange(10 ** r.randint(1, 15))), "%.3f" % (r.random() * 1e4), f"{r.randrange(10**9):,}",
            "%d/%02d/%04d" % (r.randint(1, 31), r.randint(1, 12), r.randint(1900, 2100)),
            self.join("٠١٢٣٤٥٦٧٨٩", 5), self.join("०१२३४५६७८९", 5), self.join("０１２３４５６７８９，．", 6), "½ x² ⑫ Ⅷ"])

    def damaged(self):
        b = bytearray(self.cut(30).encode())
        for _ in range(self.rng.randint(1, 3)):
            b.insert(self.rng.randrange(len(b) + 1), self.rng.randrange(128, 256))
        return bytes(b).decode("utf-8", "replace")

    def forged(self):
        r = self.rng
        return "".join(r.choice(FORGED) if r.random() < .45 else r.choice(["", " "]) + self.cut(8) for _ in range(r.randint(2, 5)))

    def random_unicode(self):
        return "".join(self.rng.choice(ANY) for _ in range(self.rng.randint(1, 8)))

    def mixed(self):
        r = self.rng
        return r.choice(["", " ", ". ", "\n"]).join(self.cut(20) for _ in range(r.randint(2, 4)))

    def long_word(self):
        r = self.rng
        return r.choice([r.choice("aAé한日ก😀.0_") * r.choice([60, 200]), self.join("abcdefghijklmnopqrstuvwxyz", r.randint(60, 300))])

    def drawn(self):
        """Yield category, how many to draw, and the draw."""
        yield "emoji", 110, self.emoji
        yield "emoji-zwj", 110, self.joined_emoji
        yield "combining-nfd", 180, self.decomposed
        yield "combining-random", 260, self.marked
        yield "hangul-jamo", 60, self.jamo
        yield "fullwidth", 100, self.fullwidth
        yield "compat", 350, self.compat
        yield "control", 260, self.control
        yield "whitespace", 300, self.spaced
        yield "url", 110, self.url
        yield "numbers", 150, self.number
        yield "invalid-utf8-replaced", 140, self.damaged
        yield "special-text", 260, self.forged
        yield "random-unicode", 260, self.random_unicode
        yield "mixed", 160, self.mixed
        yield "long-word", 12, self.long_word

    def fixed(self):
        """Yield category and text of what is not drawn."""
        yield "empty", ""
        for w in SPACES:
            yield from (("whitespace", x) for x in (w, "a" + w + "b", w + "a" + w))
        for c in CONTROLS:
            yield from (("control", x) for x in (c, "a" + c + "b", c + "a"))
        for s in FORGED:
            yield from (("special-text", x) for x in (s, "a" + s + "b", "a " + s + " b"))
        for base in "ＡＥｏｕｃｎſªº½ﬁ㎞Å…µ":
            yield from (("compat-mark", "x" + base + mark + "y") for mark in "\u0300\u0301\u0302\u0303\u0307\u0308\u030a\u0327")
        for c in ".-_=*!?~aeioumhxlzдумюоیاتكしーあ0158":
            yield from (("tie-runs", c * n) for n in (3, 4, 5, 7, 9, 14, 23))

    def all(self):
        """Return (category, text) without repeats."""
        seen = {}
        for cat, text in self.fixed():
            seen.setdefault(text, cat)
        for language, messages in self.messages.items():
            fitting = [s for s in messages if len(s) < 110]
            for text in self.rng.sample(fitting, min(len(fitting), 16)):
                seen.setdefault(text, "lang-" + language)
        for cat, quota, draw in self.drawn():
            for _ in range(quota):
                seen.setdefault(draw(), cat)
        return [(cat, text) for text, cat in seen.items()]


def main(root, out):
    messages = catalogues(root)
    rng = random.Random(41)
    lines = [x for v in messages.values() for s in v for x in s.split("\n") if x.strip()]
    rng.shuffle(lines)
    os.makedirs(out, exist_ok=True)
    build(train(lines)).save(out + "/tokenizer.json", pretty=False)
    tok = tokenizers.Tokenizer.from_file(out + "/tokenizer.json")
    with open(out + "/cases.jsonl", "w", encoding="utf-8", newline="\n") as f:
        f.writelines(line(expectation(tok, cat, text)) for cat, text in Texts(rng, messages).all())


if __name__ == "__main__":
    main(*sys.argv[1:])
