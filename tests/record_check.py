"""Checks golden/record.py: recording changes no bit, and traces hold what golden/cases hold.

    python tests/record_check.py [--program ./mistral-ref] [-k WORD]

Runs Hugging Face's own classes (eager and sdpa; f32, bf16, f16) and a small model with native
names on the committed cases: prefill, chunks, decoding, padding on either side, packing. Every
file written is also opened by the program. Ends with `N passed, N failed`.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
import transformers

ROOT = pathlib.Path(__file__).resolve().parent.parent
CASES = ROOT / "golden" / "cases"
sys.path.insert(0, str(ROOT / "golden"))
from record import record  # noqa: E402

DTYPE = {"f64": torch.float64, "f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
# Chunks, padding and other kernels reorder sums: largest difference, of the largest magnitude.
ROUNDING = {"f64": 1e-13, "f32": 1e-5, "bf16": 0.06, "f16": 0.01}
ROTARY = ("q", "k", "q_rope", "k_rope", "cache_k")
MODELS = ("dense_gqa_w5", "dense_gqa", "mixtral_e5k2", "mixtral_e7k2_w5")


# ---- the two sides -----------------------------------------------------------------------------

def load(name, precision, attention="eager", experts="eager"):
    """A committed model as a user loads it."""
    config = transformers.AutoConfig.from_pretrained(CASES / name)
    moe = {"experts_implementation": experts} if hasattr(config, "num_local_experts") else {}
    return transformers.AutoModelForCausalLM.from_pretrained(
        CASES / name, dtype=DTYPE[precision], attn_implementation=attention, **moe).eval()


def widen(bits):
    """bf16 bits as float32."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def read(path):
    """Name -> array of a trace (bf16 bits under NAME.bf16), and its meta."""
    with np.load(path) as file:
        tensors = {name: file[name] for name in file.files}
    return tensors, json.loads(tensors.pop("meta").tobytes())


def values(tensors):
    """Name -> numbers that can be compared, bf16 widened."""
    return {k[:-5] if k.endswith(".bf16") else k: widen(v) if k.endswith(".bf16") else v
            for k, v in tensors.items()}


def interleave(array):
    """Half-split rotary order to interleaved."""
    half = array.shape[-1] // 2
    return array.reshape(*array.shape[:-1], 2, half).swapaxes(-1, -2).reshape(array.shape)


def same_order(tensors, layout):
    """q, k and cached keys in interleaved order, as most golden traces have them."""
    return {name: interleave(a) if layout == "half" and name.split(".bf16")[0].split(".")[-1]
            in ROTARY else a for name, a in tensors.items()}


def distance(got, want):
    """Largest difference relative to the largest magnitude; infinite where infinities differ."""
    got, want = got.astype(np.float64), want.astype(np.float64)
    finite = np.isfinite(want)
    if got.shape != want.shape or not np.array_equal(got[~finite], want[~finite]):
        return np.inf
    if not finite.any():
        return 0.0
    if not np.isfinite(got[finite]).all():
        return np.inf
    return float(np.abs(got[finite] - want[finite]).max() / (np.abs(want[finite]).max() or 1))


def golden_inputs(meta, mask, precision):
    """The call that golden/generate.py made for this trace."""
    tokens = [t for s in meta["tokens"] for t in s]
    position = [p for s, f in zip(meta["tokens"], meta["first_position"])
                for p in range(f, f + len(s))]
    arguments = dict(input_ids=torch.tensor([tokens]), position_ids=torch.tensor([position]),
                     use_cache=False)
    if len(meta["tokens"]) > 1:
        additive = torch.zeros(mask.shape, dtype=DTYPE[precision])
        additive[torch.from_numpy(mask == 0)] = torch.finfo(DTYPE[precision]).min
        arguments["attention_mask"] = additive[None, None]
    return arguments


# ---- the judge ---------------------------------------------------------------------------------

class Judge:
    """Counts checks and prints those that fail."""

    def __init__(self, program, folder):
        self.program, self.folder = program, pathlib.Path(folder)
        self.passed = self.failed = self.files = self.tensors = 0
        self.worst = {}

    def check(self, good, what):
        self.passed += bool(good)
        self.failed += not good
        if not good:
            print(f"failed: {what}")

    def bit_equal(self, got, want, what):
        """All tensors of the golden trace, bit by bit, but for the caches."""
        want = {k: v for k, v in want.items() if ".cache_" not in k}
        for name, array in want.items():
            other = got.get(name)
            good = (other is not None and other.dtype == array.dtype
                    and other.shape == array.shape and other.tobytes() == array.tobytes())
            self.tensors += 1
            self.check(good, f"{what} {name}: bits differ from the golden trace")

    def close(self, got, want, what, precision, kind):
        """All tensors both have, up to rounding; integers exactly."""
        common = [name for name in want if name in got and ".cache_" not in name]
        self.check(len(common) > 20, f"{what}: only {len(common)} tensors in common")
        for name in common:
            a, b = got[name], want[name]
            far = distance(a, b)
            far = far if b.dtype.kind == "f" or not far else np.inf
            self.tensors += 1
            self.worst[kind] = max(self.worst.get(kind, 0), far)
            self.check(far <= ROUNDING[precision], f"{what} {name}: off by {far:.1e}")

    def save(self, recorder, name, what):
        """Writes both kinds of file, lets the program open them, and reads the .npz back."""
        npz, st = self.folder / f"{name}.npz", self.folder / f"{name}.safetensors"
        recorder.save(npz)
        recorder.save(st)
        tensors, meta = read(npz)
        for path in (npz, st):
            run = subprocess.run([self.program, "info", "--json", path], capture_output=True,
                                 text=True, check=False)
            self.files += 1
            seen = len(json.loads(run.stdout)["tensors"]) if run.returncode == 0 else -1
            self.check(seen == len(tensors), f"{what}: info {path.name}: {seen} of "
                       f"{len(tensors)} tensors, {run.stderr.strip()}")
        self.check(same_as_safetensors(tensors, st), f"{what}: .npz and .safetensors differ")
        return tensors, meta

    def verified(self, name, model, what):
        """The saved trace is what its model gives, says the program."""
        path = self.folder / f"{name}.npz"
        run = subprocess.run([self.program, "compare", path, path, "--model", CASES / model],
                             capture_output=True, text=True, check=False)
        self.check(run.returncode == 0, f"{what}: compare: {run.stdout[:400]}{run.stderr}")


def same_as_safetensors(tensors, path):
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + size])
    ending = {"BF16": ".bf16", "F8_E4M3": ".f8_e4m3", "F8_E5M2": ".f8_e5m2"}
    found = {name + ending.get(e["dtype"], ""): (e["shape"], data[8 + size:][slice(
        *e["data_offsets"])]) for name, e in header.items() if name != "meta"}
    return found.keys() == tensors.keys() and all(
        found[n] == (list(a.shape), a.tobytes()) for n, a in tensors.items())


def recorded(judge, model, run, what, **options):
    """run(model) without and with recording: bit-equal outputs. Returns the recorder."""
    with torch.no_grad():
        before = run(model)
        with record(model, **options) as r:
            during = run(model)
        after = run(model)
    equal = all(torch.equal(a, b) and torch.equal(a, c)
                for a, b, c in zip(before, during, after, strict=True))
    judge.check(equal, f"{what}: recording changes the output")
    return r


# ---- runs of Hugging Face's classes ------------------------------------------------------------

def check_golden(judge):
    """Every committed f32 and bf16 run, recorded from the same class: the same bits."""
    for path in sorted(CASES.glob("*/*.npz")):
        name, precision = path.parent.name, path.name.split(".")[-2]
        if precision == "f64":      # those need generate.py's mode that keeps all in double
            continue
        want, meta = read(path)
        if "mask" not in want:      # gradients, not a forward run
            continue
        model, what = load(name, precision), f"golden {name}/{path.stem}"
        inputs = golden_inputs(meta, want["mask"], precision)
        r = recorded(judge, model, lambda m: [m(**inputs).logits], what)
        got, new = judge.save(r, "golden", what)
        judge.bit_equal(same_order(got, "half"), same_order(want, meta["rope_layout"]), what)
        judge.check(all(new[k] == meta[k] for k in ("format", "tokens", "first_position",
                                                    "precision")), f"{what}: meta differs")
        judge.check(set(new["not_recorded"]) == {"cache_k", "cache_v", "cache_pos"},
                    f"{what}: not_recorded is {new['not_recorded']}")


def stream(name, length):
    """Tokens of a golden trace, going on as they please."""
    vocabulary = json.loads((CASES / name / "config.json").read_text())["vocab_size"]
    return [(11 * i * i + 7 * i + 3) % vocabulary for i in range(length)]


def variants():
    for name in MODELS:
        for attention in ("eager", "sdpa"):
            for precision in ("f32", "bf16", "f16"):
                yield name, attention, precision, f"{name} {attention} {precision}"


def alone(judge, model, tokens, what):
    """One prefill of one text: the trace others are compared with."""
    r = recorded(judge, model, lambda m: [m(torch.tensor([tokens])).logits], what)
    return judge.save(r, "alone", what)


def check_prefill(judge):
    """sdpa gives what eager gives, but for scores and probabilities; caches hold k and v."""
    for name, attention, precision, what in variants():
        tokens = stream(name, 13)
        eager, _ = alone(judge, load(name, precision), tokens, "eager " + what)
        got, meta = alone(judge, load(name, precision, attention), tokens, what)
        judge.close(values(got), values(eager), what, precision, f"{attention} {precision}")
        judge.check(("scores" in meta["not_recorded"]) == (attention == "sdpa"), what)
        judge.check(meta["source"]["attention"] == attention and meta["layout"] == "alone", what)
        check_cache(judge, values(got), what)


def check_cache(judge, got, what):
    """Slot s of the cache is the key and value of position cache_pos[s]; the newest are there."""
    total = len(got["tok_embeddings"])
    for n in range(2):
        held = got[f"layers.{n}.cache_pos"]
        filled = held >= 0
        judge.check(filled.any() and held.max() == total - 1, f"{what}: cache_pos {held}")
        for cache, rows in (("cache_k", "k_rope"), ("cache_v", "v")):
            same = np.array_equal(got[f"layers.{n}.{cache}"][filled],
                                  got[f"layers.{n}.{rows}"][held[filled]])
            judge.check(same, f"{what}: layers.{n}.{cache} is not {rows} of its positions")


def run_chunks(tokens, sizes, make_cache=None):
    """A run of several calls through one cache."""
    def run(model):
        cache, logits, start = make_cache(model) if make_cache else None, [], 0
        for size in sizes:
            ids = torch.tensor([tokens[start:start + size]])
            out = model(ids, past_key_values=cache, use_cache=True)
            cache, start = out.past_key_values, start + size
            logits.append(out.logits)
        return logits
    return run


def check_chunks(judge):
    """Chunks and single tokens through a cache, dynamic or static: the trace of one prefill."""
    def static(model):
        return transformers.StaticCache(config=model.config, max_cache_len=20)
    for name, attention, precision, what in variants():
        model, tokens = load(name, precision, attention), stream(name, 13)
        whole, _ = alone(judge, model, tokens, what)
        for sizes, make in (((5, 1, 7), None), ((1,) * 13, None), ((8, 3, 1, 1), static)):
            kind = f"{what} {sizes}{' static' if make else ''}"
            r = recorded(judge, model, run_chunks(tokens, sizes, make), kind)
            got, meta = judge.save(r, "chunks", kind)
            judge.check(set(got) == set(whole), f"{kind}: other tensors")
            judge.close(values(got), values(whole), kind, precision, f"chunks {precision}")
            judge.check(meta["tokens"] == [tokens] and meta["calls"] == list(sizes), kind)
            check_cache(judge, values(got), kind)


def check_rotary(judge):
    """Where the rotation is not seen (a fused kernel), attention's arguments show q and k."""
    from transformers.models.mistral import modeling_mistral as source
    plain, model, tokens = source.apply_rotary_pos_emb, load("dense_gqa_w5", "f32"), stream(
        "dense_gqa_w5", 13)
    whole, _ = alone(judge, model, tokens, "rotary")

    def static(m):
        return transformers.StaticCache(config=m.config, max_cache_len=20)
    for sizes, make in (((13,), None), ((5, 1, 7), None), ((3, 1, 1, 8), static)):
        with torch.no_grad(), record(model) as r:
            source.apply_rotary_pos_emb = plain
            run_chunks(tokens, sizes, make)(model)
        got, meta = judge.save(r, "rotary", "rotary")
        judge.check(source.apply_rotary_pos_emb is plain and not meta["not_recorded"], "rotary")
        judge.close(values(got), values(whole), f"rotary {sizes}", "f32", "chunks f32")


def check_generate(judge):
    """model.generate: prompt and choices are in meta, logits have the rows that were computed."""
    for name, attention, precision, what in variants():
        model, prompt = load(name, precision, attention), torch.tensor([stream(name, 6)])

        def run(m, prompt=prompt):
            return [m.generate(prompt, attention_mask=torch.ones_like(prompt), do_sample=False,
                               max_new_tokens=5, min_new_tokens=5, pad_token_id=0)]
        r = recorded(judge, model, run, "generate " + what)
        got, meta = judge.save(r, "generate", "generate " + what)
        made = run(model)[0][0].tolist()
        judge.check(meta["tokens"] == [made[:-1]], f"generate {what}: tokens {meta['tokens']}")
        judge.check(meta["rows"] == {"logits": [5, 6, 7, 8, 9]}, f"generate {what}: rows")
        judge.verified("generate", name, f"generate {what}")
        logits = values(got)["logits"]
        judge.check(logits.argmax(-1).tolist() == made[6:], f"generate {what}: argmax")
        whole, _ = alone(judge, model, made[:-1], what)
        got = {k: v for k, v in values(got).items() if k != "logits"}
        judge.close(got, values(whole), f"generate {what}", precision, f"chunks {precision}")


def batch(texts, side):
    """Ids, attention mask and positions of texts padded to one length."""
    most = max(map(len, texts))
    pads = [[0] * (most - len(t)) for t in texts]
    ids = [p + t if side == "left" else t + p for p, t in zip(pads, texts)]
    mask = [[0] * len(p) + [1] * len(t) if side == "left" else [1] * len(t) + [0] * len(p)
            for p, t in zip(pads, texts)]
    mask = torch.tensor(mask)
    return dict(input_ids=torch.tensor(ids), attention_mask=mask,
                position_ids=(mask.cumsum(-1) - 1).clamp(min=0))


def side_by_side(parts):
    """What a trace of several texts has to hold, from the traces of each alone."""
    out, lengths = {}, [len(p["tok_embeddings"]) for p in parts]
    ends = np.cumsum(lengths)
    for name in parts[0]:
        last = name.split(".")[-1]
        if last not in ("scores", "probs", "mask"):
            out[name] = np.concatenate([p[name] for p in parts])
            continue
        shape = (*parts[0][name].shape[:-2], ends[-1], ends[-1])
        out[name] = np.full(shape, -np.inf if last == "scores" else 0, parts[0][name].dtype)
        for part, end, n in zip(parts, ends, lengths):
            out[name][..., end - n:end, end - n:end] = part[name]
    return out


def check_batches(judge):
    """Padded on the left, padded on the right, packed: each text as if it were alone."""
    for name, attention, precision, what in variants():
        model = load(name, precision, attention)
        texts = [stream(name, 9), stream(name, 17)[13:], stream(name, 10)[3:]]
        parts = [values(alone(judge, model, t, what)[0]) for t in texts]
        want = side_by_side(parts)
        for side in ("left", "right"):
            inputs, kind = batch(texts, side), f"{what} {side}"
            r = recorded(judge, model, lambda m: [m(**inputs).logits], kind)
            got, meta = judge.save(r, "batch", kind)
            lost = {k for k in want if ".cache_" in k and side == "right" and name.endswith("w5")}
            judge.check(set(values(got)) == set(want) - lost, f"{kind}: other tensors")
            judge.close(values(got), want, kind, precision, f"padded {precision}")
            judge.check(meta["layout"] == side and meta["tokens"] == texts, f"{kind}: meta")
            judge.verified("batch", name, kind)
        position = [i for t in texts for i in range(len(t))]
        inputs = dict(input_ids=torch.tensor([sum(texts, [])]), use_cache=False,
                      position_ids=torch.tensor([position]))
        r = recorded(judge, model, lambda m: [m(**inputs).logits], what + " packed")
        got, meta = judge.save(r, "packed", what)
        judge.close(values(got), want, what + " packed", precision, f"packed {precision}")
        judge.check(meta["layout"] == "packed" and meta["tokens"] == texts, f"{what}: packed")
        judge.verified("packed", name, what + " packed")


def check_padded_decode(judge):
    """A left-padded batch that goes on for some tokens: rows of one text stay together."""
    for name in ("dense_gqa_w5", "mixtral_e5k2"):
        model, texts, what = load(name, "f32"), [stream(name, 7), stream(name, 12)[8:]], name
        inputs = batch(texts, "left")

        def run(m):
            out = m.generate(**{k: inputs[k] for k in ("input_ids", "attention_mask")},
                             do_sample=False, max_new_tokens=4, min_new_tokens=4, pad_token_id=0)
            return [out]
        r = recorded(judge, model, run, f"padded decode {what}")
        got, meta = judge.save(r, "decode", what)
        made = [t + row[7:-1].tolist() for t, row in zip(texts, run(model)[0])]
        judge.check(meta["tokens"] == made, f"padded decode {what}: tokens")
        judge.verified("decode", name, f"padded decode {what}")
        want = side_by_side([values(alone(judge, model, t, what)[0]) for t in made])
        got = {k: v for k, v in values(got).items() if k != "logits"}
        judge.close(got, want, f"padded decode {what}", "f32", "padded f32")


def check_experts(judge):
    """Grouped and batched experts show the same rows as the plain loop."""
    config = transformers.MixtralConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, vocab_size=50, num_local_experts=6, num_experts_per_tok=2,
        sliding_window=None)
    torch.manual_seed(3)
    model = transformers.MixtralForCausalLM(config).float().eval()
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.2)
    ids, traces = torch.tensor([stream("dense_mha", 11)]), {}
    for how in ("eager", "grouped_mm", "batched_mm"):
        model.set_experts_implementation(how)
        r = recorded(judge, model, lambda m: [m(ids).logits], f"experts {how}")
        traces[how] = judge.save(r, "experts", f"experts {how}")
        judge.check(not any("experts" in k for k in traces[how][1]["not_recorded"]),
                    f"experts {how}: {traces[how][1]['not_recorded']}")
        judge.close(values(traces[how][0]), values(traces["eager"][0]), f"experts {how}", "f32",
                    "experts f32")


# ---- a model with native names -----------------------------------------------------------------

def apply_rotary_emb(xq, xk, freqs_cis):
    """Neighbours are a pair, as in mistral-inference; same name, so that record finds it."""
    def turn(x):
        pairs = torch.view_as_complex(x.double().unflatten(-1, (-1, 2)).contiguous())
        return torch.view_as_real(pairs * freqs_cis[:, None]).flatten(-2).to(x.dtype)
    return turn(xq), turn(xk)


class Norm(torch.nn.Module):
    def __init__(self, d, eps):
        super().__init__()
        self.weight, self.eps = torch.nn.Parameter(torch.ones(d)), eps

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps))


def linear(inputs, outputs):
    return torch.nn.Linear(inputs, outputs, bias=False)


class Attention(torch.nn.Module):
    def __init__(self, c):
        super().__init__()
        self.H, self.G, self.D = c.num_attention_heads, c.num_key_value_heads, c.head_dim
        self.wq, self.wk = linear(c.hidden_size, self.H * self.D), linear(c.hidden_size,
                                                                          self.G * self.D)
        self.wv, self.wo = linear(c.hidden_size, self.G * self.D), linear(self.H * self.D,
                                                                          c.hidden_size)

    def forward(self, x, freqs_cis, mask, keep):
        q, k, v = (w(x).unflatten(-1, (-1, self.D)) for w in (self.wq, self.wk, self.wv))
        q, k = apply_rotary_emb(q, k, freqs_cis=freqs_cis)
        keep(k, v)
        k, v = (y.repeat_interleave(self.H // self.G, 1) for y in (k, v))
        scores = torch.einsum("thd,shd->hts", q, k) / self.D**0.5
        probs = scores.masked_fill(~mask, -torch.inf).softmax(-1)
        return self.wo(torch.einsum("hts,shd->thd", probs, v).flatten(1))


class FeedForward(torch.nn.Module):
    def __init__(self, c):
        super().__init__()
        self.w1 = linear(c.hidden_size, c.intermediate_size)
        self.w2 = linear(c.intermediate_size, c.hidden_size)
        self.w3 = linear(c.hidden_size, c.intermediate_size)

    def forward(self, x):
        return self.w2(torch.nn.functional.silu(self.w1(x)) * self.w3(x))


class Moe(torch.nn.Module):
    def __init__(self, c):
        super().__init__()
        self.gate, self.K = linear(c.hidden_size, c.num_local_experts), c.num_experts_per_tok
        self.experts = torch.nn.ModuleList(FeedForward(c) for _ in range(c.num_local_experts))

    def forward(self, x):
        best, chosen = torch.topk(self.gate(x), self.K)
        weights = torch.softmax(best.float() if x.dtype != torch.float64 else best, -1).to(x.dtype)
        out = torch.zeros_like(x)
        for e, expert in enumerate(self.experts):
            row, slot = torch.where(chosen == e)
            out[row] += weights[row, slot, None] * expert(x[row])
        return out


class Block(torch.nn.Module):
    def __init__(self, c):
        super().__init__()
        self.attention = Attention(c)
        self.attention_norm, self.ffn_norm = (Norm(c.hidden_size, c.rms_norm_eps) for _ in "ab")
        self.feed_forward = Moe(c) if hasattr(c, "num_local_experts") else FeedForward(c)

    def forward(self, x, *rest):        # .forward, not a call: as mistral-inference
        h = x + self.attention.forward(self.attention_norm(x), *rest)
        return h + self.feed_forward.forward(self.ffn_norm(h))


class Ring:
    """The cache of mistral-inference: position p of lane b is in slot p mod W."""

    def __init__(self, c, lengths, dtype):
        slots = c.sliding_window or max(lengths)
        shape = (c.num_hidden_layers, len(lengths), slots, c.num_key_value_heads, c.head_dim)
        self.cache_k, self.cache_v = (torch.zeros(shape, dtype=dtype) for _ in "kv")
        self.kv_seqlens, self.lengths = None, lengths

    def keep(self, n, k, v):
        for b, (keys, values_) in enumerate(zip(k.split(self.lengths), v.split(self.lengths))):
            for p, row in enumerate(keys):
                self.cache_k[n, b, p % self.cache_k.shape[2]] = row
                self.cache_v[n, b, p % self.cache_k.shape[2]] = values_[p]


class Native(torch.nn.Module):
    """Native names and calls: flat ids with seqlens, no batch axis, layers in a ModuleDict."""

    def __init__(self, hf):
        super().__init__()
        c = self.args = hf.config
        self.tok_embeddings = torch.nn.Embedding(c.vocab_size, c.hidden_size)
        self.layers = torch.nn.ModuleDict({str(n): Block(c) for n in range(c.num_hidden_layers)})
        self.norm = Norm(c.hidden_size, c.rms_norm_eps)
        self.output = linear(c.hidden_size, c.vocab_size)
        self.to(hf.dtype)
        self.load(hf.state_dict())

    def load(self, state):
        """Hugging Face's weights: rows of wq and wk go back to neighbouring pairs."""
        for name, p in self.named_parameters():
            other = name.replace("attention_norm", "input_layernorm")
            other = other.replace("ffn_norm", "post_attention_layernorm")
            for new, old in (("attention.w", "self_attn."), ("feed_forward", "mlp"),
                             ("tok_embeddings", "embed_tokens")):
                other = other.replace(new, old)
            if "self_attn" in other:
                other = other.replace(".weight", "_proj.weight")
            for new, old in (("w1", "gate_proj"), ("w2", "down_proj"), ("w3", "up_proj")):
                other = other if "experts" in other else other.replace(f"mlp.{new}", f"mlp.{old}")
            p.data.copy_(self.find(state, other, name))

    def find(self, state, other, name):
        if name == "output.weight":
            return state["lm_head.weight"]
        if ".experts." in other:
            head, e, w, _ = other.rsplit(".", 3)
            both = state[f"model.{head}.{'down_proj' if w == 'w2' else 'gate_up_proj'}"][int(e)]
            return both if w == "w2" else both.chunk(2)[w == "w3"]
        weight = state["model." + other]
        if name.endswith(("wq.weight", "wk.weight")):
            return weight.unflatten(0, (-1, 2, self.args.head_dim // 2)).transpose(1, 2).reshape(
                weight.shape)
        return weight

    def forward(self, input_ids, seqlens, cache):
        c, position = self.args, torch.cat([torch.arange(n) for n in seqlens])
        owner = torch.repeat_interleave(torch.arange(len(seqlens)), torch.tensor(seqlens))
        distance_ = position[:, None] - position[None]
        mask = (owner[:, None] == owner) & (distance_ >= 0) & (distance_ < (c.sliding_window
                                                                            or 1 << 30))
        theta = c.rope_parameters["rope_theta"]
        angle = position[:, None] / theta ** (torch.arange(0, c.head_dim, 2).double() / c.head_dim)
        freqs_cis = torch.polar(torch.ones_like(angle), angle)
        h = self.tok_embeddings(input_ids)
        for n, layer in enumerate(self.layers.values()):
            h = layer(h, freqs_cis, mask, lambda k, v, n=n: cache.keep(n, k, v))
        return self.output(self.norm(h))


def check_native(judge):
    """names="native", in double, against the golden traces of the same weights."""
    for name, run in (("dense_gqa_w5", "t13"), ("dense_gqa", "packed_1_4_9"),
                      ("mixtral_e5k2", "t13"), ("mixtral_e7k2_w5", "t13")):
        want, meta = read(CASES / name / f"{run}.f64.npz")
        model, what = Native(load(name, "f64")).eval(), f"native {name}/{run}"
        ids, lengths = torch.tensor(sum(meta["tokens"], [])), [len(s) for s in meta["tokens"]]

        def run(m):
            return [m.forward(ids, lengths, cache=Ring(m.args, lengths, m.norm.weight.dtype))]
        r = recorded(judge, model, run, what, names="native")
        got, new = judge.save(r, "native", what)
        judge.close(got, want, what, "f64", "native f64")
        judge.check(new["rope_layout"] == "interleaved" and new["tokens"] == meta["tokens"]
                    and new["layout"] == ("packed" if len(lengths) > 1 else "alone"), what)
        judge.check(set(new["not_recorded"]) == {"mask", "scores", "probs"},
                    f"{what}: {new['not_recorded']}")
        for n in range(2):
            for part, limit in (("cache_k", 1e-13), ("cache_v", 1e-13), ("cache_pos", 0)):
                name = f"layers.{n}.{part}"
                judge.check(distance(got[name], want[name]) <= limit, f"{what}: {name}")


# ---- a port with names of its own --------------------------------------------------------------

class Own(torch.nn.Module):
    """A port as people write them: fused projections, sequence first, tensors added by hand."""

    def __init__(self, hf):
        super().__init__()
        self.hf, c = hf, hf.config
        self.config = c
        self.embed = hf.model.embed_tokens
        self.blocks = torch.nn.ModuleList(torch.nn.ModuleDict(dict(qkv=linear(
            c.hidden_size, (c.num_attention_heads + 2 * c.num_key_value_heads) * c.head_dim)))
            for _ in hf.model.layers)
        for block, layer in zip(self.blocks, hf.model.layers):
            parts = (layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj)
            block["qkv"].weight.data = torch.cat([p.weight for p in parts])
        self.note = lambda name, tensor, axes=None: None

    def forward(self, tokens, start_pos=0):
        h = self.embed(tokens).transpose(0, 1)      # [T,B,d]
        a = self.hf.model.layers[0].input_layernorm(h)
        h.zero_()                                   # ports reuse their buffers
        out = self.blocks[0]["qkv"](a)
        self.note("layers.0.act", out.to(torch.float8_e4m3fn), "TBF")
        self.note("layers.0.h", out.to(torch.float8_e5m2), "TBF")
        self.note("layers.0.attention_norm", a, "TBd")
        return out


def check_map(judge):
    """A map with views, axes and add(); fp8 keeps its bits; spilling changes nothing."""
    hf = load("dense_gqa", "f32")
    c, own = hf.config, Own(hf)
    H, G = c.num_attention_heads * c.head_dim, c.num_key_value_heads * c.head_dim
    names = {"embed": "tok_embeddings", "blocks.{N}.qkv": [
        dict(name="layers.{N}.q", axes="TBx", view=lambda y: y[..., :H]),
        dict(name="layers.{N}.k", axes="TBx", view=lambda y: y[..., H:H + G]),
        dict(name="layers.{N}.v", axes="TBx", view=lambda y: y[..., H + G:])]}
    ids = torch.tensor([stream("dense_gqa", 9), stream("dense_gqa", 12)[3:]])
    own.note, files = (lambda *a: None), []
    plain = own(ids)
    for spill in (None, judge.folder):
        with torch.no_grad(), record(own, names=names, spill=spill,
                                     meta={"rope_layout": "half"}) as r:
            own.note = r.add
            judge.check(torch.equal(own(ids), plain), "map: recording changes the output")
        files.append(pathlib.Path(r.save(judge.folder / "map.npz")).read_bytes())
    r.save(judge.folder / "map.safetensors")
    judge.check(files[0] == files[1], "map: a spilled trace is not the same file")
    with torch.no_grad(), record(own, names=names) as pieces:       # its cache is its own affair
        own.note = pieces.add
        for start, end in ((0, 4), (4, 5), (5, 9)):
            own(ids[:, start:end], start_pos=start)
    judge.check(pieces.meta()["tokens"] == ids.tolist() and all(
        distance(pieces.array(n), r.array(n)) < 1e-6 for n in r.sorted_names()), "map: chunks")
    got, meta = read(judge.folder / "map.npz")
    judge.check(same_as_safetensors(got, judge.folder / "map.safetensors"), "map: safetensors")
    text = [alone(judge, hf, t.tolist(), "map")[0] for t in ids]
    for name in ("tok_embeddings", "layers.0.attention_norm", "layers.0.q", "layers.0.k",
                 "layers.0.v"):
        want = np.concatenate([t[name] for t in text])
        judge.check(distance(got[name], want) < 1e-6, f"map: {name}")
    rows = plain.detach().transpose(0, 1).flatten(0, 1)
    for name, dtype in (("layers.0.act.f8_e4m3", torch.float8_e4m3fn),
                        ("layers.0.h.f8_e5m2", torch.float8_e5m2)):
        bits = rows.to(dtype).view(torch.uint8).numpy()
        judge.check(np.array_equal(got[name], bits), f"map: {name}")
    judge.check(meta["layout"] == "batch" and meta["rope_layout"] == "half", "map: meta")
    judge.check(subprocess.run([judge.program, "info", judge.folder / "map.npz"], check=False,
                               capture_output=True).returncode == 0, "map: info")
    judge.files += 1


# ---- refusals ----------------------------------------------------------------------------------

def check_refusals(judge):
    """Each mistake has its sentence, and afterwards the model is as it was."""
    model, ids = load("dense_gqa", "f32"), torch.tensor([stream("dense_gqa", 5)])

    def refused(text, run):
        try:
            run()
            judge.check(False, f"not refused: {text}")
        except (ValueError, RuntimeError, TypeError) as error:
            judge.check(text in str(error), f"expected {text!r}, found {error}")

    def use(run, **options):
        with torch.no_grad(), record(model, **options) as r:
            run(r)
        return r
    refused("never called", lambda: use(lambda r: None).save(judge.folder / "x.npz"))
    refused("not through the forward", lambda: use(lambda r: model.model(ids)).save(
        judge.folder / "x.npz"))
    refused("ending in .npz", lambda: use(lambda r: model(ids)).save(judge.folder / "x.txt"))
    refused("has the path nonsense", lambda: record(model, names={"nonsense": "q"}))
    refused('"hf", "native"', lambda: record(model, names="HF"))
    refused("modules of Linear are called", lambda: record(model.lm_head))
    refused("'..'", lambda: record(model, names={"lm_head": "../logits"}))
    refused('side is "input"', lambda: record(model, names={"lm_head": dict(name="a", side="x")}))
    refused("before torch.compile", lambda: record(torch.compile(model)))
    refused("outside a call", lambda: use(lambda r: r.add("q", torch.zeros(1))))
    refused("no token ids", lambda: use(lambda r: model(inputs_embeds=torch.zeros(1, 3, 26))))
    refused("axes 'BT'", lambda: use(lambda r: model(ids), names={
        "lm_head": dict(name="logits", axes="BT")}))
    refused("cannot hold torch.complex64", lambda: use(lambda r: model(ids), names={
        "lm_head": dict(name="logits", view=lambda y: y.to(torch.complex64))}))
    refused("pick=1 is not among", lambda: use(lambda r: model(ids), names={
        "lm_head": dict(name="logits", pick=1)}))
    refused("comes twice", lambda: use(lambda r: model(ids), names={
        "lm_head": ["logits", "logits"]}))
    cache = model(ids).past_key_values
    refused("already holds 5 tokens", lambda: use(lambda r: model(ids, past_key_values=cache)))
    judge.check("forward" not in vars(model) and "forward" not in vars(model.lm_head),
                "the model keeps a wrapper")
    judge.check(not (judge.folder / "x.npz").exists(), "a refused trace was written")


CHECKS = (check_golden, check_prefill, check_chunks, check_rotary, check_generate, check_batches,
          check_padded_decode, check_experts, check_native, check_map, check_refusals)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default=ROOT / "mistral-ref", type=pathlib.Path)
    parser.add_argument("-k", default="", metavar="WORD", help="only checks with this in the name")
    arguments = parser.parse_args()
    torch.set_num_threads(1)    # one order of summation
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        judge = Judge(arguments.program.resolve(), folder)
        for check in CHECKS:
            if arguments.k in check.__name__:
                check(judge)
        for kind, far in sorted(judge.worst.items()):
            print(f"{kind:20s} worst difference {far:.1e}")
    print(f"{judge.files} files opened, {judge.tensors} tensors compared")
    print(f"{judge.passed} passed, {judge.failed} failed")
    return 1 if judge.failed or not judge.passed else 0


if __name__ == "__main__":
    sys.exit(main())
