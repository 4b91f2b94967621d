#!/usr/bin/env bash
# Coverage of lines and branches per file and folder, from the counters below BUILD (default: the newest build with COV=1). An equation
# file is compiled twice, and a line counts as covered when either precision runs it. MISSING=1 lists what no test reaches.
# Exit status 1 when ref/ is below 100 % of lines or branches, a reader of files below 95 % or the whole below 95 % of lines.
set -eu
cd "$(dirname "$0")/.."

folder=${1:-$(find build -mindepth 1 -maxdepth 1 -type d -name '*-cov1-*' -printf '%T@ %p\n' 2> /dev/null | sort -rn | head -n 1 | cut -d ' ' -f 2-)}
if [ -z "$folder" ] || ! find "$folder" -name '*.gcda' | grep -q .; then
    echo "cov: no coverage counters; run: make cov" >&2
    exit 1
fi
if ! command -v gcovr > /dev/null; then
    echo "cov: gcovr is not installed; run: make deps-dev" >&2
    exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Counters once, reports from them. A file's branches are those that its own lines make: a function of a header counts in its header.
quietly() { "$@" > "$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }; }
quietly gcovr --root . --object-directory "$folder" --filter '(ref|weights|tokenizer|golden|cli)/' --gcov-ignore-parse-errors \
    --json "$work/json" "$folder"
quietly gcovr --root . --add-tracefile "$work/json" --csv "$work/csv"

if [ "${MISSING:-0}" = 1 ]; then
    quietly gcovr --root . --add-tracefile "$work/json" --txt "$work/lines"
    quietly gcovr --root . --add-tracefile "$work/json" --txt "$work/branches" --branches
    echo "lines that no test reaches"
    awk '/%/ && NF > 4 || /^ +[0-9,-]+$/' "$work/lines"
    echo "lines with a branch that no test takes"
    awk '/%/ && NF > 4 || /^ +[0-9,-]+$/' "$work/branches"
    echo
fi

# Columns: file, lines, covered, -, branches, covered, -.
awk -F , 'NR > 1 { print $1, $2, $3, $5, $6 }' "$work/csv" | sort | awk '
function percent(covered, total) { return total ? 100 * covered / total : 100 }
function row(name) {
    printf "%6.1f %%  %5d of %5d  %6.1f %%  %5d of %5d  %s\n", percent(got[name, 1], all[name, 1]), got[name, 1], all[name, 1],
           percent(got[name, 2], all[name, 2]), got[name, 2], all[name, 2], name
}
function count(name) {
    all[name, 1] += $2; got[name, 1] += $3
    all[name, 2] += $4; got[name, 2] += $5
}
BEGIN { print "        lines                    branches" }
{
    folder = $1
    sub(/\/.*/, "/", folder)
    count($1); count(folder); count("all")
    row($1)
    # What reads files, texts and requests from outside.
    if ($1 ~ /^(weights|tokenizer)\/.*\.c$/ && $1 !~ /^weights\/(atomic|init|formula|make|save|safetensors_save|stream|config_write|names|pages|layouts)\.c$/ ||
        $1 ~ /^golden\/(npy|npz|zip_read|zip_local|zip_stream|trace_read|map_file|replay_meta|replay_rows)\.c$/ || $1 == "cli/train_data.c") {
        count("readers")
        if (percent($3, $2) < 95) low = low " " $1
    }
}
END {
    print ""
    n = split("ref/ weights/ tokenizer/ golden/ cli/ readers all", order, " ")
    for (i = 1; i <= n; i++) row(order[i])
    ref = all["ref/", 1] > 0 && got["ref/", 1] == all["ref/", 1] && got["ref/", 2] == all["ref/", 2]
    if (low != "") print "cov: readers below 95 % of lines:" low
    good = ref && low == "" && percent(got["all", 1], all["all", 1]) >= 95
    printf "cov: ref/ lines %.1f %%, branches %.1f %% (goal 100); readers %.1f %% of lines, all %.1f %% (goal 95): %s\n",
           percent(got["ref/", 1], all["ref/", 1]), percent(got["ref/", 2], all["ref/", 2]), percent(got["readers", 1], all["readers", 1]),
           percent(got["all", 1], all["all", 1]), good ? "good" : "too low"
    exit !good
}'
