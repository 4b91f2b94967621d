"""Training trajectories from Hugging Face's classes, torch.optim.AdamW and autograd in float64.

    python tests/trajectory_check.py --write        makes golden/trajectories again
    python tests/trajectory_check.py [PROGRAM]      proves that the committed files are what PyTorch
                                                    gives, and that a model trained by PROGRAM
                                                    (./mistral-ref) loads in Hugging Face unchanged
                                                    and has the same logits and rewards

NAME.jsonl holds the examples as ids, NAME.json the model, the options of `mistral-ref train`, and
loss, gradient norm and metrics of every step. Sequences go through PyTorch one by one, so no
padding and no attention mask takes part. tests/test_train.c runs the program and compares.
"""
import argparse
import json
import pathlib
import shlex
import subprocess
import sys
import tempfile

import numpy as np
import torch
import transformers
from torch.nn.functional import log_softmax, logsigmoid

REWARD = "ForSequenceClassification"
ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "golden"))
from generate import Doubles  # noqa: E402  float32 inside Hugging Face's code becomes float64

FOLDER = ROOT / "golden" / "trajectories"
TOLERANCE = 1e-10   # of this script against its own committed output, on another machine
STEPS, BATCH, ACCUMULATE = 50, 2, 2
RATE, WARMUP, DECAY, CLIP, BETAS, BETA = 2e-3, 5, 0.1, 1.0, (0.9, 0.95), 0.1
NEW, EOS = 5, 2     # most tokens of an answer in rl, and what ends it
COMMON = (f"--precision f64 --rope-angles exact --no-shuffle --steps {STEPS} --batch {BATCH} "
          f"--accumulate {ACCUMULATE} --lr {RATE} --warmup {WARMUP} --schedule cosine "
          f"--weight-decay {DECAY} --clip {CLIP} --adam-betas {BETAS[0]},{BETAS[1]} --max-length 64")
RUNS = {
    "sft": ("golden/cases/mixtral_e5k2", ""),
    "sft_sequence": ("golden/cases/dense_mqa_tied", "--reduction sequence"),
    "reward": ("golden/cases/dense_gqa_w5", "--centring 0.01"),
    "dpo": ("golden/cases/mixtral_e7k2_w5", f"--beta {BETA} --loss sigmoid"),
    "rl": ("golden/cases/grad_dense", "--reward-model golden/cases/grad_reward --method reinforce "
           f"--samples 1 --temp 0 --max-new {NEW} --beta {BETA} --kl k1"),
}


# ---- data ----------------------------------------------------------------------------------------

def draw(rng, vocabulary, length):
    return rng.integers(3, vocabulary, length).tolist()


def examples(name, vocabulary):
    """Uneven lengths, one-token answers, equal prompts, a masked beginning, a margin."""
    rng = np.random.default_rng(sum(map(ord, name)))
    rows = []
    for n in range(22):
        prompt, first, second = (draw(rng, vocabulary, int(k)) for k in rng.integers(1, 8, 3))
        if name == "rl":
            rows.append(dict(prompt_ids=[1] + prompt))
        elif name.startswith("sft"):
            ids = [1] + prompt + first + [2]
            masked = 1 + (len(prompt) if n % 3 else 0)
            rows.append(dict(input_ids=ids, labels=[-100] * masked + ids[masked:]))
        else:
            rows.append(dict(prompt_ids=[1] + prompt, chosen_ids=first + [2],
                             rejected_ids=second + [2]) | ({"margin": 0.3} if n % 4 == 1 else {}))
    return rows


# ---- losses --------------------------------------------------------------------------------------

def answer(model, ids, start):
    """Sum of log p of ids[start:]."""
    logits = model(input_ids=torch.tensor([ids])).logits[0]
    rows = torch.arange(start - 1, len(ids) - 1)
    return log_softmax(logits, -1)[rows, torch.tensor(ids[start:])].sum()


def sft_losses(model, batch, name):
    """Per example its part of the batch's loss."""
    targets = [sum(label != -100 for label in row["labels"][1:]) for row in batch]
    for row, count in zip(batch, targets):
        logits = model(input_ids=torch.tensor([row["input_ids"]])).logits[0, :-1]
        labels = torch.tensor(row["labels"][1:])
        loss = torch.nn.functional.cross_entropy(logits, labels, ignore_index=-100, reduction="sum")
        yield loss / (len(batch) * count if name == "sft_sequence" else sum(targets))


def reward_losses(model, batch, name):
    for row in batch:
        chosen, rejected = (
            model(input_ids=torch.tensor([row["prompt_ids"] + row[key]])).logits[0, 0]
            for key in ("chosen_ids", "rejected_ids"))
        yield (-logsigmoid(chosen - rejected - row.get("margin", 0))
               + 0.01 * (chosen + rejected) ** 2) / len(batch)


def dpo_losses(model, batch, name):
    for row in batch:
        start = len(row["prompt_ids"])
        sides = [answer(model, row["prompt_ids"] + row[key], start) - row["reference"][key]
                 for key in ("chosen_ids", "rejected_ids")]
        yield -logsigmoid(BETA * (sides[0] - sides[1])) / len(batch)


def most_probable(model, ids):
    """Greedy answer: at temperature 0 nothing is random, so both programs give the same."""
    ids = list(ids)
    for _ in range(NEW):
        ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] == EOS:
            break
    return ids


def rl_losses(model, batch, name):
    """REINFORCE with the mean reward as baseline, the KL penalty inside the reward."""
    found = []
    with torch.no_grad():
        for row in batch:
            start, ids = len(row["prompt_ids"]), most_probable(model, row["prompt_ids"])
            judge = row["judge"]
            last = judge.model(input_ids=torch.tensor([ids])).last_hidden_state[0, -1]
            reward = judge.score(last)[0].item()
            kl = (answer(model, ids, start) - answer(row["frozen"], ids, start)).item()
            found.append((ids, start, reward, kl))
    rewards = [reward - BETA * kl for _, _, reward, kl in found]
    for (ids, start, reward, kl), total in zip(found, rewards):
        batch[0].setdefault("metrics", []).append(
            dict(reward=reward, kl=kl, length=len(ids) - start, ended=float(ids[-1] == EOS)))
        yield -(total - sum(rewards) / len(batch)) * answer(model, ids, start) / len(batch)


LOSSES = {"sft": sft_losses, "sft_sequence": sft_losses, "reward": reward_losses,
          "dpo": dpo_losses, "rl": rl_losses}


# ---- training ------------------------------------------------------------------------------------

def load(folder, kind, **arguments):
    """Any checkpoint in float64, attention and experts in plain PyTorch."""
    config = transformers.AutoConfig.from_pretrained(folder)
    family = "Mixtral" if config.model_type == "mixtral" else "Mistral"
    if family == "Mixtral":
        arguments["experts_implementation"] = "eager"
    model = getattr(transformers, family + kind).from_pretrained(
        folder, dtype=torch.float64, attn_implementation="eager", **arguments)
    with Doubles():   # the rotary frequencies are made when it is built
        model.model.rotary_emb = type(model.model.rotary_emb)(model.config)
    return model


def start_model(name):
    folder = ROOT / RUNS[name][0]
    if name != "reward":
        return load(folder, "ForCausalLM")
    model = load(folder, REWARD, num_labels=1, pad_token_id=0)
    with torch.no_grad():
        model.score.weight.zero_()
    return model


def trajectory(name, rows):
    torch.manual_seed(0)
    model = start_model(name)
    if name == "dpo":
        with torch.no_grad(), Doubles():
            for row in rows:
                row["reference"] = {
                    key: answer(model, row["prompt_ids"] + row[key], len(row["prompt_ids"]))
                    for key in ("chosen_ids", "rejected_ids")}
    if name == "rl":
        frozen, judge = start_model(name), load(ROOT / "golden/cases/grad_reward", REWARD)
        rows = [row | dict(frozen=frozen, judge=judge) for row in rows]
    norms = [p for n, p in model.named_parameters() if p.ndim == 1]
    others = [p for n, p in model.named_parameters() if p.ndim > 1]
    optimiser = torch.optim.AdamW([dict(params=others, weight_decay=DECAY),
                                   dict(params=norms, weight_decay=0.0)], lr=RATE, betas=BETAS)
    schedule = transformers.get_cosine_schedule_with_warmup(optimiser, WARMUP, STEPS)
    steps, size = [], BATCH * ACCUMULATE
    for step in range(STEPS):
        batch = [rows[(step * size + n) % len(rows)] for n in range(size)]
        optimiser.zero_grad()
        total = 0.0
        with Doubles():
            for loss in LOSSES[name](model, batch, name):
                loss.backward()
                total += loss.item()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimiser.step()
        schedule.step()
        metrics = batch[0].pop("metrics", [])
        steps.append(dict(loss=total, grad_norm=norm.item())
                     | {key: sum(m[key] for m in metrics) / size for key in (metrics or [{}])[0]})
    return steps


def document(name):
    folder, options = RUNS[name]
    vocabulary = json.loads((ROOT / folder / "config.json").read_text())["vocab_size"]
    rows = examples(name, vocabulary)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    return lines, dict(task=name.split("_")[0], model=folder, options=f"{COMMON} {options}".strip(),
                       torch=torch.__version__, steps=trajectory(name, rows))


# ---- committed files, and the program ------------------------------------------------------------

def check_committed(name):
    lines, fresh = document(name)
    committed = json.loads((FOLDER / f"{name}.json").read_text())
    same = (FOLDER / f"{name}.jsonl").read_text() == lines
    same &= all(fresh[key] == committed[key] for key in ("task", "model", "options"))
    far = max(abs(a[key] - b[key]) / max(abs(b[key]), 1e-2)
              for a, b in zip(fresh["steps"], committed["steps"]) for key in b)
    print(f"{name}: {'same' if same else 'OTHER'} data and options, largest difference {far:.1e}")
    return same and far <= TOLERANCE


def check_trained(name, program):
    """Trains a few steps in float32 and asks both programs what the model says."""
    with tempfile.TemporaryDirectory() as out:
        ids = [1, 5, 9, 4, 7, 7, 2]
        committed = json.loads((FOLDER / f"{name}.json").read_text())
        options = committed["options"].replace("f64", "f32")
        options = options.replace(f"--steps {STEPS}", "--steps 7")
        subprocess.run([program, "train", committed["task"], committed["model"], "--data",
                        FOLDER / f"{name}.jsonl", "-o", f"{out}/model", *shlex.split(options)],
                       check=True, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        kind = REWARD if name == "reward" else "ForCausalLM"
        model = load(f"{out}/model", kind)
        with torch.no_grad(), Doubles():
            want = model(input_ids=torch.tensor([ids])).logits[0].numpy()
        answer = subprocess.run([program, "logits", f"{out}/model", "--precision", "f64", "--json",
                                 "--rope-angles", "exact", "--tokens", ",".join(map(str, ids))],
                                check=True, cwd=ROOT, capture_output=True, text=True)
        got = np.array(json.loads(answer.stdout)["logits"])
        got = got[-1] if name == "reward" else got
    far = float(np.abs(got - want).max() / np.abs(want).max())
    print(f"{name}: trained model in Hugging Face, largest difference of logits {far:.1e}")
    return far <= 1e-12


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program", nargs="?", default="./mistral-ref")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    transformers.logging.set_verbosity_error()
    if arguments.write:
        FOLDER.mkdir(exist_ok=True)
        for name in RUNS:
            lines, content = document(name)
            (FOLDER / f"{name}.jsonl").write_text(lines)
            (FOLDER / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
            print(f"{name}: loss {content['steps'][0]['loss']:.6f} to "
                  f"{content['steps'][-1]['loss']:.6f}")
        return 0
    good = [check_committed(name) and check_trained(name, arguments.program) for name in RUNS]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
