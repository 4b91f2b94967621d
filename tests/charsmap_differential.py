#!/usr/bin/env python3
"""Compares models with character maps, trained here, with the sentencepiece library, id by id.

    charsmap_differential.py [--program ./mistral-ref] [--count 4000]

One small BPE model for every map that the trainer offers, with and without trimming of spaces,
byte fallback and user-defined pieces, and for a custom map whose keys overlap. The strings are
those of sentencepiece_differential.py and strings of what the maps replace. One line per model;
exit status 1 on any difference. Needs the Python package sentencepiece.
"""
import argparse
import io
import os
import random
import sys
import tempfile
import unicodedata

import sentencepiece

import sentencepiece_differential as shared

# Sources and targets of different lengths, overlapping, empty, with spaces at either end.
CUSTOM = {"a": "b", "ab": "cc", "abc": "a long replacement", "abcd": "", "x": " ", "y": " y ",
          "é": "e\u0301", "\u3000": "  ", "日": "sun ", "日本": "Japan", "zz": "z", "[U": "u",
          "\U0001f642": ":-)", "\u200b": "", "\u2581": "_", "q": "Q"}
FOLDED = [c for c in range(0xA0, 0x30000) if not 0xD800 <= c < 0xE000
          and unicodedata.normalize("NFKC", chr(c)).casefold() != chr(c)]


def custom_rules(path):
    code = lambda text: " ".join("%X" % ord(c) for c in text)
    with open(path, "w", encoding="utf-8") as file:
        for source, target in CUSTOM.items():
            file.write("%s\t%s\n" % (code(source), code(target)))


def train(corpus, folder, rule, trim, fallback, user):
    """The serialized model of one combination of settings."""
    writer = io.BytesIO()
    options = {"normalization_rule_name": rule}
    if rule == "custom":
        options = {"normalization_rule_tsv": os.path.join(folder, "rules.tsv")}
        custom_rules(options["normalization_rule_tsv"])
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus), model_writer=writer, model_type="bpe",
        vocab_size=900 if fallback else 640, character_coverage=0.99, byte_fallback=fallback,
        remove_extra_whitespaces=trim, user_defined_symbols=user, hard_vocab_limit=False,
        minloglevel=2, **options)
    return writer.getvalue()


def corpus(rng):
    return [shared.sentence(rng) + rng.choice([".", "!", " x", " y", "  ", "Straße", "abcd ab"])
            for _ in range(3000)]


def letters(rng):
    """What the strings of `shared.strings` are made of where they use the model's own alphabet."""
    return "".join(CUSTOM) + "".join(chr(rng.choice(FOLDED)) for _ in range(300)) + "  \t\n\r"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default="./mistral-ref")
    parser.add_argument("--count", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    text, ok, n = corpus(rng), True, 0
    with tempfile.TemporaryDirectory() as folder:
        for rule in ("nmt_nfkc", "nmt_nfkc_cf", "nfkc", "nfkc_cf", "identity", "custom"):
            for trim in (True, False):
                n += 1
                fallback, user = n % 4 < 2, [[], ["[U]", "\u00bd", "ab c"]][n % 3 == 0]
                model = train(text, folder, rule, trim, fallback, user)
                path = os.path.join(folder, "trained.model")
                with open(path, "wb") as file: file.write(model)
                library = sentencepiece.SentencePieceProcessor(model_proto=model)
                label = "%s, trim %d, byte fallback %d, %d user-defined" % (rule, trim, fallback,
                                                                            len(user))
                ok &= shared.compare(options.program, path, library, label, rng, options.count,
                                     letters(rng))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
