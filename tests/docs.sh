#!/usr/bin/env bash
# What the documents say is what happens: runs the commands and compiles the C of README.md, docs/ and the READMEs of folders, compares their tables of
# options with --help, and looks up every target, command, option and link they name. The marks it goes by are those of docs/STYLE.md.
#   tests/docs.sh [commands] [options] [names]      all three by default; prints each block it ran, or did not and why
# Needs ./mistral-ref and build/port, no Python. Exit status 1 if there are findings.
set -eu
cd "$(dirname "$0")/.."
root=$PWD

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
found=$work/found ran=0 skipped=0
: > "$found"
say() { echo "$1" | tee -a "$found"; }

documents=(README.md SECURITY.md docs/*.md tests/port/README.md weights/tiny/README.md)
for program in ./mistral-ref build/port; do
    if [ ! -x "$program" ]; then echo "docs: $program is not built; run: make all port" >&2; exit 1; fi
done

# ---- commands: blocks marked sh and console -------------------------------------------------------------------------
# A scratch folder per document that looks like the root. `make` builds nothing there: it looks its targets and settings up.
mkdir "$work/bin"
cat > "$work/bin/make" << MAKE
#!/bin/sh
for word; do
    case \$word in
        *=*) grep -qE "^\${word%%=*} *:?=" '$root/Makefile' || { echo "make has no setting \$word"; exit 2; } ;;
        *) grep -qE "^(\$word:|PYTHON += \$word\$)" '$root/Makefile' || { echo "make has no target \$word"; exit 2; } ;;
    esac
done
MAKE
chmod +x "$work/bin/make"
ln -s "$root/mistral-ref" "$work/bin/mistral-ref"

new_place() {
    place=$work/place.$1
    mkdir "$place" "$place/build"
    local name
    for name in mistral-ref README.md docs golden ref weights tokenizer tests cli bench; do ln -s "$root/$name" "$place/$name"; done
    ln -s "$root/build/port" "$root/build/libmistral-ref.a" "$place/build/"
}

# Every block of FILE as $work/block.N, the marks above it as $work/marks.N, a line each. Prints "N line label".
blocks_of() {
    awk -v out="$work/" '
    inside && /^ *```/ { inside = 0; close(file); next }
    inside             { print > file; next }
    /^ *```/           { inside = 1; n++; file = out "block." n; label = $0; sub(/^ *```/, "", label)
                         printf "" > file; printf "%s", marks > (out "marks." n); close(out "marks." n)
                         print n, FNR, label; marks = ""; next }
    /^<!-- .* -->$/    { marks = marks $0 "\n"; next }
                       { marks = "" }' "$1"
}
# mark N WORDS: what the marks of block N say after these words, a line each.
mark() { sed -nE "s/^<!-- $2: (.*) -->\$/\1/p" "$work/marks.$1"; }

# run_line LINE STATUS: the line in $place; its output in $work/out. Says where the status is another one.
run_line() {
    local status=0
    (cd "$place" && PATH="$work/bin:$PATH" timeout 600 bash -o pipefail -c "$1" < /dev/null > "$work/out" 2>&1) || status=$?
    [ "$status" -eq "$2" ] && return
    say "$where: \`$1\` ends with status $status, expected $2"
    tail -n 5 "$work/out"
}

# What may differ: numbers with a point or an exponent, and what the marks of the block say.
mask() { sed -E -e "s~${differs:-^\$}~*~g" -e 's/[0-9]+\.[0-9]+(e[-+]?[0-9]+)?|[0-9]+e[-+]?[0-9]+/N/g' -e 's/ +$//'; }

# Lines of $1 (the document) against lines of $2 (what came out), where a line `...` stands for any lines.
same_text() {
    awk -v shown="$1" 'BEGIN { while ((getline line < shown) > 0) want[++n] = line }
    { got[++m] = $0 }
    END {
        j = 1
        for (i = 1; i <= n; i++) {
            if (want[i] == "...") { any = 1; continue }
            while (any && j <= m && got[j] != want[i]) j++
            if (j > m || got[j] != want[i]) { print "shown:  " want[i]; print "is:     " (j > m ? "(the end)" : got[j]); exit 1 }
            any = 0; j++
        }
        if (j <= m && !any) { print "not shown: " got[j]; exit 1 }
    }' "$2"
}

run_sh() {
    local line status
    while IFS= read -r line; do
        case $line in '' | '#'*) continue ;; esac
        status=$(sed -nE 's/.*# .*exit status ([0-9]).*/\1/p' <<< "$line")
        run_line "$line" "${status:-0}"
    done
}

run_console() {
    local line command=''
    : > "$work/shown"
    while IFS= read -r line || [ -n "$line" ]; do
        case $line in
            '$ '*) check_console "$command"; command=${line#'$ '}; : > "$work/shown" ;;
            *) printf '%s\n' "$line" >> "$work/shown" ;;
        esac
    done
    check_console "$command"
}

check_console() {
    [ -n "$1" ] || return 0
    local status
    status=$(sed -nE 's/.*# .*exit status ([0-9]).*/\1/p' <<< "$1")
    run_line "$1" "${status:-0}"
    mask < "$work/shown" > "$work/want"
    mask < "$work/out" > "$work/got"
    same_text "$work/want" "$work/got" > "$work/difference" || { say "$where: \`$1\` prints something else"; cat "$work/difference"; }
}

run_blocks() {
    local file=$1 n line label why before
    while read -r n line label; do
        where=$file:$line body=$work/block.$n
        why=$(mark "$n" 'not run by the test') differs=$(mark "$n" 'may differ')
        mark "$n" 'in the test' > "$work/changes"
        case $label in
            sh | console) ;;
            python) [ -n "$why" ] || say "$where: a block of Python says why the test does not run it" ;;
            c)
                { mark "$n" 'compiled after'; cat "$body"; } > "$work/block.c"
                "${CC:-cc}" -std=c99 -Wall -Werror -fsyntax-only -I. -Igolden "$work/block.c" || say "$where: does not compile"
                ran=$((ran + 1)); echo "$where: compiled"
                continue ;;
            text | json) continue ;;
            '') ! grep -qE '^(\$ |\./|make( |$)|mistral-ref |build/|python3 |[A-Z]+=[^ ]+ [a-z./])' "$body" ||
                    say "$where: commands in a block that is not marked sh or console"
                continue ;;
            *) say "$where: unknown mark \"$label\""; continue ;;
        esac
        if [ -n "$why" ]; then
            skipped=$((skipped + 1)); echo "$where: not run: $why"
            continue
        fi
        sed -i -E -f "$work/changes" "$body"
        while IFS= read -r before; do run_line "$(sed -E -f "$work/changes" <<< "$before")" 0; done < <(mark "$n" before)
        "run_$label" < "$body"
        ran=$((ran + 1)); echo "$where: run"
    done < <(blocks_of "$file")
}

commands() {
    local file n=0
    for file in "${documents[@]}"; do
        n=$((n + 1))
        new_place $n
        run_blocks "$file"
    done
    echo "docs: $ran blocks run or compiled, $skipped not run"
}

# ---- options: tables under <!-- options of COMMAND -->, or <!-- all options of COMMAND --> ---------------------------
# Both print "--name values defaults" for each option, sorted; `-` stands for nothing. A default is a number or one of the values.
cat > "$work/defaults" << 'AWK'
function defaults(text, values,    n, i, word, line) {
    n = split(text, word, " ")
    for (i = 1; i <= n; i++) {
        gsub(/^[`(]+|[`.,:;)]+$/, "", word[i])
        if (word[i] ~ /^[0-9]/ || index("|" values "|", "|" word[i] "|") > 0) line = line (line == "" ? "" : ";") word[i]
    }
    return line
}
AWK
help_options() {
    ./mistral-ref "$1" --help | awk -f "$work/defaults" -f <(cat << 'AWK'
    /^  --/ {
        name = $1; sub(/,$/, "", name)
        text = substr($0, 3 + length(name))
        values = "-"
        if (text ~ /^ [^ ]/ && $1 == name) { values = $2; sub(/,$/, "", values); text = substr(text, 2 + length($2)) }
        at = index(text, "default")
        line = at > 0 ? defaults(substr(text, at + 7), values) : ""
        print name, values, (line == "" ? "-" : line)
    }
AWK
    ) | sort
}

# The port has no --help, only a usage line; its options by name and values.
port_options() { build/port 2>&1 | grep -oE '(^|\[| )--[a-z-]+ [^] ]+' | sed -E 's/^[[ ]//; s/$/ -/' | sort; }

table_options() {
    awk -f "$work/defaults" -f <(cat << 'AWK'
    /^<!-- (all )?options of / { on = $0 ~ wanted; next }
    on && /^\|/ {
        gsub(/\\\|/, "\001")
        n = split($0, cell, "|")
        for (c = 1; c <= n; c++) gsub(/\001/, "|", cell[c])
        for (c = 2; c <= n; c++) if (cell[c] ~ /`--?[a-z]/) break
        if (c > n) next
        options = split(cell[c], option, /`, /)
        parts = split(cell[c + 1], part, /, /)
        for (i = 1; i <= options; i++) {
            text = option[i]
            sub(/^ *`/, "", text); sub(/`.*/, "", text)
            if (text !~ /^--/) continue
            name = text; sub(/ .*/, "", name)
            values = "-"
            if (text ~ / /) { values = text; sub(/^[^ ]+ /, "", values) }
            line = defaults(parts == options ? part[i] : cell[c + 1], values)
            if (!(name in all)) { order[++count] = name; value[name] = values; all[name] = line }
            else if (line != "") all[name] = all[name] (all[name] == "" ? "" : ";") line
            if (value[name] != values) value[name] = value[name] " and " values
        }
    }
    on && !/^\|/ && NF > 0 { on = 0 }
    END { for (i = 1; i <= count; i++) print order[i], value[order[i]], (all[order[i]] == "" ? "-" : all[order[i]]) }
AWK
    ) wanted="options of $2 -->" "$1" | sort
}

options() {
    local file command tables=0
    for file in "${documents[@]}"; do
        while read -r command; do
            if [ "$command" = port ]; then port_options; else help_options "$command"; fi > "$work/is"
            table_options "$file" "$command" > "$work/shown"
            [ -s "$work/shown" ] || say "$file: no option in the table of $command"
            if [ "$command" = port ]; then sed -i -E 's/ [^ ]+$/ -/' "$work/shown"; fi
            comm -13 "$work/is" "$work/shown" | sed "s|^|$file: not in --help of $command: |" | tee -a "$found"
            if grep -q "<!-- all options of $command -->" "$file"; then
                comm -23 "$work/is" "$work/shown" | sed "s|^|$file: --help of $command has: |" | tee -a "$found"
            fi
            tables=$((tables + 1))
        done < <(sed -nE 's/^<!-- (all )?options of ([a-z-]+) -->$/\2/p' "$file" | sort -u)
        awk -v file="$file" '
            /^<!-- (all )?options of / { marked = 1 }
            /^\|.*\| option \||^\| option / { if (!marked) print file ":" FNR ": a table of options without <!-- options of COMMAND -->" }
            !/^\|/ && !/^<!--/ { marked = 0 }' "$file" | tee -a "$found"
    done
    echo "docs: $tables sets of options compared with --help"
}

# ---- names: targets, commands, options, files and links --------------------------------------------------------------
# Spans of code outside blocks, one per line: "file:line: span".
spans() {
    awk 'FNR == 1 { inside = 0 }
    /^ *```/ { inside = !inside; next }
    !inside {
        gsub(/\\\|/, "|")
        n = split($0, part, "`")
        for (i = 2; i < n; i += 2) print FILENAME ":" FNR ": " part[i]
    }' "${documents[@]}"
}

# The lines of a help text that start with an option, for `grep -x`.
option_names() { awk '$1 ~ /^--/ { sub(/,$/, "", $1); print $1; if (match($0, /, -[a-z] /)) print substr($0, RSTART + 2, 2) }'; }

names_of_commands() {
    local where span words command
    while IFS= read -r line; do
        where=${line%%: *} span=${line#*: }
        read -r -a words <<< "${span#./}"
        case ${words[0]:-} in
            make)
                [ "$span" = "make TARGET" ] || eval "'$work/bin/make' ${span#make}" || say "$where: \`$span\`" ;;
            mistral-ref)
                command=${words[1]:-COMMAND}
                case $command in COMMAND | --*) continue ;; esac
                grep -qx -- "$command" "$work/names" || { say "$where: \`mistral-ref $command\`: no such command"; continue; }
                for word in "${words[@]:2}"; do
                    case $word in
                        -*) grep -qx -- "$word" "$work/options.$command" || say "$where: \`$span\`: $word is no option of $command" ;;
                    esac
                done ;;
            --[a-z]*)
                word=${words[0]}
                cat "$work"/options.* | grep -qx -- "$word" || grep -qF -e "$word" $(git_files) ||
                    say "$where: no program here has an option $word" ;;
        esac
    done
}
git_files() { echo tests/port/options.c weights/tiny/*.sh weights/tiny/*.py tests/*.py tests/*.sh golden/*.py bench/*.py; }

names() {
    local command file
    ./mistral-ref --help | awk '$1 == "mistral-ref" && $2 ~ /^[a-z-]+$/ { print $2 }' | sort > "$work/names"
    while read -r command; do ./mistral-ref "$command" --help | option_names > "$work/options.$command"; done < "$work/names"
    spans > "$work/spans"
    names_of_commands < "$work/spans"

    sed -nE '/^```sh/,/^```$/ s/^(\.\/)?mistral-ref ([a-z-]+) .*/\2/p' README.md | sort -u | comm -3 - "$work/names" |
        sed 's/^[ \t]*\(.*\)/README.md: "\1" is not in both the list of commands and --help/' | tee -a "$found"

    # Files of the tree in code spans, and relative links, from the root or from the document's folder.
    { sed -nE 's/^([^:]*):([0-9]+): ([A-Za-z_.]+\/[A-Za-z0-9_.\/-]+\.(c|h|py|sh|def|md|json|cu|cuh|model))$/\1 \2 \3/p' "$work/spans"
      sed -nE 's/^([^:]*):([0-9]+): (test_[a-z_0-9]+\.c)$/\1 \2 tests\/\3/p' "$work/spans"
      grep -noE '\]\([^)#: ]+' "${documents[@]}" | sed -E 's/^([^:]*):([0-9]+):\]\(/\1 \2 /'
    } | grep -v '_X\.c$' | while read -r file line path; do
        if [ ! -e "$path" ] && [ ! -e "$(dirname "$file")/$path" ]; then say "$file:$line: $path does not exist"; fi
    done

    # A table has a head: its second line is |---|.
    awk '/^ *```/ { block = !block } FNR == 1 { block = inside = 0 }
         block { next }
         /^\|/ && !inside { inside = 1; getline second; if (second !~ /^\|[-:| ]+\|$/) print FILENAME ":" FNR - 1 ": a row without a table" }
         !/^\|/ { inside = 0 }' "${documents[@]}" | tee -a "$found"
    echo "docs: $(wc -l < "$work/spans") code spans looked up"
}

[ $# -gt 0 ] || set -- commands options names
for part in "$@"; do
    case $part in
        commands | options | names) "$part" ;;
        *) echo "usage: tests/docs.sh [commands] [options] [names]" >&2; exit 2 ;;
    esac
done
n=$(sort -u "$found" | wc -l)
echo "docs: $n findings"
[ "$n" -eq 0 ]
