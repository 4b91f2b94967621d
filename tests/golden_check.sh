#!/usr/bin/env bash
# Proof that what is committed is what the originals give: golden tensors against PyTorch, ids, text and templates against
# sentencepiece, mistral-common and tokenizers, and the recorder against Hugging Face's classes.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
data=$("$python" -c 'import mistral_common, pathlib; print(pathlib.Path(mistral_common.__file__).parent / "data")')

run() {
    echo "== $*"
    "$python" "$@"
}

run golden/check.py
run golden/generate_losses.py --check
run golden/generate_backward.py --check
run golden/make_hf_tokenizers.py --check
run golden/make_tokenizers.py --check
run golden/unicode_classes.py --check
run tests/sentencepiece_differential.py --count 20000 "$data"/*.model*
run tests/charsmap_differential.py --count 1000
run tests/tekken_differential.py --codes "$data"/tekken_240911.json
run tests/hf_differential.py --models "$data" golden/tokenizers/hf_*.json
run tests/chat_differential.py ./mistral-ref
run tests/record_check.py
run tests/trajectory_check.py ./mistral-ref
run tests/false_alarms.py --runs 300
run tests/port/backward_runs.py --runs 90
echo "== tests/corpus_check.sh"
PYTHON="$python" tests/corpus_check.sh
