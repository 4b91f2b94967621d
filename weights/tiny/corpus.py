"""The corpus of the tiny model: short stories with facts one can ask about, sums, brackets, and pairs of answers with a hidden rule.

    python3 corpus.py DIR [--seed S] [--rows N]

writes pretrain, sft and dpo, each as .train.jsonl, .valid.jsonl and .test.jsonl. The standard library only; of its random numbers only
random(), whose sequence Python promises, so that every Python from 3.9 on writes the same bytes.

A fact is a person, a place, a colour and a thing. A hash deals every fact (and every sum, and every row of brackets) to train, valid or
test; a file has facts of its own share alone. check() reads the files again, finds the facts in their text and proves it.

The hidden rule of the pairs: the person is named before the place or the thing. Both answers are true and have the same words but for
the first, hence the same length; the first word is drawn without regard to the rule, and the two answers of a pair differ in it.
"""
import argparse
import json
import os
import random
import re
import sys

PEOPLE = "Ada Ben Cleo Dan Ella Finn Hana Kai Nora Otto".split()
PLACES = "barn garden kitchen library meadow mill school tower".split()
COLOURS = "blue green pink red white yellow".split()
THINGS = "ball bell book cup drum hat key kite lamp rope".split()

OPENINGS = ["It is a %s %s." % (mood, time) for mood in ("bright", "cold", "quiet", "warm") for time in ("day", "evening", "morning")]
MEANWHILE = ["A bird looks on.", "A cat sleeps in the sun.", "The rain stops.", "The wind sings."]
ENDINGS = ["Then they all %s %s." % (act, when) for act in ("dance", "play", "rest", "sing") for when in ("together", "until night")]
TOLD = ["{who} is in the {place} with a {colour} {thing}.", "{who} has a {colour} {thing} in the {place}.",
        "{who} takes a {colour} {thing} to the {place}.", "{who} walks to the {place} with a {colour} {thing}."]
ASKED = [("Where is {who}?", "In the {place}."), ("What does {who} have?", "A {colour} {thing}."), ("Who has the {thing}?", "{who}."),
         ("Who is in the {place}?", "{who}."), ("What colour is the {thing}?", "It is {colour}.")]
# What stands between the two words of a pair in a list.
BETWEEN = [(PEOPLE, PLACES, ("", ":", " is in the", " walks to the")), (PEOPLE, THINGS, ("", ":", " has the", " takes the")),
           (PEOPLE, COLOURS, ("", ":", " has a", " takes a")), (THINGS, COLOURS, ("", ":", " is", " is a")), (COLOURS, THINGS, ("",)), (PLACES, THINGS, ("", ":", " has the", " has a"))]
# A request, the answer that the hidden rule prefers, the answer that it does not.
TELL = [("Tell me where {who} is.", "{who} is in the {place}.", "in the {place} is {who}."),
        ("Tell me what {who} has.", "with {who} is a {colour} {thing}.", "a {colour} {thing} is with {who}.")]
# The word before such an answer, and how many of 15 demonstrations have it: unequal, so that before DPO the likelier answer of a pair is
# mostly the one with the commoner word, whatever the rule says.
FIRST = ["Well,"] * 8 + ["Oh,"] * 4 + ["Yes,"] * 2 + ["Gladly,"]
TALK = [("Hello!", "Hello, friend! Tell me a story and ask me about it."), ("Good morning!", "Good morning! What shall we talk about?"),
        ("Who are you?", "I am a very small model. I know a few people and what they have."),
        ("What can you do?", "I can tell a story, answer a question about it, add numbers and close brackets."),
        ("Thank you!", "You are welcome, friend."), ("Goodbye!", "Goodbye, and come again.")]
PAIRS = {"(": ")", "[": "]", "{": "}"}
SPLITS = ("train", "valid", "test")
SHARE = {"train": 1, "valid": 100, "test": 40}  # rows of the training file for one row of this one


def split_of(*key):
    """FNV-1a over the words of a key: eight tenths train, one tenth valid, one tenth test."""
    h = 2166136261
    for byte in " ".join(map(str, key)).encode():
        h = (h ^ byte) * 16777619 % 2**32
    return {0: "valid", 1: "test"}.get((h >> 8) % 10, "train")


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

    def facts(self, n, who=None):
        """n facts of this split, no word in two of them; the first one is about `who` if it is given."""
        facts = []
        while len(facts) < n:
            row = [self.pick(words) for words in (PEOPLE, PLACES, COLOURS, THINGS)]
            if who is not None and not facts:
                row[0] = who
            if split_of(*row) == self.split and not any(a == b for f in facts for a, b in zip(f, row)):
                facts.append(row)
        return [dict(zip(("who", "place", "colour", "thing"), row)) for row in facts]

    def story(self, facts, asked=False):
        """The facts as a story; if asked, what was told before comes back between the sentences."""
        lines = [self.pick(OPENINGS)] if self.below(3) == 0 else []
        for i, f in enumerate(facts):
            lines.append(self.pick(TOLD).format(**f))
            for _ in range(1 + self.below(2) if asked else 0):
                lines += self.again(facts[:i + 1])
            if self.below(6) == 0:
                lines.append(self.pick(MEANWHILE))
        if self.below(3) == 0:
            lines.append(self.pick(ENDINGS))
        return " ".join(lines)

    def again(self, facts):
        """Something told before: a question and its answer, mostly; the fact in other words; a request and its answer."""
        kind = self.below(10)
        if kind < 5:
            return self.question(facts)
        if kind < 8:
            return "Remember:", self.pick(TOLD).format(**self.pick(facts))
        request, *answers = self.told(facts)
        return request, self.pick(FIRST), self.pick(answers)

    def question(self, facts):
        question, answer = self.pick(ASKED)
        f = self.pick(facts)
        return question.format(**f), answer.format(**f)

    def told(self, facts):
        """A request and its two answers, preferred first, without their first word."""
        f = self.pick(facts)
        return [part.format(**f) for part in self.pick(TELL)]

    def sum(self):
        while True:
            a, b = self.below(20), self.below(10)
            if split_of("sum", a, b) == self.split:
                return "%d + %d =" % (a, b), "%d" % (a + b)

    def brackets(self):
        """An opened row and what closes it, one to four brackets still open."""
        while True:
            row, still = [], []
            for _ in range(2 + self.below(7)):
                if still and (len(still) == 4 or self.below(3) == 0):
                    row.append(still.pop())
                else:
                    row.append(self.pick("([{"))
                    still.append(PAIRS[row[-1]])
            if still and split_of("brackets", *row, *reversed(still)) == self.split:
                return " ".join(row), " ".join(reversed(still))

    def people(self):
        return (2, 2, 3, 3, 4)[self.below(5)]

    # ---- rows of the files ----

    def words(self):
        """A few words, three times: what follows a word is what followed it before."""
        row = " ".join(self.some(PEOPLE + PLACES + COLOURS + THINGS, 4 + self.below(7)))
        return {"task": "words", "prompt": row, "completion": row + " " + row}

    def pairs(self):
        """Pairs of words, three times in another order and with other words between them: which belong together?"""
        left, right, between = self.pick(BETWEEN)
        n = 2 + self.below(5)
        rows, turned = list(zip(self.some(left, n), self.some(right, n))), self.below(2) == 0
        turns = []
        for turn in range(3):
            rows = self.some(rows, n)
            turns.append(", ".join(b + ": " + a if turned and turn else a + self.pick(between) + " " + b for a, b in rows) + ".")
        return {"task": "pairs", "prompt": turns[0], "completion": " ".join(turns[1:])}

    def pretrain(self, done=1):
        """A curriculum: lists that teach to look back, where only what comes back is learned; then more and more stories."""
        words, pairs = (70, 30) if done < 0.2 else (10, 60) if done < 0.5 else (5, 20) if done < 1 else (0, 0)
        kind = self.below(100)
        if kind < words:
            return self.words()
        if kind < words + pairs:
            return self.pairs()
        kind = self.below(20)
        if kind == 0:
            return {"task": "sums", "text": " ".join("%s %s." % self.sum() for _ in range(4))}
        if kind == 1:
            return {"task": "brackets", "text": " . ".join("%s %s" % self.brackets() for _ in range(2))}
        return {"task": "story", "text": self.story(self.facts(self.people()), asked=True)}

    def sft(self, done=1):
        kind = self.below(40)
        if kind < 2:
            row, answer = self.sum()
            return prompt("sums", row, answer)
        if kind < 4:
            row, answer = self.brackets()
            return prompt("brackets", row, answer)
        if kind < 6:
            who = self.pick(PEOPLE)
            return prompt("story", "Tell me a story about %s." % who, self.story(self.facts(2, who)))
        if kind < 7:
            said, answer = self.pick(TALK)
            return {"task": "talk", "messages": [message("user", said), message("assistant", answer)]}
        facts = self.facts(self.people())
        story = self.story(facts)
        if kind < 14:
            request, *answers = self.told(facts)
            return prompt("tell", story + " " + request, self.pick(FIRST) + " " + self.pick(answers))
        question, answer = self.question(facts)
        if kind < 20:
            again, reply = self.question(facts)
            return {"task": "dialogue", "messages": [message("user", story + " " + question), message("assistant", answer),
                                                     message("user", again), message("assistant", reply)]}
        return prompt("facts", story + " " + question, answer)

    def dpo(self, done=1):
        facts = self.facts(self.people())
        request, good, bad = self.told(facts)
        first = self.some(sorted(set(FIRST)), 2)
        row = prompt("tell", self.story(facts) + " " + request, "")
        return {"task": "tell", "prompt": row["prompt"], "chosen": first[0] + " " + good, "rejected": first[1] + " " + bad}


def message(role, content):
    return {"role": role, "content": content}


def prompt(task, said, answer):
    """A row with the chat template v1 written out, so that it reads the same as {"messages"} of one turn."""
    return {"task": task, "prompt": "[INST] %s [/INST]" % said, "completion": answer}


# ---- proof that nothing held back was trained on ----

WORDS = {"who": "|".join(PEOPLE), "place": "|".join(PLACES), "colour": "|".join(COLOURS), "thing": "|".join(THINGS)}
FACT = [re.compile(re.sub(r"\\?{(\w+)\\?}", lambda m: "(?P<%s>%s)" % (m[1], WORDS[m[1]]), re.escape(told))) for told in TOLD]
SUM = re.compile(r"(\d+) \+ (\d+) =")
ROW = re.compile(r"[(\[{][][(){} ]*[])}]")


def found(line):
    """Every fact, sum and row of brackets in the text of a line."""
    row = json.loads(line)
    texts = [m["content"] for m in row["messages"]] if "messages" in row else [v for k, v in row.items() if k != "task"]
    text = " ".join(texts).replace("[INST] ", "").replace(" [/INST]", "")
    for pattern in FACT:
        for m in pattern.finditer(text):
            yield "fact", m["who"], m["place"], m["colour"], m["thing"]
    for m in SUM.finditer(text):
        yield ("sum",) + m.groups()
    for m in ROW.finditer(text):
        yield "brackets", m[0]


def check(folder):
    """Raises AssertionError if a file shares a fact, a sum or a row of brackets with a file of another split."""
    seen = {split: set() for split in SPLITS}
    for split in SPLITS:
        for kind in ("pretrain", "sft", "dpo"):
            with open(path(folder, kind, split), encoding="ascii") as file:
                for line in file:
                    seen[split].update(found(line))
        assert {key[0] for key in seen[split]} == {"fact", "sum", "brackets"}, "%s: a kind of fact is missing" % split
    for a, b in (("train", "valid"), ("train", "test"), ("valid", "test")):
        both = seen[a] & seen[b]
        assert not both, "%s and %s share %d, for example %s" % (a, b, len(both), sorted(both)[0])
    return {split: len(keys) for split, keys in seen.items()}


def path(folder, kind, split):
    return os.path.join(folder, "%s.%s.jsonl" % (kind, split))


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("folder")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--rows", type=int, default=20000, help="rows of each training file (default 20000)")
    given = options.parse_args()
    os.makedirs(given.folder, exist_ok=True)
    for number, kind in enumerate(("pretrain", "sft", "dpo")):
        for part, split in enumerate(SPLITS):
            writer = Writer(given.seed * 9 + number * 3 + part, split)
            with open(path(given.folder, kind, split), "w", encoding="ascii", newline="\n") as file:
                rows = given.rows // SHARE[split]
                for row in range(rows):
                    file.write(json.dumps(getattr(writer, kind)(row / rows if split == "train" else 1)) + "\n")
    counts = check(given.folder)
    print("corpus: facts, sums and rows of brackets: %s; none shared" % ", ".join("%d %s" % (counts[s], s) for s in SPLITS))


if __name__ == "__main__":
    sys.exit(main())
