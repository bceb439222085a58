#!/usr/bin/env bash
# An ordinary encoder, 1080p50 at 8 Mbit/s with sound: every frame and every packet of sound comes through `publish` and
# `watch`, from a file, by pipe, through nginx and through HAProxy. Both run by the files in examples/proxy, which are
# those that the documentation shows; through their TLS a browser's calls come, too, and a watch that is silent for
# longer than the timeouts that they have by default stays open.
#
# STARLING_BIN, GRPCURL and FFPROBE: see lib.sh. ffmpeg, nginx, haproxy, curl and openssl are on the PATH.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
seconds=5
units=$((seconds * 50))
video=(-f lavfi -i "testsrc2=size=1920x1080:rate=50:duration=$seconds")
sound=(-f lavfi -i "sine=frequency=440:sample_rate=48000:duration=$seconds")
x264=(-c:v libx264 -preset ultrafast -b:v 8M -maxrate 8M -minrate 8M -bufsize 8M -x264-params nal-hrd=cbr -g 100 -f h264)
aac=(-c:a aac -b:a 128k -f adts)
opus=(-c:a libopus -b:a 96k -f ogg)

encode() {
    ffmpeg -nostdin -v error -y "$@" 2>"$scratch/ffmpeg.err" || fail "ffmpeg: $(cat "$scratch/ffmpeg.err")"
}

# packets FILE: how many packets of sound a file has.
packets() {
    "$FFPROBE" -v error -count_packets -select_streams a -show_entries stream=nb_read_packets -of csv=p=0 "$1"
}

# came NAME VIDEO AUDIO: the viewer of that name says that nothing was lost, and that so much came.
came() {
    grep -qx "of these $2 on VISUAL, $3 on AUDIO" "$scratch/$1.err" || fail "$1 says: $(cat "$scratch/$1.err")"
    [[ $(received "$1") -eq $(($2 + $3)) ]] || fail "$1 says: $(cat "$scratch/$1.err")"
}

# A port that was free a moment ago.
free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# configure FILE TLS PLAINTEXT: the file of examples/proxy, with the address of the server and ports of here.
configure() {
    sed -e "s/127\.0\.0\.1:50051/$address/" -e "s/127\.0\.0\.1:8443/127.0.0.1:$2/" \
        -e "s/127\.0\.0\.1:8080/127.0.0.1:$3/" "$root/examples/proxy/$1" >"$scratch/$1"
    for at in "$address" "127.0.0.1:$2" "127.0.0.1:$3"; do
        grep -qF "$at" "$scratch/$1" || fail "examples/proxy/$1 has no place for $at"
    done
}

# serves NAME PID ADDRESS: the proxy of that name lets a call through.
serves() {
    kill -0 "$2" 2>/dev/null || fail "$1 did not start: $(cat "$scratch/$1.err")"
    "$starling" healthcheck --server "$3" 2>/dev/null
}

# web PORT METHOD ARGUMENTS...: calls a method with livestream 200, as a browser does: gRPC-Web over TLS and HTTP/2.
web() {
    local port=$1 method=$2
    shift 2
    printf '\0\0\0\0\003\010\310\001' | curl -sS -N --http2 --cacert "$scratch/certificate.pem" \
        -H 'content-type: application/grpc-web+proto' -H 'x-grpc-web: 1' -H 'origin: https://app.example' \
        --data-binary @- "$@" "https://127.0.0.1:$port/starling.livestream.v1.LivestreamService/$method"
}

# ended_well FILE: the answer by gRPC-Web has its status, which is the last thing in it, and is OK.
ended_well() {
    tail -n 1 "$1" | tr -d '\r' | grep -qa 'grpc-status:0$'
}

# secure NAME PORT: what comes by TLS.
secure() {
    local name=$1 port=$2 method=starling.livestream.v1.LivestreamService/GetLivestream told
    "$GRPCURL" -cacert "$scratch/certificate.pem" -d '{"livestream_id": 200}' "127.0.0.1:$port" $method \
        >"$scratch/secure.out" 2>&1 || fail "$name, gRPC by TLS: $(cat "$scratch/secure.out")"
    told=$(web "$port" GetLivestream -o "$scratch/secure.out" -w '%{http_version} %{http_code}') || fail "$name: gRPC-Web"
    [[ $told == '2 200' ]] || fail "$name answers $told to gRPC-Web"
    ended_well "$scratch/secure.out" || fail "$name answers to gRPC-Web: $(od -c "$scratch/secure.out")"
    curl -sS --http2 --cacert "$scratch/certificate.pem" -X OPTIONS -D "$scratch/secure.out" -o "$scratch/secure.body" \
        -H 'origin: https://app.example' -H 'access-control-request-method: POST' \
        -H 'access-control-request-headers: authorization,content-type,x-grpc-web' "https://127.0.0.1:$port/$method"
    for header in 'access-control-allow-origin: *' 'access-control-allow-methods: POST' \
        'access-control-allow-headers: authorization,content-type,x-grpc-web' 'access-control-max-age: 7200'; do
        grep -qxF "$header" <(tr -d '\r' <"$scratch/secure.out") || fail "$name, preflight: $(cat "$scratch/secure.out")"
    done
    ok "$name: gRPC by TLS, and what a browser asks, by HTTP/2"
}

# show NAME ADDRESS SOUND ARGUMENTS...: publishes from the files through an address, watches through it, and compares.
show() {
    local name=$1 at=$2 audio=$3
    shift 3
    livestream=$((livestream + 1))
    "$starling" watch --server "$at" --livestream $livestream --wait --output "$scratch/$name.h264" \
        --audio "$scratch/$name.sound" 2>"$scratch/$name.err" &
    local watch=$!
    "$starling" publish --server "$at" --livestream $livestream --wait-viewers 1 --fps 50 --audio "$audio" \
        "$scratch/video.h264" 2>"$scratch/publish.err" &
    succeeds $! publish
    succeeds $watch "$name"
    cmp "$scratch/video.h264" "$scratch/$name.h264" || fail "$name has another video"
    came "$name" $units "$(packets "$audio")"
    [[ $(packets "$scratch/$name.sound") -eq $(packets "$audio") ]] ||
        fail "$name: $(packets "$scratch/$name.sound") packets of sound, not $(packets "$audio")"
    ok "$name: the video byte for byte, and $(packets "$audio") packets of sound"
}

encode "${video[@]}" "${sound[@]}" -map 0:v "${x264[@]}" "$scratch/video.h264" -map 1:a "${aac[@]}" \
    "$scratch/sound.aac" -map 1:a "${opus[@]}" "$scratch/sound.ogg"
[[ $(frames "$scratch/video.h264") -eq $units ]] || fail 'the encoder made another number of frames'
printf '%s frames, %s bytes, %s packets of AAC, %s of Opus\n' $units "$(stat -c %s "$scratch/video.h264")" \
    "$(packets "$scratch/sound.aac")" "$(packets "$scratch/sound.ogg")"
livestream=0
# Nothing but what a client does moves on a silent stream: neither heartbeats nor pings.
start_server STARLING__STREAMS__HEARTBEAT_INTERVAL=10m STARLING__SERVER__HTTP2_KEEPALIVE_INTERVAL=1h

# --- the proxies, and behind each a watch that is silent from here to the end of the script
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
    -addext subjectAltName=IP:127.0.0.1 -keyout "$scratch/key.pem" -out "$scratch/certificate.pem" 2>"$scratch/openssl.err" ||
    fail "openssl: $(cat "$scratch/openssl.err")"
cat "$scratch/certificate.pem" "$scratch/key.pem" >"$scratch/starling.pem"
declare -A tls plaintext silent
for name in nginx haproxy; do
    tls[$name]=$(free_port)
    plaintext[$name]=$(free_port)
done
configure nginx.conf "${tls[nginx]}" "${plaintext[nginx]}"
configure haproxy.cfg "${tls[haproxy]}" "${plaintext[haproxy]}"
nginx -p "$scratch" -c "$scratch/nginx.conf" -e stderr -g 'daemon off; master_process off;' 2>"$scratch/nginx.err" &
until_true 20 nginx serves nginx $! "127.0.0.1:${plaintext[nginx]}"
haproxy -C "$scratch" -f haproxy.cfg >"$scratch/haproxy.out" 2>"$scratch/haproxy.err" &
until_true 20 HAProxy serves haproxy $! "127.0.0.1:${plaintext[haproxy]}"
"$starling" create --server "$address" --livestream 200 >"$scratch/create.out"
for name in nginx haproxy; do
    : >"$scratch/$name.silent"
    web "${tls[$name]}" WatchLivestream -o "$scratch/$name.silent" 2>"$scratch/$name.silent.err" &
    silent[$name]=$!
    until_true 20 "the watch through $name" longer "$scratch/$name.silent" 0
done
# Longer than nginx waits by default, and than HAProxy does in any example of its documentation.
loud_again=$((SECONDS + 65))

show file "$address" "$scratch/sound.aac"
cmp "$scratch/sound.aac" "$scratch/file.sound" || fail 'the sound is another one than that of the file'

# --- by pipe, as the encoder makes it: the video by standard input, the sound by a named pipe
mkfifo "$scratch/sound.fifo"
"$starling" watch --server "$address" --livestream 100 --wait --output "$scratch/pipe.h264" \
    --audio "$scratch/pipe.ogg" 2>"$scratch/pipe.err" &
watch=$!
ffmpeg -nostdin -v error -y -re "${video[@]}" -re "${sound[@]}" -map 0:v "${x264[@]}" pipe:1 \
    -map 1:a "${opus[@]}" "$scratch/sound.fifo" 2>"$scratch/ffmpeg.err" |
    "$starling" publish --server "$address" --livestream 100 --wait-viewers 1 --fps 50 --audio "$scratch/sound.fifo" - \
        2>"$scratch/publish.err" || fail "by pipe: $(cat "$scratch/ffmpeg.err" "$scratch/publish.err")"
succeeds $watch pipe
came pipe $units "$(packets "$scratch/sound.ogg")"
[[ $(frames "$scratch/pipe.h264") -eq $units && $(packets "$scratch/pipe.ogg") -eq $(packets "$scratch/sound.ogg") ]] ||
    fail "by pipe: $(frames "$scratch/pipe.h264") frames decode, $(packets "$scratch/pipe.ogg") packets of sound"
ok "pipe: $units frames decode, and $(packets "$scratch/pipe.ogg") packets of sound"

# --- what a viewer gets whose bandwidth does not suffice, both ends tell
"$starling" watch --server "$address" --livestream 101 --wait 2>"$scratch/narrow.err" &
watch=$!
"$starling" publish --server "$address" --livestream 101 --wait-viewers 1 --fps 50 --subscriber-bytes-per-second 500000 \
    "$scratch/video.h264" 2>"$scratch/publish.err" || fail "publish: $(cat "$scratch/publish.err")"
wait $watch || fail "watch: $(cat "$scratch/narrow.err")"
lost=$(sed -nE 's/^received [0-9]+ updates, [0-9]+ bytes, [0-9]+ gaps: ([0-9]+) updates lost$/\1/p' "$scratch/narrow.err")
missed=$(sed -nE 's/^viewers missed ([0-9]+) updates on VISUAL for BANDWIDTH .*$/\1/p' "$scratch/publish.err")
[[ -n $lost && $lost -gt 0 && $lost -eq $missed ]] ||
    fail "lost $lost, missed $missed: $(cat "$scratch/narrow.err" "$scratch/publish.err")"
ok "with 500000 bytes/s a viewer lost $lost updates, and the publisher learned of $missed"

# --- through the proxies
show nginx "127.0.0.1:${plaintext[nginx]}" "$scratch/sound.aac"
show haproxy "127.0.0.1:${plaintext[haproxy]}" "$scratch/sound.ogg"
for name in nginx haproxy; do
    secure "$name" "${tls[$name]}"
done

((SECONDS >= loud_again)) || sleep $((loud_again - SECONDS))
for name in nginx haproxy; do
    kill -0 "${silent[$name]}" 2>/dev/null || fail "$name cut a silent watch: $(cat "$scratch/$name.silent.err")"
done
"$starling" end --server "$address" --livestream 200 >"$scratch/end.out" || fail 'cannot end livestream 200'
for name in nginx haproxy; do
    wait "${silent[$name]}" || fail "a silent watch through $name: $(cat "$scratch/$name.silent.err")"
    ended_well "$scratch/$name.silent" || fail "$name cut a silent watch: $(od -c "$scratch/$name.silent")"
    ok "$name: a watch was silent for 65 s, and then told of the end"
done

stop_server
printf '%s checks passed\n' "$checked"
