"""A model small enough to be written out by hand, and stand-ins for what TRL's trainers are given.

logits of row t = sum over visible tokens j of 0.5^(t-j) table[token_j]  +  position_t * slope
"""
import collections
import types

import torch
from transformers.modeling_layers import GenericForSequenceClassification
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.reward_trainer import RewardTrainer
from trl.trainer.utils import selective_log_softmax

DOUBLE = torch.float64


class Toy(torch.nn.Module):
    """A causal language model: context fades by half per token, absolute positions add a slope."""

    def __init__(self, table, slope):
        super().__init__()
        self.table = torch.nn.Parameter(torch.tensor(table, dtype=DOUBLE))
        self.slope = torch.nn.Parameter(torch.tensor(slope, dtype=DOUBLE))
        self.is_gradient_checkpointing = False

    def logits(self, ids, attention_mask):
        position = (attention_mask.cumsum(1) - 1).clamp(min=0)
        away = position[:, :, None] - position[:, None, :]
        visible = (away >= 0) & attention_mask[:, None, :].bool()
        mix = torch.where(visible, 0.5 ** away.clamp(min=0).to(DOUBLE), 0)
        self.rows = mix @ self.table[ids] + position[:, :, None] * self.slope
        return self.rows

    def forward(self, input_ids, attention_mask, labels=None, **_):
        """What TRL's fused head returns: log-probabilities of the shifted labels, 0 at -100."""
        logits = self.logits(input_ids, attention_mask)[:, :-1]
        scored = labels[:, 1:] != -100
        logp = selective_log_softmax(logits, labels[:, 1:].clamp(min=0), row_mask=scored)
        zero = torch.zeros_like(logp)
        return types.SimpleNamespace(log_probs=logp, entropy=zero, mean_logits=zero,
                                     is_top1=torch.zeros_like(scored), logits=logits)


class Scores(torch.nn.Module):
    """A model that answers with given log-probabilities, whatever the input."""

    def __init__(self, log_probs):
        super().__init__()
        self.log_probs, self.is_gradient_checkpointing = log_probs, False

    def forward(self, **_):
        zero = torch.zeros_like(self.log_probs)
        return types.SimpleNamespace(log_probs=self.log_probs, entropy=zero, mean_logits=zero,
                                     is_top1=zero.bool())


def accelerator():
    same = lambda x: x
    return types.SimpleNamespace(device="cpu", gather=same, gather_for_metrics=same)


def dpo(policy, reference, inputs, kind, beta, smoothing):
    """TRL's own loss and metrics of a collated batch."""
    trainer = types.SimpleNamespace(
        model=policy, ref_model=reference, accelerator=accelerator(), aux_loss_enabled=False,
        ld_alpha=None, precompute_ref_logps=False, f_divergence_type="reverse_kl",
        loss_types=[kind], loss_weights=[1.0], beta=beta, label_smoothing=smoothing,
        use_weighting=False,
        _metrics=collections.defaultdict(lambda: collections.defaultdict(list)),
        _total_train_tokens=0, _tp_size=1,
        args=types.SimpleNamespace(gradient_checkpointing_kwargs=None))
    loss = DPOTrainer._compute_loss(trainer, policy, inputs, False)
    return loss, {name: values[-1] for name, values in trainer._metrics["train"].items()}


def reward(rewards, margin=None, centring=None):
    """TRL's own Bradley-Terry loss and metrics; rewards: chosen, then rejected."""
    trainer = types.SimpleNamespace(
        model=types.SimpleNamespace(training=True), accelerator=accelerator(),
        args=types.SimpleNamespace(center_rewards_coefficient=centring),
        _metrics=collections.defaultdict(lambda: collections.defaultdict(list)),
        _total_train_tokens=0, _tp_size=1)
    inputs = {"attention_mask": torch.ones(1)}
    if margin is not None:
        inputs["margin"] = margin
    model = lambda **_: types.SimpleNamespace(logits=rewards.unsqueeze(-1))
    loss = RewardTrainer.compute_loss(trainer, model, inputs)
    return loss, {name: values[-1] for name, values in trainer._metrics["train"].items()}


def sequence_scores(toy, head, ids, attention_mask, pad):
    """Hugging Face's own rule of which token is scored, over the toy's rows as hidden states."""
    class Backbone:
        def __call__(self, *_, **__):
            hidden = toy.logits(ids, attention_mask)
            return types.SimpleNamespace(last_hidden_state=hidden, past_key_values=None,
                                         hidden_states=None, attentions=None)
    config = types.SimpleNamespace(get_text_config=lambda: types.SimpleNamespace(pad_token_id=pad))
    model = types.SimpleNamespace(base_model_prefix="model", model=Backbone(), config=config,
                                  score=lambda hidden: hidden @ head[:, None])
    forward = GenericForSequenceClassification.forward
    forward = getattr(forward, "__wrapped__", forward)
    return forward(model, ids, attention_mask=attention_mask).logits[:, 0]
