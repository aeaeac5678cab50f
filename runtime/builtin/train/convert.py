"""Turns layers of multilingual-e5-small, a BERT, into the encoder of an mT5, as the start of the base.

BERT normalises after each sublayer, x' = g (x + f(x) - mean) / deviation + b, and mT5 before it, without mean or
biases: h' = h + f(norm(h)). With x = c h + d, where c' = c g / deviation at the deviation that is usual in real text, the
first becomes the second:

- c goes into the weights of the norm and, as 1/c, into the output projections;
- d and the biases of queries and hidden layer come from one dimension of h that is the same for all tokens, the
  constant channel; the bias of the keys cancels in the softmax, and those of values and outputs are constants, hence part of d;
- d is measured, the mean of what x is more than c h, and c held near its median: BERT's norms forget, as h cannot;
- mT5 does not divide the scores of the attention by the root of the head's size: the query weights are divided instead;
- absolute positions become their mean and, by distance, the bias that they give a head on average. All layers of an mT5
  share one bias: the heads of each layer are put into the order in which their profiles agree best;
- of the hidden neurons the most used stay; the gate of mT5's hidden layer begins at 1, given by the constant channel;
- each output projection is refitted by ridge regression to BERT's states at its place, which makes up for what was lost
  before it. That is also how several layers of BERT become one: it has the states behind the last as its target.
"""
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch.nn import functional as F
from transformers.models.mt5.modeling_mt5 import MT5Attention

CONSTANT = 8.0
"""The constant channel's value, where the embeddings have a root mean square of 1."""
POSITIONS = 32
"""Positions whose mean stands for all."""
EPSILON = 1e-6
RIDGE = 0.03
SPREAD = 3.0
"""How far c may be from its median."""


@dataclass
class State:
    """What is known of one place in the stack, for the tokens of real text.

    x [tokens, width] are BERT's states, h [tokens, width] the converted ones, and x is about c h + d once h has the
    size that is usual.
    """

    x: torch.Tensor
    h: torch.Tensor
    c: torch.Tensor
    d: torch.Tensor

    def norm_weight(self, channel: int) -> torch.Tensor:
        """The norm's weights [width], after which h is about x - d, and 1 in the constant channel."""
        usual = usual_size(self.h)
        weight = self.c * usual
        weight[channel] = usual / CONSTANT
        return weight

    def normed(self, weight: torch.Tensor) -> torch.Tensor:
        return self.h * (self.h.pow(2).mean(1, keepdim=True) + EPSILON).rsqrt() * weight

    def error(self) -> float:
        """Share of x's variance, dimension by dimension, that c h + d does not give."""
        rest = (self.x - self.c * resized(self.h) - self.d).var(0)
        return float((rest / (self.x.var(0) + 1e-6)).mean())


def usual_size(h: torch.Tensor) -> torch.Tensor:
    """The median over tokens of the root mean square."""
    return h.pow(2).mean(1).sqrt().median()


def resized(h: torch.Tensor) -> torch.Tensor:
    """h with each token at the usual size, as the norm makes it."""
    return h * usual_size(h) * (h.pow(2).mean(1, keepdim=True) + EPSILON).rsqrt()


def smooth(c: torch.Tensor) -> torch.Tensor:
    """c held near its median: a dimension that BERT forgets cannot be forgotten by making all others grow."""
    middle = c.median()
    return c.clamp(middle / SPREAD, middle * SPREAD)


def refit(weight: torch.Tensor, features: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """`weight` [width, in] moved by ridge regression: features [tokens, in] then give more of wanted [tokens, width]."""
    a = features - features.mean(0)
    rest = wanted - wanted.mean(0) - a @ weight.T
    gram = a.T @ a
    gram += RIDGE * gram.diagonal().mean() * torch.eye(len(gram))
    return weight + torch.linalg.solve(gram, a.T @ rest).T


def folded(weight: torch.Tensor, bias: torch.Tensor, d: torch.Tensor, channel: int) -> torch.Tensor:
    """A projection [out, width] of the normed h that gives what `weight` and `bias` give for x, which is c h + d."""
    out = weight.clone()
    out[:, channel] = weight @ d + bias
    return out


class Texts:
    """Real text as e5 reads it and what goes with it.

    `ids` [rows, length] are e5's, each row beginning with the same `prefix` ids, as its makers ask for. The mT5 sees
    the rows without them: `length` and `mask` are of these.
    """

    def __init__(self, rows: list[list[int]], prefix: list[int], pad: int):
        self.ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(prefix + r) for r in rows], batch_first=True,
                                                   padding_value=pad)
        self.whole, self.skip = self.ids != pad, len(prefix)
        self.mask = self.whole[:, self.skip:]
        self.rows, self.length = self.mask.shape

    def blocked(self, mask: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(mask), 1, 1, mask.shape[1]).masked_fill(~mask[:, None, None], -1e9)

    def plain(self, states: torch.Tensor) -> torch.Tensor:
        """BERT's states of the whole rows to [tokens, width] of what the mT5 sees."""
        return states[:, self.skip:][self.mask]

    def spread(self, flat: torch.Tensor) -> torch.Tensor:
        """[tokens, width] to [rows, length, width], zero in the padding."""
        out = flat.new_zeros(self.rows, self.length, flat.shape[1])
        out[self.mask] = flat
        return out

    def attend(self, q, k, v, bias: torch.Tensor) -> torch.Tensor:
        """Attention of flat q, k and v [tokens, width] as mT5 computes it; bias [heads, length, length]."""
        split = lambda t: self.spread(t).view(self.rows, self.length, len(bias), -1).transpose(1, 2)
        scores = split(q) @ split(k).transpose(-1, -2) + self.blocked(self.mask) + bias
        return (scores.softmax(-1) @ split(v)).transpose(1, 2).reshape(self.rows, self.length, -1)[self.mask]


@dataclass
class Seen:
    """What a layer of BERT does with the texts: states [tokens, width] behind its attention and behind the rest.

    `middle_scale` and `scale` are the norms' weights over the usual deviation of what goes in; `profile` is the mean
    attention score by bucket [heads, buckets], less the row's mean; `read` is how much the layer reads of a dimension.
    """

    middle: torch.Tensor
    out: torch.Tensor
    middle_scale: torch.Tensor
    scale: torch.Tensor
    profile: torch.Tensor
    read: torch.Tensor


@torch.no_grad()
def vectors(bert, pieces: list[list[int]]) -> torch.Tensor:
    """What the first layer sees of each piece [pieces, width], one or several ids whose embeddings are averaged."""
    e = bert.embeddings
    words = torch.stack([e.word_embeddings.weight[ids].mean(0) for ids in pieces])
    return e.LayerNorm(words + e.token_type_embeddings.weight[0] + e.position_embeddings.weight[:POSITIONS].mean(0))


def bucket_table(config, length: int) -> torch.Tensor:
    """The bucket [length, length] of each key as each query sees it."""
    distance = torch.arange(length)[None, :] - torch.arange(length)[:, None]
    return MT5Attention._relative_position_bucket(
        distance, bidirectional=True, num_buckets=config.relative_attention_num_buckets,
        max_distance=config.relative_attention_max_distance)


def mean_scores(scores: torch.Tensor, mask: torch.Tensor, config) -> torch.Tensor:
    """Mean of scores [rows, heads, length, length] by bucket, less the mean of the query's scores."""
    valid, count = (mask[:, None] & mask[:, :, None])[:, None].float(), config.relative_attention_num_buckets
    scores = (scores - (scores * valid).sum(-1, keepdim=True) / valid.sum(-1, keepdim=True).clamp(min=1)) * valid
    buckets = bucket_table(config, mask.shape[1]).flatten()
    sums = torch.zeros(scores.shape[1], count).index_add_(1, buckets, scores.sum(0).flatten(1))
    return sums / torch.zeros(count).index_add_(0, buckets, valid.sum((0, 1)).flatten()).clamp(min=1)


def watch(bert, texts: Texts, config) -> tuple[torch.Tensor, list[Seen]]:
    """Runs BERT over the texts: what its first layer sees at the mean position [tokens, width], and its layers."""
    states, blocked, out = bert.embeddings(input_ids=texts.ids), texts.blocked(texts.whole), []
    for layer in bert.encoder.layer:
        a, norms = layer.attention.self, (layer.attention.output.LayerNorm, layer.output.LayerNorm)
        split = lambda t: t.view(*t.shape[:2], a.num_attention_heads, -1).transpose(1, 2)
        scores = split(a.query(states)) @ split(a.key(states)).transpose(-1, -2) / a.attention_head_size**0.5
        mixed = (scores + blocked).softmax(-1) @ split(a.value(states))
        before = layer.attention.output.dense(mixed.transpose(1, 2).flatten(2)) + states
        middle = norms[0](before)
        after = layer.output.dense(layer.intermediate(middle)) + middle
        weights = (m.weight.pow(2).sum(0) for m in (a.query, a.key, a.value, layer.intermediate.dense))
        usual = lambda t: texts.plain(t).std(1).median()
        states = norms[1](after)
        out.append(Seen(texts.plain(middle), texts.plain(states), norms[0].weight / usual(before),
                        norms[1].weight / usual(after), mean_scores(scores, texts.whole, config), sum(weights)))
    return vectors(bert, [[i] for i in texts.plain(texts.ids).tolist()]), out


def aligned(profile: torch.Tensor, rounds: int = 20) -> tuple[torch.Tensor, list[np.ndarray]]:
    """The shared bias [heads, buckets] and the order of each layer's heads that agrees best with it."""
    layers, heads, _ = profile.shape
    orders = [np.arange(heads) for _ in range(layers)]
    for _ in range(rounds):
        centre = torch.stack([profile[i][orders[i]] for i in range(layers)]).mean(0)
        for i in range(layers):
            cost = torch.cdist(centre, profile[i]).pow(2).numpy()
            orders[i] = linear_sum_assignment(cost)[1]
    return torch.stack([profile[i][orders[i]] for i in range(layers)]).mean(0), orders


def head_order(order: np.ndarray, size: int) -> torch.Tensor:
    """Rows of a projection, its heads in this order."""
    return torch.from_numpy((order[:, None] * size + np.arange(size)).reshape(-1))


def attention(block, layer, wanted: Seen, scale: torch.Tensor, state: State, texts: Texts, order, bias,
              channel: int) -> State:
    """Fills an mT5 attention block from a BERT layer; returns the state behind it, as near to `wanted` as can be."""
    a, t5, rows = layer.attention.self, block.SelfAttention, head_order(order, layer.attention.self.attention_head_size)
    weight = state.norm_weight(channel)
    block.layer_norm.weight.copy_(weight)
    t5.q.weight.copy_(folded(a.query.weight, a.query.bias, state.d, channel)[rows] / a.attention_head_size**0.5)
    keys, values = a.key.weight[rows].clone(), a.value.weight[rows].clone()
    keys[:, channel] = values[:, channel] = 0
    t5.k.weight.copy_(keys)
    t5.v.weight.copy_(values)
    n = state.normed(weight)
    mixed = texts.attend(t5.q(n), t5.k(n), t5.v(n), bias)
    return behind(wanted.middle, state, scale, mixed, layer.attention.output.dense.weight[:, rows], t5.o, channel)


def behind(x: torch.Tensor, state: State, scale: torch.Tensor, features: torch.Tensor, weight: torch.Tensor, linear,
           channel: int) -> State:
    """Fills the output projection `linear`, starting from BERT's `weight`, for states near x; returns them.

    `features` is what goes into the projection; c is `scale` times what it was.
    """
    c, d = smooth(state.c * scale), x.mean(0)
    out = refit((weight - weight.mean(0)) / state.c[:, None], features, (x - d) / c - state.h)
    out[channel] = 0
    linear.weight.copy_(out)
    h = state.h + linear(features)
    moved = (x - c * resized(h)).mean(0)
    moved[channel] = d[channel]
    return State(x, h, c, moved)


def feed_forward(block, layers, seen: list[Seen], scale: torch.Tensor, state: State, channel: int) -> State:
    """Fills an mT5 feed-forward block with the most used hidden neurons of BERT's layers; returns the state behind it.

    The state is near what the last layer of `seen` gives.
    """
    t5, first, rows, columns, use = block.DenseReluDense, state.x.mean(0), [], [], []
    weight = state.norm_weight(channel)
    block.layer_norm.weight.copy_(weight)
    for layer, its in zip(layers, seen):
        dense, out = layer.intermediate.dense, layer.output.dense.weight
        d = state.d + its.middle.mean(0) - first
        rows.append(folded(dense.weight, dense.bias, d, channel))
        columns.append(out - out.mean(0))
        use.append(F.gelu(dense(its.middle)).std(0) * columns[-1].norm(dim=0))
    kept = torch.cat(use).topk(t5.wi_0.out_features).indices.sort().values
    t5.wi_0.weight.copy_(torch.cat(rows)[kept])
    t5.wi_1.weight.zero_()
    t5.wi_1.weight[:, channel] = 1
    n = state.normed(weight)
    features = F.gelu(t5.wi_0(n), approximate="tanh") * t5.wi_1(n)
    return behind(seen[-1].out, state, scale, features, torch.cat(columns, 1)[:, kept], t5.wo, channel)


def start(table: torch.Tensor, centre: torch.Tensor, scale: torch.Tensor, channel: int) -> torch.Tensor:
    """Vectors [count, width] as embeddings of a root mean square of about 1, with the constant channel."""
    out = (table - centre) / scale
    out[:, channel] = CONSTANT
    return out


@torch.no_grad()
def convert(bert, groups: list[list[int]], pieces: torch.Tensor, texts: Texts, model, log=print) -> State:
    """Fills the encoder and the embeddings of `model`, an mT5 of BERT's width and heads, from groups of BERT's layers.

    A group becomes one layer: the attention of its first, the neurons of all. `pieces` [vocabulary, width] are the
    words' vectors, what the first layer sees at the mean position. Returns the state behind the last layer.
    """
    encoder, (x, seen) = model.encoder, watch(bert, texts, model.config)
    profile, orders = aligned(torch.stack([seen[g[0]].profile for g in groups]))
    encoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight.copy_(profile.T)
    bias = profile[:, bucket_table(model.config, texts.length)]
    worth = sum(seen[l].read * (x if l == 0 else seen[l - 1].out).var(0) for g in groups for l in g)
    channel, centre = int(worth.argmin()), pieces.mean(0)
    scale = (pieces - centre).pow(2).mean().sqrt()
    model.shared.weight[-len(pieces):] = start(pieces, centre, scale, channel)
    model.shared.weight[:-len(pieces), channel] = CONSTANT
    state = State(x, start(x, centre, scale, channel), scale.expand(len(centre)).clone(), centre.clone())
    state.d[channel] = x[:, channel].mean()
    for block, group, order in zip(encoder.block, groups, orders):
        layers, its = [bert.encoder.layer[l] for l in group], [seen[l] for l in group]
        state = attention(block.layer[0], layers[0], its[0], its[0].middle_scale, state, texts, order, bias, channel)
        middle, scales = state.error(), its[0].scale
        for other in its[1:]:
            scales = scales * other.middle_scale * other.scale
        state = feed_forward(block.layer[1], layers, its, scales, state, channel)
        log(f"layers {group}: unexplained variance {middle:.3f} behind attention, {state.error():.3f} behind the rest, "
            f"h of {usual_size(state.h):.2f}, at most {state.h.pow(2).mean(1).sqrt().max():.2f}", flush=True)
    last = state.norm_weight(channel) / (state.x - state.x.mean(0)).pow(2).mean().sqrt()
    last[channel] = usual_size(state.h) / CONSTANT
    encoder.final_layer_norm.weight.copy_(last)
    return state
