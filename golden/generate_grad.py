"""Gradients from Hugging Face's own classes and PyTorch's autograd: the golden cases grad_*.

Called by generate.py, which makes models, masks and files. One trace holds grad.NAME for every
intermediate tensor and every parameter, and the loss: the mean next-token cross-entropy as the
class itself computes it from labels, or the score of the last token of a reward model. Rows of
wq and wk are in the rotary order of q and k.
"""
import contextlib
import fnmatch
import pathlib
import sys
from dataclasses import dataclass
from unittest import mock

import numpy as np
import torch
from transformers.models.mistral import modeling_mistral
from transformers.models.mixtral import modeling_mixtral

import generate as base
from generate import Case, Model, sizes

NOISE = 1e-13  # of the largest gradient: what autograd leaves where the derivative is 0 (K = 1)
REWARD = "ForSequenceClassification"


@dataclass
class Gradient(Case):
    pooled: float = 0    # coefficient of the router loss that the class adds


def reward(config):
    return config | dict(num_labels=1, pad_token_id=0)


MODELS = {
    "grad_dense": (Model(sizes(10, 4, 2, 4, 12, 13), 1e4, 201, 1), [
        Gradient("t6", (6,)), Gradient("half_t5", (5,), half_split=True)]),
    "grad_window_tied": (Model(sizes(9, 3, 1, 4, 11, 13, W=3, tied=True), 1e4, 202, 2), [
        Gradient("t7", (7,)), Gradient("packed_1_5_3", (1, 5, 3), first=(0, 0, 0))]),
    "grad_moe_k2": (Model(sizes(10, 4, 2, 4, 7, 13, W=4, E=3, K=2), 1e6, 203, 9), [
        Gradient("t6", (6,)), Gradient("packed_4_1_3", (4, 1, 3), first=(0, 0, 0)),
        Gradient("aux_t6", (6,), pooled=0.3)]),
    "grad_moe_k1": (Model(sizes(9, 2, 2, 4, 6, 11, E=3, K=1), 1e4, 204, 4), [
        Gradient("t5", (5,))]),
    "grad_reward": (Model(reward(sizes(10, 4, 2, 4, 12, 13)), 1e4, 205, 5, head=REWARD), [
        Gradient("t5", (5,))]),
    "grad_reward_moe": (Model(reward(sizes(8, 2, 1, 4, 6, 11, E=3, K=2)), 1e4, 206, 6,
                              head=REWARD), [Gradient("t4", (4,))]),
}


class Slopes(base.Recorder):
    """Keeps the graph's own tensors, so that each has its gradient after backward."""

    def __init__(self, model):
        super().__init__(model)
        self.watched = {}

    def watch(self, name, tensor, view=lambda gradient: gradient):
        assert name not in self.watched, name
        if tensor.requires_grad:
            tensor.retain_grad()
        self.watched[name] = (tensor, view)

    def hook_output(self, module, name, shape):
        self.hooks.append(module.register_forward_hook(
            lambda module, args, out: self.watch(name, out, lambda g: g.reshape(shape))))

    def hook_input(self, module, name, shape):
        self.hooks.append(module.register_forward_pre_hook(
            lambda module, args: self.watch(name, args[0], lambda g: g.reshape(shape))))

    def hook_router(self, module, prefix):
        def keep(module, args, out):
            self.watch(prefix + "router_logits", out[0])
            self.watch(prefix + "router_weights", out[1])
        self.hooks.append(module.register_forward_hook(keep))

    def attention(self, original):
        softmax = torch.nn.functional.softmax

        def wrapped(module, query, key, value, attention_mask, **kwargs):
            with base.Calls(softmax) as calls:
                output, probs = original(module, query, key, value, attention_mask, **kwargs)
            prefix = f"layers.{module.layer_idx}."
            (scores, *_), _ = calls.seen[softmax][0]
            allowed = attention_mask[0, 0] == 0
            self.watch(prefix + "q_rope", query, lambda g: g[0].transpose(0, 1))
            self.watch(prefix + "k_rope", key, lambda g: g[0].transpose(0, 1))
            self.watch(prefix + "scores", scores, lambda g: g[0])
            # A masked probability is 0 whatever the score is: no derivative flows through it.
            self.watch(prefix + "probs", probs, lambda g: g[0].masked_fill(~allowed, 0))
            self.watch(prefix + "attention", output, lambda g: g[0])
            return output, probs
        return wrapped

    def experts(self, original):
        linear, where = torch.nn.functional.linear, torch.where
        layer_of = {id(layer.mlp.experts): n for n, layer in enumerate(self.model.model.layers)
                    if hasattr(layer.mlp, "experts")}

        def wrapped(module, hidden, indices, weights):
            with base.Calls(linear, where) as calls:
                result = original(module, hidden, indices, weights)
            hit = sorted(set(indices.flatten().tolist()))
            for e in range(module.num_experts):
                name = f"layers.{layer_of[id(module)]}.experts.{e}.out"
                if e not in hit:
                    self.watch(name, hidden.new_zeros(0, hidden.shape[-1]))
                    continue
                n = hit.index(e)
                order = calls.seen[where][n][1][1].argsort()
                self.watch(name, calls.seen[linear][2 * n + 1][1],
                           lambda g, order=order: g[order])
            return result
        return wrapped

    def hook_head(self):
        score = self.model.score if hasattr(self.model, "score") else self.model.lm_head
        self.hook_output(score, "logits", (-1, score.out_features))

    def gradients(self):
        return {name: (tensor if tensor.grad is None else view(tensor.grad)).detach().clone()
                for name, (tensor, view) in self.watched.items()}


def labels_of(tokens, lengths):
    """The class shifts labels itself; the first token of a sequence is nobody's target."""
    labels, start = torch.tensor([tokens]), 0
    for length in lengths:
        labels[0, start] = -100
        start += length
    return labels


def backward(model, tokens, case):
    """One run through the class, its loss, autograd: losses and name -> gradient."""
    config = model.config
    source = modeling_mixtral if hasattr(config, "num_local_experts") else modeling_mistral
    loop = modeling_mixtral.MixtralExperts
    position, allowed = base.block_mask(case.lengths, case.first, config.sliding_window)
    arguments = dict(input_ids=torch.tensor([tokens]), use_cache=False,
                     position_ids=torch.from_numpy(position)[None])
    if len(case.lengths) > 1:
        additive = torch.zeros(allowed.shape, dtype=model.dtype)
        additive[~torch.from_numpy(allowed)] = torch.finfo(model.dtype).min
        arguments["attention_mask"] = additive[None, None]
    if not hasattr(model, "score"):
        arguments["labels"] = labels_of(tokens, case.lengths)
    if case.pooled:
        arguments["output_router_logits"] = True
        model.router_aux_loss_coef = case.pooled
    recorder = Slopes(model)
    recorder.hook_all()
    model.zero_grad()
    with (mock.patch.object(source, "eager_attention_forward",
                            recorder.attention(source.eager_attention_forward)),
          mock.patch.object(loop, "forward", recorder.experts(loop.forward))):
        out = model(**arguments)
    recorder.remove_hooks()
    loss = out.logits[0, 0] if hasattr(model, "score") else out.loss
    loss.backward()
    losses = {"reward" if hasattr(model, "score") else "cross_entropy": loss.detach()}
    if case.pooled:
        losses = {"cross_entropy": (loss - case.pooled * out.aux_loss).detach(),
                  "router": (case.pooled * out.aux_loss).detach()}
    return losses, recorder.gradients()


def native(name):
    """The native name of a parameter of the class; experts are split by the caller."""
    for old, new in (("model.embed_tokens", "tok_embeddings"), ("model.norm", "norm"),
                     ("lm_head", "output"), ("model.layers", "layers"),
                     ("input_layernorm", "attention_norm"), ("self_attn.q_proj", "attention.wq"),
                     ("self_attn.k_proj", "attention.wk"), ("self_attn.v_proj", "attention.wv"),
                     ("self_attn.o_proj", "attention.wo"),
                     ("post_attention_layernorm", "ffn_norm"), ("mlp.gate.", "feed_forward.gate."),
                     ("mlp.gate_proj", "feed_forward.w1"), ("mlp.down_proj", "feed_forward.w2"),
                     ("mlp.up_proj", "feed_forward.w3"),
                     ("mlp.experts", "feed_forward.experts")):
        name = name.replace(old, new)
    return name


def parameter_gradients(model, half_split):
    """Native name -> gradient; fused experts taken apart, rotary rows as those of q and k."""
    slopes = {}
    for name, parameter in model.named_parameters():
        slope, name = parameter.grad.detach().clone(), native(name)
        if name.endswith("experts.gate_up_proj"):
            for e, both in enumerate(slope):
                gate, up = both.chunk(2)
                slopes[name.replace("gate_up_proj", f"{e}.w1.weight")] = gate
                slopes[name.replace("gate_up_proj", f"{e}.w3.weight")] = up
        elif name.endswith("experts.down_proj"):
            for e, down in enumerate(slope):
                slopes[name.replace("down_proj", f"{e}.w2.weight")] = down
        else:
            if name.endswith(("wq.weight", "wk.weight")) and not half_split:
                heads = slope.unflatten(0, (-1, model.config.head_dim)).transpose(-1, -2)
                slope = base.interleave(heads).transpose(-1, -2).flatten(0, 1)
            slopes[name] = slope
    return slopes


def check_packing(model, tokens, case, together):
    """Parameters: the packed run gives the sum of the runs of its sequences alone, each weighted by
    its share of the scored tokens."""
    scored, start, total = sum(n - 1 for n in case.lengths), 0, {}
    for length in case.lengths:
        part, start = tokens[start:start + length], start + length
        if length == 1:
            continue
        backward(model, part, Gradient("alone", (length,)))
        for name, slope in parameter_gradients(model, case.half_split).items():
            total[name] = total.get(name, 0) + slope * ((length - 1) / scored)
    assert total.keys() == together.keys()
    for name, slope in total.items():
        assert base.near(together[name], slope, 1e-12 if slope.dtype is torch.float64 else 1e-4)


def clean(slopes):
    """Derivatives that are 0 in exact arithmetic are stored as 0, not as autograd's rounding."""
    largest = max(slope.abs().max() for slope in slopes.values() if slope.numel())
    digits = 1 if largest.dtype is torch.float64 else 2**29
    return {name: torch.where(slope.abs().max() < NOISE * digits * largest,
                              torch.zeros_like(slope), slope) if slope.numel() else slope
            for name, slope in slopes.items()}


def make_trace(spec, case, precision, model, folder):
    stream = np.random.default_rng(spec.token_seed).integers(1, spec.config["vocab_size"], 16)
    tokens = stream[:sum(case.lengths)].tolist()
    run = base.forward(model, tokens, case.lengths, case.first) if not spec.head == REWARD else {}
    gaps = base.router_gaps(run, model.config) if run else {}
    losses, tensors = backward(model, tokens, case)
    if not case.half_split:
        for name in tensors:
            if name.rpartition(".")[2] in ("q", "k", "q_rope", "k_rope"):
                tensors[name] = base.interleave(tensors[name])
    parameters = parameter_gradients(model, case.half_split)
    if len(case.lengths) > 1:
        check_packing(model, tokens, case, parameters)
    slopes = clean(tensors | parameters)
    assert all(slope.dtype == base.DTYPE[precision] for slope in slopes.values())
    meta = base.describe(model, tokens, case, precision, gaps, (folder / "config.json").read_text())
    meta |= {"loss": "+".join(losses), "router_losses": {"pooled": case.pooled}}
    path = folder / f"{case.name}.{precision}.npz"
    base.write_npz(path, {f"loss.{name}": loss.reshape(1) for name, loss in losses.items()}
                   | {f"grad.{name}": slope for name, slope in slopes.items()}, meta)
    return path


def generate(outdir, pattern):
    for name, (spec, cases) in MODELS.items():
        chosen = [(p, case) for p in base.WIDE for case in cases
                  if fnmatch.fnmatch(f"{name}/{case.name}.{p}", pattern)]
        folder = pathlib.Path(outdir) / name
        if chosen:
            base.save_model(spec, folder)
        for precision in dict.fromkeys(p for p, _ in chosen):
            model = base.load_model(spec, folder, precision)
            with base.Doubles() if precision == "f64" else contextlib.nullcontext():
                if precision == "f64":
                    model.model.rotary_emb = type(model.model.rotary_emb)(model.config)
                for case in (case for p, case in chosen if p == precision):
                    path = make_trace(spec, case, precision, model, folder)
                    print(f"{path.stat().st_size:8d}  {path.relative_to(outdir)}", file=sys.stderr)
