#!/usr/bin/env bash
# The tiny model's corpus is the one its SHA256SUMS names, with this Python and another hash seed, and its vocabulary comes out of
# it (needs the sentencepiece library); corpus.py itself proves that no held-back fact is in a training file. Then: do the checks of overlap.py see an overlap and a broken pair?
set -eu
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PYTHONDONTWRITEBYTECODE=1
PYTHONHASHSEED=42 "$python" weights/tiny/corpus.py "$work/corpus"
(cd "$work/corpus" && sha256sum --check --quiet "$OLDPWD/weights/tiny/SHA256SUMS")
echo "corpus_check: the nine files have the committed hashes"
"$python" weights/tiny/vocabulary.py "$work/corpus" --check weights/tiny/tokenizer.model

# caught WHAT: overlap.check must fail on the corpus as it is now
caught() {
    if "$python" -c 'import sys; sys.path.insert(0, "weights/tiny"); import overlap; overlap.check(sys.argv[1])' \
        "$work/corpus" 2> "$work/error"; then
        echo "corpus_check: not seen: $1" >&2
        exit 1
    fi
    grep -q AssertionError "$work/error" || { cat "$work/error" >&2; exit 1; }
    echo "corpus_check: seen: $1"
}

cp "$work/corpus/sft.train.jsonl" "$work/kept"
grep -m1 '"facts"' "$work/corpus/sft.test.jsonl" >> "$work/corpus/sft.train.jsonl"
caught 'a question of the test file among those trained on'
cp "$work/kept" "$work/corpus/sft.train.jsonl"
cp "$work/corpus/dpo.valid.jsonl" "$work/kept"
sed -i '1s/"chosen"/"swap"/; 1s/"rejected"/"chosen"/; 1s/"swap"/"rejected"/' "$work/corpus/dpo.valid.jsonl"
caught 'a pair with its answers exchanged'
cp "$work/kept" "$work/corpus/dpo.valid.jsonl"
sed -i '1s/\("chosen": "[^"]*\)\."/\1 now."/' "$work/corpus/dpo.valid.jsonl"
caught 'a pair of unequal lengths'
