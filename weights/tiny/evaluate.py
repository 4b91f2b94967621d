"""What the tiny model can do, measured on text that was held back, through the program's own commands.

    python3 evaluate.py CORPUS [--pretrain DIR] [--sft DIR] [--reward DIR] [--dpo DIR] [--rl DIR] [--logs DIR] [--rows N] [--json FILE]

Each model is measured on what its stage was for; every figure has a target, and the exit status is 1 if one is missed. The shipped
model is the one after DPO: evaluate.py CORPUS --dpo weights/tiny --sft DIR. Needs python3 and the program, nothing else.
"""
import argparse
import concurrent.futures
import json
import math
import os
import subprocess
import sys

import ngram

HERE = os.path.dirname(os.path.abspath(__file__))


class Program:
    """Runs mistral-ref; several processes at once, each with one thread."""

    def __init__(self, path, jobs):
        self.path, self.pool = path, concurrent.futures.ThreadPoolExecutor(jobs)

    def run(self, *arguments, text=None):
        done = subprocess.run([self.path, *map(str, arguments)], input=text, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit("evaluate: %s\n%s" % (" ".join(map(str, done.args))[:300], done.stderr))
        return done.stdout

    def lines(self, *arguments, rows):
        """A command that reads and writes a JSON object per line."""
        out = self.run(*arguments, "--jsonl", text="".join(json.dumps(row) + "\n" for row in rows))
        return [json.loads(line) for line in out.splitlines()]

    def encode(self, model, texts, bos=False):
        found = self.lines("tokenize", model, *(["--bos"] if bos else []), rows=[{"text": text} for text in texts])
        return [row["ids"] for row in found]

    def chat(self, model, conversations):
        return [row["ids"] for row in self.lines("chat-template", model, rows=[{"messages": m} for m in conversations])]

    def each(self, command, model, sequences, *options):
        """One process per sequence of ids; the JSON document of each, in order."""
        def one(ids):
            return json.loads(self.run(command, model, "--tokens", ",".join(map(str, ids)), "--threads", 1, "--json", *options))
        return list(self.pool.map(one, sequences))


def read(corpus, kind, split, rows):
    with open(os.path.join(corpus, "%s.%s.jsonl" % (kind, split)), encoding="ascii") as file:
        return [json.loads(line) for line in file][:rows]


# ---- the measures; `eos` ends every text, answer and demonstration ----

EOS = 2


def perplexity(program, model, corpus, rows):
    """exp(mean -log p) over every token after the BOS, EOS included, and bits per byte of the text."""
    texts = [row["text"] for row in read(corpus, "pretrain", "test", rows)]
    ids = [row + [EOS] for row in program.encode(model, texts, bos=True)]
    nll = sum(found["nll"] for found in program.each("score", model, ids))
    tokens, size = sum(len(row) - 1 for row in ids), sum(map(len, texts))
    learned = program.encode(model, [row["text"] for row in read(corpus, "pretrain", "train", None)], bos=True)
    baseline = ngram.perplexities([row + [EOS] for row in learned], ids, 5, ngram.vocabulary(learned, ids))
    return {"perplexity": math.exp(nll / tokens), "bits_per_byte": nll / math.log(2) / size, "tokens": tokens, "ngram": baseline}


def answers(program, model, corpus, rows):
    """Per task: how many answers, greedily generated, are exactly the one of the demonstration, and of how many."""
    asked = []
    for row in read(corpus, "sft", "test", rows):
        if row["task"] in ("facts", "sums", "brackets"):
            asked.append((row["task"], [{"role": "user", "content": row["prompt"][len("[INST] "):-len(" [/INST]")]}], row["completion"]))
        elif row["task"] == "dialogue":
            asked += [("facts", row["messages"][:1], row["messages"][1]["content"]), ("dialogue", row["messages"][:3], row["messages"][3]["content"])]
    prompts = program.chat(model, [messages for _, messages, _ in asked])
    wanted = program.encode(model, [answer for _, _, answer in asked])
    found = program.each("run", model, prompts, "-n", 1 + max(map(len, wanted)))
    right = {}
    for (task, _, _), ids, got in zip(asked, wanted, found):
        one = right.setdefault(task, [0, 0])
        one[0] += got["tokens"] == ids
        one[1] += 1
    return right


def pairs(program, model, corpus, rows):
    """The ids of the held-back pairs: (length of the prompt, with the preferred answer, with the other one)."""
    data = read(corpus, "dpo", "test", rows)
    prompts = program.encode(model, [row["prompt"] for row in data], bos=True)
    good, bad = (program.encode(model, [row[key] for row in data]) for key in ("chosen", "rejected"))
    return [(len(p), p + w + [EOS], p + l + [EOS]) for p, w, l in zip(prompts, good, bad)]


def log_probabilities(program, model, items):
    """log p of the preferred and of the other answer of each pair, given the prompt."""
    found = program.each("score", model, [ids for _, good, bad in items for ids in (good, bad)])
    sums = [sum(score["logprob"] for score in one["scores"] if score["position"] >= items[i // 2][0]) for i, one in enumerate(found)]
    return list(zip(sums[::2], sums[1::2]))


def share(flags):
    return sum(flags) / len(flags)


def rewards(program, model, items):
    """The reward of both answers of each pair: the one logit of the last token."""
    found = program.each("logits", model, [ids for _, good, bad in items for ids in (good, bad)])
    last = [one["logits"][-1][0] for one in found]
    return list(zip(last[::2], last[1::2]))


def experts(program, model, corpus, rows):
    """Least and largest load of an expert in any layer, in units of the uniform load."""
    texts = [row["text"] for row in read(corpus, "pretrain", "test", rows)]
    counts = {}
    for one in program.each("routing", model, program.encode(model, texts, bos=True)):
        for layer in one["layers"]:
            count = counts.setdefault(layer["layer"], [0] * len(layer["proportion"]))
            for chosen in layer["experts"]:
                for e in chosen:
                    count[e] += 1
    loads = [c * len(count) / sum(count) for count in counts.values() for c in count]
    return min(loads), max(loads)


def curve(path, key, part=10):
    """Mean of a key over the first and over the last tenth of a log's steps."""
    with open(path, encoding="utf-8") as file:
        values = [row[key] for row in map(json.loads, file) if key in row]
    n = max(1, len(values) // part)
    return sum(values[:n]) / n, sum(values[-n:]) / n


# ---- the report ----

class Report:
    def __init__(self):
        self.figures, self.missed = {}, []

    def add(self, name, value, target=None, met=True):
        self.figures[name] = value
        if not met:
            self.missed.append(name)
        print("%-52s %10.4f   %s" % (name, value, "" if target is None else "%s: %s" % (target, "met" if met else "MISSED")), flush=True)


def exact(report, stage, program, model, given):
    for task, (right, asked) in sorted(answers(program, model, given.corpus, given.rows).items()):
        value = right / asked
        wanted = (">= 0.90", value >= 0.9) if task == "facts" else (None, True)
        report.add("%s: exact answers, %s (of %d)" % (stage, task, asked), value, *wanted)


def loads(report, stage, program, model, given):
    least, most = experts(program, model, given.corpus, min(given.rows, 100))
    report.add("%s: least load of an expert" % stage, least, ">= 0.5", least >= 0.5)
    report.add("%s: largest load of an expert" % stage, most, "<= 2", most <= 2)


def preferences(report, program, given):
    """DPO's measure before and after: which answer of a pair is likelier, and which gained more over the SFT model."""
    first = next(model for model in (given.sft, given.dpo, given.rl) if model)
    items = pairs(program, first, given.corpus, given.rows)
    before = log_probabilities(program, given.sft, items) if given.sft else None
    if before:
        value = share([w > l for w, l in before])
        report.add("sft: preferred answer likelier", value, "0.4 to 0.6", 0.4 <= value <= 0.6)
    for stage, model in (("dpo", given.dpo), ("rl", given.rl)):
        if not model:
            continue
        after = log_probabilities(program, model, items)
        value = share([w > l for w, l in after])
        report.add("%s: preferred answer likelier" % stage, value, ">= 0.90", value >= 0.9)
        if before:
            value = share([w - rw > l - rl for (w, l), (rw, rl) in zip(after, before)])
            report.add("%s: preferred answer gained more" % stage, value, ">= 0.90", value >= 0.9)


def evaluate(report, program, given):
    if given.pretrain:
        found = perplexity(program, given.pretrain, given.corpus, given.rows)
        for order, value in enumerate(found["ngram"], 1):
            report.add("%d-gram baseline: perplexity" % order, value)
        best = min(found["ngram"])
        report.add("pretrain: perplexity per token", found["perplexity"], "< every n-gram", found["perplexity"] < best)
        report.add("pretrain: bits per byte", found["bits_per_byte"])
    for stage in ("sft", "dpo", "rl"):
        model = getattr(given, stage)
        if model:
            exact(report, stage, program, model, given)
            loads(report, stage, program, model, given)
    if given.sft or given.dpo or given.rl:
        preferences(report, program, given)
    if given.reward:
        value = share([w > l for w, l in rewards(program, given.reward, pairs(program, given.reward, given.corpus, given.rows))])
        report.add("reward: preferred answer rewarded more", value, ">= 0.90", value >= 0.9)
    if given.logs:
        path = os.path.join(given.logs, "rl.jsonl")
        (first, last), (_, kl) = curve(path, "reward"), curve(path, "kl")
        report.add("rl: mean reward, first tenth of the steps", first)
        report.add("rl: mean reward, last tenth", last, "larger than first", last > first)
        report.add("rl: KL to the SFT model, last tenth", kl)


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("corpus", help="a folder that corpus.py made")
    for stage in ("pretrain", "sft", "reward", "dpo", "rl"):
        options.add_argument("--" + stage, metavar="DIR", help="the model after this stage")
    options.add_argument("--logs", metavar="DIR", help="the lines that train --json wrote")
    options.add_argument("--rows", type=int, default=300, help="rows of each file (default 300)")
    options.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at once")
    options.add_argument("--json", metavar="FILE", help="write the figures here too")
    options.add_argument("--program", default=os.path.join(HERE, "..", "..", "mistral-ref"))
    given = options.parse_args()
    report = Report()
    evaluate(report, Program(given.program, given.jobs), given)
    if given.json:
        with open(given.json, "w", encoding="ascii") as file:
            json.dump({"figures": report.figures, "missed": report.missed}, file, indent=1)
            file.write("\n")
    print("%d of %d figures miss their target%s" % (len(report.missed), len(report.figures), "".join("; " + m for m in report.missed)))
    return 1 if report.missed or not report.figures else 0


if __name__ == "__main__":
    sys.exit(main())
