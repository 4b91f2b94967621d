"""The corpus of the tiny model: short stories with facts one can ask about, sums, brackets, and
pairs of answers with a hidden rule.

    python3 corpus.py DIR [--seed S] [--rows N]

writes pretrain, sft and dpo, each as .train.jsonl, .valid.jsonl and .test.jsonl. The standard
library only; of its random numbers only random(), whose sequence Python promises, so that every
Python from 3.9 on writes the same bytes.

A fact is a person, a place, a colour and a thing. A hash deals every fact (and every sum, and every
row of brackets) to train, valid or test; a file has facts of its own split alone. overlap.py reads
the files again, finds the facts in their text and proves it.

The hidden rule of the pairs: the person is named before the place or the thing. Both answers are
true and have the same words but for the first, hence the same length; the first word is drawn
without regard to the rule, and the two answers of a pair differ in it.
"""
import argparse
import json
import os
import random
import sys

import overlap
from grammar import (ASKED, BETWEEN, BRACKETS, COLOURS, ENDINGS, FIRST, MEANWHILE, OPENINGS, PEOPLE,
                     PLACES, TALK, TELL, THINGS, TOLD)

SHARE = {"train": 1, "valid": 100, "test": 40}  # rows of a training file for one row of this one


def split_of(*key):
    """FNV-1a over the words of a key: eight tenths train, one tenth valid, one tenth test."""
    h = 2166136261
    for byte in " ".join(map(str, key)).encode():
        h = (h ^ byte) * 16777619 % 2**32
    return {0: "valid", 1: "test"}.get((h >> 8) % 10, "train")


def message(role, content):
    return {"role": role, "content": content}


def prompt(task, said, answer):
    """A row with the chat template v1 written out: the same ids as {"messages"} of one turn."""
    return {"task": task, "prompt": "[INST] %s [/INST]" % said, "completion": answer}


class Writer:
    """Draws rows of one split. All chance comes from random.Random.random()."""

    def __init__(self, seed, split):
        self.random, self.split = random.Random(seed).random, split

    def below(self, n):
        return int(self.random() * n)

    def pick(self, items):
        return items[self.below(len(items))]

    def some(self, items, n):
        items = list(items)
        return [items.pop(self.below(len(items))) for _ in range(n)]

    # ---- what texts are made of ----

    def facts(self, n, who=None):
        """n facts of this split, no word in two of them; the first about `who` if it is given."""
        facts = []
        while len(facts) < n:
            row = [self.pick(words) for words in (PEOPLE, PLACES, COLOURS, THINGS)]
            if who is not None and not facts:
                row[0] = who
            apart = not any(a == b for fact in facts for a, b in zip(fact, row))
            if apart and split_of(*row) == self.split:
                facts.append(row)
        return [dict(zip(("who", "place", "colour", "thing"), row)) for row in facts]

    def some_facts(self):
        return self.facts((2, 2, 3, 3, 4)[self.below(5)])

    def story(self, facts, asked=False):
        """The facts as a story; if asked, what was told comes back between the sentences."""
        lines = [self.pick(OPENINGS)] if self.below(3) == 0 else []
        for i, fact in enumerate(facts):
            lines.append(self.pick(TOLD).format(**fact))
            for _ in range(1 + self.below(2) if asked else 0):
                lines += self.again(facts[:i + 1])
            if self.below(6) == 0:
                lines.append(self.pick(MEANWHILE))
        if self.below(3) == 0:
            lines.append(self.pick(ENDINGS))
        return " ".join(lines)

    def again(self, facts):
        """What was told before: a question with its answer, a fact in other words, or a request."""
        kind = self.below(10)
        if kind < 5:
            return self.question(facts)
        if kind < 8:
            return "Remember:", self.pick(TOLD).format(**self.pick(facts))
        request, *answers = self.request(facts)
        return request, self.pick(FIRST), self.pick(answers)

    def question(self, facts):
        question, answer = self.pick(ASKED)
        fact = self.pick(facts)
        return question.format(**fact), answer.format(**fact)

    def request(self, facts):
        """A request and its two answers, preferred first, without their first word."""
        fact = self.pick(facts)
        return [part.format(**fact) for part in self.pick(TELL)]

    def sum(self):
        while True:
            a, b = self.below(20), self.below(10)
            if split_of("sum", a, b) == self.split:
                return "%d + %d =" % (a, b), "%d" % (a + b)

    def brackets(self):
        """A row with one to four brackets still open, and what closes them."""
        while True:
            row, still = [], []
            for _ in range(2 + self.below(7)):
                if still and (len(still) == 4 or self.below(3) == 0):
                    row.append(still.pop())
                else:
                    row.append(self.pick("([{"))
                    still.append(BRACKETS[row[-1]])
            still.reverse()
            if still and split_of("brackets", *row, *still) == self.split:
                return " ".join(row), " ".join(still)

    def words(self):
        """A few words, three times: what follows a word is what followed it before."""
        row = " ".join(self.some(PEOPLE + PLACES + COLOURS + THINGS, 4 + self.below(7)))
        return {"task": "words", "prompt": row, "completion": row + " " + row}

    def pairs(self):
        """Pairs of words, three times in another order and with other words between them."""
        left, right, between = self.pick(BETWEEN)
        n = 2 + self.below(5)
        rows = list(zip(self.some(left, n), self.some(right, n)))
        first, *again = [", ".join(a + self.pick(between) + " " + b for a, b in self.some(rows, n))
                         + "." for _ in range(3)]
        return {"task": "pairs", "prompt": first, "completion": " ".join(again)}

    # ---- rows of the files; done: how much of the file stands before this row, 0 to 1 ----

    def pretrain(self, done):
        """A curriculum, to be read in order: lists that teach to look back, of which only what
        comes back is scored; then more and more stories. Without it the model does not find out
        within millions of tokens which of several people a question is about."""
        words, pairs = (70, 30) if done < 0.2 else (10, 60) if done < 0.5 else (5, 20)
        kind = self.below(100) if done < 1 else 100
        if kind < words:
            return self.words()
        if kind < words + pairs:
            return self.pairs()
        kind = self.below(20)
        if kind < 3:
            return {"task": "sums", "text": " ".join("%s %s." % self.sum() for _ in range(8))}
        if kind < 5:
            rows = ["%s %s" % self.brackets() for _ in range(2)]
            return {"task": "brackets", "text": " . ".join(rows)}
        return {"task": "story", "text": self.story(self.some_facts(), asked=True)}

    def sft(self, _):
        kind = self.below(40)
        if kind < 3:
            return prompt("sums", *self.sum())
        if kind < 6:
            return prompt("brackets", *self.brackets())
        if kind < 8:
            who = self.pick(PEOPLE)
            told = self.story(self.facts(2, who))
            return prompt("story", "Tell me a story about %s." % who, told)
        if kind < 9:
            said, answer = self.pick(TALK)
            return {"task": "talk", "messages": [message("user", said),
                                                 message("assistant", answer)]}
        facts = self.some_facts()
        story = self.story(facts) + " "
        if kind < 16:
            request, *answers = self.request(facts)
            return prompt("tell", story + request, self.pick(FIRST) + " " + self.pick(answers))
        question, answer = self.question(facts)
        if kind < 22:
            again, reply = self.question(facts)
            return {"task": "dialogue", "messages": [
                message("user", story + question), message("assistant", answer),
                message("user", again), message("assistant", reply)]}
        return prompt("facts", story + question, answer)

    def dpo(self, _):
        facts = self.some_facts()
        request, good, bad = self.request(facts)
        first, second = self.some(sorted(set(FIRST)), 2)
        row = prompt("tell", self.story(facts) + " " + request, None)
        return {"task": "tell", "prompt": row["prompt"], "chosen": first + " " + good,
                "rejected": second + " " + bad}


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    options.add_argument("folder")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--rows", type=int, default=24000,
                         help="rows of each training file (default 24000)")
    given = options.parse_args()
    os.makedirs(given.folder, exist_ok=True)
    for number, kind in enumerate(overlap.KINDS):
        for part, split in enumerate(overlap.SPLITS):
            writer = Writer(given.seed * 9 + number * 3 + part, split)
            rows = given.rows // SHARE[split]
            with open(overlap.path(given.folder, kind, split), "w", encoding="ascii",
                      newline="\n") as file:
                for row in range(rows):
                    done = row / rows if split == "train" else 1
                    file.write(json.dumps(getattr(writer, kind)(done)) + "\n")
    counts = overlap.check(given.folder)
    print("corpus: different facts, sums and rows of brackets: %s; none in two of them"
          % ", ".join("%d in %s" % (counts[split], split) for split in overlap.SPLITS))


if __name__ == "__main__":
    sys.exit(main())
