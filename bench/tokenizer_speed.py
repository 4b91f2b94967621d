#!/usr/bin/env python3
"""Speed against the originals, one thread, in one run: SentencePiece and Tekken.

    tokenizer_speed.py [--program build/.../bench/tokenize] [--runs 5] [--mb 10] FILE...

FILE is a SentencePiece model or a tekken.json. Ours and the original take turns; medians are
printed, with the ratio original / ours (more than 1: ours is faster), and how the time for opening
divides. Also the times for 1 MB of one letter and for a word of 10,000 letters, and by how much
they grow when the text is twice as long: 2 is linear. Asserts nothing. Needs sentencepiece and
mistral-common.
"""
import argparse
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time

import sentencepiece
from mistral_common.tokens.tokenizers.tekken import Tekkenizer

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "tests"))
import sentencepiece_differential as spm_cases  # noqa: E402
import tekken_differential as tekken_cases  # noqa: E402

CHUNK = 16384  # characters per text


def mixed_text(megabytes):
    """Prose and code of the Python library, sentences in many scripts, everything at once."""
    rng = random.Random(3)
    files = sorted(pathlib.Path(os.__file__).parent.glob("*.py"))
    sources = "\n".join(file.read_text("utf-8", "ignore") for file in files)
    parts, size, at = [], 0, 0
    while size < megabytes * 1000000:
        part = sources[at:at + CHUNK // 2]
        at = (at + CHUNK // 2) % (len(sources) - CHUNK)
        while len(part) < CHUNK:
            part += spm_cases.sentence(rng) + ".\n"
            if rng.random() < 0.1: part += tekken_cases.mixture(rng)
        parts.append(part.replace("\0", " "))
        size += len(part.encode())
    return parts


class Original:
    def __init__(self, path):
        self.tekken = path.endswith(".json")
        start = time.perf_counter()
        self.model = Tekkenizer.from_file(path) if self.tekken else \
            sentencepiece.SentencePieceProcessor(model_file=path)
        self.open = time.perf_counter() - start

    def encode(self, texts):
        call = self.model._model.encode if self.tekken else self.model.encode
        start = time.perf_counter()
        count = sum(len(call(text)) for text in texts)
        return time.perf_counter() - start, count


def ours(program, path, file, texts):
    file.write_bytes(b"".join(text.encode() + b"\0" for text in texts))
    run = subprocess.run([program, path, str(file)], stdout=subprocess.PIPE, check=True)
    return json.loads(run.stdout)


def measure(program, path, texts, runs, folder):
    file, mine, theirs, opened = folder / "text", [], [], []
    for _ in range(runs):
        mine.append(ours(program, path, file, texts))
        original = Original(path)
        opened.append(original.open)
        seconds, ids = original.encode(texts)
        theirs.append(seconds)
    middle = {key: statistics.median(run[key] for run in mine) for key in mine[0]}
    megabytes, name = middle["bytes"] / 1e6, os.path.basename(path)
    seconds = statistics.median(theirs)
    print("%-44s %8.2f MB/s ours %8.2f MB/s original  ratio %5.2f   ids %d and %d"
          % (name + " encode", megabytes / middle["encode"], megabytes / seconds,
             seconds / middle["encode"], middle["ids"], ids))
    print("%-44s %8.1f ms ours   %8.1f ms original    ratio %5.2f"
          % (name + " open", 1e3 * middle["open"], 1e3 * statistics.median(opened),
             statistics.median(opened) / middle["open"]))
    rest = middle["open"] - middle["read"] - middle["walk"] - middle["classes"]
    print("%-44s read %.0f %%, first walk %.0f %%, classes %.0f %%, vocabulary %.0f %%"
          % ("", *(100 * part / middle["open"] for part in
                   (middle["read"], middle["walk"], middle["classes"], rest))))
    print("%-44s %8.2f MB/s" % (name + " decode", megabytes / middle["decode"]))
    for label, unit, size in (("one letter, 1 MB", "a", 1000000),
                              ("one word, 10,000 letters", "etaoinshrdlu", 10000)):
        times = [statistics.median(ours(program, path, file, [(unit * n)[:n]])["encode"]
                                   for _ in range(runs)) for n in (size, 2 * size)]
        print("%-44s %8.2f ms, twice as long: %.2f times"
              % (name + " " + label, 1e3 * times[0], times[1] / times[0]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+")
    parser.add_argument("--program", default="build/bench/tokenize")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--mb", type=float, default=10)
    options = parser.parse_args()
    texts = mixed_text(options.mb)
    with tempfile.TemporaryDirectory() as folder:
        for path in options.files:
            measure(options.program, path, texts, options.runs, pathlib.Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
