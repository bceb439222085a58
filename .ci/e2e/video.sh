#!/usr/bin/env bash
# A real video through the real binary: a viewer that is there from the start gets the clip byte for byte; one that
# comes after the second keyframe gets it from a keyframe on, and every frame of it decodes.
#
# STARLING_BIN and FFPROBE: see lib.sh.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
clip=$root/tests/data/bigbuckbunny-360p25.h264
livestream=25

# Where in the clip the groups of pictures begin: at each sequence parameter set (NAL unit type 7).
groups=$(python3 - "$clip" <<'PY'
import re, sys
data = open(sys.argv[1], "rb").read()
print(*(m.start() for m in re.finditer(rb"\x00?\x00\x00\x01[\x07\x27\x47\x67]", data)))
PY
)
read -r first second _ <<<"$groups"
[[ $first -eq 0 && $second -gt 0 ]] || fail "groups of pictures at: $groups"

start_server
url=http://$address
printf 'server at %s, groups of pictures at %s\n' "$address" "$groups"

"$starling" watch --server "$url" --livestream $livestream --wait --output "$scratch/whole.h264" 2>"$scratch/watch.err" &
watch=$!
"$starling" publish --server "$url" --livestream $livestream --wait-viewers 1 --fps 25 "$clip" 2>"$scratch/publish.err" &
publish=$!

until_true 60 'the second group of pictures' longer "$scratch/whole.h264" "$second"
"$starling" watch --server "$url" --livestream $livestream --output "$scratch/late.h264" 2>"$scratch/late.err" &
late=$!

succeeds $publish publish
succeeds $watch watch
succeeds $late late

cmp "$clip" "$scratch/whole.h264" || fail 'the first viewer has another video than the clip'
whole_units=$(received watch)
whole_frames=$(frames "$scratch/whole.h264")
[[ $whole_frames -eq $whole_units && $whole_units -eq 132 ]] ||
    fail "the first viewer got $whole_units access units, and $whole_frames frames decode, not 132"
ok "the first viewer: the clip byte for byte, $whole_frames frames decode"

# The late one has the end of the clip, from the beginning of a group on, but not the first.
size=$(stat -c %s "$scratch/late.h264")
begin=$(($(stat -c %s "$clip") - size))
[[ $begin -ge $second && " $groups " == *" $begin "* ]] || fail "the late viewer begins at byte $begin, not at one of $groups"
tail -c "$size" "$clip" | cmp - "$scratch/late.h264" || fail 'the late viewer has another video than the end of the clip'
late_units=$(received late)
late_frames=$(frames "$scratch/late.h264")
[[ $late_frames -eq $late_units && $late_units -gt 0 ]] ||
    fail "the late viewer got $late_units access units, and $late_frames frames decode"
ok "the late viewer: from the keyframe at byte $begin on, $late_units access units, $late_frames frames decode"

stop_server
printf '%s checks passed\n' "$checked"
