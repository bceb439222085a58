#!/usr/bin/env bash
# An ordinary encoder, 1080p50 at 8 Mbit/s with sound: every frame and every packet of sound comes through `publish` and
# `watch`, from a file, by pipe, through nginx and through HAProxy.
#
# STARLING_BIN and FFPROBE: see lib.sh. ffmpeg, nginx and haproxy are on the PATH.
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

# serves NAME PID ADDRESS: the proxy of that name lets a call through.
serves() {
    kill -0 "$2" 2>/dev/null || fail "$1 did not start: $(cat "$scratch/$1.err")"
    "$starling" healthcheck --server "$3" 2>/dev/null
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
start_server

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
"$starling" publish --server "$address" --livestream 101 --wait-viewers 1 --fps 50 --bandwidth-per-viewer 500000 \
    "$scratch/video.h264" 2>"$scratch/publish.err" || fail "publish: $(cat "$scratch/publish.err")"
wait $watch || fail "watch: $(cat "$scratch/narrow.err")"
lost=$(sed -nE 's/^received [0-9]+ updates, [0-9]+ bytes, [0-9]+ gaps: ([0-9]+) updates lost$/\1/p' "$scratch/narrow.err")
missed=$(sed -nE 's/^viewers missed ([0-9]+) updates on VISUAL for BANDWIDTH .*$/\1/p' "$scratch/publish.err")
[[ -n $lost && $lost -gt 0 && $lost -eq $missed ]] ||
    fail "lost $lost, missed $missed: $(cat "$scratch/narrow.err" "$scratch/publish.err")"
ok "with 500000 bytes/s a viewer lost $lost updates, and the publisher learned of $missed"

# --- through proxies. Streams live for hours: the timeouts of both are those of idle streams, and are off.
nginx_port=$(free_port)
cat >"$scratch/nginx.conf" <<NGINX
daemon off;
master_process off;
pid $scratch/nginx.pid;
error_log stderr warn;
events {}
http {
    access_log off;
    client_body_temp_path $scratch/nginx-body;
    proxy_temp_path $scratch/nginx-proxy;
    fastcgi_temp_path $scratch/nginx-fastcgi;
    uwsgi_temp_path $scratch/nginx-uwsgi;
    scgi_temp_path $scratch/nginx-scgi;
    server {
        listen 127.0.0.1:$nginx_port http2;
        client_max_body_size 0;
        client_body_timeout 365d;
        location / {
            grpc_pass grpc://$address;
            grpc_read_timeout 365d;
            grpc_send_timeout 365d;
        }
    }
}
NGINX
nginx -c "$scratch/nginx.conf" -e stderr 2>"$scratch/nginx.err" &
until_true 20 nginx serves nginx $! "127.0.0.1:$nginx_port"
show nginx "127.0.0.1:$nginx_port" "$scratch/sound.aac"

haproxy_port=$(free_port)
cat >"$scratch/haproxy.cfg" <<HAPROXY
defaults
    mode http
    timeout connect 5s
    timeout client 24d
    timeout server 24d
frontend grpc
    bind 127.0.0.1:$haproxy_port proto h2
    default_backend starling
backend starling
    server starling $address proto h2
HAPROXY
haproxy -f "$scratch/haproxy.cfg" >"$scratch/haproxy.out" 2>"$scratch/haproxy.err" &
until_true 20 HAProxy serves haproxy $! "127.0.0.1:$haproxy_port"
show haproxy "127.0.0.1:$haproxy_port" "$scratch/sound.ogg"

stop_server
printf '%s checks passed\n' "$checked"
