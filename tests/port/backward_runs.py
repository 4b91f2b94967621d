"""Trains Hugging Face's classes for one step and counts what the verifier calls wrong: it has to be
nothing.

    python tests/port/backward_runs.py [--runs 60] [--seed 1] [--program ./mistral-ref]

Random sizes, windows, experts, tokens and batches; f32, bf16 and f16; every activation and
gradient recorded. Prints the largest error / bound by operation. Exit status 1 if there is an
alarm.
"""
import argparse
import collections
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy as np
import torch

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "golden"))
import generate as base  # noqa: E402
import generate_backward as backward  # noqa: E402


def draw(rng):
    """A model and the lengths of its sequences."""
    G = int(rng.integers(1, 4))
    H = G * int(rng.integers(1, 4))
    config = base.sizes(int(rng.integers(6, 40)), H, G, 2 * int(rng.integers(2, 6)),
                        int(rng.integers(6, 50)), int(rng.integers(11, 60)),
                        W=int(rng.integers(2, 9)) if rng.integers(2) else None,
                        tied=bool(rng.integers(2)))
    if rng.integers(3) == 0:
        experts = int(rng.integers(2, 6))
        config |= dict(num_local_experts=experts, num_experts_per_tok=int(rng.integers(1, 3)))
    lengths = tuple(int(n) for n in rng.integers(2, 40, int(rng.integers(1, 4))))
    return base.Model(config, 1e4, int(rng.integers(1000)), int(rng.integers(1000))), lengths


def one(rng, precision, program, work):
    spec, lengths = draw(rng)
    folder = pathlib.Path(work)
    base.save_model(spec, folder)
    tensors, meta = backward.trace(spec, folder, precision, lengths)
    base.write_npz(folder / "port.npz", tensors, meta)
    done = subprocess.run([program, "compare", folder / "port.npz", folder / "port.npz", "--model",
                           folder, "--json"], capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--program", type=pathlib.Path, default=ROOT / "mistral-ref")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    base.transformers.logging.disable_progress_bar()
    worst, alarms, tensors = collections.defaultdict(dict), 0, 0
    for n in range(arguments.runs):
        precision = ("f32", "bf16", "f16")[n % 3]
        rng = np.random.default_rng([arguments.seed, n])
        with tempfile.TemporaryDirectory() as work:
            code, report, message = one(rng, precision, arguments.program.resolve(), work)
        alarms += code != 0
        if code:
            print(n, precision, code, report["advice"] if report else message)
        for t in report["tensors"] if report else []:
            tensors += 1
            name = re.sub(r"layers\.\d+\.", "", t["tensor"])
            if name.startswith("grad.") and isinstance(t["ratio"], float):
                worst[name][precision] = max(worst[name].get(precision, 0), t["ratio"])
    for name, row in sorted(worst.items()):
        print(f"{name:36}", *(f"{p} {x:.2g}" for p, x in row.items()))
    print(f"{arguments.runs} runs, {tensors} tensors verified, {alarms} false alarms")
    return 1 if alarms else 0


if __name__ == "__main__":
    sys.exit(main())
