#!/usr/bin/env python3
"""Makes the small tokenizer.json files of golden/tokenizers, and what the library does with them.

    make_hf_tokenizers.py [--check] [FOLDER]

hf_NAME.json is a tokenizer trained or converted here from generated text, hf_NAME.jsonl what
`tokenizers` answers: one line per case, {"text", "ids", "decoded"}, ids without special tokens
added, text with special tokens left out. With --check the files are made in a temporary folder and
compared with the committed ones, exit status 1 when they differ.

    hf_spm        converted from SentencePiece, older style: Prepend and Replace, no pre-tokenizer
    hf_metaspace  the same vocabulary, newer style: Metaspace, a space before the first word only
    hf_tekken     converted from Tekken: its pattern, bytes, merges ignored for whole words
    hf_gpt2       bytes, GPT-2's pattern, added tokens of every kind
    hf_nfkc       NFKC, small letters, words between blanks, unknown characters
    hf_llama3     bytes, Llama 3's pattern: up to three digits, contractions in any case
    hf_qwen2      NFC, then bytes, Qwen 2's pattern: single digits
    hf_bytes      bytes as a normalizer, before anything is split
"""
import argparse
import json
import os
import pathlib
import random
import sys
import tempfile

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))
import hf_differential as hf_cases  # noqa: E402
from make_tokenizers import corpus, make_tekken  # noqa: E402

CASES, LONGEST = 640, 120  # texts per file, characters of a committed one


def template(token, number):
    return processors.TemplateProcessing(single="%s $A" % token, special_tokens=[(token, number)])


def make_spm(folder, newer):
    with tempfile.TemporaryDirectory() as scratch:
        prefix = os.path.join(scratch, "small")
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(corpus()), model_prefix=prefix, model_type="bpe",
            vocab_size=800, byte_fallback=True, character_coverage=0.99, num_threads=1,
            minloglevel=2, normalization_rule_name="identity", remove_extra_whitespaces=False,
            split_digits=True, allow_whitespace_only_pieces=True,
            control_symbols=["[INST]", "[/INST]"], user_defined_symbols=["[REF]"])
        made = hf_cases.from_sentencepiece(prefix + ".model", newer)
    save(made, folder / ("hf_metaspace.json" if newer else "hf_spm.json"))


def make_tekken_json(folder):
    with tempfile.TemporaryDirectory() as scratch:
        path = pathlib.Path(scratch) / "small.json"
        make_tekken(path)
        made = hf_cases.from_tekken(path)
    save(made, folder / "hf_tekken.json")


def train(made, size, **settings):
    trainer = trainers.BpeTrainer(vocab_size=size, show_progress=False, **settings)
    made.train_from_iterator(corpus(), trainer)


def make_gpt2(folder):
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    train(made, 700, special_tokens=["<|begin|>", "<|end|>"],
          initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    made.add_tokens([AddedToken("<mask>", lstrip=True), AddedToken("<sep>", rstrip=True),
                     AddedToken("<both>", lstrip=True, rstrip=True, normalized=False),
                     AddedToken("word", single_word=True), AddedToken("<|end|>x", normalized=False),
                     AddedToken("wor", single_word=True, special=True, normalized=False),
                     AddedToken("\n\n", special=False), AddedToken("日本", normalized=True)])
    made.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False),
                                               template("<|begin|>", 0)])
    save(made, folder / "hf_gpt2.json")


def make_split(folder, name, pattern, normalizer):
    made = Tokenizer(models.BPE(ignore_merges=name == "hf_llama3"))
    made.normalizer = normalizer
    made.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    made.decoder = decoders.ByteLevel()
    train(made, 600, special_tokens=["<|begin|>", "<|end|>"],
          initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    save(made, folder / (name + ".json"))


def make_bytes(folder):
    made = Tokenizer(models.BPE())
    made.normalizer = normalizers.ByteLevel()
    made.decoder = decoders.ByteLevel()
    train(made, 600, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    save(made, folder / "hf_bytes.json")


def make_nfkc(folder):
    made = Tokenizer(models.BPE(unk_token="[UNK]", fuse_unk=True))
    made.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(),
                                            normalizers.Replace(Regex(" {2,}"), " "),
                                            normalizers.Strip()])
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(),
                                                  pre_tokenizers.Digits(individual_digits=True)])
    train(made, 700, special_tokens=["[UNK]", "[CLS]"])
    made.add_tokens([AddedToken("ﬁn", normalized=True), AddedToken("[SEP]", special=True)])
    save(made, folder / "hf_nfkc.json")


def save(made, path):
    made.save(str(path), pretty=False)
    library = Tokenizer.from_file(str(path))
    data = json.loads(path.read_text(encoding="utf-8"))
    added = [token["content"] for token in data["added_tokens"]]
    added = [text for text in added if not text.startswith("<SPECIAL_")]
    rng = random.Random(path.name)
    lines = []
    for text in hf_cases.texts(rng, CASES, "abcde日½ﬁÅ ", added):
        if len(text) > LONGEST: continue
        ids = library.encode(text, add_special_tokens=False).ids
        case = {"text": text, "ids": ids, "decoded": library.decode(ids, skip_special_tokens=True)}
        lines.append(json.dumps(case, ensure_ascii=False, separators=(",", ":")) + "\n")
    assert len(lines) >= 500, (path, len(lines))
    path.with_suffix(".jsonl").write_text("".join(lines), encoding="utf-8", newline="\n")


def make(folder):
    folder.mkdir(exist_ok=True)
    make_spm(folder, newer=False)
    make_spm(folder, newer=True)
    make_tekken_json(folder)
    make_gpt2(folder)
    make_nfkc(folder)
    make_split(folder, "hf_llama3", hf_cases.LLAMA3, None)
    make_split(folder, "hf_qwen2", hf_cases.QWEN2, normalizers.NFC())
    make_bytes(folder)


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
