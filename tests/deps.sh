#!/usr/bin/env bash
# Installs those of the named Debian packages that are missing: tests/deps.sh PACKAGE...
set -eu
cd "$(dirname "$0")/.."

if ! command -v apt-get > /dev/null || ! command -v dpkg-query > /dev/null; then
    echo "deps: this system has no apt-get; install with its own package manager what Debian calls" >&2
    printf '    %s\n' "$@" >&2
    exit 1
fi

missing=()
for package in "$@"; do
    if ! dpkg-query -W -f '${db:Status-Status}\n' "$package" 2> /dev/null | grep -qx installed; then missing+=("$package"); fi
done
if [ "${#missing[@]}" -eq 0 ]; then exit 0; fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo > /dev/null; then
        echo "deps: not root, and there is no sudo; as root: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi

# Quiet unless something fails.
log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "deps: installing ${missing[*]}"
if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q update > "$log" 2>&1 ||
   ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends "${missing[@]}" > "$log" 2>&1; then
    cat "$log" >&2
    echo "deps: apt-get failed; the packages are: ${missing[*]}" >&2
    exit 1
fi
