#!/usr/bin/env bash
# Examines the verifier and writes docs/DETECTION.md: detection.sh PORT DETECT MISTRAL_REF [RUNS] [FILE]. From the root.
set -eu
port=$(realpath "$1") detect=$(realpath "$2") reference=$(realpath "$3") runs=${4:-2000} file=${5:-docs/DETECTION.md}
root=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/made"
ln -s "$root/golden" "$work/golden"
ln -s "$reference" "$work/mistral-ref"
# the example models are made by the text of the README itself
(cd "$work" && sed -n '/^```python/,/^```/{/^```/!p}' "$root/tests/port/README.md" | python3 - > /dev/null)
"$detect" --port "$port" --work "$work" --clean "$runs" -o "$work/table.md"
# the part that tests/false_alarms.py wrote stays
if [ -f "$file" ]; then sed -n '/^## Hugging Face as the port/,$p' "$file" > "$work/others.md"; fi
if [ -s "$work/others.md" ]; then { echo; cat "$work/others.md"; } >> "$work/table.md"; fi
cat "$work/table.md" > "$file"
