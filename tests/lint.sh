#!/usr/bin/env bash
# Structure of the tree: include direction, sizes, one file per equation, no leftovers, cppcheck. Prints every finding as
# file:line: message and ends with `lint: N findings`; exit status 1 if there are any. The rules are those of docs/STYLE.md.
set -eu
cd "$(dirname "$0")/.."

most_columns=100 most_lines=300 most_in_function=60

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
found=$work/found
: > "$found"

# The files that would be committed, and those of them that are C.
if git rev-parse --is-inside-work-tree > /dev/null 2>&1; then
    git ls-files -co --exclude-standard | while IFS= read -r f; do if [ -f "$f" ]; then echo "$f"; fi; done > "$work/all"
else
    find . -type f -not -path './build/*' -not -path './golden/.venv/*' | sed 's|^\./||' > "$work/all"
fi
grep -E '\.(c|h|def)$' "$work/all" | sort > "$work/c" || true
mapfile -t sources < "$work/c"
if [ "${#sources[@]}" -eq 0 ]; then echo "lint: no C files here"; exit 1; fi

# ---- code without comments and without what is inside quotes: file <tab> line <tab> code ---------------------------
awk '
FNR == 1 { inside = 0 }
{
    out = ""
    n = length($0)
    for (i = 1; i <= n; i++) {
        c = substr($0, i, 1)
        two = substr($0, i, 2)
        if (inside) { if (two == "*/") { inside = 0; i++ } continue }
        if (two == "/*") { inside = 1; i++; out = out " "; continue }
        if (two == "//") { out = out "//"; break }
        if (c == "\"" || c == "\047") {
            if ($0 ~ /^[ \t]*#[ \t]*include/) { out = out substr($0, i); break }
            quote = c
            for (i++; i <= n; i++) {
                c = substr($0, i, 1)
                if (c == "\\") { i++; continue }
                if (c == quote) break
            }
            out = out quote quote
            continue
        }
        out = out c
    }
    print FILENAME "\t" FNR "\t" out
}' "${sources[@]}" > "$work/code"

# says MESSAGE, where the code of FILES (a regular expression on the name) matches PATTERN
banned() {
    awk -F '\t' -v files="$1" -v pattern="$2" -v message="$3" '
        $1 ~ files && $3 ~ pattern { print $1 ":" $2 ": " message }' "$work/code" >> "$found"
}
word() { printf '(^|[^A-Za-z0-9_])(%s)' "$1"; }

# ---- (a) include direction ----------------------------------------------------------------------------------------
# Inside ref/ a file includes only what stands below it here. Operations (6) are all files that have no line of their own.
cat > "$work/ranks" << 'RANKS'
0 ref/base.h ref/real.h ref/weights.def ref/tensors.def
1 ref/config.h
2 ref/half.h ref/mask.h ref/model.h ref/dispatch.h ref/sample.h ref/losses.h ref/adamw.h ref/schedule.h
3 ref/run.h ref/gqa.h ref/params.h ref/losses_ops.h
4 ref/ops.h
5 ref/mr_internal.h ref/base.c ref/config.c ref/half.c ref/mask.c ref/dispatch.c ref/sample.c
7 ref/state.h
8 ref/show.c ref/arena.c ref/ffn.c ref/block.c ref/router_losses.c
9 ref/model.c ref/run.c
10 ref/mr.h
RANKS
awk -v standard=' assert ctype errno float inttypes limits math setjmp stdarg stdbool stddef stdint stdio stdlib string ' '
FILENAME ~ /ranks$/ { for (i = 2; i <= NF; i++) rank[$i] = $1; next }
FILENAME ~ /all$/   { exists[$1] = 1; next }
function rank_of(f) { return f in rank ? rank[f] : f ~ /\.c$/ ? 6 : -1 }
function among(f, list) { return index(" " list " ", " " f " ") > 0 }
function say(message) { print FILENAME ":" FNR ": " message }
/^[ \t]*#[ \t]*include/ {
    system_ = $0 ~ /</
    name = $0
    sub(/^[^<"]*[<"]/, "", name)
    sub(/[>"].*/, "", name)
    folder = FILENAME
    sub(/\/.*/, "", folder)
    if (system_) {
        stem = name
        sub(/\.h$/, "", stem)
        if (name == "cblas.h" && FILENAME != "ref/linear.c") say("BLAS is the business of ref/linear.c alone")
        else if (folder == "ref" && name != "cblas.h" && !(name == "omp.h" && FILENAME == "ref/linear.c") && index(standard, " " stem " ") == 0)
            say("ref/ includes the C library only, not <" name ">")
        next
    }
    if (name ~ /\.c$/)        { say("includes a .c file"); next }
    if (name !~ /\//)         { say("include \"" name "\" from the root: \"" folder "/" name "\""); next }
    if (!(name in exists))    { say("\"" name "\" does not exist"); next }
    to = name
    sub(/\/.*/, "", to)
    if (folder == "ref") {
        own = FILENAME
        sub(/\.c$/, ".h", own)
        if (to != "ref") say("ref/ includes nothing outside ref/, found \"" name "\"")
        else if (rank_of(name) < 0) say("\"" name "\" has no rank in tests/lint.sh; give it one")
        else if (rank_of(FILENAME) < 0) say("this header has no rank in tests/lint.sh; give it one")
        else if (name != own && rank_of(name) >= rank_of(FILENAME))
            say("\"" name "\" is not below this file (base < config < operations < block < model)")
    } else if (folder == "weights" || folder == "tokenizer") {
        if (to == folder || (to == "ref" && among(name, "ref/base.h ref/config.h ref/model.h ref/half.h ref/weights.def")) ||
            (folder == "tokenizer" && among(name, "weights/json.h weights/input.h"))) next
        say(folder "/ may not include \"" name "\"")
    } else if (folder == "golden") {
        if (to == "golden" || to == "weights" || among(name, "ref/base.h ref/half.h")) next
        if (to == "ref" && FILENAME ~ /^golden\/replay/) next
        say("golden/ may not include \"" name "\": the judge must not share a bug with the judged")
    } else if (folder == "cli" && among(name, "ref/state.h ref/mr_internal.h ref/real.h")) {
        say("cli/ uses public headers only, not \"" name "\"")
    } else if (folder == "cli" && (to == "tests" || to == "bench")) {
        say("cli/ may not include \"" name "\"")
    }
}' "$work/ranks" "$work/all" "${sources[@]}" >> "$found"

# ---- (b) sizes ----------------------------------------------------------------------------------------------------
awk -v columns=$most_columns -v lines=$most_lines -v inside=$most_in_function '
function width(text) { gsub(/[\200-\277]/, "", text); return length(text) }    # characters of UTF-8
function end_file() { if (file ~ /\.[ch]$/ && last > lines) print file ":" lines + 1 ": " last " lines, the limit is " lines }
FNR == 1 {
    end_file()
    file = FILENAME
    start = 0
    if ($0 !~ /^\/\*/) print file ":1: line 1 is a comment that says what the file is"
}
{ last = FNR }
width($0) > columns { print FILENAME ":" FNR ": " width($0) " columns, the limit is " columns }
/[ \t]$/        { print FILENAME ":" FNR ": blank at the end of the line" }
/\t/            { print FILENAME ":" FNR ": tab" }
/^[A-Za-z_]/    { start = FNR; opening = $0 }
/^}/ && start   {
    if (opening ~ /\(/ && FNR - start + 1 > inside)
        print FILENAME ":" start ": function of " FNR - start + 1 " lines, the limit is " inside
    start = 0
}
END { end_file() }' "${sources[@]}" >> "$found"

# ---- (c) equations ------------------------------------------------------------------------------------------------
# A comment that opens with a tag defines it, unless it goes on with "of", "for" or another tag: "(A2) of one head" refers.
# docs/MODEL.md (equations) and docs/NUMERICS.md (bounds) define a tag with a line that starts "**(A2)**" and names the file.
awk '
function say(file, line, message) { print file ":" line ": " message }
function define(tag) {
    if ((tag in where) && where[tag] == FILENAME) say(FILENAME, FNR, "(" tag ") is defined a second time in this file")
    else if ((tag in where) && index(text[tag], FILENAME) == 0) again(FILENAME, FNR, where[tag], tag)
    else {
        if (tag in where) again(where[tag], line[tag], FILENAME, tag)
        where[tag] = FILENAME
        line[tag] = FNR
    }
}
function again(file, line, home, tag) {
    say(file, line, "(" tag ") is defined in " home " too; refer with \"(" tag ") of ...\" or \"(" tag ") for ...\"")
}
function use(tag) { if (!(tag in first)) first[tag] = FILENAME ":" FNR }
FILENAME ~ /\.md$/ {
    if ($0 ~ /^\*\*\([A-Z][0-9]+\047?\)\*\*/) {
        tag = $0
        sub(/^\*\*\(/, "", tag)
        sub(/\).*/, "", tag)
        if (tag in model) say(FILENAME, FNR, "(" tag ") is there twice")
        model[tag] = FNR
        text[tag] = $0
    }
    next
}
FILENAME ~ /\.def$/ && /^TENSOR/ {
    tag = $0
    sub(/\)[^)]*$/, "", tag)
    sub(/.*[ ,]/, "", tag)
    use(tag)
    next
}
FILENAME ~ /\.c$/ && /(^|[;}] +)\/\* \([A-Z][0-9]+\047?\) / {
    head = $0
    sub(/\/\*.*/, "", head)
    rest = $0
    sub(/^.*\/\* /, "", rest)
    if (head == "" || head ~ /=/)
        while (match(rest, /^\([A-Z][0-9]+\047?\) /)) {
            tag = substr(rest, 2, RLENGTH - 3)
            rest = substr(rest, RLENGTH + 1)
            if (rest !~ /^(of|for|as|in|and|to) / && rest !~ /^[-,]/) define(tag)
            if (!match(rest, /(;|  ) \([A-Z][0-9]+\047?\) /)) break         # a second equation on the same line
            rest = substr(rest, RSTART)
            sub(/^[; ]+/, "", rest)
        }
}
{
    rest = $0
    while (match(rest, /\([A-Z][0-9]+\047?\)/)) {
        use(substr(rest, RSTART + 1, RLENGTH - 2))
        rest = substr(rest, RSTART + RLENGTH)
    }
}
END {
    for (tag in where) {
        if (!(tag in model)) say(where[tag], line[tag], "(" tag ") is not in docs/MODEL.md")
        else if (index(text[tag], where[tag]) == 0)
            say("docs/MODEL.md", model[tag], "(" tag ") is defined in " where[tag] ", which this line does not name")
    }
    for (tag in model) if (!(tag in where)) say("docs/MODEL.md", model[tag], "(" tag ") is defined in no .c file")
    for (tag in first) if (!(tag in where)) print first[tag] ": (" tag ") is used but defined in no .c file"
}' $(for f in docs/MODEL.md docs/NUMERICS.md; do if [ -f "$f" ]; then echo "$f"; fi; done; grep -E '^(ref|weights|golden|cli)/' "$work/c") >> "$found"
[ -f docs/MODEL.md ] || echo "docs/MODEL.md:1: is missing" >> "$found"

# Every name of the two tables is explained in docs/MODEL.md.
awk '
FILENAME ~ /\.md$/ { text = text $0 "\n"; next }
/^(MODEL|LAYER|DENSE|MOE|EXPERT|TENSOR) *\(/ {
    parts = split($0, piece, "\"")
    last = FILENAME ~ /tensors/ ? 2 : 4
    for (i = 2; i <= last && i <= parts; i += 2)
        if (index(text, "`" piece[i] "`") == 0 && index(text, "." piece[i] "`") == 0)
            print FILENAME ":" FNR ": `" piece[i] "` is not in docs/MODEL.md"
}' $(for f in docs/MODEL.md ref/weights.def ref/tensors.def; do if [ -f "$f" ]; then echo "$f"; fi; done) >> "$found"

# ---- (d) leftovers and things with one home -----------------------------------------------------------------------
below='^(ref|weights|tokenizer|golden)/'
banned '.' '^[ \t]*#[ \t]*if[ \t]+0' '#if 0: delete the code, git keeps it'
banned '.' '//' 'comments are /* */'
banned '.' 'pragma.*reduction|PRAGMA.*reduction' 'OpenMP reduction: a sum must not depend on the number of threads'
awk -F '\t' '$1 != "ref/linear.c" && $3 ~ /(^|[^A-Za-z0-9_])cblas_/ {
    print $1 ":" $2 ": BLAS is the business of ref/linear.c alone" }' "$work/code" >> "$found"
awk '                                                       # on the raw text: the comment is the excuse
FILENAME != "ref/base.c" && FILENAME !~ /^tests\// && !/jansson.s allocator/ && !/^[ \t]*(\/\*|\*)/ &&
/(^|[^A-Za-z0-9_])(malloc|calloc|realloc|free|strdup|strndup)[ \t]*\(/ {
    print FILENAME ":" FNR ": memory comes from mr_alloc, mr_resize and mr_free (ref/base.h)"
}' "${sources[@]}" >> "$found"
banned "$below" "$(word 'printf|vprintf|puts|putchar|perror|exit|abort')[ \t]*\\(" 'libraries neither print nor exit'
banned "$below" "$(word 'stdout|stderr')([^A-Za-z0-9_]|\$)" 'libraries neither print nor exit'
banned '.' "$(word 'assert_(float|double)_(not_)?equal')" 'accepts NaN: use tests/check.h'
banned '^(ref|weights|tokenizer|golden|cli)/' "$(word 'strcpy|strcat|sprintf|vsprintf|gets|atoi|atol|atof|strtok|alloca')[ \t]*\\(" \
    'unbounded or unchecked: use the bounded kind'
awk '
/(^|[^A-Za-z])(TODO|FIXME|XXX|HACK)([^A-Za-z]|$)/ { print FILENAME ":" FNR ": leftover" }
/^[ \t]*\/\*.*[A-Za-z0-9_\])]( \?= |\(.*\)).*;[ \t]*\*\/[ \t]*$/ { print FILENAME ":" FNR ": commented-out code" }
/^[ \t]*\/\*[ \t]*(if|for|while|return|else)[ \t]*[(;A-Za-z0-9_].*[;{][ \t]*\*\/[ \t]*$/ { print FILENAME ":" FNR ": commented-out code" }
' "${sources[@]}" >> "$found"

# One public name, one header: two typedefs or prototypes of the same name collide sooner or later.
awk -F '\t' '$1 ~ /\.h$/ {
    code = $3
    name = ""
    if (code ~ /^} [a-z_0-9]+;/)                          { name = code; sub(/^} /, "", name); sub(/;.*/, "", name) }
    else if (code ~ /^typedef [^(]* \**[a-z_0-9]+;/)      { name = code; sub(/;.*/, "", name); sub(/.*[ *]/, "", name) }
    else if (code ~ /^[a-z].*[ *]mr_[a-z_0-9]+\(/)        { name = code; sub(/\(.*/, "", name); sub(/.*[ *]/, "", name) }
    if (name == "") next
    if (name in home && home[name] != $1) print $1 ":" $2 ": " name " is declared in " home[name] " too"
    home[name] = $1
}' "$work/code" >> "$found"

# ---- (g) sizes of what comes from files ---------------------------------------------------------------------------
# A product of two variables may wrap, so readers ask mr_mul, mr_count or mr_tensor_bytes (ref/base.h). Looked at are the arguments of what
# allocates, copies, reads and writes, and what variables called ...bytes, ...size, ...room, ...length or ...total become. A count times
# sizeof is let through: mr_alloc has checked the product of the array that has so many elements. weights/save.c and pages.c read no file:
# their matrices are in memory.
awk -F '\t' '
function judge() {
    gsub(/\* sizeof [*]*[A-Za-z_0-9.>[\]-]+|\* sizeof\([^)]*\)/, "", text)
    if (text ~ /[A-Za-z_\])][0-9]* \* [(]?[a-z_]/ &&
        (text ~ /(^|[^A-Za-z0-9_])(mr_alloc|mr_resize|memcpy|memmove|memset|memcmp|fread|fwrite|pread|pwrite|mr_[a-z]+_(pread|write|read))\(/ ||
         text ~ /(bytes|size|room|length|total) [-+]?= [^=]*[A-Za-z_\])][0-9]* \* [(]?[a-z_]/))
        print file ":" line ": product of variables in a size: use mr_mul, mr_count or mr_tensor_bytes"
    text = ""
}
$1 ~ /^weights\/(save|pages)\.c$/ { next }
$1 !~ /^(weights|tokenizer)\// && $1 !~ /^golden\/(npy|npz|zip_[a-z]+|trace_read|map_file|replay_meta|replay_rows)\.c$/ &&
$1 != "cli/train_data.c" { next }
{
    if (text == "") { file = $1; line = $2 }
    text = text " " $3
    if ($3 ~ /[;{}][ \t]*$/ || $3 ~ /^[ \t]*#/) judge()
}' "$work/code" >> "$found"

# ---- (f) committed text -------------------------------------------------------------------------------------------
# The patterns are written in pieces, so that this file does not contain what it looks for.
paths='(^|[^A-Za-z0-9_.])/(wor''k|roo''t|hom''e|tmp/ven''v)(/|[^A-Za-z0-9_/]|$)'
hosts='py''pi\.org|python''hosted\.org|registry\.np''mjs|download\.py''torch\.org|conda\.ana''conda|crates\.i''o|proxy\.gol''ang'
hosts="$hosts|deb\\.deb""ian\\.org|archive\\.ub""untu\\.com|test\\.py""pi"
grep -vE '\.(npz|safetensors|png|gz)$' "$work/all" | tr '\n' '\0' | xargs -0 grep -nIE "$paths" 2> /dev/null |
    sed -E 's/^([^:]*:[0-9]+):.*/\1: names a path of one machine/' >> "$found" || true
grep -vE '\.(npz|safetensors|png|gz)$' "$work/all" | tr '\n' '\0' | xargs -0 grep -nIE "$hosts" 2> /dev/null |
    sed -E 's/^([^:]*:[0-9]+):.*/\1: names a host of a package registry/' >> "$found" || true

# ---- scripts ------------------------------------------------------------------------------------------------------
mapfile -t scripts < <(grep -E '\.sh$|^\.ci/run$' "$work/all" || true)
for script in "${scripts[@]}"; do
    if ! bash -n "$script" 2> "$work/bash"; then sed "s|^|$script:1: |" "$work/bash" >> "$found"; fi
    if [ ! -x "$script" ]; then echo "$script:1: is not executable" >> "$found"; fi
    if ! grep -qE '^set -eu' "$script"; then echo "$script:1: does not start with set -eu" >> "$found"; fi
done
if command -v shellcheck > /dev/null; then
    shellcheck -f gcc "${scripts[@]}" >> "$found" || true
fi

# ---- (e) cppcheck -------------------------------------------------------------------------------------------------
# What is suppressed is wrong, each seen by hand: memory returned through `x != NULL ? x : ...` is no leak; the sum of exp(z - max z)
# is at least 1; ids are compared with each other, not with a limit; a callee does not keep the address of `size`; a
# character's trail bytes are read up to `bytes` only.
if command -v cppcheck > /dev/null; then
    mapfile -t sources < <(git ls-files -- 'ref/*.c' 'weights/*.c' 'tokenizer/*.c' 'golden/*.c' 'cli/*.c')
    for bits in 32 64; do
        cppcheck --std=c99 --enable=warning,portability --error-exitcode=1 --inline-suppr -q -I. -DMR_BITS=$bits \
            -DFLT_EVAL_METHOD=0 -DMR_BLAS "-Djson_object_foreach(o,k,v)=while (next(o,&k,&v))" \
            "-Djson_array_foreach(a,i,v)=while (next(a,&i,&v))" --suppress=missingIncludeSystem \
            --suppress=memleak:ref/base.c --suppress=invalidFunctionArg:ref/loss_cross_entropy.c \
            --suppress=arrayIndexThenCheck:ref/sample.c --suppress=returnDanglingLifetime:tokenizer/tokenizer.c \
            --suppress=uninitvar:tokenizer/utf8.h \
            --template='{file}:{line}: cppcheck {id}: {message}' -j "$(nproc)" "${sources[@]}" 2>> "$found" > /dev/null || true
    done
else
    echo "cppcheck: skipped (not installed)"
fi

sort -u "$found" | sort -t : -k 1,1 -k 2,2n
n=$(sort -u "$found" | wc -l)
echo "lint: $n findings"
[ "$n" -eq 0 ]
