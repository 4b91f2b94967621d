#!/usr/bin/env python3
"""Runs the benchmarks and writes docs/BENCHMARKS.md and its pictures.

    report.py --build build/... [--threads 1,2] [--full]

The short set takes less than three minutes. --full runs the larger set instead, whose tables have
a part of the document for themselves; the other part stays as its last run left it. Models of
random weights are made and removed. Every figure stands beside the machine's limits, measured in
the same round. Asserts nothing. Needs Python's standard library only; the models larger than
memory also need a memory cgroup (version 1 or 2) that this user may make.
"""
import argparse
import contextlib
import json
import os
import pathlib
import platform
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).parent.parent
FULL_MARK = "<!-- the full set -->\n"


def shape(dim, hidden, layers, heads, vocab=32000, kv=None, experts=0, window=None):
    config = {"model_type": "mixtral" if experts else "mistral", "hidden_size": dim,
              "intermediate_size": hidden, "num_hidden_layers": layers, "vocab_size": vocab,
              "num_attention_heads": heads, "num_key_value_heads": kv or heads,
              "head_dim": dim // heads, "rms_norm_eps": 1e-5, "rope_theta": 1e4,
              "sliding_window": window, "tie_word_embeddings": True}
    if experts:
        config |= {"num_local_experts": experts, "num_experts_per_tok": 2}
    return config


DENSE_110M = shape(768, 2048, 12, 12)
DENSE_420M = shape(1280, 3456, 20, 20)
MOE_390M = shape(512, 1792, 16, 8, experts=8)
# name: configuration, element type, programs
SHORT = {
    "110M-bf16": (DENSE_110M, "bf16", "decode prefill"),
    "110M-f32": (DENSE_110M, "f32", "decode"),
    "moe-390M-bf16": (MOE_390M, "bf16", "decode prefill"),
    "train-moe-8": (shape(256, 896, 4, 8, 4096, 2, experts=8), "f32", "train"),
    "train-20M": (shape(512, 1536, 6, 8, 4096, 4), "f32", "train"),
    "window-256": (shape(128, 384, 2, 4, 1024, 2, window=256), "bf16", "growth"),
    "window-256-small": (shape(64, 192, 2, 8, 512, 2, window=256), "bf16", "memory"),
}
FULL = {
    "420M-bf16": (DENSE_420M, "bf16", "decode prefill"),
    "420M-f32": (DENSE_420M, "f32", "decode prefill"),
    "moe-390M-f32": (MOE_390M, "f32", "decode prefill"),
    "64-experts": (shape(512, 1792, 6, 8, 4096, 2, experts=64), "bf16", "experts"),
    "1.1G-moe-f32": (shape(1024, 3584, 12, 8, 32000, 2, experts=8), "f32", "stream"),
    "7B-bf16": (shape(4096, 14336, 32, 32, kv=8, window=4096) | {"tie_word_embeddings": False},
                "bf16", "memory"),
}
PROGRAMS = {  # rounds, arguments after the models, whether it runs with every number of threads
    "limits": (5, [], True), "decode": (7, [], True), "prefill": (2, [], True),
    "train": (3, [], True), "growth": (5, [], False), "memory": (1, ["{tokens}"], False),
    "trace": (5, ["{folder}"], False), "experts": (3, [], True), "stream": (3, [], False),
}
MODEL_FREE = {False: ("limits", "trace"), True: ("limits",)}   # by --full
TOKENS = {False: 20000, True: 16}   # what `memory` decodes


def run(command):
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in text.splitlines()]


@contextlib.contextmanager
def memory_limit(size):
    """What starts a program in a memory cgroup of its own inside ours; None where there is none."""
    folder = None
    for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines():
        _, kind, path = line.split(":", 2)
        for base, name in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
                           ("/sys/fs/cgroup", "memory.max")):
            here = pathlib.Path(base + path)
            if kind in ("memory", "") and (here / name).exists() and folder is None:
                folder, limit = here / f"mistral-ref-{os.getpid()}", name
    try:
        folder.mkdir()
        (folder / limit).write_text(str(size))
    except (AttributeError, OSError) as reason:
        print(f"no memory limit: {reason}")
        yield None
        return
    try:
        yield ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(folder)]
    finally:
        folder.rmdir()


def larger_than_memory(command, model):
    """With a third of the file's size, then without a limit: the logits must be the same bits."""
    size = (pathlib.Path(model) / "model.safetensors").stat().st_size // 3
    rows = []
    with memory_limit(size) as limited:
        if limited is not None:
            rows = [dict(r, **{"memory": "a third"}) for r in run(limited + command)]
    return rows + [dict(r, **{"memory": "all"}) for r in run(command)]


def measure(options, models):
    rows = []
    with tempfile.TemporaryDirectory(dir=options.build) as folder:
        for name, (config, dtype, _) in models.items():
            path = pathlib.Path(folder) / f"{name}.json"
            path.write_text(json.dumps(config))
            subprocess.run([f"{options.build}/bench/make_model", path, f"{folder}/{name}", dtype],
                           check=True, capture_output=True)
        for threads in options.threads.split(","):
            for program, (rounds, more, every) in PROGRAMS.items():
                used = [f"{folder}/{n}" for n, m in models.items() if program in m[2].split()]
                last = threads == options.threads.split(",")[-1]
                if (used or program in MODEL_FREE[options.full]) and (every or last):
                    more = [m.format(folder=folder, tokens=TOKENS[options.full]) for m in more]
                    command = [f"{options.build}/bench/{program}", *used, *more, "--threads",
                               threads, "--rounds", str(rounds), "--json"]
                    start = time.time()
                    rows += (larger_than_memory(command, used[0]) if program == "stream"
                             else run(command))
                    print(f"{program}, {threads} threads: {time.time() - start:.0f} s", flush=True)
    return rows


def figure(value):
    if isinstance(value, dict):
        return f"{value['median']:.3g} ({value['low']:.3g} to {value['high']:.3g})"
    return str(value)


def table(rows):
    columns = [c for c in rows[0] if c != "bench"]
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(figure(r.get(c, "-")) for c in columns) + " |" for r in rows]
    return "\n".join(lines) + "\n"


def bars(rows, column, title):
    """One bar per row, its spread as a line; the dashed line is the limit."""
    width, left, step = 720, 260, 24
    scale = (width - left - 40) / max(1.0, *(r[column]["high"] for r in rows))
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" '
           f'height="{50 + step * len(rows)}" font-family="sans-serif" font-size="12">',
           '<rect width="100%" height="100%" fill="#fff"/>',
           f'<text x="10" y="22" font-size="15">{title}</text>']
    for n, row in enumerate(rows):
        y = 40 + step * n
        label = f'{row["model"]} {row.get("engine", "")} {row["threads"]} threads'
        value = row[column]
        out += [f'<text x="{left - 8}" y="{y + 12}" text-anchor="end">{label}</text>',
                f'<rect x="{left}" y="{y}" width="{scale * value["median"]:.1f}" height="16" '
                'fill="#1f6fb4"/>',
                f'<path d="M{left + scale * value["low"]:.1f} {y + 8}'
                f'H{left + scale * value["high"]:.1f}" stroke="#d9541e" stroke-width="2"/>']
    x = left + scale
    out += [f'<path d="M{x:.1f} 34V{40 + step * len(rows)}" stroke="#555" '
            'stroke-dasharray="4 3"/>', "</svg>"]
    return "\n".join(out) + "\n"


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.machine()


SECTIONS = [  # program, heading, what it says, column drawn
    ("limits", "Limits of the machine",
     "Reading 256 MiB in 4 KiB pages, by one or by four streams per thread; OpenBLAS on 1024 x "
     "1024 matrices.", None),
    ("decode", "Decoding, one token at a time",
     "`of read` is bytes of active weights times tokens per second, divided by the rate of "
     "reading the mapped file from its beginning in the same round; by one stream it can pass 1.", "of read in 4 streams"),
    ("prefill", "Prefill of 512 tokens, all logits",
     "`of sgemm`: operations of all matrices and of attention per second, divided by sgemm's rate "
     "just before and after.", "of sgemm"),
    ("train", "A training step",
     "Forward, backward (counted as twice forward) and AdamW, 8 sequences of 128 tokens. Peak "
     "memory is the process's, matrices of the sgemm measurement included.", "of sgemm"),
    ("growth", "A token at later positions", "Time of a token, divided by that at position W, in "
     "turn. Plain engine.", None),
    ("prompt growth", "A longer prompt", "Exponent of the time between 4 W and 16 W tokens (1 is "
     "linear), of what the tokens from 8 W to 16 W take against those from 4 W to 8 W (the first W "
     "tokens see fewer keys), and of attention's part of it between 4 W and 8 W when the window is "
     "taken away. Plain engine, logits of the last token. `lost to noise`: rounds without growth, "
     "left out.", None),
    ("memory", "Opening, and private memory", "Before and after many tokens, in MB that no file "
     "backs. `of read`: bytes of active weights per second, divided by the rate of reading all of "
     "the mapped file after every token.", None),
    ("trace", "Traces, written and compared", "Of 8 tensors of 4 MB. `of zlib`: its own rate over "
     "the same bytes in memory, level 1 and CRC-32; `of disk`: of a program that writes the same "
     "file and fsyncs it, or reads both files, with nothing of them in memory. `grows`: memory "
     "from the third tensor to the eighth.", None),
    ("experts", "More experts, as many used", "Time of a token, divided by that with as many "
     "experts as are used, in turn. Every token takes other experts.", None),
    ("stream", "A model that is not in memory", "A prompt of 256 tokens. `of disk`: bytes of the "
     "file per second, divided by reading the file from beginning to end just before and after, all "
     "with nothing of it in memory; `memory`: what the process may use, as part of the file's size. Equal hashes: "
     "equal logits.", None),
]


def part(rows, options, title, full):
    load = ", ".join(f"{x:.1f}" for x in os.getloadavg())
    text = (f"# {title}\n\nWritten by `make bench{' FULL=1' if full else ''}` from one run; do not "
            "edit. Figures are medians with the least and the\nmost of the rounds. "
            f"{processor()}, {os.cpu_count()} processors; load average at the end {load}.\nA machine "
            "that does other work as well shows it in the spread, most of all with two threads, "
            "which\nwait for each other.\n")
    for bench, heading, words, column in SECTIONS:
        found = [r for r in rows if r["bench"] == bench]
        if not found:
            continue
        text += f"\n## {heading}{', larger models' if full else ''}\n\n{words}\n\n{table(found)}"
        drawn = [r for r in found if column in r]
        if drawn:
            name = f"bench_{bench}{'_full' if full else ''}.svg"
            (options.docs / name).write_text(bars(drawn, column, f"{heading}: {column}"))
            text += f"\n![{heading}]({name})\n"
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--docs", type=pathlib.Path, default=ROOT / "docs")
    options = parser.parse_args()
    file = options.docs / "BENCHMARKS.md"
    short, _, full = (file.read_text() if file.exists() else "").partition(FULL_MARK)
    if options.full:
        full = part(measure(options, FULL), options, "The full set", True)
    else:
        short = part(measure(options, SHORT), options, "Benchmarks", False)
    file.write_text(short.rstrip("\n") + "\n" + (f"\n{FULL_MARK}{full}" if full else ""))


if __name__ == "__main__":
    main()
