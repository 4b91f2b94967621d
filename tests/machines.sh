#!/usr/bin/env bash
# The same files, commands and random numbers on other processors under qemu-user: which results of tests/determinism_runs.sh have the bits
# of this machine. 64-bit Arm must agree in f32 (docs/NUMERICS.md says what may differ, and why); big-endian s390x must refuse to compile.
set -eu
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
. tests/determinism_runs.sh
printf 'int main(void) { return 0; }\n' > "$work/probe.c"
status=0

# build TRIPLET ARCH: a program, or a message what is missing and status 1. zlib by its file: its -dev package wants the whole libc6-dev of
# that machine, which the cross compiler brings under another name.
build() {
    local libs="-L/usr/lib/$1 -l:libz.so.1 -ljansson -lutf8proc -lm"
    # shellcheck disable=SC2086
    if ! command -v "$1-gcc" "qemu-$2" > /dev/null || ! "$1-gcc" -o "$work/probe" "$work/probe.c" $libs > "$work/log" 2>&1 || ! "qemu-$2" "$work/probe"; then
        echo "$2: skipped: no program for it can be built and run here. Debian: dpkg --add-architecture ${3}, then install gcc-$1 qemu-user" \
            "libc6:$3 zlib1g:$3 libjansson-dev:$3 libutf8proc-dev:$3"
        return 1
    fi
    make -s -j "$(nproc)" "build/$2/mistral-ref" CC="$1-gcc" AR="$1-ar" BLAS=0 CLONES=0 OPT='-O2 -g' BUILD="build/$2" LIBS="$libs" \
        CFLAGS='-idirafter /usr/include' > "$work/log" 2>&1 || { cat "$work/log"; echo "$2: does not build"; exit 1; }
}

make -s -j "$(nproc)" build/here/mistral-ref OPT='-O2 -g' BLAS=0 BUILD=build/here > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }
build/here/mistral-ref init "$work/config.json" -o "$work/model" --seed 7
printf '%-10s %-9s %-16s %-16s %s\n' processor precision trace generate train
for precision in f32 f64; do
    hashes $precision build/here/mistral-ref > "$work/$precision"
    printf '%-10s %-9s %s\n' "$(uname -m)" $precision "$(cat "$work/$precision")"
done

if build aarch64-linux-gnu aarch64 arm64; then
    for precision in f32 f64; do
        OMP_NUM_THREADS=2 hashes $precision qemu-aarch64 build/aarch64/mistral-ref > "$work/other"
        printf '%-10s %-9s %s %s\n' aarch64 $precision "$(cat "$work/other")" "$(cmp -s "$work/$precision" "$work/other" && echo equal || echo differs)"
        if [ $precision = f32 ] && ! cmp -s "$work/f32" "$work/other"; then status=1; fi
    done
fi

if ! command -v s390x-linux-gnu-gcc > /dev/null; then
    echo "s390x: skipped: install gcc-s390x-linux-gnu"
else
    s390x-linux-gnu-gcc -std=c99 -fopenmp-simd -I. -DMR_BITS=32 -c -o "$work/probe.o" ref/rmsnorm.c > "$work/log" 2>&1 && refused=no || refused=yes
    if [ $refused = no ] || ! grep -q 'little-endian machines only' "$work/log"; then status=1; fi
    echo "s390x: refused by the compiler: $refused: $(grep -m 1 -o 'weights and traces.*little-endian machines only' "$work/log" || true)"
fi
exit $status
