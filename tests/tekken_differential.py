#!/usr/bin/env python3
"""Compares `mistral-ref tokenize FILE --jsonl` with mistral-common's Tekkenizer, id by id.

    tekken_differential.py [--program ./mistral-ref] [--count 20000] [--codes] TEKKEN_JSON...

For every file: --count strings and a fifth as many random id sequences, from a fixed seed. With
--codes also every code point of the assigned planes, alone and between other characters.
One line per file; exit status 1 on any difference. Needs the Python package mistral-common.
"""
import argparse
import base64
import json
import os
import random
import subprocess
import sys

from mistral_common.tokens.tokenizers.tekken import Tekkenizer

import sentencepiece_differential as shared

# ---- strings ------------------------------------------------------------------------------------

BLANKS = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2003\u200a\u2028\u2029\u202f\u205f\u3000"
NO_BLANKS = "\x1c\x1d\x1e\x1f\u180e\u200b\u200c\u200d\u2060\ufeff"
# One alphabet per question that the pattern asks; strings over them meet all its branches.
ALPHABETS = ["ABZÀΣЖ\u01c5", "abzßσж\u0149", "ªʰ日\u05d0\u0e01\u30fc", "\u0301\u0903\u20dd\U0001e94a",
             "0½Ⅷ٣१\U0001d7ce", BLANKS, "\r\n", "/", " ", "'.,!?()_-+=<>€\u0378\ue000\U0001f642",
             NO_BLANKS]
CODE = [
    "def f(x: int) -> str:\n    return f'{x!r}'  # ok\n",
    "#include <stdio.h>\r\n\r\n\r\nint main(void)",
    "for (size_t i = 0; i < n; ++i) { a[i] += *p++; }\n\n",
    "fn main() { println!(\"{:?}\", v?); }",
    "SELECT COUNT(*) FROM \"t\" WHERE a <> 'b' -- c\n",
    "const f = async (a) => { await g(...a); };",
    "func (s *Server) Run() error {\n\treturn nil\n}\n",
    "<a href=\"https://x.org/?q=1&amp;r=2\">x</a>",
    "let rec f = function [] -> 0 | _::t -> 1 + f t;;",
    "main :: IO ()\nmain = print $ map (*2) [1..3]",
    "public static void main(String[] args) throws IOException {\n        ",
    "%%\\frac{1}{2}\\\\",
    "if [ \"$1\" = '-h' ]; then\n\texit 0\nfi\n", "  - name: test\n    run: |\n      make -j2\n",
]
CONTRACTIONS = ["I'm", "you'll", "DON'T", "it'S", "l'été", "O'Neil's", "rock'n'roll", "'tis", "''"]
CASES = ["HTTPServer", "camelCaseWords", "SCREAMING_SNAKE", "iPhone", "ÉCOLE", "ǅungla", "ΑΣ", "ﬁn",
         "McDonald", "aB", "Ab", "AB", "ab", "Aª", "ªA", "ªAªB", "aªA", "A\u0301b\u0301C", "\u0301A"]


def classes(rng):
    return "".join(rng.choice(rng.choice(ALPHABETS)) for _ in range(rng.randint(1, 14)))


def planes(rng):
    """Any code points; neighbours come from the same block now and then."""
    text = ""
    for _ in range(rng.randint(1, 10)):
        code = rng.choice([rng.randrange(0x3000), rng.randrange(0x10000), rng.randrange(0x20000),
                           rng.randrange(0x110000)])
        text += "".join(chr(c) for c in range(code, code + rng.randint(1, 3))
                        if c < 0x110000 and not 0xD800 <= c < 0xE000)
    return text


def blanks(rng):
    run = lambda: "".join(rng.choice(BLANKS + "   \n\n") for _ in range(rng.randint(0, 6)))
    return run() + "".join(rng.choice(["a", "B", "1", ".", "é", "/", "日"]) + run()
                           for _ in range(rng.randint(0, 5)))


def mixture(rng):
    parts = [lambda: rng.choice(CODE), lambda: rng.choice(CONTRACTIONS), lambda: rng.choice(CASES),
             lambda: shared.mixture(rng), lambda: classes(rng), lambda: blanks(rng),
             lambda: str(rng.randrange(10 ** rng.randint(1, 20)))]
    return "".join(rng.choice(parts)() for _ in range(rng.randint(1, 8)))


def strings(rng, count):
    fixed = ["", " ", "a", " a", "a ", "\0", "a\0b", "\ufffd", "\n", "Plz tekkenize me",
             "Hello World's  x=12345\n\n  foo/bar (BAZqux) 日本語", "[SPECIAL_20]", "<SPECIAL_20>"]
    fixed += shared.LOOKALIKES + shared.USER + shared.EMOJI + shared.SPACES + shared.CODE
    fixed += CODE + CONTRACTIONS + CASES + [" " * n for n in range(2, 40)]
    yield from fixed[:count]
    kinds = [mixture, classes, planes, blanks, shared.sentence, shared.scripted, shared.mixture,
             shared.damaged, shared.overlong]
    for i in range(count - len(fixed)):
        yield shared.long_word(rng) if i % 500 == 7 else kinds[i % len(kinds)](rng)


def code_points():
    for plane in (0, 1, 2, 3, 14, 15, 16):
        for code in range(plane << 16, (plane + 1) << 16):
            if 0xD800 <= code < 0xE000: continue
            c = chr(code)
            yield c
            yield f"a{c}b {c}{c}A{c}\n{c}1{c} a.{c}/\n  {c}B{c}b'{c}s"


# ---- comparison ---------------------------------------------------------------------------------

def random_ids(rng, size, special):
    """Byte tokens often: only they cut characters in two; and special ones between them."""
    pieces = [special + b for b in "é日\U0001f642\xff".encode() + b"\xe2\x80\xf0\x9f\xed\xa0\xc3"]
    pick = [lambda: rng.randrange(size), lambda: rng.randrange(special),
            lambda: special + rng.randrange(256), lambda: rng.choice(pieces),
            lambda: rng.choice(pieces)]
    return [rng.choice(pick)() for _ in range(rng.randint(0, 20))]


def cases(rng, count, size, special):
    for text in strings(rng, count):
        yield {"text": text} if isinstance(text, str) else \
            {"bytes_b64": base64.b64encode(text).decode()}
    for _ in range(count // 5): yield {"ids": random_ids(rng, size, special)}


def expected(tekken, case):
    if "ids" in case: ids = case["ids"]
    elif "text" in case: ids = tekken.encode(case["text"], bos=False, eos=False)
    else:
        text = base64.b64decode(case["bytes_b64"]).decode("utf-8", "replace")
        ids = tekken.encode(text, bos=False, eos=False)
    return ids, tekken.decode(ids)


def compare(program, path, tekken, label, todo):
    lines = "".join(json.dumps(case) + "\n" for case in todo)
    run = subprocess.run([program, "tokenize", path, "--jsonl"], input=lines.encode(),
                         stdout=subprocess.PIPE, check=False)
    answers = run.stdout.decode().split("\n")[:-1]
    wrong_ids = wrong_text = 0
    for case, line in zip(todo, answers):
        ids, text = expected(tekken, case)
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
    parser.add_argument("files", nargs="+")
    parser.add_argument("--program", default="./mistral-ref")
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--codes", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    ok = True
    for path in options.files:
        tekken = Tekkenizer.from_file(path)
        name = os.path.basename(path)
        todo = list(cases(random.Random(options.seed), options.count, tekken.n_words,
                          tekken.num_special_tokens))
        ok &= compare(options.program, path, tekken, name, todo)
        if options.codes:
            todo = [{"text": text} for text in code_points()]
            ok &= compare(options.program, path, tekken, name + ", code points", todo)
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
