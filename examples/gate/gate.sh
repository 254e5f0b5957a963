#!/usr/bin/env bash
# Measures a suite at two commits of a repository, each with its own code, and compares them.
#
#   gate.sh BASE HEAD SUITE [OPTIONS OF trtbench run]      e.g. gate.sh origin/main HEAD suites/smoke.yaml --select batch=1
#
# BASE is taken where HEAD left it. Both sides are measured twice, in the order base, head, head, base, so that a slow
# drift of the machine affects them alike. Left in $GATE_OUT (gate-results): comment.md, and the runs.
#
#   GATE_SETUP    a command that each checkout needs before, e.g. to install its own code (nothing)
#   GATE_RUN      how trtbench is started in a checkout (trtbench)
#   GATE_FAIL_ON  what fails, see trtbench compare --help (slower,failed)
#
# Exit code: 0 nothing of GATE_FAIL_ON, 1 some of it, 2 there is nothing to compare.
set -euo pipefail
[ -n "${3:-}" ] || { sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2; }

mkdir -p "${GATE_OUT:-gate-results}"
out=$(cd "${GATE_OUT:-gate-results}" && pwd)
rm -rf "$out"/runs "$out"/comment.md

nothing() {  # to compare, and why: also where people look for the table
    echo "**trtbench: $1, so there is nothing to compare**" | tee "$out/comment.md"
    exit "${2:-2}"
}

commit_of() { git rev-parse --verify --quiet "$1^{commit}"; }
head=$(commit_of "$2") || nothing "there is no commit $2"
base=$(commit_of "$1") || nothing "there is no commit $1"
base=$(git merge-base "$base" "$head") || nothing "$1 and $2 have no commit in common"
suite=$3
shift 3

repository=$(git rev-parse --show-toplevel)
work=$(mktemp -d)
trap 'rm -rf "$work"; git -C "$repository" worktree prune' EXIT

for side in head base; do
    git worktree add --quiet --detach "$work/$side" "${!side}"
    if [ ! -f "$work/$side/$suite" ]; then
        nothing "$suite is not in ${!side}" $([ $side = base ] && echo 0)
    fi
    (cd "$work/$side" && bash -e -c "${GATE_SETUP:-}") || nothing "GATE_SETUP failed in ${!side}"
done

for turn in 1:base 2:head 3:head 4:base; do
    side=${turn#*:}
    code=0
    (cd "$work/$side" && PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} ${GATE_RUN:-trtbench} run "$suite" \
        --replicates 4 --store "$out/runs/$turn" "$@") || code=$?
    [ $code -le 1 ] || nothing "${!side} was not measured (exit code $code, see the log)"  # 1: a case failed
done

runs() {  # those of a side, joined by commas
    find "$out/runs/$1" "$out/runs/$2" -name '*.jsonl' | sort | paste -sd,
}
code=0
(cd "$work/head" && PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} ${GATE_RUN:-trtbench} compare \
    "$(runs 1:base 4:base)" "$(runs 2:head 3:head)" \
    --format github --fail-on "${GATE_FAIL_ON:-slower,failed}") > "$out/comment.md" 2> "$work/errors" || code=$?
cat "$work/errors" >&2
[ -s "$out/comment.md" ] || nothing "$(head -1 "$work/errors" | sed 's/^trtbench: //')"
cat "$out/comment.md"
exit $code
