"""Runs correct ports and counts what the verifier calls wrong: it has to be nothing.

    python tests/false_alarms.py [--runs 2000] [--seed 1] [--program ./mistral-ref] [--table FILE]

The ports are Hugging Face's MistralForCausalLM and MixtralForCausalLM on the CPU, recorded with
golden/record.py: random sizes, weights and tokens, 1 to 300 of them; f32, bf16 and f16; eager and
sdpa; sequences alone, padded on either side, packed; one call, chunks, single tokens; experts
eager, grouped and batched. Every trace is judged by `compare --model`. --table writes the counts
and the largest error / bound of every operation into FILE, between its two marks. Alarms stay in
--keep FOLDER. Exit status 1 if there is an alarm, or a run that could not be judged.
"""
import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
import transformers

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "golden"))
from record import record  # noqa: E402

DTYPE = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
LAYOUTS = ("alone", "left", "right", "packed")
PER_MODEL = 10      # runs of one random model
MARKS = "<!-- false_alarms.py writes from here -->", "<!-- to here -->"


# ---- what is run -------------------------------------------------------------------------------

def pick(rng, *values):
    return values[rng.integers(len(values))]


def draw_config(rng):
    """Sizes that differ from each other and from multiples of a vector; half have experts."""
    groups = pick(rng, 1, 1, 2, 3)
    sizes = dict(
        hidden_size=int(rng.integers(8, 97)), num_key_value_heads=groups,
        num_attention_heads=groups * pick(rng, 1, 2, 3, 4), head_dim=pick(rng, 4, 8, 10, 16, 32),
        intermediate_size=int(rng.integers(8, 131)), vocab_size=int(rng.integers(20, 200)),
        num_hidden_layers=pick(rng, 1, 2, 2, 3), rms_norm_eps=pick(rng, 1e-5, 1e-5, 1e-6, 1e-3),
        sliding_window=pick(rng, None, None, int(rng.integers(1, 9)), int(rng.integers(5, 200))),
        tie_word_embeddings=bool(rng.integers(4) == 0), max_position_embeddings=131072,
        bos_token_id=1, eos_token_id=2, pad_token_id=0,
        rope_parameters=dict(rope_type="default", rope_theta=pick(rng, 1e4, 1e6, 5e5, 1e3)))
    if rng.integers(2):
        experts = int(rng.integers(1, 10))
        chosen = int(rng.integers(1, min(experts, 4) + 1))
        if rng.integers(2):     # what grouped_mm takes
            for size in "hidden_size", "intermediate_size":
                sizes[size] = -(-sizes[size] // 8) * 8
        return transformers.MixtralConfig(num_local_experts=experts, num_experts_per_tok=chosen,
                                          **sizes)
    return transformers.MistralConfig(**sizes)


def draw_model(rng, precision, folder):
    """A random model on disk as save_pretrained writes it, and in memory."""
    config = draw_config(rng)
    kind = "Mixtral" if hasattr(config, "num_local_experts") else "Mistral"
    model = getattr(transformers, kind + "ForCausalLM")(config)
    gain = pick(rng, 0.3, 1.0, 1.0, 1.6)        # flat to peaked softmaxes
    embedding = pick(rng, 1e-4, 0.01, 1.0, 1.0, 1.0, 30.0, 1000.0)    # f16: subnormal, overflow
    with torch.no_grad():
        for name, p in model.named_parameters():
            normal = torch.from_numpy(rng.standard_normal(tuple(p.shape)))
            if name.endswith("norm.weight"):
                p.copy_(1 + 0.25 * normal)
            else:
                p.copy_(normal * (embedding if "embed_tokens" in name
                                  else gain / p.shape[-1] ** 0.5))
    # not model.to(dtype): that would round inverse frequencies too
    for dtype in (pick(rng, DTYPE[precision], torch.float32, torch.bfloat16), DTYPE[precision]):
        for p in model.parameters():
            p.data = p.data.to(dtype)
        if not folder.exists():     # the file may have another type than the port
            model.save_pretrained(folder)
    return model.eval()


def expert_ways(config):
    """The implementations of transformers 5 that can run these sizes."""
    if not hasattr(config, "num_local_experts"):
        return ("dense",)
    rows_of_16_bytes = config.hidden_size % 8 == 0 and config.intermediate_size % 8 == 0
    return ("eager", "batched_mm") + (("grouped_mm",) if rows_of_16_bytes else ())


def draw_texts(rng, vocabulary, layout):
    most = pick(rng, 6, 12, 12, 40, 40, 40, 120, 300)
    count = 1 if layout == "alone" else pick(rng, 2, 2, 3)
    return [rng.integers(0, vocabulary, int(rng.integers(1, most + 1))).tolist()
            for _ in range(count)]


def draw_calls(rng, length):
    """Columns of each call: the whole, chunks, or single tokens at the end."""
    how = rng.integers(4)
    if how < 2 or length < 2:
        return [length]
    if how == 2:
        size = int(rng.integers(1, length))
        return [min(size, length - at) for at in range(0, length, size)][:200]
    last = int(rng.integers(1, min(length, 9)))
    return [length - last] + [1] * last


def inputs_of(texts, layout, rng):
    """Ids, positions and mask of one batch."""
    if layout in ("alone", "packed"):
        first = 0 if layout == "packed" else pick(rng, 0, 0, 0, 0, int(rng.integers(1, 100000)))
        positions = [p for t in texts for p in range(first, first + len(t))]
        return torch.tensor([sum(texts, [])]), torch.tensor([positions]), None
    most = max(map(len, texts))
    ids, mask = torch.zeros(2, len(texts), most, dtype=torch.long)
    for b, text in enumerate(texts):
        where = slice(most - len(text), most) if layout == "left" else slice(0, len(text))
        ids[b, where], mask[b, where] = torch.tensor(text), 1
    return ids, (mask.cumsum(-1) - 1).clamp(min=0), mask


def run(model, texts, layout, rng):
    """One recorded run; how it was divided into calls."""
    ids, positions, mask = inputs_of(texts, layout, rng)
    # a row of the batch may not begin with a call that is all padding
    whole = layout in ("packed", "left", "right") or positions[0, 0] > 0
    calls = [ids.shape[1]] if whole and rng.integers(3) else draw_calls(rng, ids.shape[1])
    if layout == "packed":
        calls = [ids.shape[1]]
    # a cache made for a window of 1 keeps what it should drop (transformers 5.23)
    own = None if model.config.sliding_window == 1 else model.config
    cache = None if layout == "packed" else transformers.DynamicCache(config=own)
    at = 0
    with torch.no_grad(), record(model) as r:
        for size in calls:
            here = slice(at, at + size)
            at += size
            model(ids[:, here], position_ids=positions[:, here], past_key_values=cache,
                  attention_mask=None if mask is None else mask[:, :at],
                  use_cache=cache is not None)
    path = "whole" if len(calls) == 1 else "decode" if calls[-1] == 1 else "chunks"
    return r, path


# ---- the verdict -------------------------------------------------------------------------------

def judge(program, folder, trace):
    """What `compare` says: its JSON, or None and the message."""
    done = subprocess.run([program, "compare", trace, trace, "--model", folder, "--json"],
                          capture_output=True, text=True, check=False)
    try:
        return done.returncode, json.loads(done.stdout), ""
    except json.JSONDecodeError:
        return done.returncode, None, done.stderr.strip()


def operation(tensor):
    return "experts.out" if ".experts." in tensor else re.sub(r"^layers\.\d+\.", "", tensor)


class Table:
    """Counts by kind, and the largest error / bound by operation and storage."""

    def __init__(self, keep):
        self.keep, self.runs, self.alarms = keep, collections.Counter(), collections.Counter()
        self.worst, self.likely, self.failed, self.tensors = {}, {}, [], 0
        self.explained = 0

    def add(self, what, precision, folder, trace, verdict):
        code, report, message = verdict
        self.runs[what] += 1
        if report is None or code > 1:
            self.failed.append(f"{' '.join(what)}: status {code} {message}")
        else:
            self.note(precision, report["tensors"])
            self.explained += any(t["verdict"] == "explained" for t in report["tensors"])
        if code == 0:
            return
        self.alarms[what] += 1
        if report is not None:
            bad = next((t for t in report["tensors"] if t["tensor"] == report["first_fault"]), {})
            print("ALARM", " ".join(what), f"status {code}", report["first_fault"],
                  {k: bad.get(k) for k in ("ratio", "beyond", "elements", "expected", "found",
                                           "bound", "note")}, report["causes"], flush=True)
        if self.keep:
            place = pathlib.Path(self.keep) / f"{sum(self.runs.values())}-{'-'.join(what)}"
            shutil.copytree(folder, place, dirs_exist_ok=True)
            shutil.copy(trace, place / "port.npz")

    def note(self, precision, tensors):
        for t in tensors:
            self.tensors += 1
            if t["verdict"] != "agrees":
                continue
            for worst, ratio in ((self.worst, t["ratio"]), (self.likely, t["statistical_ratio"])):
                if isinstance(ratio, (int, float)):
                    key = operation(t["tensor"]), precision
                    worst[key] = max(worst.get(key, 0), ratio)

    def text(self):
        """The part of docs/DETECTION.md that this script writes."""
        total, alarms = sum(self.runs.values()), sum(self.alarms.values())
        lines = [f"{total} runs of Hugging Face's classes (transformers "
                 f"{transformers.__version__}, torch {torch.__version__}, CPU), {self.tensors} "
                 f"tensors: **{alarms} false alarms**, {len(self.failed)} not judged, "
                 f"{self.explained} with an explained choice of experts.", ""]
        for at, title in enumerate(("storage", "attention", "layout", "calls", "experts")):
            count = collections.Counter()
            for what, n in self.runs.items():
                count[what[at]] += n
            lines.append(f"* {title}: " + ", ".join(f"{k} {n}" for k, n in sorted(count.items())))
        lines += ["", "Largest error / bound of any element, deterministic bound and, in brackets, "
                  "statistical bound:", "", "| operation | " + " | ".join(DTYPE) + " |",
                  "|---|" + "---|" * len(DTYPE)]
        for name in dict.fromkeys(name for name, _ in self.worst):
            cells = [f"{self.worst[name, p]:.2g} ({self.likely.get((name, p), 0):.2g})"
                     if (name, p) in self.worst else "" for p in DTYPE]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        return "\n".join(lines) + "\n"


def write_table(path, text):
    """Replaces what stands between the marks, or adds it at the end."""
    old = path.read_text() if path.exists() else ""
    part = f"{MARKS[0]}\n{text}{MARKS[1]}\n"
    if MARKS[0] in old:
        head, rest = old.split(MARKS[0])
        path.write_text(head + part + rest.split(MARKS[1] + "\n")[1])
    else:
        path.write_text(old + "\n## Hugging Face as the port\n\n" + part)


def one_model(rng, number, table, program, work, pool):
    """PER_MODEL runs of one random model, judged side by side with the next run."""
    precision = tuple(DTYPE)[number % 3]
    folder = work / f"model{number}"
    model = draw_model(rng, precision, folder)
    waiting = []
    for n in range(PER_MODEL):
        attention, layout = ("eager", "sdpa")[n % 2], LAYOUTS[rng.integers(len(LAYOUTS))]
        experts = pick(rng, *expert_ways(model.config))
        model.set_attn_implementation(attention)
        if experts != "dense":
            model.set_experts_implementation(experts)
        r, path = run(model, draw_texts(rng, model.config.vocab_size, layout), layout, rng)
        trace = folder / f"port{n}.npz"
        r.save(trace)
        what = precision, attention, layout, path, experts
        waiting.append((what, trace, pool.submit(judge, program, folder, trace)))
    for what, trace, verdict in waiting:
        table.add(what, precision, folder, trace, verdict.result())
        trace.unlink()
    shutil.rmtree(folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--program", type=pathlib.Path, default=ROOT / "mistral-ref")
    parser.add_argument("--table", type=pathlib.Path)
    parser.add_argument("--keep", type=pathlib.Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    table = Table(arguments.keep)
    with tempfile.TemporaryDirectory() as work, \
            concurrent.futures.ThreadPoolExecutor(1) as pool:
        for number in range(-(-arguments.runs // PER_MODEL)):
            one_model(np.random.default_rng([arguments.seed, number]), number, table,
                      arguments.program.resolve(), pathlib.Path(work), pool)
    if arguments.table:
        write_table(arguments.table, table.text())
    print(table.text())
    for line in table.failed[:20]:
        print("not judged:", line)
    alarms = sum(table.alarms.values())
    print(f"{sum(table.runs.values())} runs, {alarms} false alarms, {len(table.failed)} not judged")
    return 1 if alarms or table.failed or not table.runs else 0


if __name__ == "__main__":
    sys.exit(main())
