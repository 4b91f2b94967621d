#!/usr/bin/env python3
"""PyTorch and Hugging Face beside this program, on the same files, in turn.

    peers.py --build build/... MODEL... [--rounds 3] [--threads 1]

MODEL is a folder in the Hugging Face layout (`mistral-ref init CONFIG -o MODEL --to hf`). Decoding
is Hugging Face's generate, greedy, with its cache; prefill is one call of 512 tokens. Both are
eager, in the element type of the file. llama-cpp-python runs MODEL/model.gguf where both are there.
Prints medians and the ratio of each round, ours / theirs. Asserts nothing. Needs torch and
transformers.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import time

import torch
import transformers

PROMPT, TOKENS, PREFILL = 8, 16, 512


def seconds(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def hugging_face(folder):
    """Tokens per second of decoding and of prefill."""
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype="auto", attn_implementation="eager").eval()
    size = model.config.vocab_size
    ids = torch.tensor([[(i * i * 37 + i * 11 + 5) % size for i in range(PREFILL)]])

    def generate(n):
        model.generate(ids[:, :PROMPT], attention_mask=torch.ones(1, PROMPT), max_new_tokens=n,
                       min_new_tokens=n, do_sample=False, pad_token_id=0)

    def measure():
        with torch.no_grad():
            first, all_ = seconds(lambda: generate(1)), seconds(lambda: generate(1 + TOKENS))
            return TOKENS / (all_ - first), PREFILL / seconds(lambda: model(ids))
    return measure


def llama_cpp(folder, threads):
    file = pathlib.Path(folder) / "model.gguf"
    try:
        import llama_cpp
    except ImportError:
        return None
    if not file.exists():
        return None
    model = llama_cpp.Llama(str(file), n_threads=threads, n_ctx=PREFILL + TOKENS, verbose=False)
    ids = [(i * i * 37 + i * 11 + 5) % model.n_vocab() for i in range(PREFILL)]

    def decode():
        for i in range(TOKENS):
            model.eval([ids[i]])

    def measure():
        model.reset()
        prefill = PREFILL / seconds(lambda: model.eval(ids))
        return TOKENS / seconds(decode), prefill
    return measure


def ours(build, folder, threads):
    def rate(program):
        text = subprocess.run([f"{build}/bench/{program}", folder, "--rounds", "1", "--threads",
                               str(threads), "--json"], check=True, capture_output=True, text=True)
        rows = [json.loads(line) for line in text.stdout.splitlines()]
        return rows[0]["tokens/s"]["median"]   # prefill: BLAS comes first
    return lambda: (rate("decode"), rate("prefill"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--build", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for folder in options.models:
        mine = ours(options.build, folder, options.threads)
        peers = {"Hugging Face": hugging_face(folder),
                 "llama.cpp": llama_cpp(folder, options.threads)}
        for name, peer in peers.items():
            if peer is None:
                print(f"{pathlib.Path(folder).name}: {name} is not installed, or has no file")
                continue
            peer()
            rounds = [(mine(), peer()) for _ in range(options.rounds)]
            for k, what in enumerate(["decode", "prefill"]):
                a = [r[0][k] for r in rounds]
                b = [r[1][k] for r in rounds]
                ratio = [x / y for x, y in zip(a, b)]
                print(f"{pathlib.Path(folder).name}, {what}, {options.threads} threads: "
                      f"{statistics.median(a):.4g} tokens/s, {name} {statistics.median(b):.4g}, "
                      f"ratio {statistics.median(ratio):.3g} ({min(ratio):.3g} to "
                      f"{max(ratio):.3g})")


if __name__ == "__main__":
    main()
