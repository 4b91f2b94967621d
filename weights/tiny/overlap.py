"""Proof, from the files alone, that nothing held back was trained on and the pairs are fair."""
import json
import os
import re

from grammar import COLOURS, FIRST, PEOPLE, PLACES, THINGS, TOLD

SPLITS = ("train", "valid", "test")
KINDS = ("pretrain", "sft", "dpo")
WORDS = {"who": PEOPLE, "place": PLACES, "colour": COLOURS, "thing": THINGS}
PLACEHOLDERS = {key: "(?P<%s>%s)" % (key, "|".join(words)) for key, words in WORDS.items()}
FACTS = [re.compile(told.replace(".", r"\.").format(**PLACEHOLDERS)) for told in TOLD]
SUM = re.compile(r"(\d+) \+ (\d+) =")
ROW = re.compile(r"[(\[{][][(){} ]*[])}]")


def path(folder, kind, split):
    return os.path.join(folder, "%s.%s.jsonl" % (kind, split))


def read(folder, kind, split):
    with open(path(folder, kind, split), encoding="ascii") as file:
        for line in file:
            yield json.loads(line)


def found(row):
    """Every fact, sum and completed row of brackets in the text of a line of a file."""
    texts = [said["content"] for said in row.get("messages", [])]
    texts += [row[key] for key in ("text", "prompt", "completion", "chosen") if key in row]
    text = " ".join(texts).replace("[INST] ", "").replace(" [/INST]", "")
    for pattern in FACTS:
        for match in pattern.finditer(text):
            yield ("fact",) + tuple(match[key] for key in WORDS)
    for match in SUM.finditer(text):
        yield ("sum",) + match.groups()
    for match in ROW.finditer(text):
        yield "brackets", match[0]


def check_apart(folder):
    """No fact, sum or row of brackets in two splits. Returns how many each split has."""
    seen = {split: {key for kind in KINDS for row in read(folder, kind, split)
                    for key in found(row)} for split in SPLITS}
    for split, keys in seen.items():
        assert {key[0] for key in keys} == {"fact", "sum", "brackets"}, split + " lacks a kind"
    for one, other in (("train", "valid"), ("train", "test"), ("valid", "test")):
        both = sorted(seen[one] & seen[other])
        assert not both, "%s and %s share %d, the first is %s" % (one, other, len(both), both[0])
    return {split: len(keys) for split, keys in seen.items()}


def person_first(words):
    """The hidden rule."""
    return (min(words.index(word) for word in words if word in PEOPLE)
            < min(words.index(word) for word in words if word in PLACES + THINGS))


def check_pairs(rows):
    """The rule tells the answers of each pair apart; length does not, nor the first word, whose
    shares may differ by five standard errors of a difference of two shares."""
    count = {(key, word): 0 for key in ("chosen", "rejected") for word in FIRST}
    total = 0
    for row in rows:
        good, bad = (row[key].rstrip(".").split() for key in ("chosen", "rejected"))
        assert person_first(good) and not person_first(bad), "the rule is broken: %s" % row
        assert sorted(good[1:]) == sorted(bad[1:]) and good[0] != bad[0], "an unfair pair: %s" % row
        count["chosen", good[0]] += 1
        count["rejected", bad[0]] += 1
        total += 1
    for word in sorted(set(FIRST)):
        good, bad = (count[key, word] / total for key in ("chosen", "rejected"))
        assert abs(good - bad) < 5 * (0.5 / total) ** 0.5, (
            "%s begins %.3f of the preferred answers and %.3f of the others" % (word, good, bad))


def check(folder):
    """Raises AssertionError if the corpus is not what it says. Returns the size of each split."""
    for split in SPLITS:
        check_pairs(read(folder, "dpo", split))
    return check_apart(folder)
