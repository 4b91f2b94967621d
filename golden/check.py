"""Regenerates the golden data into a temporary folder and compares it with the committed files.

    python golden/check.py [--only GLOB] [CASES]

Exit status 0 when everything agrees, 1 otherwise. Tolerances allow for another machine's BLAS and
vector units, not for another version of the libraries (generate.py refuses those).
"""
import argparse
import fnmatch
import json
import pathlib
import sys
import tempfile

import numpy as np

import generate

# Of the tensor's largest magnitude. Other vector units and BLAS code paths moved float32 by 1.7e-6.
TOLERANCE = {"f64": 1e-12, "f32": 5e-6}
GAP_TOLERANCE = {"f64": 1e-8, "f32": 1e-5, "bf16": 0.05}
BF16_EQUAL = 0.999  # share of a trace's 16-bit elements
BF16_FAR = 0.05     # where bits differ, of the tensor's largest magnitude


def widen(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


def distance(got, want):
    """Largest difference relative to the largest magnitude; infinite when an infinity moved."""
    finite = np.isfinite(want)
    if not np.array_equal(got[~finite], want[~finite]) or not np.isfinite(got[finite]).all():
        return np.inf
    if not finite.any():
        return 0.0
    scale = np.abs(want[finite]).max()
    return float(np.abs(got[finite].astype(float) - want[finite]).max() / (scale if scale else 1))


def compare_meta(got, want):
    """What differs besides the version numbers, in words."""
    got, want = (json.loads(text.tobytes()) for text in (got, want))
    gaps = [meta.pop("router_gaps") for meta in (got, want)]
    for meta in (got, want):
        for version in ("torch", "transformers"):
            meta["source"].pop(version)
        meta["config"].pop("transformers_version", None)
    if got != want:
        keys = sorted(got.keys() | want.keys())
        return [f"meta: {key} differs" for key in keys if got.get(key) != want.get(key)]
    if gaps[0].keys() != gaps[1].keys():
        return ["meta: router_gaps of other layers"]
    pairs = [(np.array(gaps[0][layer]), np.array(gaps[1][layer])) for layer in gaps[1]]
    same = all(a.shape == b.shape and (np.abs(a - b) <= GAP_TOLERANCE[want["precision"]]).all()
               for a, b in pairs)
    return [] if same else ["meta: router_gaps differ"]


def compare_tensor(name, got, want, precision):
    """What differs, in words, and how many 16-bit elements were equal out of how many."""
    if got.shape != want.shape or got.dtype != want.dtype:
        return [f"{name}: {got.dtype}{got.shape}, committed {want.dtype}{want.shape}"], (0, 0)
    if name.endswith(".bf16"):
        far = distance(widen(got), widen(want))
        count = (int((got == want).sum()), want.size)
        return ([] if far <= BF16_FAR else [f"{name}: off by {far:.1e}"]), count
    if want.dtype.kind != "f":
        return ([] if np.array_equal(got, want) else [f"{name}: integers differ"]), (0, 0)
    limit = TOLERANCE.get(precision, BF16_FAR)
    far = distance(got, want)
    return ([] if far <= limit else [f"{name}: off by {far:.1e}, limit {limit:.0e}"]), (0, 0)


def compare_trace(got, want, precision):
    """Everything that differs between two traces, in words."""
    if got.files != want.files:
        return [f"other tensors: {sorted(set(got.files) ^ set(want.files))}"]
    faults, equal, total = compare_meta(got["meta"], want["meta"]), 0, 0
    for name in want.files:
        if name != "meta":
            words, count = compare_tensor(name, got[name], want[name], precision)
            faults, equal, total = faults + words, equal + count[0], total + count[1]
    if total and equal < BF16_EQUAL * total:
        faults.append(f"only {equal} of {total} 16-bit elements are equal")
    return faults


def compare_file(got, want):
    if not got.exists() or not want.exists():
        return ["not committed" if got.exists() else "not regenerated"]
    if want.suffix == ".npz":
        with np.load(got) as new, np.load(want) as old:
            return compare_trace(new, old, want.name.split(".")[-2])
    if want.suffix == ".json":
        new, old = (json.loads(path.read_text()) for path in (got, want))
        new.pop("transformers_version"), old.pop("transformers_version")
        return [] if new == old else ["configuration differs"]
    return [] if got.read_bytes() == want.read_bytes() else ["bytes differ"]


def wanted(path, models, pattern):
    """A trace belongs when its name without .npz matches, other files when their model does."""
    if path.suffix == ".npz":
        return fnmatch.fnmatch(str(path.with_suffix("")), pattern)
    return path.parent.name in models or pattern == "*"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="*", metavar="GLOB", help="<model>/<case>.<precision>")
    parser.add_argument("cases", nargs="?", metavar="CASES",
                        default=pathlib.Path(__file__).with_name("cases"), type=pathlib.Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        fresh = pathlib.Path(folder)
        generate.generate(fresh, arguments.only)
        models = {path.parent.name for path in fresh.glob("*/*")}
        names = {path.relative_to(root) for root in (fresh, arguments.cases)
                 for path in root.glob("*/*")}
        names = sorted(name for name in names if wanted(name, models, arguments.only))
        failed = 0
        for name in names:
            faults = compare_file(fresh / name, arguments.cases / name)
            failed += bool(faults)
            for fault in faults:
                print(f"{name}: {fault}")
    print(f"{len(names) - failed} passed, {failed} failed")
    return 1 if failed or not names else 0


if __name__ == "__main__":
    sys.exit(main())
