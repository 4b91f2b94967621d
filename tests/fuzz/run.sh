#!/usr/bin/env bash
# Runs each fuzz target for SECONDS_EACH from its committed inputs (tests/fuzz/run.sh FOLDER SECONDS_EACH [TARGET...]).
# A line per target with the executions; what a target finds stays in FOLDER and is named. Status 1 when there is any.
set -eu
cd "$(dirname "$0")/../.."
build=$1 seconds=$2
shift 2
if [ -d /dev/shm ]; then export TMPDIR=/dev/shm; fi
[ $# -gt 0 ] || mapfile -t all < <(sed -n 's/^TARGET(\(.*\))$/\1/p' tests/fuzz/targets.def)
broken=0
for target in "$@" ${all+"${all[@]}"}; do
    work=$build/run/$target
    mkdir -p "$work/new"
    inputs=("$work/new" "tests/fuzz/corpus/$target")
    if [ -d "tests/fuzz/found/$target" ]; then inputs+=("tests/fuzz/found/$target"); fi
    options=(-max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -malloc_limit_mb=128 -print_final_stats=1
             -artifact_prefix="$work/" -max_len=16384 -verbosity=1)
    words=tests/fuzz/$target.dict
    [ -f "$words" ] || words=tests/fuzz/json.dict
    options+=("-dict=$words")
    status=0
    "$build/tests/fuzz/$target" "${options[@]}" "${inputs[@]}" > "$work/log" 2>&1 || status=$?
    count=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/log" | tail -n 1)
    cover=$(grep -o 'cov: [0-9]* ft: [0-9]*' "$work/log" | tail -n 1)
    printf '%-14s %10s executions, %s\n' "$target" "${count:-0}" "${cover:-nothing ran}"
    if [ "$status" -ne 0 ]; then
        broken=1
        grep -E '^(SUMMARY|[a-z/_]*\.[ch]:[0-9]+:|artifact_prefix)' "$work/log" | head -n 5 || true
    fi
done
exit "$broken"
