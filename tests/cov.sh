#!/usr/bin/env bash
# Line coverage per file, from the counters that `make test COV=1 OPT=-O0` left under build/. An equation file is compiled twice,
# and a line counts as covered when either precision runs it. Exit status 1 when ref/ is below 100 % or the rest below 90 %.
set -eu
cd "$(dirname "$0")/.."

folder=$(find build -mindepth 1 -maxdepth 1 -type d -name '*-cov1-*' -printf '%T@ %p\n' 2> /dev/null | sort -rn | head -n 1 | cut -d ' ' -f 2-)
if [ -z "$folder" ] || ! find "$folder" -name '*.gcda' | grep -q .; then
    echo "cov: no coverage counters under build/; run: make cov" >&2
    exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if command -v gcovr > /dev/null; then
    gcovr --root . --object-directory "$folder" --filter '(ref|weights|tokenizer|golden|cli)/' --csv "$work/csv" "$folder" > "$work/log" 2>&1 ||
        { cat "$work/log" >&2; exit 1; }
    awk -F , 'NR > 1 { print $1, $2, $3 }' "$work/csv" > "$work/lines"
else
    # gcov by hand: "count:line:text" for every source of every counter file, "-" is no code and "#####" never ran.
    find "$folder" -name '*.gcda' -print0 | while IFS= read -r -d '' counters; do
        gcov -t "$counters" 2> /dev/null
    done | awk -F : '
        $2 + 0 == 0 && $3 == "Source" { file = $4; next }
        file !~ /^(ref|weights|tokenizer|golden|cli)\// || $1 ~ /-$/ || $2 + 0 == 0 { next }
        { key = file ":" $2 + 0; code[key] = 1; if ($1 !~ /[#=]/) ran[key] = 1 }
        END {
            for (key in code) { file = key; sub(/:.*/, "", file); total[file]++; covered[file] += key in ran }
            for (file in total) print file, total[file], covered[file]
        }' > "$work/lines"
fi

sort "$work/lines" | awk '
function percent(covered, total) { return total ? 100 * covered / total : 100 }
{
    folder = $1
    sub(/\/.*/, "", folder)
    printf "%6.1f %%  %5d of %5d  %s\n", percent($3, $2), $3, $2, $1
    total[folder] += $2
    covered[folder] += $3
    if (folder != "ref") { rest += $2; hit += $3 }
}
END {
    print ""
    n = split("ref weights tokenizer golden cli", order, " ")
    for (i = 1; i <= n; i++)
        if (order[i] in total) printf "%6.1f %%  %5d of %5d  %s/\n", percent(covered[order[i]], total[order[i]]), covered[order[i]], total[order[i]], order[i]
    good = total["ref"] > 0 && covered["ref"] == total["ref"] && hit >= 0.9 * rest
    printf "cov: ref/ %.1f %% (goal 100), the rest %.1f %% (goal 90): %s\n", percent(covered["ref"], total["ref"]), percent(hit, rest),
           good ? "good" : "too low"
    exit !good
}'
