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

cat "$clip" "$clip" >"$scratch/twice.h264"
whole=0
for wrote in "$scratch"/wrote/viewer-*.h264; do
    cmp "$scratch/twice.h264" "$wrote" || fail "$wrote is not the clip"
    whole=$((whole + 1))
done
[[ $whole -gt 100 ]] || fail "only $whole viewers wrote the whole clip"
ok "$whole viewers wrote the clip twice, byte for byte"

late=("$scratch"/wrote/late-*.h264)
frames=$(frames "${late[0]}")
[[ $frames -gt 20 ]] || fail "of what the late joiner wrote, $frames frames decode"
ok "what the late joiner wrote decodes from its first byte, $frames frames"

printf '%s checks passed\n' "$checked"
