#!/usr/bin/env bash
# The tests under MemorySanitizer: no branch, address or output depends on memory that was never written (clang; one thread, no BLAS).
# zlib, jansson, utf8proc and cmocka are not instrumented, so what they write looks unwritten. Hence poison_in_malloc=0: heap blocks count
# as written from the start. The stack and every local variable are checked; valgrind looks at the heap as well.
set -eu
cd "$(dirname "$0")/.."

if ! command -v clang > /dev/null; then
    echo "msan: skipped (clang is not installed)"
    exit 0
fi
MSAN_OPTIONS=poison_in_malloc=0 make --no-print-directory test CC=clang OMP=0 BLAS=0 CLONES=0 OPT='-O1 -g' BUILD=build/msan \
    CFLAGS='-fsanitize=memory -fsanitize-memory-track-origins -fno-omit-frame-pointer -Wno-pass-failed'
