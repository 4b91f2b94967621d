#!/usr/bin/env bash
# gcc -fanalyzer over the program: paths to NULL, to freed and to unwritten memory, leaks. Exit status 1 when it finds something.
set -eu
cd "$(dirname "$0")/.."

# Wrong, each seen by hand: mr_check_part is asked for arrays that the operation itself has made; the judge speaks of an index only when
# it has found the array that it is in.
accepted='^golden/check\.c:.*in mr_check_matrix.*null-dereference|^golden/check_judge\.c:.*in put_index.*null-dereference'

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
make -k -s -j "$(nproc)" "$work/mistral-ref" CC=gcc OMP=0 BLAS=0 CLONES=0 OPT=-O1 CFLAGS=-fanalyzer BUILD="$work" > "$work/log" 2>&1 ||
    { cat "$work/log"; echo "analyze: it does not build"; exit 1; }
# "file: In function 'name':" stands before the findings in it.
awk -F ": In function " '
NF == 2 { name = $2; gsub(/[^A-Za-z0-9_]/, "", name); next }
/ warning: .*-Wanalyzer/ { sub(/ warning:/, " in " name ":"); print }' "$work/log" | sort -u > "$work/all"
grep -vE "$accepted" "$work/all" || true
n=$(grep -cvE "$accepted" "$work/all" || true)
echo "analyze: $n findings, $(grep -cE "$accepted" "$work/all" || true) known to be wrong"
[ "$n" -eq 0 ]
