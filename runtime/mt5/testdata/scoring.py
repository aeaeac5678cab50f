"""What a model says of rows of token ids: states, logits, label probabilities, greedy text."""
from collections import defaultdict

import torch

PAD, EOS, START = 0, 1, 0


def pad(rows):
    """Ids [rows, longest] padded on the right, and their attention mask."""
    ids = torch.full((len(rows), max(map(len, rows))), PAD)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, :len(row)] = torch.tensor(row)
        mask[i, :len(row)] = 1
    return ids, mask


@torch.inference_mode()
def forward(model, rows, decoder_rows, mask=None):
    """Teacher forcing: hidden states by name, and logits [rows, steps, vocabulary].

    `encoder/0` is the embedding, `encoder/<i>` the output of layer i (counted from 1), `encoder/final` what leaves the
    last layer norm; likewise `decoder`. Encoder states [rows, longest, d_model] are zero where a row is padded.
    """
    ids, real = pad(rows)
    states, hooks = {}, []
    for stack_name in ("encoder", "decoder"):
        stack = getattr(model, stack_name)
        hooks.append(stack.final_layer_norm.register_forward_hook(keep(states, f"{stack_name}/final")))
        hooks.append(stack.block[0].register_forward_pre_hook(keep_input(states, f"{stack_name}/0")))
        for i, block in enumerate(stack.block):
            hooks.append(block.register_forward_hook(keep(states, f"{stack_name}/{i + 1}")))
    try:
        logits = model(input_ids=ids, attention_mask=real if mask is None else mask,
                       decoder_input_ids=torch.tensor(decoder_rows)).logits
    finally:
        for h in hooks:
            h.remove()
    for name, x in states.items():
        if name.startswith("encoder"):
            x.mul_(real[..., None])
    return states, logits


def keep(states, name):
    def hook(module, args, output):
        states[name] = (output[0] if isinstance(output, tuple) else output).clone()
    return hook


def keep_input(states, name):
    def hook(module, args):
        states[name] = args[0].clone()
    return hook


def children(labels):
    """The trie of the labels: the ids that may follow each prefix, in ascending order."""
    nodes = defaultdict(set)
    for label in labels:
        for i, token in enumerate(label):
            nodes[tuple(label[:i])].add(token)
    return {prefix: sorted(ids) for prefix, ids in nodes.items()}


@torch.inference_mode()
def label_log_probs(model, row, labels):
    """The log-probability of each label after one row: over its path through the trie, the sum of the log-softmax
    over each node's children, in float64. Every label is run alone, by teacher forcing."""
    nodes, ids, out = children(labels), torch.tensor([row]), []
    for label in labels:
        decoder = torch.tensor([[START, *label[:-1]]])
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), decoder_input_ids=decoder).logits[0].double()
        total = 0.0
        for i, token in enumerate(label):
            choices = nodes[tuple(label[:i])]
            total += torch.log_softmax(logits[i, choices], 0)[choices.index(token)].item()
        out.append(total)
    return out


@torch.inference_mode()
def greedy(model, rows, max_new_tokens=10):
    """Greedy decoding: the ids after the start token with the end marker but no padding, and the smallest gap between
    the best and the second logit over every step of every row."""
    ids, mask = pad(rows)
    out = model.generate(input_ids=ids, attention_mask=mask, num_beams=1, do_sample=False, max_new_tokens=max_new_tokens,
                         output_logits=True, return_dict_in_generate=True)
    texts, gap = [], float("inf")
    for i, row in enumerate(out.sequences[:, 1:].tolist()):
        text = row[:row.index(EOS) + 1] if EOS in row else row
        for step in range(len(text)):
            best, second = out.logits[step][i].topk(2).values.tolist()
            gap = min(gap, best - second)
        texts.append(text)
    return texts, gap
