"""Writes golden/losses/*.json: losses, gradients, optimiser steps and schedules.

    python golden/generate_losses.py            write golden/losses
    python golden/generate_losses.py --check    compare with what is committed

Values come from TRL's trainers, Hugging Face's loss functions, torch.optim and transformers'
schedules, all in float64; where those have no such function, from the paper's formula with
autograd; where float64 itself loses digits (log-probabilities near 0), from mpmath with 400 digits.
"""
import argparse
import inspect
import itertools
import json
import math
import pathlib
import re
import sys

import mpmath
import torch
import torch.nn.functional as F
import transformers
from transformers.loss import loss_utils
from transformers.models.mixtral import modeling_mixtral
from trl.trainer.rloo_trainer import RLOOTrainer

import losses_batches
from losses_toy import DOUBLE, Scores, accelerator, dpo, reward

mpmath.mp.dps = 400
FOLDER = pathlib.Path(__file__).with_name("losses")


def tensor(values, grad=False):
    return torch.tensor(values, dtype=DOUBLE, requires_grad=grad)


def drawn(seed, *shape, scale=1.0):
    """Normal numbers that float32 holds exactly, so that both precisions read the same inputs."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=generator) * scale).to(torch.float32).to(DOUBLE)


def in_double(function, module):
    """Hugging Face's own function with every cast to float32 turned into one to float64."""
    source = inspect.getsource(function)
    source = source.replace("torch.float32", "torch.float64").replace(".float()", ".double()")
    scope = dict(vars(module))
    exec(compile(source, function.__name__, "exec"), scope)
    return scope[function.__name__]


def slopes(loss, *inputs):
    return [g.tolist() for g in torch.autograd.grad(loss, inputs)]


def log_softmax_exact(row):
    row = [mpmath.mpf(z) for z in row]
    top = max(row)
    total = top + mpmath.log(mpmath.fsum(mpmath.exp(z - top) for z in row))
    return [z - total for z in row]


def cross_entropy():
    rows = drawn(1, 6, 7, scale=3).tolist()
    rows += [[18.420680743952367, 0, -50, -50, -50, -50, -50], [0, 1e4, 3, -1e4, 9999, 5, 5],
             [700, -700, 0, 1, 2, 3, 4], [-1e4] * 6 + [-1e4 - 30]]
    rows = torch.tensor(rows, dtype=torch.float32).to(DOUBLE).tolist()
    targets = [0, 3, 6, 2, 2, 5, 0, 1, 0, 6]
    weights = [1, -0.5, 2, 1e-3, -3, 0.25, 1, 1, 1, 1]
    logp, gradient = [], []
    for row, target, weight in zip(rows, targets, weights):
        exact = log_softmax_exact(row)
        logp.append(float(exact[target]))
        gradient.append([float(weight * ((v == target) - mpmath.exp(x)))
                         for v, x in enumerate(exact)])
    return {"logits": rows, "targets": targets, "dlogp": weights, "logp": logp,
            "gradient": gradient}


def reductions():
    """Two micro-batches of two sequences with 3 and 9 scored tokens, by Hugging Face's own loss."""
    loss_of = in_double(loss_utils.ForCausalLMLoss, loss_utils)
    length = [3, 4, 7, 6]
    scored = [[0, 1, 1], [0, 0, 0, 1], [0, 1, 1, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1]]
    tokens = [[(3 * b + 2 * t + t * t) % 7 for t in range(n)] for b, n in enumerate(length)]
    logits = drawn(2, sum(length), 7, scale=2).requires_grad_()
    rows = torch.split(logits, length)
    labels = [torch.tensor([x if s else -100 for x, s in zip(a, b)])
              for a, b in zip(tokens, scored)]

    def mean(which, items=None):
        wide = max(length)
        padded = torch.stack([F.pad(rows[b], (0, 0, 0, wide - length[b])) for b in which])
        label = torch.stack([F.pad(labels[b], (0, wide - length[b]), value=-100) for b in which])
        return loss_of(padded, label, 7, num_items_in_batch=items)
    count = sum(sum(s[1:]) for s in scored)
    losses = {"token": mean(range(4), count),
              "sequence": sum(mean([b]) for b in range(4)) / 4,
              "microbatch": (mean([0, 1]) + mean([2, 3])) / 2,
              "sum": mean(range(4), count) * count}
    out = {"tokens": sum(tokens, []), "scored": sum(scored, []), "length": length, "micro": [2, 2],
           "logits": logits.tolist()}
    for name, loss in losses.items():
        out[name] = loss.item()
        out[name + "_gradient"] = torch.autograd.grad(loss, logits, retain_graph=True)[0].tolist()
    return out


def bradley_terry():
    pairs = [(1.2, 0.5, 0, 0), (1.2, 0.5, 0.3, 0), (1.2, 0.5, 0, 0.01), (0.5, 1.2, 0.25, 0.01),
             (100, 0, 0, 0), (0, 100, 0, 0), (-50, 50, 1, 0.5), (1e4, -1e4, 0, 0),
             (-1e4, 1e4, 0, 0), (0, 0, 0, 0), (3e-9, 0, 0, 0.1)]
    out = {name: [] for name in ("loss", "d_chosen", "d_rejected")}
    for r_w, r_l, margin, centring in pairs:
        r = tensor([r_w, r_l], grad=True)
        loss, _ = reward(r, tensor([margin]), centring)
        gradient = slopes(loss, r)[0]
        for name, value in zip(out, (loss.item(), *gradient)):
            out[name].append(value)
    for i, name in enumerate(("chosen", "rejected", "margin", "centring")):
        out[name] = [float(pair[i]) for pair in pairs]
    chosen, rejected = [1.5, -0.25, 2.0, 0.75], [0.5, 0.25, 2.0, -3.0]
    _, metrics = reward(tensor(chosen + rejected))
    out["batch"] = {"chosen": chosen, "rejected": rejected, "metrics": [
        metrics[name] for name in ("accuracy", "margin", "min_reward", "mean_reward",
                                   "max_reward")]}
    r = tensor([2.5, 1.0, 1.25, -0.5], grad=True)
    terms = [-F.logsigmoid(r[i] - r[j] - 0.1) + 0.01 * (r[i] + r[j]) ** 2
             for i, j in itertools.combinations(range(4), 2)]
    loss = sum(terms) / len(terms)
    out["ranked"] = {"reward": r.tolist(), "margin": 0.1, "centring": 0.01, "loss": loss.item(),
                     "gradient": slopes(loss, r)[0]}
    return out


def dpo_pairs():
    """Pairs by TRL's trainer. Its aot_unpaired on one pair is label smoothing of the difference
    (cDPO); ipo with one scored token is IPO on sums; a reference of 0 is reference-free."""
    pairs = [(-12, -13.5, -20, -18.75, 6, 10), (-3.25, -3, -1e-8, -0.5, 1, 4),
             (-20, -18.75, -12, -13.5, 3, 1), (-100, -1100, -900, -900, 7, 9),
             (-1100, -100, -900, -900, 5, 2), (-10, -10, -7, -7, 2, 3),
             (-2e5, -1e5, -1e5, -2e5, 100, 31), (-30, -55, -81, -80, 12, 12)]
    columns = ("chosen", "ref_chosen", "rejected", "ref_rejected", "n_chosen", "n_rejected")
    out = {name: [pair[i] for pair in pairs] for i, name in enumerate(columns)}
    out["beta"], out["smoothing"] = 0.1, 0.1
    kinds = {"sigmoid": "sigmoid", "cdpo": "aot_unpaired", "robust": "robust", "hinge": "hinge",
             "ipo": "ipo", "ipo_sum": "ipo", "sigmoid_norm": "sigmoid_norm",
             "reference_free": "sigmoid"}
    for kind, theirs in kinds.items():
        result = {name: [] for name in ("loss", "d_chosen", "d_rejected")}
        for lw, lw_ref, ll, ll_ref, n_w, n_l in pairs:
            wide = max(n_w, n_l) + 1
            scored = [[int(kind != "ipo_sum" and 1 <= t <= n) for t in range(wide)]
                      for n in (n_w, n_l)]
            if kind == "ipo_sum":
                scored[0][1] = scored[1][1] = 1
            sums = tensor([lw, ll], grad=True)
            place = F.one_hot(torch.zeros(2, dtype=torch.long), wide - 1).to(DOUBLE)
            reference = tensor([0, 0] if kind == "reference_free" else [lw_ref, ll_ref])
            inputs = {"input_ids": torch.ones(2, wide, dtype=torch.long),
                      "attention_mask": torch.ones(2, wide, dtype=torch.long),
                      "completion_mask": torch.tensor(scored)}
            loss, _ = dpo(Scores(sums[:, None] * place), Scores(reference[:, None] * place),
                          inputs, theirs, 0.1, 0.1)
            gradient = slopes(loss, sums)[0]
            for name, value in zip(result, (loss.item(), *gradient)):
                result[name].append(value)
        out[kind] = result
    return out


def kl():
    deltas = [-0.3, 0.5, 0, 1e-8, -1e-8, 1e-3, -0.49, 0.51, 20, -20, 300, -300]
    out = {"delta": deltas, "k1": [], "k2": [], "k3": [], "slope3": []}
    for delta in deltas:
        d = mpmath.mpf(delta)
        for name, value in (("k1", d), ("k2", d * d / 2), ("k3", mpmath.exp(-d) - 1 + d),
                            ("slope3", 1 - mpmath.exp(-d))):
            out[name].append(float(value))
    policy, other = drawn(3, 4, 7, scale=2), drawn(4, 4, 7, scale=2)
    policy[3], other[3] = tensor([900, 0, 0, 0, 0, 0, 1]), tensor([0, 0, 1, 2, 0, 0, 5])
    policy.requires_grad_()
    row = F.kl_div(F.log_softmax(other, -1), F.log_softmax(policy, -1), log_target=True,
                   reduction="none").sum(-1)
    out["exact"] = {"logits": policy.tolist(), "reference": other.tolist(), "value": row.tolist(),
                    "gradient": slopes(row.sum(), policy)[0]}
    return out


def policy():
    logp, ref = tensor([-1.5, -0.25, -3, -1e-8]), tensor([-1, -0.5, -3, -2])
    rewards = -0.05 * (logp - ref)
    rewards[-1] += 1.25
    k3 = -0.05 * (torch.exp(ref - logp) - 1 + logp - ref)
    k3[-1] += 1.25
    group = tensor([1, 2, 4, 5, -1, 0.5, 0.5, 3])
    rows = group.view(2, 4)
    plain = (rows - (rows.sum(1, keepdim=True) - rows) / 3).view(-1)
    out = {"rewards": {"logp": logp.tolist(), "ref_logp": ref.tolist(), "coefficient": 0.05,
                       "score": 1.25, "k1": rewards.tolist(), "k3": k3.tolist()},
           "rloo": {"reward": group.tolist(), "plain": plain.tolist(),
                    "normalised": ((plain - plain.mean()) / (plain.std() + 1e-4)).tolist()}}
    # TRL's nanstd forms n/(n-1) in float32, 2e-8 off; the normalisation is otherwise its own
    # REINFORCE and RLOO on whole answers, PPO on tokens
    new = tensor([[-1, -2, -0.5], [-0.1, -3, 0], [-2, -2, -2], [-1, -1, 0]], grad=True)
    mask = tensor([[1, 1, 1], [1, 1, 0], [1, 1, 1], [1, 1, 0]])
    old = (new * mask).sum(1).detach() + tensor([0.05, -0.5, 0.6, -0.1])
    advantage = tensor([1.5, 2, -1, -0.5])
    loss = -((advantage - 0.25) * (new * mask).sum(1)).sum()
    out["reinforce"] = {"sums": (new * mask).sum(1).tolist(), "reward": advantage.tolist(),
                        "baseline": 0.25, "loss": loss.item(),
                        "slope": [row[0] for row in slopes(loss, new)[0]]}
    trainer = type("Stub", (), {"model": type("M", (), {"training": True})(),
                                "aux_loss_enabled": False, "epsilon_low": 0.2, "epsilon_high": 0.2,
                                "accelerator": accelerator(), "_metrics": {"train": Anything()}})()
    trainer.accelerator.reduce = lambda x, reduction: x
    trainer._get_per_token_logps_and_entropies = lambda *_, **__: (new, new.detach(), None)
    ids = torch.ones(4, 3, dtype=torch.long)
    loss = RLOOTrainer._compute_loss(trainer, None, {
        "prompt_ids": ids[:, :1], "prompt_mask": ids[:, :1], "completion_ids": ids,
        "completion_mask": mask, "old_logps": old, "advantages": advantage})
    out["sequence_ratio"] = {"new": (new * mask).sum(1).tolist(), "old": old.tolist(),
                             "advantage": advantage.tolist(), "clip": 0.2, "loss": loss.item(),
                             "slope": [row[0] for row in slopes(loss, new)[0]]}
    ratio = tensor([0, 0.1, -0.1, 0.3, -0.3, 0.3, -0.3, 5, -5, 5, -5], grad=True)
    gain = tensor([1, 1, 1, 2, 2, -2, -2, 0.5, 0.5, -0.5, -0.5])
    rho = ratio.exp()
    each = -torch.min(rho * gain, rho.clamp(0.8, 1.2) * gain)
    out["token_ratio"] = {"log_ratio": ratio.tolist(), "advantage": gain.tolist(), "clip": 0.2,
                          "loss": each.tolist(), "slope": slopes(each.sum(), ratio)[0]}
    return out


class Anything(dict):
    """A dictionary of lists that takes every key."""

    def __missing__(self, key):
        self[key] = []
        return self[key]


def value():
    rew, val = tensor([0.1, -0.2, 1, 0.5, 0]), tensor([0.5, 0.4, 0.3, -1, 2])
    out = {"reward": rew.tolist(), "value": val.tolist()}
    for gamma, lam in ((1, 0.95), (0.9, 0.5)):
        after = torch.cat([val[1:], torch.zeros(1, dtype=DOUBLE)])
        delta = rew + gamma * after - val
        # Eq. 16 as it stands: a sum over all later tokens
        a = torch.stack([sum((gamma * lam) ** (s - t) * delta[s] for s in range(t, 5))
                         for t in range(5)])
        out[f"gae_{gamma}_{lam}"] = {"advantage": a.tolist(), "returns": (a + val).tolist()}
    x = drawn(5, 9, scale=4)
    out["whiten"] = {"x": x.tolist(),
                     "result": ((x - x.mean()) * torch.rsqrt(x.var() + 1e-8)).tolist()}
    v = tensor([0.5, 0.9, 0.1, 0.9, 0.1, 0.55], grad=True)
    old, ret = tensor([0.5, 0.5, 0.5, 0.5, 0.5, 0.5]), tensor([1, 1, 1, 0, 0, -2])
    clipped = torch.max(torch.min(v, old + 0.2), old - 0.2)
    each = 0.5 * torch.max((v - ret) ** 2, (clipped - ret) ** 2)
    out["loss"] = {"value": v.tolist(), "old": old.tolist(), "returns": ret.tolist(), "clip": 0.2,
                   "loss": each.tolist(), "slope": slopes(each.sum(), v)[0]}
    return out


def router():
    """Two layers of opposite imbalance, two sets of logits, with none and 40 % of padding."""
    balance = in_double(modeling_mixtral.load_balancing_loss_func, modeling_mixtral)
    E, K, T = 4, 2, 10
    out = {"E": E, "K": K, "T": T, "mask": [1, 1, 1, 1, 0, 1, 1, 0, 0, 0]}
    mask = torch.tensor(out["mask"])[None]
    for name, seed in (("a", 10), ("b", 22)):
        lean = tensor([1.5, 0.5, -0.5, -1.5])
        layers = [(drawn(seed, T, E) + lean).requires_grad_(),
                  (drawn(seed + 1, T, E) - lean).requires_grad_()]
        case = {"logits": [layer.tolist() for layer in layers]}
        tops = [layer.topk(K) for layer in layers]
        gates = [top.values.softmax(-1) for top in tops]
        case["experts"] = [top.indices.tolist() for top in tops]
        case["weights"] = [gate.tolist() for gate in gates]
        importance = [torch.zeros(E, dtype=DOUBLE).index_add(0, top.indices.reshape(-1),
                                                             gate.reshape(-1))
                      for top, gate in zip(tops, gates)]
        case["importance"] = [i.tolist() for i in importance]
        losses = {
            "pooled": balance(tuple(layers), E, K),
            "pooled_mask": balance(tuple(layers), E, K, mask),
            "layers": sum(balance((layer,), E, K) / K for layer in layers) / 2,
            "layers_mask": sum(balance((layer,), E, K, mask) / K for layer in layers) / 2,
            "top1": sum(balance((layer,), E, 1) for layer in layers) / 2,
            "cv": sum(i.var(correction=0) / i.mean() ** 2 for i in importance),
            "z": sum(torch.logsumexp(layer, -1).square().mean() for layer in layers),
            "z_mask": sum((torch.logsumexp(layer, -1).square() * mask[0]).sum() / mask.sum()
                          for layer in layers)}
        for kind, loss in losses.items():
            gradient = torch.autograd.grad(loss, layers, retain_graph=True)
            case[kind] = {"loss": loss.item(), "gradient": [g.tolist() for g in gradient]}
        out[name] = case
    out["load"] = load(E, K, T)
    return out


def load(E, K, T):
    """Shazeer et al. 2017, Eq. 3-11: noisy logits, gates of the noisy ones, importance and load."""
    clean, spread = drawn(30, T, E).requires_grad_(), drawn(31, T, E).requires_grad_()
    normal = drawn(32, T, E)
    noisy = clean + normal * F.softplus(spread)
    def kth_excluding(row, i):
        return torch.cat([row[:i], row[i + 1:]]).topk(K).values[-1]
    threshold = torch.stack([torch.stack([kth_excluding(row, i) for i in range(E)])
                             for row in noisy])
    u = (clean - threshold) / F.softplus(spread)
    total = (0.5 * torch.special.erfc(-u / math.sqrt(2))).sum(0)
    loss = total.var(correction=0) / total.mean() ** 2
    top = noisy.topk(K)
    importance = torch.zeros(E, dtype=DOUBLE).index_add(0, top.indices.reshape(-1),
                                                        top.values.softmax(-1).reshape(-1))
    imp = importance.var(correction=0) / importance.mean() ** 2
    dload = torch.autograd.grad(loss, (clean, spread), retain_graph=True)
    dimportance = torch.autograd.grad(imp, (clean, spread))
    return {"clean": clean.tolist(), "spread": spread.tolist(), "normal": normal.tolist(),
            "noisy": noisy.tolist(), "experts": top.indices.tolist(), "sums": total.tolist(),
            "loss": loss.item(), "dclean": dload[0].tolist(), "dspread": dload[1].tolist(),
            "importance": imp.item(), "importance_dclean": dimportance[0].tolist(),
            "importance_dspread": dimportance[1].tolist()}


def adamw():
    """Five steps of torch.optim.AdamW after clip_grad_norm_: one tensor decays, one does not."""
    out = {"lr": [0.01, 0.02, 0.02, 0.005, 0], "beta": [0.9, 0.95], "eps": 1e-8, "decay": 0.1,
           "max_norm": 1.5}
    start = [drawn(40, 11), drawn(41, 5)]
    gradients = [[drawn(50 + 2 * s, 11, scale=0.3 + s % 3), drawn(51 + 2 * s, 5)] for s in range(5)]
    out["theta"] = [t.tolist() for t in start]
    out["gradient"] = [[g.tolist() for g in step] for step in gradients]
    for name, dtype in (("f64", torch.float64), ("f32", torch.float32)):
        theta = [torch.nn.Parameter(t.to(dtype, copy=True)) for t in start]
        optimiser = torch.optim.AdamW([{"params": theta[:1], "weight_decay": 0.1},
                                       {"params": theta[1:], "weight_decay": 0}],
                                      betas=(0.9, 0.95), eps=1e-8)
        steps = {"norm": [], "theta": []}
        for lr, step in zip(out["lr"], gradients):
            for t, g in zip(theta, step):
                t.grad = g.to(dtype).clone()
            steps["norm"].append(torch.nn.utils.clip_grad_norm_(theta, 1.5).item())
            for group in optimiser.param_groups:
                group["lr"] = lr
            optimiser.step()
            steps["theta"].append([t.tolist() for t in theta])
        out[name] = steps
    return out


def schedules():
    out = {"warmup": [4, 0, 1, 12], "steps": [12, 10, 1, 12], "upto": 15}
    parameter = torch.nn.Parameter(torch.zeros(1))
    names = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}
    for name, theirs in names.items():
        out[name] = []
        for warmup, steps in zip(out["warmup"], out["steps"]):
            schedule = transformers.get_scheduler(theirs, torch.optim.SGD([parameter], lr=1.0),
                                                  num_warmup_steps=warmup,
                                                  num_training_steps=steps)
            out[name].append([schedule.lr_lambdas[0](s) for s in range(out["upto"])])
    out["dpo"] = [[min(1.0, (s + 1) / (warmup + 1)) for s in range(out["upto"])]
                  for warmup in out["warmup"]]
    return out


FILES = {"cross_entropy": lambda: {"rows": cross_entropy(), "reductions": reductions()},
         "preference": lambda: {"bradley_terry": bradley_terry(), "dpo": dpo_pairs()},
         "policy": lambda: {"kl": kl(), "policy": policy(), "value": value()},
         "router": router,
         "optimiser": lambda: {"adamw": adamw(), "schedules": schedules()},
         "batches": lambda: losses_batches.generate(in_double)}


def differences(got, want, where):
    """Where two documents differ by more than 1e-12 of the largest number of their array."""
    if isinstance(want, dict) and isinstance(got, dict) and got.keys() == want.keys():
        for key in want:
            yield from differences(got[key], want[key], f"{where}.{key}")
        return
    try:
        a, b = (torch.tensor(x, dtype=DOUBLE).reshape(-1) for x in (got, want))
        limit = 1e-6 if ".f32." in where else 1e-12
        same = a.shape == b.shape and bool(((a - b).abs() <= limit * b.abs().max()).all())
    except (TypeError, ValueError):
        same = got == want
    if not same:
        yield f"{where}: differs"


def compact(text):
    """json.dumps with indentation, the innermost lists on one line."""
    return re.sub(r"\[[^][{}]*\]", lambda m: re.sub(r"\s+", " ", m.group()), text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    check = parser.parse_args().check
    torch.set_num_threads(1)
    faults = []
    for name, make in FILES.items():
        path, document = FOLDER / f"{name}.json", make()
        if check:
            faults += differences(document, json.loads(path.read_text()), name)
            continue
        FOLDER.mkdir(exist_ok=True)
        path.write_text(compact(json.dumps(document, indent=1)) + "\n")
    for fault in faults:
        print(fault)
    print(f"{len(FILES)} files of losses, {len(faults)} differences")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
