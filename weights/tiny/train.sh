#!/usr/bin/env bash
# The tiny model from nothing, by one command: corpus, vocabulary, pre-training, SFT, reward model, DPO, RL, the figures, bf16.
#   weights/tiny/train.sh [OUT] [--vocabulary]     OUT: a folder for everything that is made (default build/tiny)
# --vocabulary trains the vocabulary again (needs Python's sentencepiece); else the committed tokenizer.model is used.
# A stage that is complete is not run again: after an interruption the same command goes on where it stopped. The shipped model is
# OUT/ship; nothing outside OUT is written. PROGRAM, PYTHON and THREADS can be set from outside; threads never change a bit.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=$here/../../build/tiny
vocabulary=committed
for argument in "$@"; do
    case $argument in
        --vocabulary) vocabulary=trained ;;
        -*) echo "train.sh: unknown option $argument; usage: train.sh [OUT] [--vocabulary]" >&2; exit 2 ;;
        *) out=$argument ;;
    esac
done
program=${PROGRAM:-$here/../../mistral-ref}
python=${PYTHON:-python3}
threads=${THREADS:-$(nproc)}
seed=1
if [ ! -x "$program" ]; then
    echo "train.sh: $program is not built; run: make" >&2
    exit 2
fi
mkdir -p "$out/logs"
corpus=$out/corpus

# stage NAME KIND MODEL OPTIONS...: trains MODEL into OUT/NAME; the lines of --json go to OUT/logs/NAME.jsonl, the
# picture of the curve beside them.
stage() {
    local name=$1 kind=$2 model=$3 start=$SECONDS resume=()
    shift 3
    if [ -e "$out/$name.done" ]; then
        echo "== $name: done before"
        return
    fi
    if [ -e "$out/$name/training.state" ]; then resume=(--resume "$out/$name"); fi
    echo "== $name"
    "$program" train "$kind" "$model" -o "$out/$name" --seed "$seed" --threads "$threads" --engine plain --batch 8 \
        --schedule cosine --adam-betas 0.9,0.95 --clip 1 --max-length 256 --curve "$out/logs/$name.svg" --json \
        "$@" "${resume[@]}" >> "$out/logs/$name.jsonl"
    echo "$((SECONDS - start)) seconds" > "$out/$name.done"
    echo "== $name: $(cat "$out/$name.done")"
}

if [ ! -e "$corpus.done" ]; then
    "$python" "$here/corpus.py" "$corpus" --seed "$seed"
    touch "$corpus.done"
fi

if [ ! -e "$out/start.done" ]; then
    "$program" init "$here/config.json" -o "$out/start" --seed "$seed" --std 0.05 --embedding-std 0.7 --dtype f32
    if [ "$vocabulary" = trained ]; then "$python" "$here/vocabulary.py" "$corpus" -o "$out/start/tokenizer.model"
    else cp "$here/tokenizer.model" "$out/start/"; fi
    touch "$out/start.done"
fi

stage pretrain sft "$out/start" --data "$corpus/pretrain.train.jsonl" --valid "$corpus/pretrain.valid.jsonl" --no-shuffle \
    --steps 3000 --lr 2e-3 --warmup 60 --weight-decay 0.1 --router-loss 0.02 --every 500
stage sft sft "$out/pretrain" --data "$corpus/sft.train.jsonl" --valid "$corpus/sft.valid.jsonl" \
    --steps 1200 --lr 1e-3 --warmup 30 --weight-decay 0.1 --router-loss 0.02 --every 200
stage reward reward "$out/sft" --data "$corpus/dpo.train.jsonl" --valid "$corpus/dpo.valid.jsonl" \
    --steps 60 --lr 5e-4 --warmup 10 --weight-decay 0 --centring 0.01 --every 20
stage dpo dpo "$out/sft" --data "$corpus/dpo.train.jsonl" --valid "$corpus/dpo.valid.jsonl" --reference "$out/sft" \
    --steps 100 --lr 5e-5 --warmup 10 --weight-decay 0 --beta 0.5 --every 20
stage rl rl "$out/sft" --data "$corpus/dpo.train.jsonl" --reference "$out/sft" --reward-model "$out/reward" \
    --method rloo --kl k1 --samples 4 --max-new 16 --steps 50 --lr 1e-4 --warmup 5 --weight-decay 0 --beta 0.1 --every 20

if [ ! -e "$out/ship.done" ]; then
    "$program" convert "$out/dpo" -o "$out/ship" --to hf --dtype bf16
    cp "$out/start/tokenizer.model" "$out/ship/"
    touch "$out/ship.done"
fi
"$python" "$here/evaluate.py" "$corpus" --program "$program" --pretrain "$out/pretrain" --sft "$out/sft" --reward "$out/reward" \
    --dpo "$out/ship" --rl "$out/rl" --logs "$out/logs" --json "$out/figures.json"
echo "== all: $SECONDS seconds; the model: $out/ship"
