#!/usr/bin/env bash
# clang-tidy on every source of the program with the checks of .clang-tidy; FILE... for some. Exit status 1 when it finds something.
set -eu
cd "$(dirname "$0")/.."

if ! command -v clang-tidy > /dev/null; then
    echo "tidy: skipped (clang-tidy is not installed)"
    exit 0
fi
if [ $# -gt 0 ]; then files=("$@"); else files=(ref/*.c weights/*.c tokenizer/*.c golden/*.c cli/*.c); fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
# MR_BITS=32: floats, where a conversion can lose something. What clang-tidy says besides findings goes to standard error.
printf '%s\n' "${files[@]}" | xargs -P "$(nproc)" -n 4 sh -c 'clang-tidy --quiet "$@" -- -std=c99 -fopenmp -I. -DMR_BLAS -DMR_CLONES -DMR_BITS=32' tidy \
    > "$log" 2> "$log.err" || true
if grep -q '^Error' "$log.err"; then
    cat "$log.err"
    exit 1
fi
rm -f "$log.err"
grep -E '(warning|error): ' "$log" | sort -u || true
n=$(grep -E '(warning|error): ' "$log" | sort -u | wc -l)
echo "tidy: $n findings in ${#files[@]} files"
[ "$n" -eq 0 ]
