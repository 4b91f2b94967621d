#!/usr/bin/env python3
"""Runs the benchmarks and writes docs/BENCHMARKS.md and its pictures, all from this one run.

    report.py --build build/... --program ./mistral-ref [--rounds 5] [--threads 1,2] [--full]

Models of random weights are made by the program's `init` and removed afterwards. --full adds the
larger ones. Every table has the machine's limits of the same minutes beside it. Asserts nothing.
Needs Python's standard library only.
"""
import argparse
import json
import os
import pathlib
import platform
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).parent.parent


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
MODELS = {  # name: configuration, element type, programs
    "110M-bf16": (DENSE_110M, "bf16", "decode prefill"),
    "110M-f32": (DENSE_110M, "f32", "decode"),
    "moe-390M-bf16": (MOE_390M, "bf16", "decode prefill"),
    "train-moe-8": (shape(256, 896, 4, 8, 4096, 2, experts=8), "f32", "train"),
    "train-20M": (shape(512, 1536, 6, 8, 4096, 4), "f32", "train"),
    "window-256": (shape(512, 1536, 4, 8, 4096, 2, window=256), "bf16", "growth"),
}
FULL = {"420M-bf16": (DENSE_420M, "bf16", "decode prefill"),
        "420M-f32": (DENSE_420M, "f32", "decode prefill"),
        "moe-390M-f32": (MOE_390M, "f32", "decode prefill")}


def run(command):
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in text.splitlines()]


def measure(options):
    rows = []
    models = MODELS | (FULL if options.full else {})
    with tempfile.TemporaryDirectory(dir=options.build) as folder:
        for name, (config, dtype, _) in models.items():
            path = pathlib.Path(folder) / f"{name}.json"
            path.write_text(json.dumps(config))
            subprocess.run([options.program, "init", path, "-o", f"{folder}/{name}", "--dtype",
                            dtype], check=True, capture_output=True)
        for threads in options.threads.split(","):
            for program in ["limits", "decode", "prefill", "train", "growth"]:
                if program == "growth" and threads != "1":
                    continue
                used = [f"{folder}/{n}" for n, m in models.items() if program in m[2].split()]
                rounds = options.rounds if program in ("limits", "decode", "growth") else 2
                rows += run([f"{options.build}/bench/{program}", *used, "--threads", threads,
                             "--rounds", str(rounds), "--json"])
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
     "`of read` is bytes of active weights times tokens per second, divided by the read "
     "bandwidth of the same round; by one stream it can pass 1.", "of read in 4 streams"),
    ("prefill", "Prefill of 512 tokens, all logits",
     "`of sgemm`: operations of all matrices and of attention per second, divided by sgemm's rate "
     "just before and after.", "of sgemm"),
    ("train", "A training step",
     "Forward, backward (counted as twice forward) and AdamW, 8 sequences of 128 tokens. Peak "
     "memory is the process's, matrices of the sgemm measurement included.", "of sgemm"),
    ("growth", "A token at later positions", "Time of a token, divided by that at position W, in "
     "turn.", None),
    ("prompt growth", "A longer prompt", "1 is linear.", None),
]


def write(rows, options):
    docs = ROOT / "docs"
    load = ", ".join(f"{x:.1f}" for x in os.getloadavg())
    text = ("# Benchmarks\n\nWritten by `make bench` from one run; do not edit. Figures are medians "
            f"with the least and the\nmost of the rounds. {processor()}, {os.cpu_count()} "
            f"processors; load average at the end {load}.\nA machine that does other work as well "
            "shows it in the spread, most of all with two threads, which\nwait for each other.\n")
    for bench, heading, words, column in SECTIONS:
        found = [r for r in rows if r["bench"] == bench]
        if not found:
            continue
        text += f"\n## {heading}\n\n{words}\n\n{table(found)}"
        drawn = [r for r in found if column in r]
        if drawn:
            (docs / f"bench_{bench}.svg").write_text(bars(drawn, column, f"{heading}: {column}"))
            text += f"\n![{heading}](bench_{bench}.svg)\n"
    (docs / "BENCHMARKS.md").write_text(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--program", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--full", action="store_true")
    options = parser.parse_args()
    write(measure(options), options)


if __name__ == "__main__":
    main()
