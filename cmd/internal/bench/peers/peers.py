"""Be measured: run what one would use instead of Valence, one request at a time.

peers.py ROLE MODEL_DIR [--threads N] [--device cpu|cuda:N] [--ct2-dir DIR]

ROLE is one of
    peft     transformers and PEFT, in float32 on a CPU and bfloat16 on a GPU, with one IA3 adapter of PEFT's defaults:
             "generate", "step" and "train"
    ct2      CTranslate2 of a merged copy of the base, with no adapter at all: "float32" and "int8"
    load     transformers' from_pretrained: "load"
    convert  write DIR for ct2, unless it is there, and end

The first line of standard output is {"versions": {...}}. Then each line of standard input is a request, an object with "op",
and each line of standard output its answer: {"seconds": ...}, with "loss" for "train", or {"error": "..."}. What is timed
is the work alone: ids are made and moved before the clock starts.
"""
import argparse
import gc
import importlib.metadata
import json
import os
import shutil
import sys
import time

import torch

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("role", choices=["peft", "ct2", "load", "convert"])
parser.add_argument("model")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--device", default="cpu")
parser.add_argument("--ct2-dir")
args = parser.parse_args()
torch.set_num_threads(args.threads)

# Answers alone go to the real standard output: libraries print where they like.
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def answer(**fields):
    print(json.dumps(fields), file=answers, flush=True)


def now():
    """The time when the device has done what it was given."""
    if args.device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter()


def timed(work):
    start = now()
    work()
    return now() - start


def from_pretrained():
    from transformers import AutoModelForSeq2SeqLM

    return AutoModelForSeq2SeqLM.from_pretrained(args.model)


class Peft:
    """The published recipe: IA3 over a float32 base. Batches that are trained on come as rows of ids."""

    def __init__(self):
        from peft import IA3Config, get_peft_model

        dtype = torch.float32 if args.device == "cpu" else torch.bfloat16
        base = from_pretrained().to(args.device, dtype)
        self.model = get_peft_model(base, IA3Config(task_type="SEQ_2_SEQ_LM")).eval()
        self.optimiser = None

    def inputs(self, ids):
        ids = torch.tensor(ids, device=args.device)
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    @torch.inference_mode()
    def generate(self, ids, new, **_):
        inputs = self.inputs(ids)
        return {"seconds": timed(lambda: self.model.generate(**inputs, min_new_tokens=new, max_new_tokens=new))}

    @torch.inference_mode()
    def step(self, ids, **_):
        inputs = self.inputs(ids)
        start = torch.zeros((len(ids), 1), dtype=torch.long, device=args.device)
        return {"seconds": timed(lambda: self.model(**inputs, decoder_input_ids=start))}

    def train(self, ids, labels, pad, rate, steps, **_):
        if self.optimiser is None:
            from transformers import get_linear_schedule_with_warmup

            self.optimiser = torch.optim.AdamW([p for p in self.model.parameters() if p.requires_grad], lr=rate)
            self.schedule = get_linear_schedule_with_warmup(self.optimiser, 0, steps)
        x = torch.tensor([row + [0] * (pad - len(row)) for row in ids], device=args.device)
        mask = torch.tensor([[1] * len(row) + [0] * (pad - len(row)) for row in ids], device=args.device)
        width = max(map(len, labels))
        y = torch.tensor([row + [-100] * (width - len(row)) for row in labels], device=args.device)
        start = now()
        loss = self.model(input_ids=x, attention_mask=mask, labels=y).loss
        loss.backward()
        self.optimiser.step()
        self.schedule.step()
        self.optimiser.zero_grad()
        loss = loss.item()
        return {"seconds": now() - start, "loss": loss}


class CTranslate2:
    """A translator a precision. Tokens are named by their ids."""

    def __init__(self):
        import ctranslate2

        self.make = lambda kind: ctranslate2.Translator(
            args.ct2_dir, device="cpu", compute_type=kind, intra_threads=args.threads, inter_threads=1)
        self.translators = {kind: self.make(kind) for kind in ("float32", "int8")}

    def one(self, kind, ids):
        rows = [[f"t{i}" for i in row] for row in ids]
        return {"seconds": timed(lambda: self.translators[kind].translate_batch(rows, beam_size=1, max_decoding_length=1))}

    def float32(self, ids, **_):
        return self.one("float32", ids)

    def int8(self, ids, **_):
        return self.one("int8", ids)


class Load:
    """What a start costs with transformers, its imports and the interpreter's own left out."""

    def load(self, **_):
        kept = []
        seconds = timed(lambda: kept.append(from_pretrained().to(args.device)))
        kept.clear()
        gc.collect()
        return {"seconds": seconds}


def convert():
    """Gives CTranslate2 the weights as int8, which it turns into float32 where it is asked to: the work of a product does
    not depend on the numbers. The vocabulary is one of made-up words, since no text is read."""
    from ctranslate2.converters.transformers import _MODEL_LOADERS

    if os.path.exists(os.path.join(args.ct2_dir, "model.bin")):
        return
    model = from_pretrained().float()
    spec = _MODEL_LOADERS[type(model.config).__name__].get_model_spec(model)
    words = [f"t{i}" for i in range(model.config.vocab_size)]
    del model
    spec.register_source_vocabulary(words)
    spec.register_target_vocabulary(words)
    spec.config.bos_token = spec.config.decoder_start_token = words[0]
    spec.config.eos_token, spec.config.unk_token = words[1], words[2]
    spec.validate()
    spec.optimize(quantization="int8")
    unfinished = args.ct2_dir + ".unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    os.makedirs(unfinished)
    spec.save(unfinished)
    os.replace(unfinished, args.ct2_dir)


def versions():
    names = ["torch", "transformers", "peft"]
    if args.device == "cpu":
        names.append("ctranslate2")
    return {"python": sys.version.split()[0], **{name: importlib.metadata.version(name) for name in names}}


def serve(worker):
    answer(versions=versions())
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer(**getattr(worker, request.pop("op"))(**request))
        except Exception as e:  # told to whoever asked, who may have more to ask
            answer(error=f"{type(e).__name__}: {e}")


if args.role == "convert":
    convert()
    answer(versions=versions())
else:
    serve({"peft": Peft, "ct2": CTranslate2, "load": Load}[args.role]())
