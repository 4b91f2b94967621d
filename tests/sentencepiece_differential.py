#!/usr/bin/env python3
"""Compares `mistral-ref tokenize FILE --jsonl` with the sentencepiece library, id by id.

    sentencepiece_differential.py [--program ./mistral-ref] [--count 5000] [--made 40] MODEL...

For every MODEL: --count strings and a fifth as many random id sequences, from a fixed seed. With
--made N also N small models made up here, with all settings and piece types that real models do
not use (unused pieces, trimming, no byte fallback, nested user-defined pieces, equal scores).
One line per model; exit status 1 on any difference. Needs the Python package sentencepiece.
"""
import argparse
import base64
import json
import os
import random
import struct
import subprocess
import sys
import tempfile

import sentencepiece

# ---- strings ------------------------------------------------------------------------------------

SPACES = [" ", "  ", "   ", "\t", "\n", "\r\n", "\u00a0", "\u2003", "\u2009", "\u3000", "\u200b",
          "\u2581", "\u2581\u2581", "\ufeff", "\v", "\f", "\x85", "\u2028", " " * 15, " " * 31]
EMOJI = ["\U0001f642", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1eb\U0001f1f7",
         "\U0001f44d\U0001f3fd", "\u2764\ufe0f", "1\ufe0f\u20e3", "\U0001f3f4\u200d\u2620\ufe0f"]
LOOKALIKES = ["<s>", "</s>", "<unk>", "<pad>", "[INST]", "[/INST]", "[TOOL_CALLS]", "[IMG]",
              "<0x0A>", "<0x00>", "<0xFF>", "[SYSTEM_PROMPT]", "[control_8]", "[PREFIX]"]
USER = ["[REFERENCE_DOC_%d]" % i for i in (0, 1, 10, 19, 20)]
USER += ["[REF]", "[/REF]", "[REFERENCE_DOC_1", "[REF", "[REFERENCE_[REF]", "[[REF]]"]
CODE = ["def f(x):\n    return x\n", "for (int i = 0; i < n; i++) {\n\t", "};\n", "#include <a.h>",
        "a->b[3] += 0x1F;", "{\"key\": [1, 2.5, null]}", "https://example.org/?q=a%20b&c=d#e",
        "\\begin{align}", "SELECT * FROM t WHERE a='b';", "/* -- */", "=====", "------", "^_^"]
WORDS = ("the of and to a in is it you that he was for on are with as I his they be at one have "
         "This Hello World mL NaOH eBay naïve Straße être mañana привет мир не быть и в "
         "γειά κόσμε שלום עולם مرحبا بالعالم नमस्ते दुनिया สวัสดี 日本語 中文字符 한국어 tokenizer "
         "encyclopaedia internationalization 1234 3.14159 2024-05-17 don't It's").split()
SCRIPTS = [(0x20, 0x7E), (0xA0, 0x24F), (0x250, 0x2FF), (0x300, 0x36F), (0x370, 0x3FF),
           (0x400, 0x52F), (0x530, 0x58F), (0x590, 0x5FF), (0x600, 0x6FF), (0x900, 0x97F),
           (0xE00, 0xE7F), (0x1100, 0x11FF), (0x2000, 0x2BFF), (0x3040, 0x30FF), (0x4E00, 0x9FFF),
           (0xAC00, 0xD7A3), (0xE000, 0xE0FF), (0xFB00, 0xFFFD), (0x10000, 0x100FF),
           (0x1D400, 0x1D7FF), (0x1F300, 0x1FAFF), (0x20000, 0x2A6DF), (0x10FFF0, 0x10FFFF)]


def scripted(rng):
    low, high = rng.choice(SCRIPTS)
    return "".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 12)))


def sentence(rng):
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(1, 12)))


def mixture(rng):
    parts = [lambda: rng.choice(SPACES), lambda: rng.choice(EMOJI), lambda: rng.choice(LOOKALIKES),
             lambda: rng.choice(USER), lambda: rng.choice(CODE), lambda: sentence(rng),
             lambda: scripted(rng), lambda: chr(rng.randint(0, 0x1F)), lambda: rng.choice(WORDS)]
    return "".join(rng.choice(parts)() for _ in range(rng.randint(1, 10)))


def damaged(rng):
    """Valid text with bytes replaced, removed and inserted: cut-off characters, stray trails."""
    data = bytearray(mixture(rng).encode())
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(data) + 1)
        data[at:at + rng.randint(0, 2)] = rng.randbytes(rng.randint(0, 2))
    return bytes(data)


def overlong(rng):
    """Encodings that are nearly UTF-8: overlong, surrogates, beyond U+10FFFF, five bytes."""
    parts = [b"\xc0\x80", b"\xc1\xbf", b"\xe0\x80\x80", b"\xe0\x9f\xbf", b"\xed\xa0\x80",
             b"\xed\xbf\xbf", b"\xf0\x80\x80\x80", b"\xf0\x8f\xbf", b"\xf4\x90\x80\x80",
             b"\xf5\x80\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xfe", b"\xff", b"\xef\xbf\xbd",
             b"\xef\xbf\xbe", b"a", b" "]
    return b"".join(rng.choice(parts) for _ in range(rng.randint(1, 8)))


def long_word(rng):
    unit = rng.choice(["a", "ab", "the", "\u2581", " ", "é", "日", "\U0001f642", "=", "0", "aA"])
    return (unit * 10000)[:10000] if rng.random() < 0.7 else \
        "".join(rng.choice("etaoinshrdlu") for _ in range(10000))


def strings(rng, count, alphabet):
    fixed = ["", " ", "a", " a", "a ", "\0", "a\0b", "\u2581", "\ufffd", "\n", b"\xe2\x96"]
    fixed += LOOKALIKES + USER + EMOJI + SPACES + CODE + WORDS + [" " * n for n in range(2, 40)]
    yield from fixed[:count]
    for i in range(count - len(fixed)):
        kind = i % 10
        if kind == 0: yield damaged(rng)
        elif kind == 1: yield overlong(rng)
        elif kind == 2: yield rng.randbytes(rng.randint(1, 40))
        elif kind == 3: yield scripted(rng)
        elif kind == 4: yield sentence(rng)
        elif kind == 5: yield "".join(rng.choice(alphabet) for _ in range(rng.randint(1, 30)))
        elif i % 250 == 6: yield long_word(rng)
        else: yield mixture(rng)


# ---- made models --------------------------------------------------------------------------------

def varint(value):
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def field(number, value):
    if isinstance(value, bytes): return varint(number << 3 | 2) + varint(len(value)) + value
    if isinstance(value, float): return varint(number << 3 | 5) + struct.pack("<f", value)
    return varint(number << 3) + varint(value)


def made_model(rng):
    """A random vocabulary over few characters, so that everything collides with everything."""
    letters = rng.choice(["ab", "abc\u2581", "a\u2581é", "ab \u2581", "\u2581日本a"])
    fallback = rng.random() < 0.5
    types = [1] * 10 + rng.choice([[], [5] * 4, [4] * 2, [4] * 3 + [5] * 6])
    pieces = {"<unk>": (0.0, 2), "<s>": (0.0, 3), "</s>": (0.0, 3)}
    if fallback: pieces.update(("<0x%02X>" % i, (0.0, 6)) for i in range(256))
    for _ in range(rng.randint(3, 60)):
        text = "".join(rng.choice(letters) for _ in range(rng.randint(1, rng.choice([2, 3, 8]))))
        pieces.setdefault(text, (float(rng.randint(-6, 6)), rng.choice(types)))
    if rng.random() < 0.2: pieces["ab a"] = (0.0, 4)
    model = b"".join(field(1, field(1, text.encode()) + field(2, score) + field(3, kind))
                     for text, (score, kind) in pieces.items())
    trainer = field(3, 2) + field(35, int(fallback))
    if rng.random() < 0.2: trainer += field(24, 1)
    if rng.random() < 0.3: trainer += field(44, rng.choice([b"", b"?", b" ?"]))
    flags = b"".join(field(number, int(rng.random() < usual))
                     for number, usual in ((3, 0.7), (4, 0.4), (5, 0.8)))
    return model + field(2, trainer) + field(3, field(1, b"identity") + flags), letters


# ---- comparison ---------------------------------------------------------------------------------

def cases(rng, count, library, letters):
    for text in strings(rng, count, letters + " "):
        yield {"text": text} if isinstance(text, str) else \
            {"bytes_b64": base64.b64encode(text).decode()}
    size = library.get_piece_size()
    first_byte = library.piece_to_id("<0x00>")
    space = b"\xe2\x96\x81\xc3\xa9\xf0\x9f\x99 a"
    for _ in range(count // 5):
        pick = [lambda: rng.randrange(size), lambda: rng.randrange(min(size, 10)),
                lambda: min(size - 1, first_byte + rng.randrange(256)),
                lambda: min(size - 1, first_byte + rng.choice(space))]
        yield {"ids": [rng.choice(pick)() for _ in range(rng.randint(0, 20))]}


def expected(library, case):
    if "ids" in case: ids = case["ids"]
    elif "text" in case: ids = library.encode(case["text"].encode())
    else: ids = library.encode(base64.b64decode(case["bytes_b64"]))
    return ids, library.decode(ids) if ids else ""


def compare(program, path, library, label, rng, count, letters="abcde"):
    todo = list(cases(rng, count, library, letters))
    lines = "".join(json.dumps(case) + "\n" for case in todo)
    run = subprocess.run([program, "tokenize", path, "--jsonl"], input=lines.encode(),
                         stdout=subprocess.PIPE, check=False)
    answers = run.stdout.decode().split("\n")[:-1]  # splitlines would also split at U+2028
    wrong_ids = wrong_text = 0
    for case, line in zip(todo, answers):
        ids, text = expected(library, case)
        answer = json.loads(line)
        found_ids, found_text = answer.get("ids"), answer.get("decoded")
        wrong_ids += found_ids != ids
        wrong_text += found_text != text
        if (found_ids != ids or found_text != text) and wrong_ids + wrong_text <= 6:
            print("  differs: %.200s\n    expected %.200s %.100r\n    found    %.300s"
                  % (json.dumps(case), ids, text, line))
    ok = run.returncode == 0 and len(answers) == len(todo) and wrong_ids + wrong_text == 0
    print("%s: %s: %d cases, %d answered, %d differ in ids, %d in text, exit status %d"
          % ("same" if ok else "DIFFERENT", label, len(todo), len(answers), wrong_ids, wrong_text,
             run.returncode))
    return ok


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*")
    parser.add_argument("--program", default="./mistral-ref")
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--made", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if not options.models and options.made == 0: parser.error("nothing to compare")
    ok = True
    for path in options.models:
        library = sentencepiece.SentencePieceProcessor(model_file=path)
        ok &= compare(options.program, path, library, os.path.basename(path),
                      random.Random(options.seed), options.count)
    with tempfile.TemporaryDirectory() as folder:
        for i in range(options.made):
            rng = random.Random(options.seed * 1000003 + i)
            model, letters = made_model(rng)
            path = os.path.join(folder, "made.model")
            with open(path, "wb") as file: file.write(model)
            library = sentencepiece.SentencePieceProcessor(model_proto=model)
            ok &= compare(options.program, path, library, "made model %d" % i, rng,
                          min(options.count, 600), letters)
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
