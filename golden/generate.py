"""Dumps golden tensors from Hugging Face's own Mistral and Mixtral classes: truth for the C code.

    python golden/generate.py [--only GLOB] OUTDIR

writes OUTDIR/<model>/config.json and model.safetensors as save_pretrained writes them, and beside
them one <case>.<precision>.npz per run. Names and shapes of the tensors: docs/MODEL.md. Nothing
here computes a model tensor: the values are what the classes' own code produced, seen through
hooks. Only layouts change: heads are reordered, masked scores become -inf, and the ring cache
copies keys and values.
"""
import argparse
import contextlib
import fnmatch
import importlib.metadata
import io
import json
import math
import os
import pathlib
import sys
import zipfile
from dataclasses import dataclass
from unittest import mock

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
import transformers
from torch.overrides import TorchFunctionMode
from transformers.models.mistral import modeling_mistral
from transformers.models.mixtral import modeling_mixtral

DTYPE = {"f64": torch.float64, "f32": torch.float32, "bf16": torch.bfloat16}
DOUBLE = "torch function mode: .float(), .to(float32) and dtype=float32 become float64"
MIN_ROUTER_GAP = 1e-3
ALL = ("f64", "f32", "bf16")
WIDE = ("f64", "f32")


# ---- what is generated -------------------------------------------------------------------------

@dataclass
class Model:
    """One tiny model. Its sizes differ, so that a wrong formula cannot come out right."""
    config: dict
    theta: float
    weight_seed: int
    token_seed: int             # of the token stream that every case takes a prefix of
    embedding_std: float = 1.0  # small: the first norm then shows what eps does
    head: str = "ForCausalLM"   # the class is Mistral or Mixtral and this

    @property
    def is_moe(self):
        return "num_local_experts" in self.config


@dataclass
class Case:
    """One run: sequences of these lengths, side by side when there are several."""
    name: str
    lengths: tuple
    precisions: tuple = WIDE
    first: tuple = (0,)         # absolute position of the first token of each sequence
    half_split: bool = False    # keep Hugging Face's rotary element order
    idle_expert: bool = False   # some layer must have an expert that no token chooses


def sizes(d, H, G, D, F, V, W=None, E=None, K=None, tied=False):
    """The configuration keys of the usual letters."""
    config = dict(hidden_size=d, num_attention_heads=H, num_key_value_heads=G, head_dim=D,
                  intermediate_size=F, vocab_size=V, sliding_window=W, tie_word_embeddings=tied,
                  num_hidden_layers=2, rms_norm_eps=1e-5, max_position_embeddings=131072)
    return config | (dict(num_local_experts=E, num_experts_per_tok=K) if E else {})


def far(length, first, precisions=WIDE):
    """A run that starts at a late position."""
    return Case(f"p{first}_t{length}", (length,), precisions, (first,))


def window_edges(window, precisions=ALL):
    """Runs of 1, W-1, W, W+1 and 2W+3 tokens."""
    lengths = (1, window - 1, window, window + 1, 2 * window + 3)
    return [Case(f"t{length}", (length,), precisions) for length in lengths]


LAST = 131071  # last position of the theoretical span of Mistral 7B v0.1
RAGGED = (1, 4, 9)

MODELS = {
    "dense_gqa_w5": (Model(sizes(22, 6, 2, 8, 37, 43, W=5), 1e4, 101, 1), window_edges(5) + [
        Case("packed_1_4_9", RAGGED, ALL, (0, 0, 0)),
        Case("half_t7", (7,), half_split=True),
        far(7, 4095), far(7, 32767), far(7, LAST - 6, ALL)]),
    "dense_gqa": (Model(sizes(26, 6, 2, 10, 31, 41), 1e6, 102, 2), [
        Case("t1", (1,)), Case("t13", (13,)), Case("packed_1_4_9", RAGGED, WIDE, (0, 0, 0)),
        far(7, 4095), far(7, 32767), far(7, LAST - 6)]),
    "dense_mqa_tied": (Model(sizes(21, 5, 1, 6, 33, 39, W=4, tied=True), 1e4, 103, 3), [
        Case("t11", (11,), ALL)]),
    "dense_mha": (Model(sizes(24, 3, 3, 10, 35, 37), 1e6, 104, 4, embedding_std=0.004), [
        Case("t12", (12,), ALL)]),
    "mixtral_e5k2": (Model(sizes(22, 6, 2, 8, 27, 41, E=5, K=2), 1e6, 105, 25), [
        Case("t1", (1,)), Case("t13", (13,), ALL), Case("idle_t7", (7,), ALL, idle_expert=True),
        Case("packed_1_4_9", RAGGED, WIDE, (0, 0, 0)), far(7, LAST - 6)]),
    "mixtral_e3k3": (Model(sizes(20, 8, 2, 6, 25, 39, E=3, K=3), 1e4, 106, 0), [
        Case("t9", (9,), ALL)]),
    "mixtral_e4k1": (Model(sizes(23, 6, 2, 10, 26, 38, E=4, K=1), 1e6, 107, 1), [
        Case("t9", (9,), ALL)]),
    "mixtral_e7k2_w5": (Model(sizes(24, 6, 2, 8, 23, 40, W=5, E=7, K=2), 1e4, 108, 32),
                        window_edges(5) + [Case("packed_1_4_9", RAGGED, ALL, (3, 0, 4095))]),
}


# ---- the model: weights and files --------------------------------------------------------------

def bf16_values(numbers):
    """The nearest numbers that bf16 holds, so that one file serves every precision exactly."""
    return torch.from_numpy(numbers).to(torch.bfloat16)


def draw_weight(rng, name, shape, embedding_std):
    """Large enough that scores, gates and softmaxes are far from flat; no norm weight is 1."""
    normal = rng.standard_normal(shape)
    if name.endswith("norm.weight"):
        weight = bf16_values(1 + 0.25 * normal)
        return torch.where(weight == 1, 1.125, weight)
    if "embed_tokens" in name:
        return bf16_values(embedding_std * normal)
    gain = 1.6 if any(part in name for part in ("q_proj", "k_proj", "mlp.gate.weight")) else 1.0
    return bf16_values(gain * normal / math.sqrt(shape[-1]))


def save_model(spec, folder):
    """Writes config.json and model.safetensors as Hugging Face does, weights in bf16."""
    kind = "Mixtral" if spec.is_moe else "Mistral"
    rope = {"rope_type": "default", "rope_theta": spec.theta}
    config = getattr(transformers, kind + "Config")(**spec.config, rope_parameters=rope)
    model = getattr(transformers, kind + spec.head)(config).to(torch.bfloat16)
    rng = np.random.default_rng(spec.weight_seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(draw_weight(rng, name, parameter.shape, spec.embedding_std))
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)


def load_model(spec, folder, precision):
    """The model as any user loads it, with the eager (plain PyTorch) attention and experts."""
    kind = getattr(transformers, ("Mixtral" if spec.is_moe else "Mistral") + spec.head)
    eager = dict(attn_implementation="eager") | (dict(experts_implementation="eager")
                                                 if spec.is_moe else {})
    model = kind.from_pretrained(folder, dtype=DTYPE[precision], **eager).eval()
    assert model.config._attn_implementation == "eager"
    assert not spec.is_moe or model.config._experts_implementation == "eager"
    assert all(p.dtype == DTYPE[precision] for p in model.parameters())
    # The rotary frequencies are float32 whatever the model's dtype; .to(bfloat16) would ruin them.
    assert model.model.rotary_emb.inv_freq.dtype == torch.float32
    return model


# ---- modes: truly double arithmetic, and seeing calls inside a function ------------------------

class Doubles(TorchFunctionMode):
    """Turns requests for float32 into float64: unchanged code then computes in double."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        def widen(value):
            return torch.float64 if value is torch.float32 else value
        func = torch.Tensor.double if func is torch.Tensor.float else func
        result = func(*map(widen, args), **{k: widen(v) for k, v in (kwargs or {}).items()})
        assert getattr(result, "dtype", None) is not torch.float32, f"{func} still made float32"
        return result


class Calls(TorchFunctionMode):
    """Keeps the arguments and the result of each call of the named torch functions, in order."""

    def __init__(self, *functions):
        super().__init__()
        self.seen = {function: [] for function in functions}

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func in self.seen:
            self.seen[func].append((args, result))
        return result


# ---- hooks: one name for every intermediate ----------------------------------------------------

class Recorder:
    """Collects named tensors of one forward pass, batch axis dropped."""

    def __init__(self, model):
        self.model = model
        self.tensors = {}
        self.mask = None
        self.hooks = []

    def keep(self, name, tensor):
        assert name not in self.tensors, name
        self.tensors[name] = tensor.detach().clone()

    def hook_output(self, module, name, shape):
        self.hooks.append(module.register_forward_hook(
            lambda module, args, out: self.keep(name, out.reshape(shape))))

    def hook_input(self, module, name, shape):
        self.hooks.append(module.register_forward_pre_hook(
            lambda module, args: self.keep(name, args[0].reshape(shape))))

    def hook_router(self, module, prefix):
        def keep_router(module, args, out):
            logits, weights, experts = out
            self.keep(prefix + "router_logits", logits)
            self.keep(prefix + "router_experts", experts.to(torch.int32))
            self.keep(prefix + "router_weights", weights)
        self.hooks.append(module.register_forward_hook(keep_router))

    def hook_layer(self, n, layer):
        config, prefix = self.model.config, f"layers.{n}."
        rows = (-1, config.hidden_size)
        heads = (-1, config.num_attention_heads, config.head_dim)
        groups = (-1, config.num_key_value_heads, config.head_dim)
        self.hook_output(layer.input_layernorm, prefix + "attention_norm", rows)
        self.hook_output(layer.self_attn.q_proj, prefix + "q", heads)
        self.hook_output(layer.self_attn.k_proj, prefix + "k", groups)
        self.hook_output(layer.self_attn.v_proj, prefix + "v", groups)
        self.hook_output(layer.self_attn.o_proj, prefix + "attention_out", rows)
        self.hook_input(layer.post_attention_layernorm, prefix + "h_mid", rows)
        self.hook_output(layer.post_attention_layernorm, prefix + "ffn_norm", rows)
        self.hook_output(layer.mlp, prefix + "ffn_out", rows)
        self.hook_output(layer, prefix + "h", rows)
        if hasattr(layer.mlp, "experts"):
            self.hook_router(layer.mlp.gate, prefix)
        else:
            hidden = (-1, config.intermediate_size)
            self.hook_output(layer.mlp.gate_proj, prefix + "w1", hidden)
            self.hook_output(layer.mlp.up_proj, prefix + "w3", hidden)
            self.hook_input(layer.mlp.down_proj, prefix + "act", hidden)

    def hook_all(self):
        config, base = self.model.config, self.model.model
        self.hook_output(base.embed_tokens, "tok_embeddings", (-1, config.hidden_size))
        for n, layer in enumerate(base.layers):
            self.hook_layer(n, layer)
        self.hook_output(base.norm, "norm", (-1, config.hidden_size))
        self.hook_head()

    def hook_head(self):
        self.hook_output(self.model.lm_head, "logits", (-1, self.model.config.vocab_size))

    def remove_hooks(self):
        for hook in self.hooks:
            hook.remove()

    def attention(self, original):
        """Wraps eager_attention_forward: rotated q, k go in; its softmax receives the scores."""
        softmax = torch.nn.functional.softmax

        def wrapped(module, query, key, value, attention_mask, **kwargs):
            with Calls(softmax) as calls:
                output, probs = original(module, query, key, value, attention_mask, **kwargs)
            prefix = f"layers.{module.layer_idx}."
            (scores, *_), _ = calls.seen[softmax][0]
            allowed = attention_mask[0, 0] == 0
            assert self.mask is None or torch.equal(self.mask, allowed)
            assert (scores[0][:, ~allowed] < torch.finfo(scores.dtype).min / 2).all()
            self.mask = allowed
            self.keep(prefix + "q_rope", query[0].transpose(0, 1))
            self.keep(prefix + "k_rope", key[0].transpose(0, 1))
            self.keep(prefix + "scores", scores[0].masked_fill(~allowed, -math.inf))
            self.keep(prefix + "probs", probs[0])
            self.keep(prefix + "attention", output[0])
            return output, probs
        return wrapped

    def experts(self, original):
        """Wraps the experts' loop: for each expert hit, where (which rows), then linear twice."""
        linear, where = torch.nn.functional.linear, torch.where
        layer_of = {id(layer.mlp.experts): n for n, layer in enumerate(self.model.model.layers)
                    if hasattr(layer.mlp, "experts")}

        def wrapped(module, hidden, indices, weights):
            with Calls(linear, where) as calls:
                result = original(module, hidden, indices, weights)
            hit = sorted(set(indices.flatten().tolist()))
            assert len(calls.seen[where]) == len(hit) == len(calls.seen[linear]) / 2
            outputs = {e: hidden.new_zeros(0, hidden.shape[-1]) for e in range(module.num_experts)}
            for n, e in enumerate(hit):
                _, (slot, token) = calls.seen[where][n]
                assert (indices[token, slot] == e).all() and (indices == e).sum() == len(token)
                outputs[e] = calls.seen[linear][2 * n + 1][1][token.argsort()]
            for e, rows in outputs.items():
                self.keep(f"layers.{layer_of[id(module)]}.experts.{e}.out", rows)
            return result
        return wrapped


def block_mask(lengths, first, window):
    """Positions, and which keys a query sees: its own and the W-1 before, in its own sequence."""
    owner = np.repeat(np.arange(len(lengths)), lengths)
    position = np.concatenate([np.arange(n) + p for n, p in zip(lengths, first)])
    distance = position[:, None] - position[None, :]
    reach = window if window else 1 << 62
    return position, (owner[:, None] == owner[None, :]) & (0 <= distance) & (distance < reach)


def forward(model, tokens, lengths, first):
    """One recorded forward pass: name -> tensor."""
    source = modeling_mixtral if hasattr(model.config, "num_local_experts") else modeling_mistral
    loop = modeling_mixtral.MixtralExperts
    position, allowed = block_mask(lengths, first, model.config.sliding_window)
    arguments = dict(input_ids=torch.tensor([tokens]), use_cache=False,
                     position_ids=torch.from_numpy(position)[None])
    if len(lengths) > 1:
        additive = torch.zeros(allowed.shape, dtype=model.dtype)
        additive[~torch.from_numpy(allowed)] = torch.finfo(model.dtype).min
        arguments["attention_mask"] = additive[None, None]
    recorder = Recorder(model)
    recorder.hook_all()
    with (mock.patch.object(source, "eager_attention_forward",
                            recorder.attention(source.eager_attention_forward)),
          mock.patch.object(loop, "forward", recorder.experts(loop.forward)),
          torch.no_grad()):
        model(**arguments)
    recorder.remove_hooks()
    assert np.array_equal(recorder.mask.numpy(), allowed), "HF's mask is not 0 <= i-j < W"
    return {"mask": recorder.mask.to(torch.uint8)} | recorder.tensors


# ---- after the run: layout, ring cache, order --------------------------------------------------

def interleave(tensor):
    """Element i of a head's first half goes to 2i, of its second half to 2i+1."""
    half = tensor.shape[-1] // 2
    return tensor.unflatten(-1, (2, half)).transpose(-1, -2).flatten(-2)


def ring(rows, lengths, first, window):
    """Slot p mod W holds position p, without a window slot t token t. Empty: 0, position -1."""
    slots = window or max(lengths)
    cache = rows.new_zeros(len(lengths) * slots, *rows.shape[1:])
    held = torch.full((len(lengths) * slots,), -1, dtype=torch.int32)
    row = 0
    for b, length in enumerate(lengths):
        for t in range(length):
            slot = b * slots + ((first[b] + t) % window if window else t)
            cache[slot], held[slot] = rows[row], first[b] + t
            row += 1
    return cache, held


def finish(tensors, config, case):
    """Adds the caches, puts heads in the order asked for, lists all in the order of a run."""
    for n in range(config.num_hidden_layers):
        prefix = f"layers.{n}."
        if not case.half_split:
            for part in ("q", "k", "q_rope", "k_rope"):
                tensors[prefix + part] = interleave(tensors[prefix + part])
        place = (case.lengths, case.first, config.sliding_window)
        tensors[prefix + "cache_k"], held = ring(tensors[prefix + "k_rope"], *place)
        tensors[prefix + "cache_v"], _ = ring(tensors[prefix + "v"], *place)
        tensors[prefix + "cache_pos"] = held
    return {name: tensors[name] for name in run_order(config)}


def run_order(config):
    """Every tensor name of a run, in the order a forward pass makes them."""
    experts = getattr(config, "num_local_experts", 0)
    ffn = (["router_logits", "router_experts", "router_weights"]
           + [f"experts.{e}.out" for e in range(experts)]) if experts else ["w1", "w3", "act"]
    layer = ["attention_norm", "q", "k", "v", "q_rope", "k_rope", "scores", "probs", "attention",
             "attention_out", "h_mid", "ffn_norm", *ffn, "ffn_out", "h",
             "cache_k", "cache_v", "cache_pos"]
    names = [f"layers.{n}.{part}" for n in range(config.num_hidden_layers) for part in layer]
    return ["mask", "tok_embeddings", *names, "norm", "logits"]


# ---- what must hold of every run ---------------------------------------------------------------

def near(got, want, tolerance):
    return bool(((got - want).abs().max() <= tolerance * want.abs().max()).item())


def check_attention(tensors, config, precision):
    """Rows of probabilities sum to 1, and are 0 exactly where the mask is 0."""
    allowed = tensors["mask"].bool()
    for n in range(config.num_hidden_layers):
        scores, probs = (tensors[f"layers.{n}.{part}"] for part in ("scores", "probs"))
        assert scores[:, allowed].isfinite().all() and (scores[:, ~allowed] == -math.inf).all()
        assert (probs[:, ~allowed] == 0).all()
        tolerance = {"f64": 1e-15, "f32": 1e-6, "bf16": 0.02}[precision]
        assert ((probs.double().sum(-1) - 1).abs() <= tolerance * allowed.shape[1]).all()


def check_double(tensors, model, position):
    """Norm, rotary and softmax against a few lines of double: no step fell back to float32."""
    config = model.config
    x = tensors["tok_embeddings"].numpy()
    weight = model.model.layers[0].input_layernorm.weight.detach().numpy()
    norm = weight * (x / np.sqrt((x * x).mean(-1, keepdims=True) + config.rms_norm_eps))
    assert near(tensors["layers.0.attention_norm"], torch.from_numpy(norm), 4e-15)

    D = config.head_dim
    theta = config.rope_parameters["rope_theta"]
    angle = position[:, None] * (1 / theta ** (np.arange(0, D, 2) / D))
    turn = np.exp(1j * angle)[:, None, :]
    q = tensors["layers.0.q"].numpy()
    turned = (q[..., :D // 2] + 1j * q[..., D // 2:]) * turn
    rotated = np.concatenate([turned.real, turned.imag], -1)
    # The last bit of a frequency moves the angle by position * 2^-53 or so.
    tolerance = 4e-15 + position.max() * 2**-52
    assert near(tensors["layers.0.q_rope"], torch.from_numpy(rotated), tolerance)

    scores = tensors["layers.0.scores"].numpy()
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    assert near(tensors["layers.0.probs"], torch.from_numpy(weights), 4e-15)


def router_gaps(tensors, config):
    """Distance from the last chosen to the first rejected logit; refuses close choices."""
    gaps, K = {}, getattr(config, "num_experts_per_tok", 0)
    for n in range(config.num_hidden_layers if K else 0):
        logits = tensors[f"layers.{n}.router_logits"].double().sort(-1, descending=True).values
        steps = logits[:, :-1] - logits[:, 1:]
        assert (steps[:, :K] > MIN_ROUTER_GAP).all(), "choose another token_seed: router too close"
        gaps[f"layers.{n}"] = [round(gap, 9) for gap in steps[:, K - 1:K].flatten().tolist()]
    return gaps


def check_idle(tensors, config):
    rows = [len(tensors[f"layers.{n}.experts.{e}.out"]) for n in range(config.num_hidden_layers)
            for e in range(config.num_local_experts)]
    assert 0 in rows, "choose another token_seed: every expert is busy"


def check_packing(model, tokens, case, tensors, precision):
    """Packed sequences give what each gives alone."""
    start = 0
    for length, first in zip(case.lengths, case.first):
        rows = slice(start, start + length)
        alone = forward(model, tokens[rows], (length,), (first,))
        for name in ("layers.0.h", "layers.1.h", "logits"):
            tolerance = {"f64": 1e-13, "f32": 1e-5, "bf16": 0.05}[precision]
            assert near(tensors[name][rows].double(), alone[name].double(), tolerance), name
        start += length


# ---- files -------------------------------------------------------------------------------------

def npy_member(name, tensor):
    """Member name and array; numpy has no bf16, so its raw bits go under a name that says so."""
    if tensor.dtype is torch.bfloat16:
        return name + ".bf16.npy", tensor.contiguous().view(torch.int16).numpy().view("<u2")
    return name + ".npy", tensor.contiguous().numpy()


def write_npz(path, tensors, meta):
    """A deflated archive without a clock in it: equal tensors give equal bytes."""
    text = np.frombuffer(json.dumps(meta, separators=(",", ":")).encode(), np.uint8)
    members = [("meta.npy", text)] + [npy_member(*item) for item in tensors.items()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in members:
            data = io.BytesIO()
            np.lib.format.write_array(data, np.ascontiguousarray(array), version=(1, 0))
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data.getvalue(), compresslevel=9)


def describe(model, tokens, case, precision, gaps, config_text):
    sequences, start = [], 0
    for length in case.lengths:
        sequences.append(tokens[start:start + length])
        start += length
    return {"format": "mistral-ref trace 1", "tokens": sequences,
            "first_position": list(case.first), "precision": precision, "convention": "hf",
            "rope_angles": "exact" if precision == "f64" else "f32",
            "rope_layout": "half" if case.half_split else "interleaved",
            "source": {"class": type(model).__name__, "torch": torch.__version__,
                       "transformers": transformers.__version__, "attention": "eager",
                       "double": DOUBLE if precision == "f64" else None},
            "config": json.loads(config_text), "router_gaps": gaps}


def make_trace(spec, case, precision, model, folder):
    """Runs one case in one precision, checks it and writes it."""
    stream = np.random.default_rng(spec.token_seed).integers(0, spec.config["vocab_size"], 16)
    tokens = stream[:sum(case.lengths)].tolist()
    tensors = forward(model, tokens, case.lengths, case.first)
    floats = [t for name, t in tensors.items() if t.is_floating_point()
              and not name.endswith("router_weights")]
    assert all(t.dtype == DTYPE[precision] for t in floats)
    check_attention(tensors, model.config, precision)
    gaps = router_gaps(tensors, model.config)
    if precision == "f64":
        check_double(tensors, model, block_mask(case.lengths, case.first, None)[0])
    if case.idle_expert:
        check_idle(tensors, model.config)
    if len(case.lengths) > 1:
        check_packing(model, tokens, case, tensors, precision)
    meta = describe(model, tokens, case, precision, gaps, (folder / "config.json").read_text())
    path = folder / f"{case.name}.{precision}.npz"
    write_npz(path, finish(tensors, model.config, case), meta)
    return path


def make_model(name, spec, cases, pattern, outdir):
    """Writes one model and those of its traces that the pattern selects."""
    chosen = [(p, case) for p in ALL for case in cases if p in case.precisions
              and fnmatch.fnmatch(f"{name}/{case.name}.{p}", pattern)]
    folder = outdir / name
    if chosen:
        save_model(spec, folder)
    for precision in dict.fromkeys(p for p, _ in chosen):
        model = load_model(spec, folder, precision)
        with Doubles() if precision == "f64" else contextlib.nullcontext():
            if precision == "f64":  # its frequencies are made when it is built
                model.model.rotary_emb = type(model.model.rotary_emb)(model.config)
            for case in (case for p, case in chosen if p == precision):
                path = make_trace(spec, case, precision, model, folder)
                print(f"{path.stat().st_size:8d}  {path.relative_to(outdir)}", file=sys.stderr)


# ---- the libraries themselves ------------------------------------------------------------------

def check_versions():
    """Golden values are tied to the code that made them."""
    pins = pathlib.Path(__file__).with_name("requirements.txt").read_text().splitlines()
    for package, wanted in (pin.split("==") for pin in pins if "==" in pin):
        if package in ("torch", "transformers", "safetensors", "numpy"):
            found = importlib.metadata.version(package).split("+")[0]
            if found != wanted:
                sys.exit(f"golden: {package} is {found}, the golden data needs {wanted}: "
                         f"pip install -r golden/requirements.txt")


def check_router():
    """Some Transformers releases apply softmax twice in the Mixtral router (issue 45120)."""
    config = transformers.MixtralConfig(hidden_size=6, intermediate_size=4, num_local_experts=5,
                                        num_experts_per_tok=2, experts_implementation="eager")
    block = modeling_mixtral.MixtralSparseMoeBlock(config)
    seen = []
    block.experts.register_forward_pre_hook(lambda module, args: seen.extend(args))
    rng = np.random.default_rng(0)
    x, gate = rng.standard_normal((3, 6)), 3 * rng.standard_normal((5, 6))
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.zero_()
        block.gate.weight.copy_(torch.from_numpy(gate))
        block(torch.from_numpy(x).float()[None])
    _, index, weights = seen
    best = np.argsort(-(x @ gate.T), axis=-1)[:, :2]
    logits = np.take_along_axis(x @ gate.T, best, -1)
    once = np.exp(logits - logits.max(-1, keepdims=True))
    once /= once.sum(-1, keepdims=True)
    if not np.array_equal(index.numpy(), best) or np.abs(weights.numpy() - once).max() > 1e-5:
        sys.exit(f"golden: the Mixtral router of transformers {transformers.__version__} does not "
                 f"apply softmax exactly once (issue 45120): install the pinned version")


def generate(outdir, pattern="*"):
    """Writes every model and trace that the pattern selects under outdir."""
    check_versions()
    check_router()
    torch.set_num_threads(1)  # one order of summation
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for name, (spec, cases) in MODELS.items():
        make_model(name, spec, cases, pattern, pathlib.Path(outdir))
    import generate_grad  # it imports this module
    generate_grad.generate(outdir, pattern)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="*", metavar="GLOB", help="<model>/<case>.<precision>")
    parser.add_argument("outdir", metavar="OUTDIR")
    arguments = parser.parse_args()
    generate(arguments.outdir, arguments.only)


if __name__ == "__main__":
    main()
