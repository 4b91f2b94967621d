"""Records every intermediate tensor of a PyTorch model into a trace that mistral-ref can read.

Copy this one file next to a port; it needs torch and numpy only:

    from record import record
    with record(model) as r:        # names="hf" (default), names="native", or a map of module paths
        model(input_ids)            # one call, or several: chunks, decoding, model.generate(...)
    r.save("port.npz")              # or port.safetensors

Names and shapes are those of mistral-ref's docs/MODEL.md, files those of docs/FORMATS.md; how to
use it: docs/RECORD.md. What the model computes is not touched: every value is a copy of what the
port's own code made. Batches lose their padding, and sequences come one after the other.
"""
import dataclasses
import functools
import inspect
import json
import math
import os
import re
import struct
import sys
import tempfile
import zipfile
from dataclasses import dataclass, field

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

__all__ = ["record"]


def record(model, names="hf", *, spill=None, cache=True, config=None, meta=None):
    """A context that records every call of `model`; save it afterwards with .save(path).

    names   "hf", "native" (mistral-inference), or a dict: module path with {N} for the layer and
            {E} for the expert -> tensor name, or dict(name=, side="input", axes="BHTD", view=f,
            pick=i), or a list of these when one module gives several tensors.
    spill   a folder: tensors wait in an unnamed file there instead of in memory.
    cache   False: leave out what the model's cache holds at the end.
    config  sizes of the model, for ports whose model has neither .config nor .args.
    meta    fields to add to the trace's meta, such as {"rope_layout": "half"}.
    """
    return Recorder(model, names, spill, cache, config, meta)


# ---- element types -----------------------------------------------------------------------------

@dataclass(frozen=True)
class Kind:
    """An element type: safetensors' word, numpy's type of the raw bits, ending in a .npz."""
    word: str
    numpy: str
    ending: str = ""
    bits: torch.dtype = None    # integer view, where numpy lacks the type


KINDS = {
    torch.float64: Kind("F64", "<f8"), torch.float32: Kind("F32", "<f4"),
    torch.float16: Kind("F16", "<f2"), torch.bfloat16: Kind("BF16", "<u2", ".bf16", torch.int16),
    torch.int64: Kind("I64", "<i8"), torch.int32: Kind("I32", "<i4"),
    torch.uint8: Kind("U8", "|u1"), torch.bool: Kind("U8", "|u1", "", torch.uint8),
}
for _name, _word in (("float8_e4m3fn", "F8_E4M3"), ("float8_e5m2", "F8_E5M2")):
    if hasattr(torch, _name):
        KINDS[getattr(torch, _name)] = Kind(_word, "|u1", "." + _word.lower(), torch.uint8)
U8, I32 = KINDS[torch.uint8], KINDS[torch.int32]
PRECISION = {torch.float64: "f64", torch.float32: "f32", torch.float16: "f16",
             torch.bfloat16: "bf16"}


def raw_bits(tensor, name):
    """The bits of a host tensor as a numpy array, and their kind."""
    kind = KINDS.get(tensor.dtype)
    if kind is None:
        raise TypeError(f"{name}: a trace cannot hold {tensor.dtype}; convert it with view=")
    tensor = tensor.contiguous()
    return (tensor.view(kind.bits) if kind.bits else tensor).numpy().view(kind.numpy), kind


def minus_infinity(kind, name):
    """The raw bits of -inf."""
    if kind.word == "BF16":
        return 0xFF80
    if kind.word not in ("F64", "F32", "F16"):
        raise TypeError(f"{name}: {kind.word} has no -inf for keys that are not attended to")
    return -math.inf


# ---- names -------------------------------------------------------------------------------------

@dataclass
class Point:
    """One tensor at one module: its output, or its input."""
    name: str           # with {N} and {E}
    side: str = "output"
    axes: str = None    # letters of the axes as the port has them, such as "BHTD"
    view: object = None     # function applied first, such as lambda y: y[..., :1024]
    pick: int = 0       # which one when the module gives or takes several

    def tensor(self, values):
        """The tensor among what went in or came out."""
        values = values.values() if isinstance(values, dict) else values
        values = [values] if isinstance(values, torch.Tensor) else values
        found = [v for v in values or () if isinstance(v, torch.Tensor)]
        if len(found) <= self.pick:
            raise ValueError(f"record: {self.name}: the {self.side} of its module has "
                             f"{len(found)} tensors, pick={self.pick} is not among them")
        return self.view(found[self.pick]) if self.view else found[self.pick]


HF = {
    "embed_tokens": "tok_embeddings",
    "layers.{N}.input_layernorm": "layers.{N}.attention_norm",
    "layers.{N}.self_attn.q_proj": "layers.{N}.q",
    "layers.{N}.self_attn.k_proj": "layers.{N}.k",
    "layers.{N}.self_attn.v_proj": "layers.{N}.v",
    "layers.{N}.self_attn.o_proj": "layers.{N}.attention_out",
    "layers.{N}.post_attention_layernorm": [dict(name="layers.{N}.h_mid", side="input"),
                                            "layers.{N}.ffn_norm"],
    "layers.{N}.mlp": "layers.{N}.ffn_out",
    "layers.{N}.mlp.gate_proj": "layers.{N}.w1",
    "layers.{N}.mlp.up_proj": "layers.{N}.w3",
    "layers.{N}.mlp.down_proj": dict(name="layers.{N}.act", side="input"),
    "layers.{N}.block_sparse_moe": "layers.{N}.ffn_out",
    "layers.{N}.block_sparse_moe.gate": "layers.{N}.router_logits",
    "layers.{N}": "layers.{N}.h",
    "norm": "norm",
}
NATIVE = {
    "tok_embeddings": "tok_embeddings",
    "layers.{N}.attention_norm": "layers.{N}.attention_norm",
    "layers.{N}.attention.wq": "layers.{N}.q",
    "layers.{N}.attention.wk": "layers.{N}.k",
    "layers.{N}.attention.wv": "layers.{N}.v",
    "layers.{N}.attention.wo": [dict(name="layers.{N}.attention", side="input"),
                                "layers.{N}.attention_out"],
    "layers.{N}.ffn_norm": [dict(name="layers.{N}.h_mid", side="input"), "layers.{N}.ffn_norm"],
    "layers.{N}.feed_forward": "layers.{N}.ffn_out",
    "layers.{N}.feed_forward.w1": "layers.{N}.w1",
    "layers.{N}.feed_forward.w3": "layers.{N}.w3",
    "layers.{N}.feed_forward.w2": dict(name="layers.{N}.act", side="input"),
    "layers.{N}.feed_forward.gate": "layers.{N}.router_logits",
    "layers.{N}": "layers.{N}.h",
    "norm": "norm",
    "output": "logits",
}
HEADS = ("q", "k", "v", "q_rope", "k_rope", "attention")
LAYER = ("attention_norm", "q", "k", "v", "q_rope", "k_rope", "scores", "probs", "attention",
         "attention_out", "h_mid", "ffn_norm")
DENSE = ("w1", "w3", "act")
ROUTER = ("router_logits", "router_experts", "router_weights")
CACHE = ("cache_k", "cache_v", "cache_pos")


def part_of(name):
    """The last word of a tensor's name, what it is in every layer: q of layers.0.q."""
    return re.sub(r"^layers\.\d+\.", "", name)


def check_name(name):
    if not re.fullmatch(r"[!-~]{1,4000}", name) or ".." in name or name[0] == "/":
        raise ValueError(f"{name!r}: a tensor's name is printable ASCII without '..'")
    return name


def as_points(value):
    """What a map gives for one module, as a list of Point."""
    values = value if isinstance(value, list) else [value]
    points = [Point(v) if isinstance(v, str) else Point(**v) for v in values]
    for point in points:
        if point.side not in ("input", "output"):
            raise ValueError(f'{point.name}: side is "input" or "output", not {point.side!r}')
    return points


def matches(pattern, path):
    """The numbers that {N} and {E} stand for when the path fits the pattern, else None."""
    parts = re.split(r"\{([A-Z])\}", pattern)
    regex = "".join(f"(?P<{p}>[0-9]+)" if i % 2 else re.escape(p) for i, p in enumerate(parts))
    found = re.fullmatch(regex, path)
    return found.groupdict() if found else None


def find_prefix(model, last):
    """What stands before the decoder's modules: "model." in a Hugging Face model with a head."""
    paths = [path for path, _ in model.named_modules() if path.split(".")[-1] == last]
    if len(paths) != 1:
        raise ValueError(f"names: {len(paths)} modules of {type(model).__name__} are called "
                         f"{last!r}, expected one; give names= a map of its module paths")
    return paths[0][:-len(last)]


def find_points(model, names):
    """Every (module, points) of the model that the names select."""
    table, prefix = names, ""
    if isinstance(names, str):
        if names not in ("hf", "native"):
            raise ValueError(f'names: expected "hf", "native" or a dict, found {names!r}')
        table = HF if names == "hf" else NATIVE
        prefix = find_prefix(model, next(iter(table)))
    modules = list(model.named_modules(remove_duplicate=False))
    chosen, unused = [], []
    for pattern, value in table.items():
        found = [(m, matches(prefix + pattern, path)) for path, m in modules]
        found = [(m, numbers) for m, numbers in found if numbers is not None]
        unused += [] if found else [pattern]
        chosen += [(m, [dataclasses.replace(p, name=check_name(p.name.format(**numbers)))
                        for p in as_points(value)]) for m, numbers in found]
    if unused and not isinstance(names, str):
        raise ValueError(f"names: no module of {type(model).__name__} has the path "
                         f"{', '.join(unused)}; print([n for n, _ in model.named_modules()])")
    if names == "hf":
        chosen += [(m, [Point("logits")]) for path, m in modules
                   if path.split(".")[-1] == "lm_head"]
    return chosen


# ---- the model's sizes -------------------------------------------------------------------------

def config_dict(model, config):
    """The configuration as plain data."""
    config = config if config is not None else getattr(model, "config", getattr(model, "args", {}))
    if hasattr(config, "to_dict"):
        config = config.to_dict()
    elif dataclasses.is_dataclass(config):
        config = dataclasses.asdict(config)
    elif not isinstance(config, dict):
        config = vars(config)
    return json.loads(json.dumps(config, default=str))


def sizes_of(config):
    """L, H, G, D, E, K, None where the configuration does not say."""
    def first(*keys):
        moe = config.get("moe") or {}
        return next((c[k] for k in keys for c in (config, moe) if c.get(k) is not None), None)
    size = {"L": first("num_hidden_layers", "n_layers"),
            "H": first("num_attention_heads", "n_heads"),
            "G": first("num_key_value_heads", "n_kv_heads"),
            "D": first("head_dim"), "d": first("hidden_size", "dim"),
            "E": first("num_local_experts", "num_experts"), "K": first("num_experts_per_tok")}
    if size["D"] is None and size["d"] and size["H"]:
        size["D"] = size["d"] // size["H"]
    return size


def run_order(size):
    """Every tensor name of a run of such a model, in the order of execution."""
    ffn = list(DENSE)
    if size["E"]:
        ffn = [*ROUTER, *(f"experts.{e}.out" for e in range(size["E"]))]
    parts = ["mask", *LAYER, *ffn, "ffn_out", "h", *CACHE]
    layers = [f"layers.{n}.{part}" for n in range(size["L"] or 0) for part in parts]
    return ["mask", "tok_embeddings", *layers, "norm", "logits"]


# ---- which row belongs to whom -----------------------------------------------------------------

@dataclass
class Sequence:
    """One text: its tokens and the absolute position of each."""
    tokens: list = field(default_factory=list)
    positions: list = field(default_factory=list)


@dataclass
class Lane:
    """One row of a batch: what was fed into its cache, as (sequence, index), (-1, -1) padding."""
    columns: list = field(default_factory=list)
    sequence: int = -1      # the one that goes on

    def keys(self, width):
        """Columns of a key axis of this width that hold a token, and which token each holds.

        A cache that still has room keeps tokens in the order fed, a full one the last of them.
        """
        fed = np.array(self.columns, np.int64).reshape(-1, 2)
        fed = fed[max(0, len(fed) - width):]
        where = np.flatnonzero(fed[:, 0] >= 0)
        return where, fed[where]


@dataclass
class Group:
    """Lanes that share one cache object; without a cache, those of one call."""
    lanes: list
    cache: object = None

    @property
    def fed(self):
        return len(self.lanes[0].columns)


@dataclass
class Call:
    """One forward call: B x T rows, of which `flat` are tokens and belong to `ids`."""
    group: Group
    B: int
    T: int
    flat: np.ndarray                # rows of [B*T] that are tokens
    ids: np.ndarray                 # [rows, 2]: sequence, index in it
    kept: np.ndarray                # times whose logits are computed
    layout: str
    names: set = field(default_factory=set)
    widths: dict = field(default_factory=dict)
    masks: dict = field(default_factory=dict)
    alive: list = field(default_factory=list)

    @functools.cached_property
    def who(self):
        """Row of [B*T] -> (sequence, index); padding is not there."""
        return dict(zip(self.flat.tolist(), self.ids.tolist()))

    def keys(self, lane, width):
        if (lane, width) not in self.widths:
            self.widths[lane, width] = self.group.lanes[lane].keys(width)
        return self.widths[lane, width]


INPUTS = {"ids": ("input_ids", "tokens", "idx"), "mask": ("attention_mask",),
          "positions": ("position_ids", "positions", "start_pos", "input_pos"),
          "cache": ("past_key_values", "cache", "kv_cache"), "seqlens": ("seqlens",),
          "kept": ("logits_to_keep",)}


def read_inputs(forward, args, kwargs):
    """The arguments of a forward call that say which row is which token."""
    try:
        bound = inspect.signature(forward).bind_partial(*args, **kwargs)
        given = {**bound.arguments, **bound.arguments.get("kwargs", {})}
    except (TypeError, ValueError):
        given = dict(kwargs)
    found = {key: next((given[name] for name in names if given.get(name) is not None), None)
             for key, names in INPUTS.items()}
    if found["ids"] is None:
        found["ids"] = next((a for a in args if is_ids(a)), None)
    if not is_ids(found["ids"]):
        raise ValueError("record: this call of the model has no token ids (input_ids, tokens or "
                         "idx: integers [B,T] or [T]); a trace has to say what was run")
    return found


def is_ids(value):
    return (isinstance(value, torch.Tensor) and value.dim() in (1, 2)
            and value.dtype in (torch.int64, torch.int32))


def find_cache(result):
    """The transformers cache among what a model returned."""
    values = result.values() if isinstance(result, dict) else result
    values = values if isinstance(result, (dict, tuple, list)) else ()
    return next((v for v in values if hasattr(v, "get_seq_length")), None)


def held_tokens(cache):
    """How many tokens a cache of transformers or mistral-inference holds; None if it hides it."""
    if hasattr(cache, "get_seq_length"):
        return int(cache.get_seq_length())
    if hasattr(cache, "kv_seqlens"):
        return 0 if cache.kv_seqlens is None else int(cache.kv_seqlens[0])
    return None


def cache_tensors(cache, n):
    """Keys and values of one layer as [B,slots,G,D], and whether slot = position mod slots."""
    layers = getattr(cache, "layers", ())
    if n < len(layers) and layers[n].keys is not None:
        return layers[n].keys.transpose(1, 2), layers[n].values.transpose(1, 2), False
    if hasattr(cache, "cache_k"):
        return cache.cache_k[n], cache.cache_v[n], True
    return None


def to_positions(value, B, T, fed):
    """Absolute position of every row, [B,T]; by default rows count on from what was fed."""
    if value is None:
        return np.broadcast_to(np.array(fed)[:, None] + np.arange(T), (B, T))
    if isinstance(value, int) or (isinstance(value, torch.Tensor) and value.numel() == 1):
        return np.broadcast_to(int(value) + np.arange(T), (B, T))
    value = value.detach().cpu().numpy()
    if value.shape[-1] != T or value.ndim > 2:
        raise ValueError(f"record: positions of shape {value.shape}, expected [{B},{T}] or [{T}]")
    return np.broadcast_to(value, (B, T))


def valid_rows(mask, B, T, fed):
    """Which rows are tokens: False where the attention mask marks padding."""
    if not isinstance(mask, torch.Tensor) or mask.dim() != 2:
        return np.ones((B, T), bool)
    mask = mask.detach().cpu().numpy() != 0
    mask = mask[:, fed:fed + T] if mask.shape[1] >= fed + T else mask[:, -T:]
    if mask.shape != (B, T):
        raise ValueError(f"record: attention_mask does not cover the {B} x {T} ids")
    return mask


def layout_of(valid, packed):
    """In words: how the sequences of a call lie beside each other."""
    if packed:
        return "packed"
    if valid.all():
        return "alone" if len(valid) == 1 else "batch"
    return "right" if not valid[:, -1].all() else "left"


class Book:
    """Keeps account of sequences over all calls: who each row and each cached key is."""

    def __init__(self, strict):
        self.strict = strict        # only a cache makes a call go on where another ended
        self.sequences, self.groups, self.layouts = [], [], []

    def group_of(self, cache, first, lanes):
        """The group that this call continues, or a new one."""
        held = held_tokens(cache)
        for group in self.groups:
            if cache is not None and group.cache is cache and held == 0 < group.fed:
                group.cache = None      # it was reset
            elif cache is not None and group.cache is cache:
                if len(group.lanes) != lanes or held not in (None, group.fed):
                    raise ValueError("record: the cache was cropped, reordered or used outside "
                                     f"this context: {held} tokens, {group.fed} were recorded")
                return group
        if held:
            raise ValueError(f"record: the cache already holds {held} tokens; start recording "
                             "before the first of them is computed")
        last = self.groups[-1] if self.groups and cache is None and not self.strict else None
        if last and first is not None and len(last.lanes) == lanes and all(
                lane.sequence >= 0 and self.sequences[lane.sequence].positions[-1] + 1 == f
                for lane, f in zip(last.lanes, first)):
            return last
        self.groups.append(Group([Lane() for _ in range(lanes)], cache))
        return self.groups[-1]

    def feed(self, lane, tokens, positions, valid, explicit):
        """Appends the rows of one lane; returns the ids of its tokens."""
        ids, inside = [], False
        for token, position, good in zip(tokens, positions, valid):
            if not good:
                lane.columns.append((-1, -1))
                continue
            here = self.sequences[lane.sequence] if lane.sequence >= 0 else None
            jump = here and explicit and inside and position != here.positions[-1] + 1
            if here is None or jump:
                here = Sequence()
                lane.sequence = len(self.sequences)
                self.sequences.append(here)
            here.tokens.append(int(token))
            here.positions.append(int(position))
            ids.append((lane.sequence, len(here.tokens) - 1))
            lane.columns.append(ids[-1])
            inside = True
        return ids

    def open_call(self, given):
        """The Call for these arguments."""
        ids = given["ids"].detach().cpu().numpy()
        if given["seqlens"] is not None:
            return self.open_flat(ids, given)
        ids = ids[None] if ids.ndim == 1 else ids
        B, T = ids.shape
        explicit = given["positions"] is not None
        first = to_positions(given["positions"], B, T, [0] * B)[:, 0] if explicit and T else None
        group = self.group_of(given["cache"], first, B)
        positions = to_positions(given["positions"], B, T, [group.fed] * B)
        valid = valid_rows(given["mask"], B, T, group.fed)
        before, made = len(self.sequences), sum(lane.sequence < 0 for lane in group.lanes)
        rows = [self.feed(*row, explicit) for row in zip(group.lanes, ids, positions, valid)]
        packed = len(self.sequences) - before > made
        return self.made(group, B, T, valid, rows, given["kept"], layout_of(valid, packed))

    def open_flat(self, ids, given):
        """A call of mistral-inference: sequences end to end, their lengths beside them."""
        lengths, T = list(map(int, given["seqlens"])), len(ids)
        group = self.group_of(given["cache"], None, len(lengths))
        rows, start = [], 0
        for lane, n in zip(group.lanes, lengths):
            positions = len(lane.columns) + np.arange(n)
            rows.append(self.feed(lane, ids[start:start + n], positions, [True] * n, False))
            start += n
        layout = "packed" if len(lengths) > 1 else "alone"
        return self.made(group, 1, T, np.ones((1, T), bool), rows, None, layout)

    def made(self, group, B, T, valid, rows, kept, layout):
        self.layouts.append(layout)
        times = np.arange(T)
        if isinstance(kept, torch.Tensor):
            times = times[kept.detach().cpu().numpy()]
        elif kept:
            times = times[-int(kept):]
        ids = np.array([i for row in rows for i in row], np.int64).reshape(-1, 2)
        return Call(group, B, T, np.flatnonzero(valid), ids, times, layout)

    def starts(self):
        """Row of the trace at which each sequence begins, and the number of all rows."""
        return np.cumsum([0] + [len(s.tokens) for s in self.sequences])

    def rows(self, ids):
        """Row of the trace of each (sequence, index)."""
        return self.starts()[ids[:, 0]] + ids[:, 1]


# ---- pieces of tensors -------------------------------------------------------------------------

class Store:
    """Where pieces wait between recording and saving: in memory, or in one unnamed file."""

    def __init__(self, folder):
        self.file = tempfile.TemporaryFile(dir=folder) if folder else None

    def put(self, array):
        array = np.ascontiguousarray(array)
        if self.file is None or not array.size:
            return array
        offset = self.file.seek(0, os.SEEK_END)
        self.file.write(array.reshape(-1).view(np.uint8).data)
        return offset, array.dtype, array.shape

    def get(self, piece):
        if isinstance(piece, np.ndarray):
            return piece
        offset, dtype, shape = piece
        array = np.empty(shape, dtype)
        self.file.seek(offset)
        if self.file.readinto(array.reshape(-1).view(np.uint8).data) != array.nbytes:
            raise OSError("record: the spill file is shorter than what was written to it")
        return array


@dataclass
class Tensor:
    """One named tensor: pieces of (data, ids of the rows, ids of the keys or None)."""
    kind: Kind
    tail: tuple = ()    # the dimensions that are not rows or keys; heads of scores and probs
    pieces: list = field(default_factory=list)

    def shape(self, book):
        rows = sum(len(ids) for _, ids, _ in self.pieces)
        if self.pieces[0][2] is None:
            return (rows, *self.tail)
        return (*self.tail, rows, int(book.starts()[-1]))

    def order(self, book):
        """Where each row of each piece goes: sequence after sequence, whatever the calls were."""
        rows = np.concatenate([book.rows(ids) for _, ids, _ in self.pieces])
        place = np.empty(len(rows), np.int64)
        place[np.argsort(rows, kind="stable")] = np.arange(len(rows))
        return rows, place

    def array(self, book, store, name):
        """The whole, joined."""
        fill = minus_infinity(self.kind, name) if part_of(name) == "scores" else 0
        out = np.full(self.shape(book), fill, self.kind.numpy)
        _, place = self.order(book)
        start = 0
        for piece, ids, keys in self.pieces:
            data, here = store.get(piece), place[start:start + len(ids)]
            start += len(ids)
            if keys is None:
                out[here] = data
            else:
                out[..., here[:, None], book.rows(keys)[None, :]] = data
        return out


# ---- seeing calls inside a function ------------------------------------------------------------

class Calls(TorchFunctionMode):
    """Keeps first argument and result of each call of the torch functions with these names."""

    def __init__(self, *names):
        super().__init__()
        self.seen = {name: [] for name in names}

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name in self.seen:
            self.seen[name].append((args[0] if args else None, result))
        return result


# ---- the recorder ------------------------------------------------------------------------------

PENDING = 1 << 28       # bytes on their way to the host before we wait for them


@dataclass
class Item:
    """A tensor on its way to the host."""
    name: str
    tensor: torch.Tensor
    axes: str = None
    rows: torch.Tensor = None   # experts: which row of [B*T] each row is
    mask: object = None         # scores: key of the call's mask


class Recorder:
    """Replaces the forward of chosen modules by one that also keeps what goes in or comes out.

    Not hooks, because mistral-inference calls module.forward(x), which passes hooks by.
    """

    def __init__(self, model, names, spill, cache, config, meta):
        if type(model).__name__ == "OptimizedModule":
            raise TypeError("record: pass the model before torch.compile; compiled code has no "
                            "modules to record")
        self.model, self.names, self.extra = model, names, dict(meta or {})
        self.style = names if isinstance(names, str) else "map"
        self.points = find_points(model, names)
        self.config = config_dict(model, config)
        self.size = sizes_of(self.config)
        self.store, self.keep_cache = Store(spill), cache
        self.book, self.tensors, self.lost = Book(self.style == "hf"), {}, {}
        self.call = self.layer = self.router = None
        self.pending, self.bytes, self.devices = [], 0, set()
        self.undo, self.counts, self.outside, self.entered = [], [], 0, False

    # -- entering and leaving --

    def __enter__(self):
        if self.entered:
            raise RuntimeError("record: one context records once; make a new one")
        self.entered = True
        try:
            for module, points in self.points:
                self.replace(module, functools.partial(self.watch, points=points))
            {"hf": self.enter_hf, "native": self.enter_native, "map": lambda: None}[self.style]()
            self.replace(self.model, self.root)
        except BaseException:
            self.restore()
            raise
        return self

    def __exit__(self, kind, *_):
        self.restore()
        if kind is None and self.keep_cache:
            self.record_caches()
        self.call = None

    def restore(self):
        while self.undo:
            self.undo.pop()()

    def replace(self, module, make):
        """Puts make(forward) in the place of the module's forward until the context ends."""
        own, original = "forward" in vars(module), module.forward
        module.forward = functools.wraps(original)(make(original))

        def back():
            if own:
                module.forward = original
            else:
                del module.forward
        self.undo.append(back)

    def set_item(self, owner, key, value):
        """owner.key or owner[key] = value until the context ends."""
        if isinstance(key, str) and hasattr(owner, "__dict__") and key in vars(owner):
            before = vars(owner)[key]
            setattr(owner, key, value)
            self.undo.append(lambda: setattr(owner, key, before))
            return
        had, before = key in owner, owner.get(key)
        owner[key] = value
        self.undo.append(lambda: owner.__setitem__(key, before) if had else owner.pop(key))

    # -- the call as a whole --

    def root(self, original):
        """Around the model's own forward: who is who in this call, and waiting for copies."""
        def forward(*args, **kwargs):
            if self.call is not None:       # a model that calls itself
                return original(*args, **kwargs)
            given = read_inputs(original, args, kwargs)
            self.call = self.book.open_call(given)
            self.counts.append(len(self.call.ids))
            try:
                result = original(*args, **kwargs)
                self.flush()
            finally:
                group, self.call = self.call.group, None
            if group.cache is None:
                group.cache = find_cache(result)
            return result
        return forward

    def watch(self, original, points):
        """Around one module's forward."""
        def forward(*args, **kwargs):
            for point in points:
                if point.side == "input":
                    self.see(point, args if args else kwargs)
            result = original(*args, **kwargs)
            for point in points:
                if point.side == "output":
                    self.see(point, result)
            return result
        return forward

    def see(self, point, values):
        if self.call is None:
            self.outside += 1
        else:
            self.keep(Item(point.name, point.tensor(values), point.axes))

    def add(self, name, tensor, axes=None):
        """For a port's own code: records a tensor from inside a forward call, under any name.

        axes: letters as in "BHTD"; scores and probs are "BHTS" unless told.
        """
        if self.call is None:
            raise RuntimeError(f"record: add({name!r}) outside a call of the recorded model")
        self.keep(Item(check_name(name), tensor, axes))

    # -- to the host --

    def keep(self, item):
        """Starts the copy to the host."""
        if item.name in self.call.names:
            raise ValueError(f"record: {item.name} comes twice in one call of the model")
        self.call.names.add(item.name)
        item.tensor = self.host(item.tensor)
        item.rows = None if item.rows is None else self.host(item.rows)
        self.pending.append(item)
        self.bytes += item.tensor.numel() * item.tensor.element_size()
        if self.bytes > PENDING:
            self.flush()

    def host(self, tensor):
        """A copy in host memory; from CUDA it may still be on its way (into pinned memory)."""
        tensor = tensor.detach()
        if tensor.device.type == "cpu":
            return tensor.clone()
        if tensor.device.type == "cuda":
            self.devices.add(tensor.device)
            return tensor.to("cpu", non_blocking=True)
        return tensor.to("cpu")

    def flush(self):
        """Waits for the copies and brings them into the project's shapes."""
        for device in self.devices:
            torch.cuda.synchronize(device)
        pending, self.pending, self.bytes, self.devices = self.pending, [], 0, set()
        for item in pending:
            part = part_of(item.name)
            if part in ("scores", "probs", "mask"):
                self.put_keys(item)
            elif item.rows is not None:
                self.put_expert(item)
            else:
                self.put_rows(item, part)

    def put(self, name, kind, tail, data, ids, keys=None):
        """Adds one piece to a tensor."""
        tensor = self.tensors.setdefault(name, Tensor(kind, tuple(tail)))
        if (tensor.kind, tensor.tail) != (kind, tuple(tail)):
            raise ValueError(f"record: {name} was {tensor.kind.word} {list(tensor.tail)} in an "
                             f"earlier call and is {kind.word} {list(tail)}")
        tensor.pieces.append((self.store.put(data), ids, keys))

    def put_rows(self, item, part):
        """[B,T,...] or [B*T,...]: the rows that are tokens."""
        call = self.call
        tensor, times = rows_first(item.tensor, item.axes, call, item.name)
        if part == "router_experts":
            tensor = tensor.to(torch.int32)
        array, kind = raw_bits(tensor, item.name)
        flat, ids = call.flat, call.ids
        if len(times) < call.T:
            rows = [b * call.T + t for b in range(call.B) for t in times.tolist()]
            flat = np.array([n for n, f in enumerate(rows) if f in call.who], np.int64)
            ids = np.array([call.who[rows[n]] for n in flat], np.int64).reshape(-1, 2)
        array = array[flat]
        if part in HEADS and array.ndim == 2 and self.size["D"]:
            array = array.reshape(len(array), -1, self.size["D"])
        self.put(item.name, kind, array.shape[1:], array, ids)

    def put_expert(self, item):
        """Rows of one expert in any order, without padding; Tensor.order sorts them by token."""
        who = self.call.who
        rows = [(n, who[f]) for n, f in enumerate(item.rows.tolist()) if f in who]
        array, kind = raw_bits(item.tensor, item.name)
        ids = np.array([i for _, i in rows], np.int64).reshape(-1, 2)
        self.put(item.name, kind, array.shape[1:], array[[n for n, _ in rows]], ids)

    def put_keys(self, item):
        """[B,H,T,keys]: rows that are tokens, one column per token of the sequence so far."""
        call, mask = self.call, None
        tensor = keys_last(item.tensor, item.axes, call, item.name)
        if item.mask is not None:
            mask = np.broadcast_to(call.masks[item.mask][..., :tensor.shape[-1]], tensor.shape)
        array, kind = raw_bits(tensor, item.name)
        for lane in range(call.B):
            inside = (call.flat >= lane * call.T) & (call.flat < (lane + 1) * call.T)
            times = call.flat[inside] - lane * call.T
            columns, keys = call.keys(lane, array.shape[-1])
            at = np.ix_(range(array.shape[1]), times, columns)
            data = array[lane][at]
            if mask is not None:
                data = np.where(mask[lane][at], data, np.array(minus_infinity(kind, item.name),
                                                               kind.numpy))
            if part_of(item.name) == "mask":
                self.put(item.name, kind, (), data[0], call.ids[inside], keys)
            else:
                self.put(item.name, kind, data.shape[:1], data, call.ids[inside], keys)

    # -- Hugging Face --

    def enter_hf(self):
        """Looks into attention, router and experts of transformers' classes."""
        self.layer_of, sources = {}, set()
        for path, module in self.model.named_modules():
            number = re.search(r"layers\.(\d+)\.(self_attn|mlp\.gate|mlp\.experts)$", path)
            if number is None:
                continue
            layer, what = int(number[1]), number[2]
            if what == "self_attn":
                self.layer_of[id(module)] = layer
                sources.add(sys.modules[type(module).__module__])
                self.replace(module, functools.partial(self.inside_layer, layer=layer))
            elif what == "mlp.gate":
                self.replace(module, functools.partial(self.watch_router, layer=layer))
            else:
                self.replace(module, functools.partial(self.watch_experts, layer=layer))
        for source in sources:
            self.enter_source(source)

    def enter_source(self, source):
        """Wraps the functions of one modeling file that its attention calls by name."""
        if hasattr(source, "apply_rotary_pos_emb"):
            self.set_item(source, "apply_rotary_pos_emb",
                          self.watch_rotary(source.apply_rotary_pos_emb, "BHTD"))
        if hasattr(source, "eager_attention_forward"):
            self.set_item(source, "eager_attention_forward",
                          self.watch_attention(source.eager_attention_forward, "eager"))
        functions = getattr(source, "ALL_ATTENTION_FUNCTIONS", None)
        how = self.attention_name()
        if functions is not None and how != "eager" and how in functions:
            local = getattr(functions, "_local_mapping", functions)
            self.set_item(local, how, self.watch_attention(functions[how], how))

    def attention_name(self):
        return getattr(getattr(self.model, "config", None), "_attn_implementation", None)

    def inside_layer(self, original, layer):
        """So that a rotation knows whose vectors it turns."""
        def forward(*args, **kwargs):
            before, self.layer = self.layer, layer
            try:
                return original(*args, **kwargs)
            finally:
                self.layer = before
        return forward

    def watch_rotary(self, original, axes):
        @functools.wraps(original)
        def rotary(*args, **kwargs):
            q, k = result = original(*args, **kwargs)
            if self.call is not None and self.layer is not None:
                here = axes
                if axes == "BHTD" and 2 in (*args[4:], kwargs.get("unsqueeze_dim", 1)):
                    here = "BTHD"
                here = here if q.dim() == 4 else "THD"
                self.keep(Item(f"layers.{self.layer}.q_rope", q, here))
                self.keep(Item(f"layers.{self.layer}.k_rope", k, here))
            return result
        return rotary

    def watch_attention(self, original, how):
        """Around the attention function: q, k, v and mask go in; eager shows its softmax."""
        @functools.wraps(original)
        def attention(module, query, key, value, attention_mask=None, *args, **kwargs):
            layer = self.layer_of.get(id(module)) if self.call is not None else None
            inputs = (module, query, key, value, attention_mask, *args)
            if layer is None:
                return original(*inputs, **kwargs)
            prefix = f"layers.{layer}."
            self.keep_mask(prefix, how, module, query, key, attention_mask)
            self.keep_rotated(prefix, query, key)
            if how != "eager":
                result = original(*inputs, **kwargs)
            else:
                with Calls("softmax") as calls:
                    result = original(*inputs, **kwargs)
                if calls.seen["softmax"]:
                    scores = calls.seen["softmax"][0][0]
                    mask = None if attention_mask is None else id(attention_mask)
                    self.keep(Item(prefix + "scores", scores, mask=mask))
                self.keep(Item(prefix + "probs", result[1]))
            self.keep(Item(prefix + "attention", result[0], "BTHD"))
            return result
        return attention

    def keep_rotated(self, prefix, query, key):
        """q and k as attention gets them, where the rotation itself was not seen."""
        if prefix + "q_rope" not in self.call.names:
            end = min(key.shape[2], self.call.group.fed)    # a static cache has room behind it
            self.keep(Item(prefix + "q_rope", query, "BHTD"))
            self.keep(Item(prefix + "k_rope", key[:, :, end - self.call.T:end], "BHTD"))

    def keep_mask(self, prefix, how, module, query, key, mask):
        """Which keys each row may see, as the port tells its attention: mask, or layers.N.mask."""
        width, masks = key.shape[2], self.call.masks
        if mask is None:
            if how == "eager":
                allowed = torch.ones(1, 1, query.shape[2], width, dtype=torch.bool)
            elif how == "sdpa":
                allowed = torch.ones(query.shape[2], width, dtype=torch.bool)[None, None]
                if query.shape[2] > 1 and getattr(module, "is_causal", True):
                    allowed = allowed.tril()
            else:
                self.lost["mask"] = f"{how} attention takes no mask tensor"
                return
        elif not isinstance(mask, torch.Tensor) or mask.dim() != 4:
            self.lost["mask"] = f"{how} attention takes no mask tensor [B,1,T,keys]"
            return
        elif id(mask) not in masks:
            allowed = mask.detach().cpu()
            if allowed.dtype is not torch.bool:
                allowed = allowed > torch.finfo(allowed.dtype).min / 2
            masks[id(mask)] = allowed.numpy()
            self.call.alive.append(mask)    # so that no other mask gets its id
        allowed = allowed if mask is None else torch.from_numpy(masks[id(mask)])
        allowed = allowed[:, :1, :, :width].expand(self.call.B, -1, -1, -1)
        if "first" not in masks:
            masks["first"] = allowed
            self.keep(Item("mask", allowed))
        elif not torch.equal(masks["first"], allowed):
            self.keep(Item(prefix + "mask", allowed))
            self.lost["mask of some layers"] = "differs: see layers.N.mask; mask is layer 0's"

    def watch_router(self, original, layer):
        """Transformers 5: the gate gives logits, weights and experts."""
        def forward(*args, **kwargs):
            result = original(*args, **kwargs)
            if self.call is not None:
                values = [result] if isinstance(result, torch.Tensor) else list(result)
                floats = [v for v in values if v.is_floating_point()]
                wholes = [v for v in values if not v.is_floating_point()]
                names = [f"layers.{layer}.{part}" for part in ROUTER]
                self.keep(Item(names[0], floats[0]))
                if wholes:
                    self.keep(Item(names[1], wholes[0]))
                if len(floats) > 1 and wholes and floats[1].shape == wholes[0].shape:
                    self.keep(Item(names[2], floats[1]))
            return result
        return forward

    def watch_experts(self, original, layer):
        """Transformers 5: all experts are one module; which product is whose is seen inside."""
        def forward(hidden, indices, weights, *args, **kwargs):
            if self.call is None:
                return original(hidden, indices, weights, *args, **kwargs)
            names = ("where", "linear", "sort", "bmm", "grouped_mm", "_grouped_mm",
                     "grouped_mm_fallback")
            with Calls(*names) as calls:
                result = original(hidden, indices, weights, *args, **kwargs)
            outputs = expert_outputs(calls.seen, indices)
            if outputs is None:
                self.lost["experts.E.out"] = "this experts implementation hides them"
            for e in range(self.size["E"] if outputs is not None else 0):
                empty = hidden.new_zeros(0, hidden.shape[-1]), indices.new_zeros(0)
                tensor, rows = outputs.get(e, empty)
                self.keep(Item(f"layers.{layer}.experts.{e}.out", tensor, rows=rows))
            return result
        return forward

    # -- mistral-inference --

    def enter_native(self):
        """Looks into rotation and router of mistral-inference's classes."""
        sources, prefix = set(), find_prefix(self.model, "tok_embeddings")
        for path, module in self.model.named_modules():
            attention = matches(prefix + "layers.{N}.attention", path)
            moe = matches(prefix + "layers.{N}.feed_forward", path)
            expert = matches(prefix + "layers.{N}.feed_forward.experts.{E}", path)
            if attention:
                sources.add(sys.modules[type(module).__module__])
                self.replace(module, functools.partial(self.inside_layer,
                                                       layer=int(attention["N"])))
            elif moe and hasattr(module, "experts"):
                self.replace(module, functools.partial(self.watch_moe, layer=int(moe["N"])))
            elif expert:
                self.replace(module, functools.partial(
                    self.watch_expert, name=f"layers.{expert['N']}.experts.{expert['E']}.out",
                    number=int(expert["E"])))
        for source in sources:
            if hasattr(source, "apply_rotary_emb"):
                self.set_item(source, "apply_rotary_emb",
                              self.watch_rotary(source.apply_rotary_emb, "BTHD"))

    def watch_moe(self, original, layer):
        """The layer chooses with topk, weighs with softmax and rounds with to."""
        def forward(*args, **kwargs):
            if self.call is None:
                return original(*args, **kwargs)
            with Calls("topk", "softmax", "to") as calls:
                self.router = calls.seen
                result = original(*args, **kwargs)
                self.router = None
            seen = calls.seen
            if seen["topk"] and seen["softmax"]:
                weights = seen["softmax"][-1][1]
                weights = next((out for value, out in seen["to"] if value is weights), weights)
                self.keep(Item(f"layers.{layer}.router_experts", seen["topk"][-1][1][1]))
                self.keep(Item(f"layers.{layer}.router_weights", weights))
            return result
        return forward

    def watch_expert(self, original, name, number):
        def forward(*args, **kwargs):
            result = original(*args, **kwargs)
            if self.call is not None and self.router and self.router["topk"]:
                chosen = self.router["topk"][-1][1][1]
                rows = (chosen == number).any(-1).nonzero()[:, 0]
                if len(rows) == len(result):
                    self.keep(Item(name, result, rows=rows))
            return result
        return forward

    # -- the caches at the end --

    def record_caches(self):
        """cache_k, cache_v in the port's own slot order, cache_pos: the position in each slot."""
        for n in range(self.size["L"] or 0):
            parts = [(g, cache_tensors(g.cache, n)) for g in self.book.groups]
            if not parts or any(found is None for _, found in parts):
                self.lost["cache"] = "no cache of transformers or mistral-inference at the end"
                return
            if any(self.pushed_out(g, keys.shape[1]) for g, (keys, *_) in parts):
                self.lost["cache"] = "padding pushed keys out of it: no run can go on from it"
                return
            for part, values in zip(CACHE, zip(*(self.cache_layer(g, *f) for g, f in parts))):
                self.put_whole(f"layers.{n}.{part}", torch.cat(values))

    @staticmethod
    def pushed_out(group, slots):
        """Does a cache of a window hold padding instead of keys, as after padding on the right?"""
        return any(len(lane.keys(slots)[0]) < min(slots, sum(c[0] >= 0 for c in lane.columns))
                   for lane in group.lanes)

    def cache_layer(self, group, keys, values, ring):
        """One layer's cache of one group: [slots,G,D] twice, [slots].

        Lanes come in the order of their sequences: one that is padded on the left may begin later.
        """
        order = sorted(range(len(group.lanes)), key=lambda b: group.lanes[b].sequence)
        keys, values = (x[order].detach().cpu() for x in (keys, values))
        held = torch.full(keys.shape[:2], -1, dtype=torch.int32)
        for b, lane in enumerate(group.lanes[n] for n in order):
            columns, ids = lane.keys(keys.shape[1])
            for column, (sequence, index) in zip(columns, ids):
                position = self.book.sequences[sequence].positions[index]
                held[b, position % keys.shape[1] if ring else column] = position
        return keys.flatten(0, 1), values.flatten(0, 1), held.flatten()

    def put_whole(self, name, tensor):
        """A tensor that does not grow along T: its rows are numbered as they are."""
        array, kind = raw_bits(tensor, name)
        self.tensors[name] = Tensor(kind, array.shape)
        self.tensors[name].pieces = [(self.store.put(array), None, None)]

    # -- saving --

    def save(self, path, compress=False):
        """Writes the trace: .npz (stored, or deflated with compress=True) or .safetensors."""
        path = os.fspath(path)
        if not path.endswith((".npz", ".safetensors")):
            raise ValueError(f"{path}: expected a name ending in .npz or .safetensors")
        if not self.tensors:
            hint = ("its modules ran, but not through the forward of the model given to record()"
                    if self.outside else "the model was never called inside the context")
            raise RuntimeError(f"{path}: nothing was recorded: {hint}")
        meta = np.frombuffer(json.dumps(self.meta(), separators=(",", ":")).encode(), np.uint8)
        entries = [Entry("meta", U8, meta.shape, lambda: meta)]
        entries += [self.entry(name) for name in self.sorted_names()]
        temporary = f"{path}.{os.getpid()}.part"
        try:
            with open(temporary, "wb") as file:
                if path.endswith(".npz"):
                    write_npz(file, entries, compress)
                else:
                    write_safetensors(file, entries)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            if os.path.exists(temporary):
                os.unlink(temporary)
        return path

    def entry(self, name):
        tensor = self.tensors[name]
        if tensor.pieces[0][1] is None:
            return Entry(name, tensor.kind, tensor.tail,
                         lambda: self.store.get(tensor.pieces[0][0]))
        return Entry(name, tensor.kind, tensor.shape(self.book),
                     lambda: tensor.array(self.book, self.store, name))

    def sorted_names(self):
        """The order of a run, then what it does not know."""
        known = [name for name in run_order(self.size) if name in self.tensors]
        return known + [name for name in self.tensors if name not in set(known)]

    def array(self, name):
        """One joined tensor as a numpy array of raw bits (bf16 and fp8: integers)."""
        return self.entry(name).array()

    def meta(self):
        """What was run, and what is not in the trace."""
        layouts = [name for name in self.book.layouts if name != "alone"] or ["alone"]
        convention = self.style if self.style in ("hf", "native") else None
        rotary = {"hf": "half", "native": "interleaved"}.get(self.style)
        sequences = self.book.sequences
        meta = {"format": "mistral-ref trace 1", "tokens": [s.tokens for s in sequences],
                "first_position": [s.positions[0] for s in sequences],
                "precision": self.precision(), "accumulation": None, "convention": convention,
                "rope_angles": "f32", "rope_layout": rotary, "layout": layouts[0],
                "calls": self.counts, "source": self.source(), "config": self.config,
                "not_recorded": self.not_recorded()}
        if any(s.positions != list(range(s.positions[0], s.positions[0] + len(s.positions)))
               for s in sequences):
            meta["positions"] = [s.positions for s in sequences]
        partial = self.partial()
        return meta | ({"rows": partial} if partial else {}) | self.extra

    def precision(self):
        """The type most parameters have that is one of f64, f32, bf16, f16."""
        counts = {}
        for p in self.model.parameters():
            counts[p.dtype] = counts.get(p.dtype, 0) + p.numel()
        known = [(n, dtype) for dtype, n in counts.items() if dtype in PRECISION]
        return PRECISION[max(known, key=lambda x: x[0])[1]] if known else None

    def source(self):
        """Program, device and the switches that move numbers."""
        parameter = next(iter(self.model.parameters()), torch.empty(0))
        device = parameter.device
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
        transformers = sys.modules.get("transformers")
        config = getattr(self.model, "config", None)
        return {"class": type(self.model).__name__, "torch": torch.__version__,
                "transformers": getattr(transformers, "__version__", None), "device": name,
                "attention": self.attention_name(),
                "experts": getattr(config, "_experts_implementation", None),
                "allow_tf32": torch.backends.cuda.matmul.allow_tf32,
                "matmul_precision": torch.get_float32_matmul_precision()}

    def partial(self):
        """Tensors that have only some rows, as logits under generate(): which rows."""
        total, rows = int(self.book.starts()[-1]), {}
        for name, tensor in self.tensors.items():
            data, ids, keys = tensor.pieces[0]
            if ids is None or ".experts." in name or keys is not None:
                continue
            have = np.sort(tensor.order(self.book)[0])
            if len(have) != total:
                rows[name] = have.tolist()
        return rows

    def not_recorded(self):
        """Part of the run -> why it is not there."""
        how = self.attention_name()
        why = {"cache_k": self.lost.get("cache"), "cache_v": self.lost.get("cache"),
               "cache_pos": self.lost.get("cache"), "mask": self.lost.get("mask")}
        if self.style == "hf" and how != "eager":
            why["scores"] = why["probs"] = f"{how} attention does not give them"
        missing = {}
        for name in run_order(self.size):
            part = re.sub(r"experts\.\d+", "experts.E", part_of(name))
            if name not in self.tensors and not re.search(r"\d\.mask$", name):
                missing[part] = (why.get(part) or self.lost.get(part)
                                 or "no module or function gave it")
        return missing | {k: v for k, v in self.lost.items() if k == "mask of some layers"}


# ---- shapes ------------------------------------------------------------------------------------

def rows_first(tensor, axes, call, name):
    """[B*times,...] and which times: the whole call, or the last ones where a head skips rows."""
    B, T = call.B, call.T
    every = np.arange(T)
    if axes is not None:
        tensor = named_axes(tensor, axes, "BT", name)
        if tensor.shape[0] * tensor.shape[1] == B * T:
            return tensor.flatten(0, 1), every
    elif tensor.dim() > 2 and tensor.shape[:2] == (B, T):
        return tensor.flatten(0, 1), every
    elif tensor.dim() > 1 and tensor.shape[0] == B * T:
        return tensor, every
    if tensor.dim() > 2 and tensor.shape[:2] == (B, len(call.kept)):
        return tensor.flatten(0, 1), call.kept
    if tensor.dim() > 2 and tensor.shape[:2] == (B, 1):
        return tensor.flatten(0, 1), every[-1:]
    if tensor.dim() == 2 and tensor.shape[0] == B:
        return tensor, every[-1:]
    raise ValueError(f"record: {name} has shape {list(tensor.shape)}: no axes of {B} sequences and "
                     f"{T} tokens; say which they are with axes=, such as \"BTD\"")


def keys_last(tensor, axes, call, name):
    """[B,H,T,keys]."""
    if axes is None:
        axes = "BHTS"[-tensor.dim():] if tensor.dim() in (3, 4) else "BHTS"
    tensor = named_axes(tensor, axes, "BHTS", name)
    if tensor.shape[0] != call.B or tensor.shape[2] != call.T:
        raise ValueError(f"record: {name} is {list(tensor.shape)} as [B,H,T,keys], expected B = "
                         f"{call.B} and T = {call.T}")
    return tensor


def named_axes(tensor, axes, lead, name):
    """Moves the axes named in `lead` to the front, adds those that are absent with size 1."""
    if len(axes) != tensor.dim() or len(set(axes)) != len(axes):
        raise ValueError(f"record: {name} has shape {list(tensor.shape)}, axes {axes!r} does not "
                         "name each of its axes once")
    order = [axes.index(a) for a in lead if a in axes]
    tensor = tensor.permute(order + [i for i in range(tensor.dim()) if i not in order])
    for at, letter in enumerate(lead):
        if letter not in axes:
            tensor = tensor.unsqueeze(at)
    return tensor


def expert_outputs(seen, indices):
    """Expert -> (its rows, which row of [B*T] each is), from the calls that its code made."""
    grouped = seen["grouped_mm"] or seen["_grouped_mm"] or seen["grouped_mm_fallback"]
    K = indices.shape[-1]
    if len(grouped) == 2 and seen["sort"]:          # rows sorted by expert
        experts, slots = seen["sort"][-1][1]
        return split_experts(grouped[-1][1], experts, slots // K)
    if len(seen["bmm"]) == 2 and not seen["linear"]:    # one row per token and choice
        rows = seen["bmm"][-1][1].reshape(indices.numel(), -1)
        tokens = torch.arange(len(indices), device=indices.device).repeat_interleave(K)
        return split_experts(rows, indices.flatten(), tokens)
    if seen["linear"] and len(seen["linear"]) == 2 * len(seen["where"]):    # expert by expert
        outputs = {}
        for n, (_, (slot, token)) in enumerate(seen["where"]):
            if len(token):
                outputs[int(indices[token[0], slot[0]])] = seen["linear"][2 * n + 1][1], token
        return outputs
    return None


def split_experts(rows, experts, tokens):
    return {int(e): (rows[experts == e], tokens[experts == e]) for e in experts.unique()}


# ---- files -------------------------------------------------------------------------------------

@dataclass
class Entry:
    """One tensor of a file; array() makes its data when it is its turn."""
    name: str
    kind: Kind
    shape: tuple
    array: object


def write_npz(file, entries, compress):
    """numpy's format, without a clock in it: equal tensors give equal files."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for entry in entries:
            info = zipfile.ZipInfo(entry.name + entry.kind.ending + ".npy", (1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
            array = np.ascontiguousarray(entry.array()).reshape(entry.shape)
            with archive.open(info, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, version=(1, 0), allow_pickle=False)


def write_safetensors(file, entries):
    """Header with every type and shape, then the data: wider types first, then by name."""
    def width(entry):
        return np.dtype(entry.kind.numpy).itemsize
    entries = sorted(entries, key=lambda e: (-width(e), e.name))
    header, at = {}, 0
    for entry in entries:
        end = at + width(entry) * math.prod(entry.shape)
        header[entry.name] = {"dtype": entry.kind.word, "shape": list(entry.shape),
                              "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(struct.pack("<Q", len(text)) + text)
    for entry in entries:
        array = np.ascontiguousarray(entry.array())
        file.write(array.reshape(-1).view(np.uint8).data)
