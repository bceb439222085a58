#!/usr/bin/env bash
# The demo: every check of its table passes, it counts its own checks, and what its viewers wrote is the video.
#
# STARLING_BIN and FFPROBE: see lib.sh.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
clip=$root/tests/data/bigbuckbunny-360p25.h264

"$starling" demo --output "$scratch/wrote" >"$scratch/demo.out" 2>"$scratch/demo.err" ||
    fail "starling demo failed: $(cat "$scratch/demo.out" "$scratch/demo.err")"
passed=$(grep -c '^ok ' "$scratch/demo.out")
[[ $passed -ge 14 && $(tail -n 1 "$scratch/demo.out") == "all $passed checks passed" ]] ||
    fail "the table of the demo: $(cat "$scratch/demo.out")"
ok "$(tail -n 1 "$scratch/demo.out")"

grep -q '^picture 1/264: ' "$scratch/demo.err" || fail "its progress is not told: $(cat "$scratch/demo.err")"

# Where the machine could not keep up, the demo has compared what came picture by picture.
cat "$clip" "$clip" >"$scratch/twice.h264"
whole=0
for wrote in "$scratch"/wrote/viewer-*.h264; do
    ! cmp -s "$scratch/twice.h264" "$wrote" || whole=$((whole + 1))
done
grep -q "got the clip byte for byte ($whole of 176" "$scratch/demo.out" ||
    fail "$whole viewers wrote the clip, and the demo says: $(cat "$scratch/demo.out")"
[[ $whole -eq 176 ]] || grep -q 'could not keep up' "$scratch/demo.out" || fail "only $whole viewers wrote the clip"
ok "$whole of 176 viewers wrote the clip twice, byte for byte"

late=("$scratch"/wrote/late-*.h264)
frames=$(frames "${late[0]}")
[[ $frames -gt 20 ]] || fail "of what the late joiner wrote, $frames frames decode"
ok "what the late joiner wrote decodes from its first byte, $frames frames"

# Beside processes that take most of the machine: it may be late, and says so.
for _ in $(seq $((4 * $(nproc)))); do
    sh -c 'while :; do :; done' &
done
"$starling" demo --viewers 100 >"$scratch/busy.out" 2>"$scratch/busy.err" ||
    fail "the demo failed on a busy machine: $(cat "$scratch/busy.out" "$scratch/busy.err")"
ok "on a busy machine: $(tail -n 1 "$scratch/busy.out"), $(grep -o 'timers late by.*' "$scratch/busy.out")"

printf '%s checks passed\n' "$checked"
