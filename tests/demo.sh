#!/usr/bin/env bash
# The main job on the model we ship (weights/tiny): sizes, answers, a trace, routes, and the verdict on this build.
set -eu
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
program=./mistral-ref
model=weights/tiny
if [ ! -x "$program" ]; then
    echo "demo: $program is not built; run: make" >&2
    exit 1
fi

heading() { printf '\n== %s\n' "$1"; }
# Shows a command as one would type it (the temporary folder is left out), then runs it.
show() {
    printf '$'
    for word in "$@"; do
        case $word in
            *' '*) printf ' "%s"' "$word" ;;
            *) printf ' %s' "${word//$work\//}" ;;
        esac
    done
    echo
    "$@"
}

heading 'a mixture of experts that this program trained from nothing (docs/TRAINING.md)'
show "$program" info "$model"

heading 'it answers questions about what it was told'
story='Ada is in the barn with a red kite. Ben walks to the mill with a blue cup.'
show "$program" run "$model" --chat -p "$story Where is Ben?"
show "$program" run "$model" --chat -p "$story What colour is the kite of Ada?"
show "$program" run "$model" --chat -p "$story Tell me where Ada is."

heading 'trace: every intermediate tensor of one layer'
show "$program" trace "$model" -p "$story" --only 'layers.1.*' -o "$work/trace.npz"
show "$program" info "$work/trace.npz"

heading 'routing: which experts the tokens chose'
show "$program" routing "$model" -p "$story"

heading 'verify: this build against golden tensors from PyTorch'
echo "\$ $program selftest | tail -n 5"
status=0
"$program" selftest > "$work/verdict" || status=$?
tail -n 5 "$work/verdict"
exit "$status"
