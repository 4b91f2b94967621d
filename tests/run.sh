#!/usr/bin/env bash
# Runs test programs (tests/run.sh PROGRAM...), under $MR_WRAP if that is set, and counts their tests.
# A line per program, the whole output of those that fail; the last line is `N passed, N failed, N skipped`.
set -eu
cd "$(dirname "$0")/.."

read -r -a wrap <<< "${MR_WRAP:-}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
passed=0 failed=0 skipped=0

# The sum over the log's lines "[  PASSED  ] 5 test(s)": cmocka prints such totals once per group of tests.
total() { awk -v what="$1" '$1 == "[" && $2 == what && $3 == "]" && $4 ~ /^[0-9]+$/ && $5 ~ /^test\(s\)/ { n += $4 } END { print n + 0 }' "$log"; }

for program in "$@"; do
    name=$(basename "$program")
    status=0
    { timeout 1800 "${wrap[@]}" "$program" > "$log" 2>&1; } 2> /dev/null || status=$?
    p=$(total PASSED) f=$(total FAILED) s=$(total SKIPPED)
    # A crash, a leak or an exit in the middle fails even if no test was seen to fail; so does a program without tests.
    why=''
    if [ "$f" -eq 0 ] && [ "$status" -ne 0 ]; then f=1 why=" (exit status $status)"; fi
    if [ $((p + f + s)) -eq 0 ]; then f=1 why=' (no test ran)'; fi
    printf '%-28s %4d passed, %d failed, %d skipped%s\n' "$name" "$p" "$f" "$s" "$why"
    sed -nE 's/^\[  SKIPPED +\] ([A-Za-z_][A-Za-z0-9_]*)$/    skipped: \1/p' "$log" | sort -u
    if [ "$f" -gt 0 ]; then
        echo "---- $name"
        cat "$log"
        echo "----"
    fi
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
done

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
