#!/usr/bin/env python3
"""Writes tokenizer/pretoken_ranges.def: the class of every code point, by asking tiktoken.

    unicode_classes.py [--check] [FILE]

tiktoken's encode returns only what its pattern matches. So a pattern of one class, given all code
points, answers with those of that class: exactly what the regex engine behind Tekken believes.
With --check the file is compared instead, exit status 1 when it differs. Needs tiktoken.
"""
import argparse
import pathlib
import sys

import tiktoken

FILE = pathlib.Path(__file__).parent.parent / "tokenizer" / "pretoken_ranges.def"
CLASSES = {"U": r"[\p{Lu}\p{Lt}]", "S": r"\p{Ll}", "L": r"[\p{Lm}\p{Lo}]", "M": r"\p{M}",
           "N": r"\p{N}", "W": r"\s"}
# Characters that appeared in one version of Unicode and are letters since.
VERSIONS = {"14.0": 0xA7C0, "15.0": 0x1DF25, "15.1": 0x2EBF0, "16.0": 0xA7DA, "17.0": 0xA7CE}
BLOCK = 65536


def members(pattern):
    """The code points that match a pattern of one character."""
    encoding = tiktoken.Encoding("class", pat_str=pattern, special_tokens={},
                                 mergeable_ranks={bytes([i]): i for i in range(256)})
    for first in range(0, 0x110000, BLOCK):
        text = "".join(chr(c) for c in range(first, first + BLOCK) if not 0xD800 <= c < 0xE000)
        yield from map(ord, encoding.decode_bytes(encoding.encode(text)).decode())


def classes():
    found = [None] * 0x110000
    for name, pattern in CLASSES.items():
        for code in members(pattern):
            assert found[code] is None, hex(code)
            found[code] = name
    return found


def ranges(found):
    """(first, count, class), the long U S U S... of many alphabets as one range of class A."""
    at = 0
    while at < len(found):
        end = at + 1
        while end < len(found) and found[end] == found[at]: end += 1
        pairs = at
        while found[pairs:pairs + 2] == ["U", "S"]: pairs += 2
        if pairs - at >= 4: yield at, pairs - at, "A"
        elif found[at]: yield at, end - at, found[at]
        at = pairs if pairs - at >= 4 else end


def text():
    found = classes()
    version = max((v for v, code in VERSIONS.items() if found[code]), key=float)
    rows = ["{0x%X,%d,%s}," % row for row in ranges(found)]
    lines = ["/* Classes of code points, Unicode %s.0: {first, count, class}; from" % version
             + " golden/unicode_classes.py. */"]
    for row in rows:
        if len(lines) == 1 or len(lines[-1]) + len(row) > 99: lines.append(row)
        else: lines[-1] += " " + row
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("file", nargs="?", type=pathlib.Path, default=FILE)
    options = parser.parse_args()
    made = text()
    if not options.check:
        options.file.write_text(made)
        return 0
    same = options.file.read_text() == made
    print("%s: %s" % (options.file.name, "same" if same else "DIFFERENT"))
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
