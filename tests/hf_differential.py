#!/usr/bin/env python3
"""Compares `mistral-ref tokenize FILE --jsonl` with the tokenizers library, id by id.

    hf_differential.py [--program ./mistral-ref] [--count 20000] [--models FOLDER] [--made 0]
                       [FILE...]

For every tokenizer.json: --count strings and a fifth as many random id sequences, from a fixed
seed. With --models also files converted from the real models in that folder, as mistral_common
carries them (tokenizer.model.v1, mistral_instruct_tokenizer_*.model.v3, tekken_*.json). With
--made N also N small files made up here, with settings that do not occur together elsewhere. One
line per file; exit status 1 on any difference. Needs the Python package tokenizers, and for
--models transformers and sentencepiece.
"""
import argparse
import base64
import glob
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import types

from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from sentencepiece_differential import mixture, strings

TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
          r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
          r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
          r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")


# ---- strings ------------------------------------------------------------------------------------

MARKS = "\u0301\u0327\u0345\u0302\u05b0\u0f71\u3099\U0001d165\u0897\U00011930"
ODD = "½ﬁΩÅ①㍿﷽ǅİſKẞ가각ᄀ\u1161\u11a8\U00011935\u09c7\u09be\u0958\u2126'\u0130"


def marked(rng):
    """Letters with heaps of marks, characters that the normalization forms take apart."""
    return "".join(rng.choice([rng.choice(MARKS), rng.choice(ODD), rng.choice("ae\u03b9 ")])
                   for _ in range(rng.randint(1, 12)))


def any_code(rng):
    code = rng.choice([rng.randrange(0x3000), rng.randrange(0x10000), rng.randrange(0x20000),
                       rng.randrange(0x110000)])
    return chr(code) if not 0xd800 <= code < 0xe000 else "\ud7ff"


def contracted(rng):
    return rng.choice(["I", "we", "WE", "", " "]) + "'" + rng.choice(
        ["s", "S", "t", "re", "RE", "rE", "ve", "m", "ll", "LL", "lL", "d", "D", "ſ", "x", "l"]) \
        + rng.choice(["", " ", "a", "\n"])


def woven(rng, added):
    """Added tokens, parts of them, and blanks around them."""
    parts = [lambda: rng.choice(added), lambda: rng.choice([" ", "  ", "\n", "\t ", "\u3000", ""]),
             lambda: rng.choice(added)[:rng.randint(1, 5)], lambda: rng.choice(added).upper(),
             lambda: rng.choice(["a", "_", "x1", "."]), lambda: mixture(rng)[:20]]
    return "".join(rng.choice(parts)() for _ in range(rng.randint(1, 8)))


def texts(rng, count, alphabet, added):
    """The strings of the SentencePiece comparison that are Unicode, and what is special here."""
    kept = 0
    for text in strings(rng, 2 * count, alphabet):
        if isinstance(text, bytes): continue
        if kept >= count * 7 // 10: break
        kept += 1
        yield text
    special = [marked, contracted, lambda r: "".join(any_code(r) for _ in range(r.randint(1, 8))),
               lambda r: woven(r, added) if added else mixture(r)]
    for i in range(count - kept): yield special[i % 4](rng)


# ---- files made from the real models ------------------------------------------------------------

def byte_alphabet():
    keep = [*range(0x21, 0x7f), *range(0xa1, 0xad), *range(0xae, 0x100)]
    rest = [b for b in range(256) if b not in keep]
    return {**{b: chr(b) for b in keep}, **{b: chr(256 + n) for n, b in enumerate(rest)}}


def from_tekken(path):
    """What a converter to tokenizer.json does: ranks to merges, bytes to the byte alphabet."""
    with open(path, encoding="utf-8") as file: data = json.load(file)
    config = data["config"]
    offset = config["default_num_special_tokens"]
    count = config["default_vocab_size"] - offset
    tokens = [base64.b64decode(entry["token_bytes"]) for entry in data["vocab"][:count]]
    ranks = {token: rank for rank, token in enumerate(tokens)}
    letter = byte_alphabet()

    def write(token):
        return "".join(letter[b] for b in token)

    def halves(token, rank):
        parts = [token[i:i + 1] for i in range(len(token))]
        while len(parts) > 2:
            found = [(ranks.get(a + b, rank), i) for i, (a, b) in enumerate(zip(parts, parts[1:]))]
            best, i = min(found)
            if best >= rank: break
            parts[i:i + 2] = [parts[i] + parts[i + 1]]
        return parts

    special = [entry["token_str"] for entry in data.get("special_tokens") or []]
    special += ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"][len(special):]
    special += ["<SPECIAL_%d>" % i for i in range(len(special), offset)]
    vocab = {text: i for i, text in enumerate(special)}
    merges = []
    for token, rank in ranks.items():
        vocab[write(token)] = rank + offset
        parts = halves(token, rank) if len(token) > 1 else []
        if len(parts) == 2: merges.append((write(parts[0]), write(parts[1])))
    made = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=True))
    made.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(TEKKEN), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    made.decoder = decoders.ByteLevel()
    made.post_processor = processors.TemplateProcessing(single="<s> $A",
                                                        special_tokens=[("<s>", 1)])
    made.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in special])
    return made


def from_sentencepiece(path, newer):
    """What transformers' LlamaConverter does, in its older way (normalizer) or newer (Metaspace).
    Its own methods make the parts; it is not run as a whole, since that needs protobuf."""
    import sentencepiece
    import transformers.convert_slow_tokenizer  # noqa: the package hides the module
    converter = sys.modules["transformers.convert_slow_tokenizer"]
    library = sentencepiece.SentencePieceProcessor(model_file=path)
    size = library.get_piece_size()
    scores = [(library.id_to_piece(i), library.get_score(i)) for i in range(size)]
    vocab = {piece: i for i, (piece, _) in enumerate(scores)}
    made = Tokenizer(models.BPE(vocab, converter.generate_merges(vocab, scores),
                                unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    settings = types.SimpleNamespace(legacy=not newer, add_prefix_space=True)
    this = types.SimpleNamespace(original_tokenizer=settings)
    made.normalizer = converter.LlamaConverter.normalizer(this, None)
    made.pre_tokenizer = converter.LlamaConverter.pre_tokenizer(this, "▁", True)
    made.decoder = converter.LlamaConverter.decoder(this, "▁", True)
    made.post_processor = processors.TemplateProcessing(single="<s> $A",
                                                        special_tokens=[("<s>", 1)])
    special = [i for i in range(size) if library.is_control(i) or library.is_unknown(i)]
    usual = [i for i in range(size) if library.get_score(i) == 0 and i not in special
             and not library.is_byte(i)]  # as user-defined pieces are
    made.add_tokens([AddedToken(scores[i][0], special=i in special, normalized=False)
                     for i in sorted(special + [i for i in usual if scores[i][0][0] == "["])])
    return made


def real_files(folder, target):
    for newer in (False, True):
        for path in [os.path.join(folder, "tokenizer.model.v1"),
                     *sorted(glob.glob(os.path.join(folder, "*.model.v3")))]:
            name = "%s%s.json" % (os.path.basename(path), "-metaspace" if newer else "")
            from_sentencepiece(path, newer).save(os.path.join(target, name))
            yield os.path.join(target, name)
    for path in sorted(glob.glob(os.path.join(folder, "tekken_*.json")))[-1:]:
        from_tekken(path).save(os.path.join(target, os.path.basename(path)))
        yield os.path.join(target, os.path.basename(path))


# ---- files made up here -------------------------------------------------------------------------

def made_model(rng):
    """A small vocabulary over few characters; merges in any order, some of them twice."""
    letters = rng.choice(["abc▁", "ab ▁é", "aA1.▁", "abĠĊÃ©", "aé日▁'"])
    vocab = {}
    fallback = rng.random() < 0.6
    if rng.random() < 0.7: vocab["<unk>"] = 0
    if fallback:
        for b in range(256):
            if rng.random() < rng.choice([1, 1, 0.9]): vocab["<0x%02X>" % b] = len(vocab)
    for letter in letters:
        if rng.random() < 0.9: vocab[letter] = len(vocab)
    merges = []
    for _ in range(rng.randint(0, 60)):
        left, right = rng.choice(list(vocab)), rng.choice(list(vocab))
        if rng.random() < 0.9 and left.startswith("<") != right.startswith("<"): continue
        if len(left + right) > 30: continue
        vocab.setdefault(left + right, len(vocab))
        merges.append((left, right))
    rng.shuffle(merges)
    merges = [pair for pair in merges if "".join(pair) in vocab]
    return models.BPE(vocab, merges, unk_token="<unk>" if "<unk>" in vocab else None,
                      fuse_unk=rng.random() < 0.5, byte_fallback=fallback,
                      ignore_merges=rng.random() < 0.3), letters


def some(rng, choices, most, sequence):
    found = [rng.choice(choices)() for _ in range(rng.randint(0, most))]
    if not found: return None
    return found[0] if len(found) == 1 and rng.random() < 0.5 else sequence(found)


BEHAVIOURS = ["isolated", "removed", "contiguous", "merged_with_previous", "merged_with_next"]
SCHEMES = ["first", "always", "never"]


def made_file(rng):
    model, letters = made_model(rng)
    made = Tokenizer(model)
    normal = [lambda: normalizers.Prepend(rng.choice(["▁", "ab", "é"])), normalizers.NFC,
              lambda: normalizers.Replace(rng.choice([" ", "a", "aa", Regex(" {2,}")]),
                                          rng.choice(["▁", "", "b ", "é"])),
              normalizers.NFD, normalizers.NFKC, normalizers.NFKD, normalizers.Lowercase,
              lambda: normalizers.Strip(rng.random() < 0.6, rng.random() < 0.6),
              normalizers.ByteLevel]
    pre = [lambda: pre_tokenizers.Metaspace("▁", rng.choice(SCHEMES), rng.random() < 0.5),
           lambda: pre_tokenizers.ByteLevel(rng.random() < 0.5, use_regex=rng.random() < 0.5),
           lambda: pre_tokenizers.Split(rng.choice([" ", "a", "▁", Regex(TEKKEN), Regex(GPT2),
                                                    Regex(LLAMA3), Regex(QWEN2), Regex(" {2,}")]),
                                        rng.choice(BEHAVIOURS), rng.random() < 0.3),
           pre_tokenizers.Whitespace, pre_tokenizers.WhitespaceSplit,
           lambda: pre_tokenizers.Digits(rng.random() < 0.5)]
    back = [lambda: decoders.Replace(rng.choice(["▁", "a", Regex(" {2,}")]),
                                     rng.choice([" ", "b"])),
            decoders.ByteFallback, decoders.Fuse, decoders.ByteLevel,
            lambda: decoders.Strip(rng.choice([" ", "a", "é"]), rng.randint(0, 3), 0),
            lambda: decoders.Metaspace("▁", rng.choice(SCHEMES))]
    made.normalizer = some(rng, normal, 3, normalizers.Sequence)
    made.pre_tokenizer = some(rng, pre, 3, pre_tokenizers.Sequence)
    made.decoder = some(rng, back, 4, decoders.Sequence)
    words = {rng.choice(["<s>", "</s>", "<X>", "ab", " ", "  ", "a b", "▁a", "é", "E\u0301", "B.",
                         "<0x41>", "日本", "'s"]) for _ in range(rng.randint(0, 5))}
    if made.normalizer is not None:
        # Tokens that vanish, or become equal, are refused: the library takes any one of them.
        forms = {made.normalizer.normalize_str(word): word for word in sorted(words)}
        words = {word for form, word in forms.items() if form}
    made.add_tokens([AddedToken(word, single_word=rng.random() < 0.3, lstrip=rng.random() < 0.3,
                                rstrip=rng.random() < 0.3, normalized=rng.random() < 0.5,
                                special=rng.random() < 0.5) for word in sorted(words)])
    return made, letters


# ---- comparison ---------------------------------------------------------------------------------

def cases(rng, count, library, letters, added):
    for text in texts(rng, count, letters + " ", added): yield {"text": text}
    size = max(library.get_vocab(with_added_tokens=True).values()) + 1
    for _ in range(count // 5):
        pick = [lambda: rng.randrange(size), lambda: rng.randrange(min(size, 10)),
                lambda: rng.randrange(min(size, 300))]
        yield {"ids": [rng.choice(pick)() for _ in range(rng.randint(0, 20))]}


def ask(program, path, todo):
    lines = "".join(json.dumps(case) + "\n" for case in todo)
    start = time.perf_counter()
    run = subprocess.run([program, "tokenize", path, "--jsonl"], input=lines.encode(),
                         stdout=subprocess.PIPE, check=False)
    seconds = time.perf_counter() - start
    return run.returncode, run.stdout.decode().split("\n")[:-1], seconds


def truth(library, case):
    """Ids and text; None where the library stops with an error of its own."""
    try:
        ids = case["ids"] if "ids" in case \
            else library.encode(case["text"], add_special_tokens=False).ids
        return ids, library.decode(ids, skip_special_tokens=True)
    except BaseException as error:  # noqa: its panics are no Exception
        if type(error).__name__ not in ("PanicException", "Exception"): raise
        return None


def compare(program, path, rng, count, letters="abcde", quiet=False):
    start = time.perf_counter()
    library = Tokenizer.from_file(path)
    opened = time.perf_counter() - start
    with open(path, encoding="utf-8") as file:
        added = [token["content"] for token in json.load(file)["added_tokens"]]
    start = time.perf_counter()
    todo, expected = [], []
    for case in cases(rng, count, library, letters, added):
        answer = truth(library, case)
        if answer is None: continue
        todo.append(case)
        expected.append(answer)
    seconds = time.perf_counter() - start
    status, answers, ours = ask(program, path, todo)
    wrong_ids = wrong_text = 0
    for case, (ids, text), line in zip(todo, expected, answers):
        answer = json.loads(line)
        wrong_ids += answer.get("ids") != ids
        wrong_text += answer.get("decoded") != text
        if (answer.get("ids") != ids or answer.get("decoded") != text) \
                and wrong_ids + wrong_text <= 4:
            print("  differs: %.300s\n    expected %.200s %.100r\n    found    %.300s"
                  % (json.dumps(case), ids, text, line))
    ok = status == 0 and len(answers) == len(todo) and wrong_ids + wrong_text == 0
    if not ok or not quiet:
        print("%s: %s: %d cases, %d answered, %d differ in ids, %d in text, exit status %d; "
              "%.2f s, the library %.2f s to open and %.2f s"
              % ("same" if ok else "DIFFERENT", os.path.basename(path), len(todo), len(answers),
                 wrong_ids, wrong_text, status, ours, opened, seconds), flush=True)
    return ok


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*")
    parser.add_argument("--program", default="./mistral-ref")
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--models")
    parser.add_argument("--made", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if not options.files and not options.models and options.made == 0:
        parser.error("nothing to compare")
    ok = True
    for path in options.files:
        ok &= compare(options.program, path, random.Random(options.seed), options.count)
    with tempfile.TemporaryDirectory() as folder:
        for path in real_files(options.models, folder) if options.models else []:
            ok &= compare(options.program, path, random.Random(options.seed), options.count)
        different = refused = 0
        for i in range(options.made):
            rng = random.Random(options.seed * 1000003 + i)
            path = os.path.join(folder, "made%d.json" % i)
            try:
                made, letters = made_file(rng)
                made.save(path)
                Tokenizer.from_file(path)
            except Exception:  # the library's own refusals have no common class
                refused += 1
                continue
            different += not compare(options.program, path, rng, min(options.count, 400), letters,
                                     quiet=True)
        if options.made > 0:
            print("%s: %d made files, %d of them refused by the library, %d differ"
                  % ("same" if different == 0 else "DIFFERENT", options.made, refused, different))
        ok &= different == 0
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
