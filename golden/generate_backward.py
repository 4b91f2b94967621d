"""Ports that train: activations and gradients of Hugging Face's classes in one trace, right and
with a seeded fault in one backward operation.

    python golden/generate_backward.py [--check] [FOLDER]

The models are grad_dense and grad_moe_k2 of golden/cases. A fault is an autograd function whose
forward is the class's own and whose backward is wrong in one way, so that every gradient after it
is what a port with this fault has. --check makes them again and compares.
"""
import argparse
import contextlib
import pathlib
import sys
import tempfile
from unittest import mock

import numpy as np
import torch
from transformers.models.mistral import modeling_mistral as mistral

import check
import generate as base
import generate_grad as grad

CASES = pathlib.Path(__file__).resolve().parent / "cases"
LENGTHS = {"grad_dense": (6,), "grad_moe_k2": (4, 3)}
base.DTYPE["f16"] = torch.float16


def wrong(forward, backward):
    """`forward` with this derivative by its tensors: backward(arguments, gradients of outputs)."""
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *arguments):
            ctx.save_for_backward(*arguments)
            return forward(*arguments)

        @staticmethod
        def backward(ctx, *slopes):
            return backward(ctx.saved_tensors, *slopes)
    return Wrong.apply


# ---- the faults --------------------------------------------------------------------------------

def rope_sign():
    """Gradients of q and k are turned by the angles of the forward pass, not back."""
    turn = mistral.apply_rotary_pos_emb

    def backward(saved, dq, dk):
        return *turn(dq, dk, *saved[2:]), None, None
    return mock.patch.object(mistral, "apply_rotary_pos_emb",
                             lambda q, k, cos, sin, **_: wrong(turn, backward)(q, k, cos, sin))


def norm_mean():
    """RMSNorm backward as if the root were a constant."""
    def forward(x, g, eps):
        return g * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps))

    def backward(saved, dy):
        x, g, eps = saved
        r = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)
        return g * dy * r, (dy * x * r).sum((0, 1)), None
    return mock.patch.object(mistral.MistralRMSNorm, "forward",
                             lambda self, x: wrong(forward, backward)(
                                 x, self.weight, torch.tensor(self.variance_epsilon)))


def silu_slope():
    """SwiGLU backward with sigma in place of the derivative of silu."""
    silu = torch.nn.functional.silu
    function = wrong(silu, lambda saved, dy: dy * torch.sigmoid(saved[0]))

    def forward(self, x):
        return self.down_proj(function(self.gate_proj(x)) * self.up_proj(x))
    return mock.patch.object(mistral.MistralMLP, "forward", forward)


def first_head():
    """Keys and values take the gradient of the first query head of their group, not the sum."""
    repeat = mistral.repeat_kv

    def forward(x, n):
        function = wrong(lambda x: repeat(x, n),
                         lambda saved, d: d.unflatten(1, (-1, n))[:, :, 0])
        return function(x)
    return mock.patch.object(mistral, "repeat_kv", forward)


def loss_sum():
    """The loss is a sum over tokens, where the reference takes the mean."""
    original = torch.Tensor.backward
    return mock.patch.object(torch.Tensor, "backward", lambda self: original(self * 5))


FAULTS = {f.__name__: f for f in (rope_sign, norm_mean, silu_slope, first_head, loss_sum)}
TRACES = [("grad_dense", p, None) for p in ("f32", "bf16", "f16")] + \
         [("grad_moe_k2", p, None) for p in ("f32", "bf16")] + \
         [("grad_dense", "f32", fault) for fault in FAULTS] + \
         [("grad_dense", "bf16", "rope_sign")]


# ---- traces ------------------------------------------------------------------------------------

def trace(spec, folder, precision, lengths, fault=None):
    """Tensors and meta of one run of the model in that folder, forward and backward."""
    model = base.load_model(spec, folder, precision)
    stream = np.random.default_rng(spec.token_seed).integers(1, spec.config["vocab_size"], 400)
    tokens = stream[:sum(lengths)].tolist()
    case = grad.Gradient("", lengths, first=(0,) * len(lengths), half_split=True)
    tensors = base.forward(model, tokens, case.lengths, case.first)
    with FAULTS[fault]() if fault else contextlib.nullcontext():
        losses, slopes = grad.backward(model, tokens, case)
    slopes |= grad.parameter_gradients(model, case.half_split)
    del tensors["mask"]
    tensors |= {f"loss.{name}": loss.reshape(1) for name, loss in losses.items()}
    tensors |= {f"grad.{name}": slope for name, slope in slopes.items()}
    meta = base.describe(model, tokens, case, precision, {}, (folder / "config.json").read_text())
    return tensors, meta


def generate(outdir):
    outdir.mkdir(exist_ok=True)
    for name, precision, fault in TRACES:
        spec = grad.MODELS[name][0]
        path = outdir / f"{name}.{fault or 'right'}.{precision}.npz"
        base.write_npz(path, *trace(spec, CASES / name, precision, LENGTHS[name], fault))
        print(f"{path.stat().st_size:8d}  {path.name}", file=sys.stderr)


def compare(have, made):
    """Number of tensors that another machine's vector units do not explain."""
    bad = 0
    for path in sorted(made.glob("*.npz")):
        want, got = np.load(have / path.name), np.load(path)
        for name in want.files:
            near = name == "meta" or name.endswith((".bf16", "_experts"))   # bits, counted below
            distance = 0 if near else check.distance(got[name].astype(float),
                                                     want[name].astype(float))
            share = (got[name] == want[name]).mean() if name.endswith(".bf16") else 1
            if distance > (0.05 if ".f16." in path.name else 1e-4) or share < 0.95:
                print(f"{path.name}: {name} differs")
                bad += 1
    return bad


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=pathlib.Path, default=CASES.parent / "backward")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if not arguments.check:
        return generate(arguments.folder)
    with tempfile.TemporaryDirectory() as made:
        generate(pathlib.Path(made))
        return 1 if compare(arguments.folder, pathlib.Path(made)) else 0


if __name__ == "__main__":
    sys.exit(main())
