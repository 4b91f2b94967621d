#!/usr/bin/env bash
# What determinism.sh and machines.sh run: forward and gradients, generation, 20 training steps. Sourced; `work` is a folder of theirs.
set -eu

# Large enough that matrices and heads are shared out between threads; the window wraps twice in 40 tokens.
cat > "$work/config.json" << 'JSON'
{"model_type": "mixtral", "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 8,
 "num_key_value_heads": 2, "head_dim": 40, "vocab_size": 512, "num_local_experts": 4, "num_experts_per_tok": 2,
 "rms_norm_eps": 1e-5, "rope_theta": 1e6, "sliding_window": 16, "tie_word_embeddings": false}
JSON
tokens=$(awk 'BEGIN { for (i = 0; i < 40; i++) printf "%s%d", i ? "," : "", (i * i * 37 + i * 11 + 5) % 512 }')

# hashes PRECISION PROGRAM...: the three sums in one line: every tensor and gradient of a trace; 24 sampled tokens; weights, moments, log
# and random numbers after 20 steps.
hashes() {
    local precision=$1
    shift
    "$@" trace "$work/model" --tokens "$tokens" --grad -o "$work/out.npz" --precision "$precision" --engine plain || return 1
    "$@" run "$work/model" --tokens "$tokens" -n 24 -t 0.9 -s 5 --json --precision "$precision" --engine plain > "$work/out.json" || return 1
    rm -rf "$work/out"
    "$@" train sft golden/cases/mixtral_e5k2 --data golden/trajectories/sft.jsonl --steps 20 --batch 2 --lr 1e-2 --seed 3 \
        --precision "$precision" --engine plain -o "$work/out" > "$work/said" 2>&1 || { cat "$work/said" >&2; return 1; }
    for file in out.npz out.json out/training.state; do sha256sum < "$work/$file" | cut -c 1-16; done | tr '\n' ' '
}
