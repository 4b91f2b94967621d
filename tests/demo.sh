#!/usr/bin/env bash
# The main job on a small model, from nothing: weights from a seed, sizes, text of ids, a trace, routes, and the verdict on this build.
set -eu
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
program=./mistral-ref
if [ ! -x "$program" ]; then
    echo "demo: $program is not built; run: make" >&2
    exit 1
fi

cat > "$work/config.json" << 'JSON'
{"model_type": "mixtral", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 6,
 "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 300, "num_local_experts": 5, "num_experts_per_tok": 2,
 "rms_norm_eps": 1e-5, "rope_theta": 1e6, "sliding_window": 8, "tie_word_embeddings": false}
JSON
tokens=1,17,204,33,98,5,250,61,142,7

heading() { printf '\n== %s\n' "$1"; }
# Shows a command as one would type it (the temporary folder as MODEL's parent is left out), then runs it.
show() {
    local line="$*"
    echo "\$ ${line//$work\//}"
    "$@"
}

heading 'a small mixture of experts, weights from a seed'
show "$program" init "$work/config.json" -o "$work/model" --seed 7
show "$program" info "$work/model"

heading 'generate: 16 tokens after a prompt of 10 ids, past the window of 8'
show "$program" run "$work/model" --tokens "$tokens" -n 16

heading 'trace: every intermediate tensor of the prompt'
show "$program" trace "$work/model" --tokens "$tokens" -o "$work/trace.npz"
show "$program" info "$work/trace.npz"

heading 'routing: which experts the tokens chose'
show "$program" routing "$work/model" --tokens "$tokens"

heading 'verify: this build against golden tensors from PyTorch'
echo "\$ $program selftest | tail -n 5"
status=0
"$program" selftest > "$work/verdict" || status=$?
tail -n 5 "$work/verdict"
exit "$status"
