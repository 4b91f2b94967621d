"""Golden batches: from token ids to losses, through padding, masks, packing and one update.

The originals pad (right, as TRL and Hugging Face do; left as well where that is possible, which
must give the same); what is stored is packed: one sequence after the other, no padding.
"""
import torch
import torch.nn.functional as F
from transformers.loss import loss_utils
from transformers.models.mixtral import modeling_mixtral
from trl.trainer.dpo_trainer import DataCollatorForPreference

from losses_toy import DOUBLE, Toy, dpo, sequence_scores

V, PAD, BOS, EOS = 8, 0, 1, 2
KINDS = ("sigmoid", "robust", "hinge", "ipo", "sigmoid_norm")
# unequal lengths, a one-token completion, a shared prompt, an eos inside a prompt, a truncation
PAIRS = [{"prompt_ids": [BOS, 3, 4], "chosen_ids": [5, 6, EOS], "rejected_ids": [7, EOS]},
         {"prompt_ids": [BOS, 5, EOS, 6], "chosen_ids": [EOS], "rejected_ids": [3, 4, EOS]},
         {"prompt_ids": [BOS, 3, 4], "chosen_ids": [6, 7, 5, 3, 6, EOS], "rejected_ids": [5, EOS]}]
MAX_LENGTH, BETA, SMOOTHING, RATE = 8, 0.5, 0.1, 0.5


def table(stream):
    """Numbers without pattern, whose sums round: their order shows."""
    rows = [[((17 * i * i + 31 * j + 7 * i * j + 13 * stream) % 101 - 50) / 30 for j in range(V)]
            for i in range(V)]
    slope = [((29 * j + 11 * stream) % 23 - 11) / 60 for j in range(V)]
    return rows, slope


def packed(rows, mask):
    """The rows that are no padding, in order, as nested lists."""
    return rows[mask.bool()].tolist()


def left(values, mask):
    """Right-padded rows as left-padded ones."""
    order = torch.argsort(mask, dim=1, stable=True)
    return values.gather(1, order)


def ragged(lists):
    return {"ids": sum(lists, []), "length": [len(x) for x in lists]}


def preference():
    batch = DataCollatorForPreference(PAD, max_length=MAX_LENGTH)(PAIRS)
    mask, completion = batch["attention_mask"], batch["completion_mask"]
    policy, reference = Toy(*table(1)), Toy(*table(2))
    out = {name: ragged([pair[f"{name}_ids"] for pair in PAIRS])
           for name in ("prompt", "chosen", "rejected")}
    out.update(vocabulary=V, max_length=MAX_LENGTH, beta=BETA, smoothing=SMOOTHING, rate=RATE,
               table=policy.table.tolist(), slope=policy.slope.tolist(),
               ref_table=reference.table.tolist(), ref_slope=reference.slope.tolist())
    out["tokens"] = packed(batch["input_ids"], mask)
    out["length"] = mask.sum(1).tolist()
    out["positions"] = packed(mask.cumsum(1) - 1, mask)
    shifted = F.pad(batch["input_ids"].masked_fill(completion == 0, -1)[:, 1:], (0, 1), value=-1)
    out["targets"] = packed(shifted, mask)
    labels = batch["input_ids"].masked_fill(completion == 0, -100)

    def log_probs(model, ids, attention, label):
        return model(ids, attention, labels=label).log_probs
    rows = log_probs(policy, batch["input_ids"], mask, labels)
    out["logp"] = packed(F.pad(rows, (0, 1)), mask)
    out["sums"], out["ref_sums"] = rows.sum(1).tolist(), log_probs(
        reference, batch["input_ids"], mask, labels).sum(1).tolist()
    moved = log_probs(policy, *(left(x, mask) for x in (batch["input_ids"], mask, labels))).sum(1)
    assert torch.allclose(moved, rows.sum(1), rtol=1e-14, atol=1e-14)
    out["logits"] = packed(policy.logits(batch["input_ids"], mask), mask)
    for kind in KINDS:
        loss, metrics = dpo(policy, reference, batch, kind, BETA, SMOOTHING)
        gradient = torch.autograd.grad(loss, (policy.table, policy.slope, policy.rows))
        out[kind] = {"loss": loss.item(), "table_gradient": gradient[0].tolist(),
                     "slope_gradient": gradient[1].tolist(),
                     "logits_gradient": packed(gradient[2], mask)}
    out["metrics"] = [metrics[f"rewards/{name}"]
                      for name in ("chosen", "rejected", "accuracies", "margins")]
    loss, _ = dpo(policy, reference, batch, "sigmoid", BETA, SMOOTHING)
    descend(policy, loss)
    out["after"] = dpo(policy, reference, batch, "sigmoid", BETA, SMOOTHING)[0].item()
    # policy and reference are equal: log 2, no margin at all, accuracy 0; then one step
    policy, reference = Toy(*table(1)), Toy(*table(1))
    loss, metrics = dpo(policy, reference, batch, "sigmoid", BETA, SMOOTHING)
    out["start"] = {"loss": loss.item(), "metrics": [
        metrics[f"rewards/{name}"] for name in ("chosen", "rejected", "accuracies", "margins")]}
    descend(policy, loss)
    out["start"]["after"] = dpo(policy, reference, batch, "sigmoid", BETA, SMOOTHING)[0].item()
    return out


def descend(toy, loss):
    """One step of plain gradient descent."""
    parameters = (toy.table, toy.slope)
    steps = torch.autograd.grad(loss, parameters)
    with torch.no_grad():
        for parameter, step in zip(parameters, steps):
            parameter -= RATE * step


def supervised(in_double):
    """Two micro-batches with 3 and 9 scored tokens; the answer's eos is scored, and one sits inside
    a prompt; router loss of each micro-batch, added once."""
    lists = [[BOS, 3, 5, EOS], [BOS, 4, 6, EOS], [BOS, 5, EOS, 3, 7, 6, 4, EOS],
             [BOS, 7, 3, 6, 5, EOS]]
    prompt = [2, 3, 3, 2]
    count = [len(x) - p for x, p in zip(lists, prompt)]
    assert sum(count[:2]) == 3 and sum(count[2:]) == 9
    toy = Toy(*table(6))
    wide = max(map(len, lists))
    ids = torch.tensor([x + [PAD] * (wide - len(x)) for x in lists])
    mask = torch.tensor([[1] * len(x) + [0] * (wide - len(x)) for x in lists])
    scored = torch.tensor([[int(p <= t < len(x)) for t in range(wide)]
                           for x, p in zip(lists, prompt)])
    labels = ids.masked_fill(scored == 0, -100)
    loss_of = in_double(loss_utils.ForCausalLMLoss, loss_utils)
    logits = toy.logits(ids, mask)
    token = loss_of(logits, labels, V, num_items_in_batch=12)
    moved = [left(x, mask) for x in (ids, mask, labels)]
    again = loss_of(toy.logits(moved[0], moved[1]), moved[2], V, num_items_in_batch=12)
    assert torch.allclose(token, again, rtol=1e-14)
    balance = in_double(modeling_mixtral.load_balancing_loss_func, modeling_mixtral)
    router = toy.logits(ids, mask)[:, :, :4].reshape(-1, 4)   # four logits of each row as experts
    ranked = router[mask.view(-1).bool()].sort(-1, descending=True).values
    assert (ranked[:, :-1] - ranked[:, 1:]).min() > 1e-3   # no choice hangs on rounding
    half = 2 * wide
    aux = [balance((router[m * half:(m + 1) * half],), 4, 2, mask[2 * m:2 * m + 2])
           for m in range(2)]
    total = token + 0.01 * (aux[0] + aux[1]) / 2
    gradient = torch.autograd.grad(total, toy.table)[0]
    empty = torch.full_like(labels, -100)
    assert loss_of(logits.detach(), empty, V, num_items_in_batch=12) == 0
    return {"sequences": ragged(lists), "prompt": prompt, "micro": [2, 2], "vocabulary": V,
            "eos": EOS, "table": toy.table.tolist(), "slope": toy.slope.tolist(),
            "positions": packed(mask.cumsum(1) - 1, mask), "logits": packed(logits, mask),
            "targets": packed(F.pad(labels[:, 1:], (0, 1), value=-100).clamp(min=-1), mask),
            "loss": token.item(), "aux": [a.item() for a in aux], "coefficient": 0.01,
            "total": total.item(), "total_gradient": gradient.tolist()}


def rewards():
    """An eos inside the prompt, a trailing eos, one token only, no padding in the longest."""
    lists = [[BOS, 3, EOS, 4, EOS], [BOS, 3, EOS, 5, 6, 7, EOS], [BOS], [6, EOS]]
    toy, head = Toy(*table(4)), torch.tensor(table(5)[1], dtype=DOUBLE)
    wide = max(map(len, lists))
    ids = torch.tensor([x + [PAD] * (wide - len(x)) for x in lists])
    mask = torch.tensor([[1] * len(x) + [0] * (wide - len(x)) for x in lists])
    score = sequence_scores(toy, head, ids, mask, PAD)
    again = sequence_scores(toy, head, left(ids, mask), left(mask, mask), PAD)
    assert torch.allclose(score, again, rtol=1e-14)
    return {"sequences": ragged(lists), "vocabulary": V, "eos": EOS, "pad": PAD,
            "table": toy.table.tolist(), "slope": toy.slope.tolist(), "head": head.tolist(),
            "positions": packed(mask.cumsum(1) - 1, mask),
            "rows": packed(toy.logits(ids, mask) @ head, mask), "score": score.tolist()}


def generate(in_double):
    return {"preference": preference(), "supervised": supervised(in_double), "rewards": rewards()}
