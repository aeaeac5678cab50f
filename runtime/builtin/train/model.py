"""The shape of the base, its start from the teacher's embeddings or an earlier base, and its losses."""
import torch
from torch import nn
from torch.nn import functional as F
from transformers import MT5Config, MT5ForConditionalGeneration

PAD, EOS, UNK = 0, 1, 2
D_MODEL = 384
END_STRIDE = 6
"""One row in so many learns to end after the label: it is soon learnt, and a whole head is costly."""


def config(vocab_size: int) -> MT5Config:
    """A small mT5: 4 encoder layers, 1 decoder layer, the head tied to the embeddings."""
    return MT5Config(
        vocab_size=vocab_size, d_model=D_MODEL, d_kv=64, d_ff=1024, num_heads=6, num_layers=4, num_decoder_layers=1,
        relative_attention_num_buckets=32, relative_attention_max_distance=128, dropout_rate=0.1,
        feed_forward_proj="gated-gelu", tie_word_embeddings=True, tokenizer_class="T5Tokenizer",
        pad_token_id=PAD, eos_token_id=EOS, decoder_start_token_id=PAD,
    )


def build(embeddings: torch.Tensor) -> MT5ForConditionalGeneration:
    """A fresh model whose shared embeddings [vocabulary, d_model] are these, scaled to a root mean square of 1."""
    model = MT5ForConditionalGeneration(config(len(embeddings)))
    with torch.no_grad():
        model.shared.weight.copy_(embeddings / embeddings.pow(2).mean().sqrt())
        for name, weight in model.named_parameters():
            # Blocks begin small beside the teacher's embeddings, as in GPT-2 (Radford et al., 2019).
            if name.endswith((".o.weight", ".wo.weight")):
                weight.mul_((2 * model.config.num_layers) ** -0.5)
    return model


def continue_from(model: MT5ForConditionalGeneration, pieces: list[str],
                  earlier: dict[str, torch.Tensor], earlier_pieces: list[str]) -> None:
    """Copies an exported base of the same shape but another vocabulary into a fresh model.

    A piece that both have keeps its learnt embedding. One that only the new has keeps its fresh one, moved by what
    training moved the shared ones on average.
    """
    place = {piece: i for i, piece in enumerate(earlier_pieces)}
    shared = [i for i, piece in enumerate(pieces) if piece in place]
    learnt = earlier.pop("shared.weight").float()[[place[pieces[i]] for i in shared]]
    with torch.no_grad():
        table = model.shared.weight
        table += (learnt - table[shared]).mean(0)
        table[shared] = learnt
        weights = dict(model.named_parameters())
        for name, value in earlier.items():
            weights[name].copy_(value.float())


class Trainee(nn.Module):
    """The model with a projection of its pooled encoder states towards the teacher's sentence vectors."""

    def __init__(self, model: MT5ForConditionalGeneration, verbalisers: list[int]):
        super().__init__()
        self.model, self.verbalisers = model, verbalisers
        self.project = nn.Linear(D_MODEL, D_MODEL)
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
