"""What the tiny model can do, measured on held-back text through the program's own commands.

    python3 evaluate.py CORPUS [--pretrain DIR] [--sft DIR] [--reward DIR] [--dpo DIR] [--rl DIR]
                        [--logs DIR] [--rows N] [--json FILE]

Each model is measured on what its stage was for. Figures that the project promises have a target;
the exit status is 1 if one is missed. The shipped model is the one after DPO:
evaluate.py CORPUS --dpo weights/tiny. Needs Python's standard library and the program.
"""
import argparse
import concurrent.futures
import json
import math
import os
import subprocess
import sys

import ngram
import overlap

HERE = os.path.dirname(os.path.abspath(__file__))
EOS = 2
ORDER = 7  # of the longest n-gram


class Program:
    """Runs mistral-ref; several processes at once, each with one thread."""

    def __init__(self, path, jobs):
        self.path, self.pool = path, concurrent.futures.ThreadPoolExecutor(jobs)

    def run(self, *arguments, text=None):
        done = subprocess.run([self.path, *map(str, arguments)], input=text, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.returncode != 0:
            raise SystemExit("evaluate: %s ... ends with status %d\n%s"
                             % (" ".join(done.args)[:200], done.returncode, done.stderr))
        return done.stdout

    def lines(self, *arguments, rows):
        """A command that reads and writes a JSON object per line."""
        text = "".join(json.dumps(row) + "\n" for row in rows)
        out = self.run(*arguments, "--jsonl", text=text)
        return [json.loads(line) for line in out.splitlines()]

    def encode(self, model, texts, bos=False):
        rows = [{"text": text} for text in texts]
        found = self.lines("tokenize", model, *["--bos"] * bos, rows=rows)
        return [row["ids"] for row in found]

    def chat(self, model, conversations):
        found = self.lines("chat-template", model, rows=[{"messages": m} for m in conversations])
        return [row["ids"] for row in found]

    def each(self, command, model, sequences, *options):
        """One process per sequence of ids; the JSON document of each, in order."""
        def one(ids):
            listed = ",".join(map(str, ids))
            return json.loads(self.run(command, model, "--tokens", listed, "--threads", 1, "--json",
                                       *options))
        return list(self.pool.map(one, sequences))


class Report:
    def __init__(self):
        self.figures, self.missed = {}, []

    def add(self, name, value, target="", met=True):
        self.figures[name] = value
        if not met:
            self.missed.append(name)
        verdict = "   %s: %s" % (target, "met" if met else "MISSED") if target else ""
        print("%-56s %10.4f%s" % (name, value, verdict), flush=True)

    def at_least(self, name, value, least):
        self.add(name, value, ">= %.2f" % least, value >= least)


def share(flags):
    return sum(flags) / len(flags)


class Evaluation:
    def __init__(self, program, corpus, rows):
        self.program, self.corpus, self.rows, self.report = program, corpus, rows, Report()

    def test(self, kind):
        return list(overlap.read(self.corpus, kind, "test"))[:self.rows]

    def perplexity(self, model):
        """exp(mean -log p) over every token after the BOS, EOS included; the same of n-grams that
        learned from the same texts; bits per byte of the text."""
        texts = [row["text"] for row in self.test("pretrain")]
        learned = [row["text"] for row in overlap.read(self.corpus, "pretrain", "train")
                   if "text" in row]
        learned, held = ([ids + [EOS] for ids in self.program.encode(model, rows, bos=True)]
                         for rows in (learned, texts))
        nll = sum(found["nll"] for found in self.program.each("score", model, held))
        value = math.exp(nll / sum(len(ids) - 1 for ids in held))
        baseline = ngram.perplexities(learned, held, ORDER)
        for order, one in enumerate(baseline, 1):
            self.report.add("%d-gram: perplexity" % order, one)
        best = min(baseline)
        self.report.add("pretrain: perplexity", value, "< %.4f" % best, value < best)
        self.report.add("pretrain: bits per byte", nll / math.log(2) / sum(map(len, texts)))

    def answers(self, stage, model):
        """Per task, how many greedy answers are exactly the one expected."""
        asked = []
        for row in self.test("sft"):
            if row["task"] in ("facts", "sums", "brackets"):
                said = row["prompt"][len("[INST] "):-len(" [/INST]")]
                asked.append((row["task"], [{"role": "user", "content": said}], row["completion"]))
            elif row["task"] == "dialogue":
                said = row["messages"]
                asked.append(("second question", said[:3], said[3]["content"]))
        prompts = self.program.chat(model, [said for _, said, _ in asked])
        wanted = self.program.encode(model, [answer for _, _, answer in asked])
        found = self.program.each("run", model, prompts, "-n", 1 + max(map(len, wanted)))
        right = {}
        for (task, _, _), ids, got in zip(asked, wanted, found):
            right.setdefault(task, []).append(got["tokens"] == ids)
        for task, flags in sorted(right.items()):
            name = "%s: exact answers, %s (%d asked)" % (stage, task, len(flags))
            if task == "facts":
                self.report.at_least(name, share(flags), 0.9)
            else:
                self.report.add(name, share(flags))

    def pairs(self, model):
        """Held-back pairs: length of the prompt, ids with the preferred and the other answer."""
        rows = self.test("dpo")
        prompts = self.program.encode(model, [row["prompt"] for row in rows], bos=True)
        good, bad = (self.program.encode(model, [row[key] for row in rows])
                     for key in ("chosen", "rejected"))
        return [(len(p), p + w + [EOS], p + l + [EOS]) for p, w, l in zip(prompts, good, bad)]

    def log_probabilities(self, model):
        """log p of the preferred and of the other answer of each pair, given the prompt."""
        pairs = self.pairs(model)
        found = self.program.each("score", model, [ids for pair in pairs for ids in pair[1:]])
        sums = [sum(one["logprob"] for one in row["scores"] if one["position"] >= pairs[i // 2][0])
                for i, row in enumerate(found)]
        return list(zip(sums[::2], sums[1::2]))

    def told(self, stage, model):
        """Answers to a request that are true, and those that also follow the hidden rule, whatever
        their first word. The two of a pair are the only true ones."""
        rows = self.test("dpo")
        prompts = self.program.encode(model, [row["prompt"] for row in rows], bos=True)
        good, bad = (self.program.encode(model, [row[key].split(" ", 1)[1] for row in rows])
                     for key in ("chosen", "rejected"))
        found = self.program.each("run", model, prompts, "-n", 4 + max(map(len, good)))
        rule, other = ([row["tokens"][-len(ids):] == ids for row, ids in zip(found, answers)]
                       for answers in (good, bad))
        true = [a or b for a, b in zip(rule, other)]
        self.report.add(stage + ": answers to a request that are true", share(true))
        self.report.add(stage + ": ... and name the person first", share(rule))

    def preferences(self, stage, model, before):
        """DPO's two measures: which answer is likelier, which gained more over the SFT model."""
        after = self.log_probabilities(model)
        self.report.at_least(stage + ": preferred answer likelier",
                             share([w > l for w, l in after]), 0.9)
        if before is not None:
            gained = [w - w0 > l - l0 for (w, l), (w0, l0) in zip(after, before)]
            self.report.at_least(stage + ": preferred answer gained more", share(gained), 0.9)

    def rewards(self, model):
        """The reward of an answer is the one logit of its last token."""
        pairs = self.pairs(model)
        found = self.program.each("logits", model, [ids for pair in pairs for ids in pair[1:]])
        last = [row["logits"][-1][0] for row in found]
        self.report.at_least("reward: preferred answer rewarded more",
                             share([w > l for w, l in zip(last[::2], last[1::2])]), 0.9)

    def experts(self, stage, model):
        """Least and largest load of an expert in any layer, in units of the uniform load."""
        ids = self.program.encode(model, [row["text"] for row in self.test("pretrain")], bos=True)
        counts = {}
        for found in self.program.each("routing", model, ids):
            for layer in found["layers"]:
                count = counts.setdefault(layer["layer"], [0] * len(layer["proportion"]))
                for expert in sum(layer["experts"], []):
                    count[expert] += 1
        loads = [one * len(count) / sum(count) for count in counts.values() for one in count]
        self.report.at_least(stage + ": least load of an expert", min(loads), 0.5)
        self.report.add(stage + ": largest load of an expert", max(loads), "<= 2", max(loads) <= 2)

    def curves(self, path):
        """Means over the first and the last tenth of the RL stage's steps."""
        with open(path, encoding="utf-8") as file:
            steps = {row["step"]: row for row in map(json.loads, file) if "step" in row}
        tenth = max(1, len(steps) // 10)
        rows = [steps[step] for step in sorted(steps)]
        (first, _), (last, kl) = (
            [sum(row[key] for row in part) / tenth for key in ("reward", "kl")]
            for part in (rows[:tenth], rows[-tenth:]))
        self.report.add("rl: mean reward, first tenth of the steps", first)
        self.report.add("rl: mean reward, last tenth of the steps", last, "larger", last > first)
        self.report.add("rl: KL to the SFT model, last tenth of the steps", kl)

    def run(self, given):
        if given.pretrain:
            self.perplexity(given.pretrain)
        before = self.log_probabilities(given.sft) if given.sft else None
        for stage in ("sft", "dpo", "rl"):
            model = getattr(given, stage)
            if model:
                self.answers(stage, model)
                self.told(stage, model)
                self.experts(stage, model)
                if stage == "sft":
                    value = share([w > l for w, l in before])
                    self.report.add("sft: preferred answer likelier", value, "0.4 to 0.6",
                                    0.4 <= value <= 0.6)
                else:
                    self.preferences(stage, model, before)
        if given.reward:
            self.rewards(given.reward)
        if given.logs:
            self.curves(os.path.join(given.logs, "rl.jsonl"))


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    options.add_argument("corpus", help="a folder that corpus.py made")
    for stage in ("pretrain", "sft", "reward", "dpo", "rl"):
        options.add_argument("--" + stage, metavar="DIR", help="the model after this stage")
    options.add_argument("--logs", metavar="DIR", help="the lines that train --json wrote")
    options.add_argument("--rows", type=int, default=500, help="of each file (default: all 500)")
    options.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at once")
    options.add_argument("--json", metavar="FILE", help="write the figures here too")
    options.add_argument("--program", default=os.path.join(HERE, "..", "..", "mistral-ref"))
    given = options.parse_args()
    evaluation = Evaluation(Program(given.program, given.jobs), given.corpus, given.rows)
    evaluation.run(given)
    report = evaluation.report
    if given.json:
        with open(given.json, "w", encoding="ascii") as file:
            json.dump({"figures": report.figures, "missed": report.missed}, file, indent=1)
            file.write("\n")
    print("%d figures, %d miss their target" % (len(report.figures), len(report.missed)))
    return 1 if report.missed or not report.figures else 0


if __name__ == "__main__":
    sys.exit(main())
