#!/usr/bin/env bash
# MemorySanitizer: no branch, address or output depends on memory that was never written (clang; one thread, no BLAS).
# zlib, jansson and utf8proc are not instrumented, and clang 14 does not know glibc's fstat64: what they write looks unwritten. So these
# are the tests of ref/ and of the tokenizers that need none of them, chosen by what they include; `make valgrind` runs all.
set -eu
cd "$(dirname "$0")/.."

if ! command -v clang > /dev/null; then
    echo "msan: skipped (clang is not installed)"
    exit 0
fi
programs=()
for test in tests/test_*.c; do
    used=$(clang -I. -MM -DMR_BITS=32 "$test" | tr -s ' \\' '\n' | grep -E '\.(c|h|def)$')
    if ! grep -qE '^(weights|golden|cli)/|^tests/(command\.h|fuzz/)|^tokenizer/tokenizer\.h' <<< "$used" &&
        ! grep -qE '<(jansson|zlib|utf8proc)\.h>|golden/|\./mistral-ref' $used; then programs+=("build/msan/${test%.c}"); fi
done
make -s -j "$(nproc)" CC=clang OMP=0 BLAS=0 CLONES=0 OPT='-O1 -g' BUILD=build/msan \
    CFLAGS='-fsanitize=memory -fsanitize-memory-track-origins -fno-omit-frame-pointer -Wno-pass-failed' "${programs[@]}"
MSAN_OPTIONS=allocator_may_return_null=1 tests/run.sh "${programs[@]}"
