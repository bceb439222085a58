#!/usr/bin/env bash
# A real video, sound and chat over wires that are cut: each of three viewers loses its connections three times in the
# middle of what it is sent, comes back, and has got everything once and in order at the end.
#
#   watch    `starling watch`, writing the video
#   example  examples/python/resuming_subscriber.py, writing the video
#   beside   beside.py: video, sound and chat by one subscription; it also publishes sound and chat
#
# The wires cut by the bytes that they have carried since the cut before, so a cut finds a viewer that has resumed.
# STARLING_BIN and FFPROBE: see lib.sh. PYTHON: a Python with the packages of .ci/requirements.txt.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
PYTHON=${PYTHON:-$root/target/ci/venv/bin/python}
clip=$root/tests/data/bigbuckbunny-360p25.h264
livestream=26
cat "$clip" "$clip" >"$scratch/twice.h264"
size=$(stat -c %s "$scratch/twice.h264")
units=264

# through NAME COMMAND...: a wire to the server (see wire.py); sets $wire to its address.
wire=
through() {
    local name=$1
    : >"$scratch/$name.wire"
    "$PYTHON" "$root/.ci/e2e/wire.py" "$address" "${@:2}" >"$scratch/$name.wire" 2>&1 &
    until_true 20 "the wire of $name" test -s "$scratch/$name.wire"
    wire=$(head -n 1 "$scratch/$name.wire")
}

# all_cut: every viewer has come as far as its first cut.
all_cut() {
    local name all=0
    for name in watch example beside; do
        grep -qE '^(cut|close) ' "$scratch/$name.wire" && continue
        all=1
        kill -0 "${!name}" 2>/dev/null || fail "$name ended before it was cut: $(cat "$scratch/$name.err")"
    done
    return $all
}

# cut_thrice NAME: as the wire tells, and the viewer too: "cut: ..." each time.
cut_thrice() {
    local connections told
    connections=$(grep -cE '^(cut|close) [1-9][0-9]* connections after [0-9]+ bytes$' "$scratch/$1.wire") || true
    told=$(grep -c '^cut: ' "$scratch/$1.err") || true
    [[ $connections -eq 3 && $told -eq 3 ]] ||
        fail "$1 was cut $connections times, and tells of $told: $(cat "$scratch/$1.wire" "$scratch/$1.err")"
}

# As its README says.
mkdir "$scratch/generated"
"$PYTHON" -m grpc_tools.protoc -I "$root/proto" \
    --python_out="$scratch/generated" --grpc_python_out="$scratch/generated" \
    "$root/proto/starling/swarm/v1/swarm.proto" "$root/proto/starling/livestream/v1/livestream.proto"
export PYTHONPATH=$scratch/generated:$root/examples/python
export PYTHONDONTWRITEBYTECODE=1

start_server
printf 'server at %s\n' "$address"
: >"$scratch/publish.err"
"$starling" publish --server "$address" --livestream $livestream --node 1 --wait-viewers 4 --fps 40 --loop=2 --keep \
    "$clip" 2>"$scratch/publish.err" &
publish=$!
until_true 20 'the livestream' grep -q '^waiting for 4 viewers' "$scratch/publish.err"

through watch 'cut after 150000' 'close after 250000' 'cut after 200000'
"$starling" watch --server "http://$wire" --livestream $livestream --output "$scratch/watch.h264" \
    2>"$scratch/watch.err" &
watch=$!
through example 'close after 200000' 'cut after 100000' 'cut after 250000'
"$PYTHON" "$root/examples/python/resuming_subscriber.py" --server "$wire" --livestream $livestream --node 1000 \
    --output "$scratch/example.h264" 2>"$scratch/example.err" &
example=$!
mkfifo "$scratch/end"
through beside 'cut after 100000' 'cut after 300000' 'close after 200000'
"$PYTHON" "$root/.ci/e2e/beside.py" --server "$address" --through "$wire" --livestream $livestream \
    --video "$scratch/twice.h264" <"$scratch/end" 2>"$scratch/beside.err" &
beside=$!
exec 7>"$scratch/end"

# The publisher waits for all of them.
until_true 60 'the first cut of each viewer' all_cut
succeeds $publish publish
# A livestream that ends during a cut is gone: everybody has come back from the last one first.
for name in watch example; do
    until_true 60 "the end of the video for $name" longer "$scratch/$name.h264" $((size - 100000))
done
exec 7>&-
succeeds $watch watch
succeeds $example example
succeeds $beside beside

for name in watch example beside; do
    cut_thrice $name
    ok "$name: $(grep -E '^(cut|close) ' "$scratch/$name.wire" | paste -sd ';' | sed 's/;/; /g')"
done
# "cut: why", "resumed", three times: never joined anew, no gap.
told=$(sed -nE 's/^(cut): .*/\1/p; /^(gap|joined|resumed)/p' "$scratch/watch.err" | paste -sd ' ')
[[ $told == 'cut resumed cut resumed cut resumed' ]] || fail "starling watch tells: $(cat "$scratch/watch.err")"
ok "starling watch tells of three cuts, and that it resumed after each"

for name in watch example; do
    cmp "$scratch/twice.h264" "$scratch/$name.h264" || fail "$name has another video than the clip, twice"
    got=$(received $name)
    decoded=$(frames "$scratch/$name.h264")
    [[ $got -eq $units && $decoded -eq $units ]] ||
        fail "$name got $got access units, and $decoded frames decode, not $units"
    ok "$name: the clip twice, byte for byte, in $got updates without a gap; $decoded frames decode"
done

stop_server
printf '%s checks passed\n' "$checked"
