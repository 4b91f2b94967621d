#!/usr/bin/env bash
# One hash over threads, compilers, optimisation levels and vector widths (CLONES=0: the base instruction set only), in both precisions, of
# what tests/determinism_runs.sh lists. LONG=1: every level, every number of threads. MR_COMPILERS, MR_LEVELS, MR_CLONES and MR_THREADS
# replace the lists, for a shorter or a longer run; BLAS=0 builds without OpenBLAS.
set -eu
cd "$(dirname "$0")/.."

levels_default='-O0 -O2 -O3' threads_default='1 2 3 8'
if [ "${LONG:-0}" = 1 ]; then levels_default='-O0 -O1 -O2 -O3 -Os' threads_default='1 2 3 4 7 8 16'; fi
read -r -a compilers <<< "${MR_COMPILERS:-gcc clang}"
read -r -a levels <<< "${MR_LEVELS:-$levels_default}"
read -r -a widths <<< "${MR_CLONES:-1 0}"
read -r -a threads <<< "${MR_THREADS:-$threads_default}"
blas=${BLAS:-1}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
. tests/determinism_runs.sh

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
printf '%-8s %-5s %-6s %-9s %-7s %-16s %-16s %s\n' compiler level clones precision threads trace generate train
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
                    hash=$(OMP_NUM_THREADS=$n OMP_DYNAMIC=false hashes "$precision" "$program")
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
    echo "determinism: 1 hash per precision over $runs runs of each of the three"
else
    echo "determinism: $different sets of hashes over $runs runs, expected 1 for f32 and 1 for f64"
    sort "$work/hashes" | uniq -c
    exit 1
fi
