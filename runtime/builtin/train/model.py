"""The shape of the base, its start from layers of the teacher, and its losses."""
import random

import torch
from tokenizers import Tokenizer
from torch import nn
from torch.nn import functional as F
from transformers import MT5Config, MT5ForConditionalGeneration

import convert
from common import Row

PAD, EOS, UNK = 0, 1, 2
D_MODEL = 384
END_STRIDE = 6
"""One row in so many learns to end after the label: it is soon learnt, and a whole head is costly."""
E5_PAD, E5_EOS, E5_UNK = 1, 2, 3
E5_PREFIX = [0, 41, 1294, 12]
"""What e5 wants before a text: <s> and "query:"."""
MEASURED_TEXTS, MEASURED_TOKENS = 1000, 40
"""Texts, half of them UMSAB's, on which the conversion is measured, and their tokens at most."""


def config(vocab_size: int, layers: int) -> MT5Config:
    """A small mT5: heads and width of e5-small, 1 decoder layer, the head tied to the embeddings."""
    return MT5Config(
        vocab_size=vocab_size, d_model=D_MODEL, d_kv=32, d_ff=1024, num_heads=12, num_layers=layers,
        num_decoder_layers=1, relative_attention_num_buckets=32, relative_attention_max_distance=128, dropout_rate=0.1,
        feed_forward_proj="gated-gelu", tie_word_embeddings=True, tokenizer_class="T5Tokenizer",
        pad_token_id=PAD, eos_token_id=EOS, decoder_start_token_id=PAD,
    )


def build(bert, groups: list[list[int]], pieces: list[list[int]], tok: Tokenizer,
          rows: list[Row]) -> MT5ForConditionalGeneration:
    """A model whose encoder starts from these groups of layers of `bert`, its decoder from nothing.

    `pieces` are the e5 ids of each piece of `tok` behind the special ones; `rows` are where sample texts come from.
    """
    ids = [[E5_EOS], [E5_UNK]] + pieces
    model = MT5ForConditionalGeneration(config(len(ids) + 1, len(groups)))
    encodings = tok.encode_batch(sample(rows))
    texts = convert.Texts([[ids[i - 1][0] for i in e.ids[:MEASURED_TOKENS]] for e in encodings], E5_PREFIX, E5_PAD)
    with torch.no_grad():
        # The decoder starts from <pad>: a zero vector there would make its first norm's gradient explode.
        nn.init.normal_(model.shared.weight)
        for name, weight in model.decoder.named_parameters():
            if name.endswith((".o.weight", ".wo.weight")):
                weight.mul_((2 * len(groups)) ** -0.5)
    convert.convert(bert, groups, convert.vectors(bert, ids), texts, model)
    return model


def sample(rows: list[Row]) -> list[str]:
    """Training texts of the sentiment, the same every time."""
    rows = [r for r in rows if r.split == "train" and r.task == "sentiment" and r.labels]
    parts = [r for r in rows if r.source == "umsab"], [r for r in rows if r.source != "umsab"]
    return [r.text for part in parts for r in random.Random(1).sample(part, min(len(part), MEASURED_TEXTS // 2))]


class Trainee(nn.Module):
    """The model with a projection of its pooled encoder states towards the teacher's sentence vectors."""

    def __init__(self, model: MT5ForConditionalGeneration, verbalisers: list[int]):
        super().__init__()
        self.model, self.verbalisers = model, verbalisers
        self.project = nn.Linear(D_MODEL, D_MODEL)
        nn.init.eye_(self.project.weight)
        nn.init.zeros_(self.project.bias)
        for module in model.modules():
            name = type(module).__name__
            if name == "NewGELUActivation":
                # The same function, in one fused operator.
                module.forward = lambda x: F.gelu(x, approximate="tanh")
            # Few epochs need no dropout, whose random bits cost a tenth of a step; blanked tokens do its work.
            elif name == "MT5Attention":
                module.dropout = 0.0
            elif name == "Dropout":
                module.p = 0.0

    def forward(self, ids: torch.Tensor, targets: torch.Tensor, vectors: torch.Tensor | None):
        """ids [rows, tokens]; targets [rows, words] sum to 1; vectors [rows, d_model], zero
        where there is nothing to learn, or None.

        Returns the cross-entropy over the whole vocabulary of the label and of the end after it, the
        distance to the teacher (0 without vectors) and the words' logits [rows, words].
        """
        mask = (ids != PAD).long()
        states = self.model.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        words, head = torch.tensor(self.verbalisers), self.model.shared.weight
        written = words[targets.argmax(1)]
        start = torch.stack([torch.full_like(written, PAD), written], 1)
        hidden = self.model.decoder(
            input_ids=start, encoder_hidden_states=states, encoder_attention_mask=mask
        ).last_hidden_state * D_MODEL**-0.5
        scores = F.linear(hidden[:, 0], head[words]).float()
        label = (F.linear(hidden[:, 0], head).float().logsumexp(1) - (targets * scores).sum(1)).mean()
        ends = F.linear(hidden[::END_STRIDE, 1], head).float()
        end = F.cross_entropy(ends, torch.full((len(ends),), EOS))
        distance = torch.zeros(())
        if vectors is not None:
            weights = mask.unsqueeze(-1).float()
            pooled = (states.float() * weights).sum(1) / weights.sum(1)
            taught = vectors.any(1).float()
            cosine = F.cosine_similarity(self.project(pooled).float(), vectors, dim=-1)
            distance = ((1 - cosine) * taught).mean()
        return label + 0.3 * end, distance, scores
