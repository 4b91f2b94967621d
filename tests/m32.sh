#!/usr/bin/env bash
# The tests as a 32-bit program (x86, SSE2 arithmetic): sizes of 32 bits, large files all the same. Skipped where it cannot be built.
set -eu
cd "$(dirname "$0")/.."

# The last path: gcc-multilib keeps asm/ elsewhere, but no cross compiler can be installed beside that package; gcc-12-multilib lacks asm/.
flags="-m32 -msse2 -mfpmath=sse -D_FILE_OFFSET_BITS=64 -idirafter /usr/include/$(uname -m)-linux-gnu"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf '#include <errno.h>\nint main(void) { return errno; }\n' > "$work/probe.c"
# shellcheck disable=SC2086
if ! gcc $flags -o "$work/probe" "$work/probe.c" -lz -ljansson -lutf8proc -lcmocka > "$work/log" 2>&1 || ! "$work/probe"; then
    sed -n '1,3p' "$work/log"
    echo "m32: skipped: no 32-bit program can be built here. Debian: dpkg --add-architecture i386, then install gcc-multilib (beside cross" \
        "compilers: gcc-12-multilib) lib32z1-dev libjansson-dev:i386 libutf8proc-dev:i386 libcmocka-dev:i386"
    exit 0
fi
make --no-print-directory test CC=gcc BLAS=0 CLONES=0 OPT='-O2 -g' WERROR=1 BUILD=build/m32 CFLAGS="$flags"
