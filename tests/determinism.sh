#!/usr/bin/env bash
# One hash over threads, compilers, optimisation levels and vector widths (CLONES=0: the base instruction set only): every tensor and
# gradient of a traced run of a MoE model, in both precisions. MR_COMPILERS, MR_LEVELS, MR_CLONES and MR_THREADS replace the lists, for a shorter or a longer run; BLAS=0 builds without OpenBLAS.
set -eu
cd "$(dirname "$0")/.."

read -r -a compilers <<< "${MR_COMPILERS:-gcc clang}"
read -r -a levels <<< "${MR_LEVELS:--O0 -O2 -O3}"
read -r -a widths <<< "${MR_CLONES:-1 0}"
blas=${BLAS:-1}
read -r -a threads <<< "${MR_THREADS:-1 2 3 8}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Large enough that matrices and heads are shared out between threads; the window wraps twice in 40 tokens.
cat > "$work/config.json" << 'JSON'
{"model_type": "mixtral", "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 8,
 "num_key_value_heads": 2, "head_dim": 40, "vocab_size": 512, "num_local_experts": 4, "num_experts_per_tok": 2,
 "rms_norm_eps": 1e-5, "rope_theta": 1e6, "sliding_window": 16, "tie_word_embeddings": false}
JSON
tokens=$(awk 'BEGIN { for (i = 0; i < 40; i++) printf "%s%d", i ? "," : "", (i * i * 37 + i * 11 + 5) % 512 }')

# The program of a compiler, a level and CLONES: sets `program` to it, or to nothing when it cannot be built.
build() {
    local omp
    program=''
    for omp in 1 0; do                             # clang without libomp links only without OpenMP
        local path="build/$1-omp$omp-blas$blas-clones$3-san0-cov0$2-g/mistral-ref"
        if make -s -j "$(nproc)" "$path" CC="$1" OMP=$omp BLAS="$blas" CLONES="$3" OPT="$2 -g" > "$work/log" 2>&1; then
            program=$path
            if [ $omp -eq 0 ]; then echo "determinism: $1 $2: no OpenMP library, one thread only"; fi
            return
        fi
    done
    cat "$work/log"
    echo "determinism: $1 $2 does not build"
    exit 1
}

runs=0
printf '%-8s %-5s %-6s %-9s %-7s %s\n' compiler level clones precision threads sha256
for cc in "${compilers[@]}"; do
    if ! command -v "$cc" > /dev/null; then
        echo "determinism: $cc is not installed, left out"
        continue
    fi
    for level in "${levels[@]}"; do
        for clones in "${widths[@]}"; do
            build "$cc" "$level" "$clones"
            if [ ! -d "$work/model" ]; then "$program" init "$work/config.json" -o "$work/model" --seed 7; fi
            for precision in f32 f64; do
                for n in "${threads[@]}"; do
                    OMP_NUM_THREADS=$n OMP_DYNAMIC=false "$program" trace "$work/model" --tokens "$tokens" --grad \
                        -o "$work/out.npz" --precision "$precision" --engine plain
                    hash=$(sha256sum < "$work/out.npz" | cut -d ' ' -f 1)
                    printf '%-8s %-5s %-6s %-9s %-7s %s\n' "$cc" "$level" "$clones" "$precision" "$n" "$hash"
                    echo "$precision $hash" >> "$work/hashes"
                    runs=$((runs + 1))
                done
            done
        done
    done
done

if [ "$runs" -eq 0 ]; then
    echo "determinism: no compiler of the list is installed"
    exit 1
fi
different=$(sort -u "$work/hashes" | wc -l)
if [ "$different" -eq 2 ]; then
    echo "determinism: 1 hash per precision over $runs runs"
else
    echo "determinism: $different hashes over $runs runs, expected 1 for f32 and 1 for f64"
    sort "$work/hashes" | uniq -c
    exit 1
fi
