#!/usr/bin/env bash
# clang-tidy on every source of the program with the checks of .clang-tidy, without the findings of tests/tidy.known; FILE... for some.
# Exit status 1 when it finds something.
set -eu
cd "$(dirname "$0")/.."

if ! command -v clang-tidy > /dev/null; then
    echo "tidy: skipped (clang-tidy is not installed)"
    exit 0
fi
if [ $# -gt 0 ]; then files=("$@"); else files=(ref/*.c weights/*.c tokenizer/*.c golden/*.c cli/*.c); fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# MR_BITS=32: floats, where a conversion can lose something. What clang-tidy says besides findings goes to standard error.
printf '%s\n' "${files[@]}" | xargs -P "$(nproc)" -n 4 sh -c 'clang-tidy --quiet "$@" -- -std=c99 -fopenmp -I. -DMR_BLAS -DMR_CLONES -DMR_BITS=32' tidy \
    > "$work/log" 2> "$work/said" || true
if grep '^Error' "$work/said"; then exit 1; fi
sed -n "s|^$PWD/||; s|^\./||; /\(warning\|error\): .*\[[A-Za-z]/p" "$work/log" | sort -u > "$work/all"
# A finding is known when its file and its check, the last word in brackets, stand in one line of the list.
awk 'NR == FNR { if ($1 !~ /^#/) known[$1, $2] = 1; next }
{
    file = $0; sub(/:.*/, "", file)
    check = $0; sub(/.*\[/, "", check); sub(/[],].*/, "", check)
    if ((file, check) in known) left_out++
    else { print; found++ }
}
END { printf "tidy: %d findings, %d known to be wrong\n", found, left_out; exit found > 0 }' tests/tidy.known "$work/all"
