#!/usr/bin/env python3
"""Makes the small tokenizers of golden/tokenizers, and what the originals do with them.

    make_tokenizers.py [--check] [FOLDER]

NAME.model or NAME.json is a tokenizer trained here on generated text, NAME.jsonl what
sentencepiece or mistral-common answer: one line per case, {"text" or "bytes_b64", "ids",
"decoded"}, or {"ids", "decoded"} where ids are only decoded. With --check the files are made in a
temporary folder and compared with the committed ones, exit status 1 when they differ.
"""
import argparse
import base64
import collections
import io
import json
import pathlib
import random
import sys
import tempfile

import regex
import sentencepiece

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))
import sentencepiece_differential as spm_cases  # noqa: E402
import tekken_differential as tekken_cases  # noqa: E402

MERGES, CUT, SPECIAL = 400, 40, 24  # merges learned, how many of them are cut off, special tokens
LONGEST = 300                       # characters of a committed text
PATTERN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
           r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
           r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def corpus():
    rng = random.Random(7)
    lines = [spm_cases.sentence(rng) for _ in range(1500)]
    for code in tekken_cases.CODE + spm_cases.CODE + tekken_cases.CASES: lines += [code] * 8
    return lines


# ---- Tekken -------------------------------------------------------------------------------------

def pair_counts(words):
    counts = collections.Counter()
    for word, count in words.items():
        for pair in zip(word, word[1:]): counts[pair] += count
    return counts


def merged(word, pair):
    out, i = [], 0
    while i < len(word):
        joined = word[i:i + 2] == pair
        out.append(word[i] + word[i + 1] if joined else word[i])
        i += 1 + joined
    return tuple(out)


def learn(lines):
    """Plain byte-pair training; equal counts are decided by the bytes."""
    words = collections.Counter(tuple(bytes([b]) for b in piece.encode())
                                for line in lines for piece in regex.findall(PATTERN, line))
    tokens = [bytes([b]) for b in range(256)]
    while len(tokens) < 256 + MERGES:
        counts = pair_counts(words)
        pair = min(counts, key=lambda p: (-counts[p], p))
        new = collections.Counter()
        for word, count in words.items(): new[merged(word, pair)] += count
        words = new
        if pair[0] + pair[1] not in tokens: tokens.append(pair[0] + pair[1])
    return tokens


def shown(token):
    try: return token.decode()
    except UnicodeDecodeError: return None


def make_tekken(path):
    tokens = learn(corpus())
    config = {"pattern": PATTERN, "num_vocab_tokens": len(tokens),
              "default_vocab_size": len(tokens) - CUT + SPECIAL,
              "default_num_special_tokens": SPECIAL, "version": "v3"}
    vocab = [{"rank": rank, "token_bytes": base64.b64encode(token).decode(),
              "token_str": shown(token)} for rank, token in enumerate(tokens)]
    path.write_text(json.dumps({"config": config, "vocab": vocab}, indent=1) + "\n")
    tekken = tekken_cases.Tekkenizer.from_file(path)
    cases = tekken_cases.cases(random.Random(1), 700, tekken.n_words, SPECIAL)
    write_cases(path, cases, lambda case: tekken_cases.expected(tekken, case))


# ---- SentencePiece ------------------------------------------------------------------------------

def make_spm(path, **settings):
    writer = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus()), model_writer=writer, model_type="bpe", vocab_size=900,
        byte_fallback=True, character_coverage=0.99, num_threads=1, minloglevel=2, **settings)
    path.write_bytes(writer.getvalue())
    library = sentencepiece.SentencePieceProcessor(model_proto=writer.getvalue())
    letters = "abcde日\u00bd\u2460ﬁÅ\u3000  "
    cases = spm_cases.cases(random.Random(1), 560, library, letters)
    write_cases(path, cases, lambda case: spm_cases.expected(library, case))


def write_cases(path, cases, answer):
    with open(path.with_suffix(".jsonl"), "w", encoding="utf-8", newline="\n") as file:
        for case in cases:
            if len(case.get("text", case.get("bytes_b64", ""))) > LONGEST: continue
            ids, decoded = answer(case)
            case.update(ids=ids, decoded=decoded)
            file.write(json.dumps(case, ensure_ascii=False, separators=(",", ":")) + "\n")


def make(folder):
    folder.mkdir(exist_ok=True)
    make_tekken(folder / "tekken_small.json")
    make_spm(folder / "spm_small.model", normalization_rule_name="identity",
             remove_extra_whitespaces=False, split_digits=True, allow_whitespace_only_pieces=True,
             control_symbols=["[INST]", "[/INST]"],
             user_defined_symbols=["[REFERENCE_DOC_1]", "[REFERENCE_DOC_0]", "[REF]"])
    make_spm(folder / "spm_nfkc_small.model")


def compare(folder):
    same = True
    with tempfile.TemporaryDirectory() as fresh:
        make(pathlib.Path(fresh))
        for made in sorted(pathlib.Path(fresh).iterdir()):
            committed = folder / made.name
            equal = committed.exists() and committed.read_bytes() == made.read_bytes()
            print("%s: %s" % (made.name, "same" if equal else "DIFFERENT"))
            same &= equal
    return same


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("folder", nargs="?", type=pathlib.Path, default=HERE / "tokenizers")
    options = parser.parse_args()
    if options.check: return 0 if compare(options.folder) else 1
    make(options.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
