# shellcheck shell=bash
# What the end-to-end scripts share. To be sourced.
#
# STARLING_BIN  the binary under test; default target/debug/starling
# GRPCURL       grpcurl; default: the one of .ci/run, else the one on the PATH
# FFPROBE       ffprobe; default: the one on the PATH

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
starling=${STARLING_BIN:-$root/target/debug/starling}
# The program refuses variables that begin with STARLING_ and that it does not know.
unset STARLING_BIN
if [[ -z ${GRPCURL:-} ]]; then
    GRPCURL=$root/target/ci/bin/grpcurl
    [[ -x $GRPCURL ]] || GRPCURL=grpcurl
fi
FFPROBE=${FFPROBE:-ffprobe}
scratch=$(mktemp -d)
server=
address=
# What a script wants `serve` to be given besides the address.
serve_args=()

fail() {
    printf '\nFAILED: %s\n' "$*" >&2
    if [[ -s $scratch/server.err ]]; then
        printf '%s\n' '--- the end of the log of the server:' >&2
        tail -n 20 "$scratch/server.err" >&2
    fi
    exit 1
}

# Whatever a script started and has not waited for.
clean_up() {
    local left
    left=$(jobs -p)
    # shellcheck disable=SC2086 # one word per process
    [[ -z $left ]] || { kill -KILL $left; wait; } 2>/dev/null || true
    rm -rf "$scratch"
}
trap clean_up EXIT

checked=0
ok() {
    checked=$((checked + 1))
    printf '  ok  %s\n' "$*"
}

# until_true SECONDS WHAT COMMAND...: runs the command again until it succeeds.
until_true() {
    local patience=$1 what=$2
    shift 2
    local deadline=$((SECONDS + patience))
    until "$@"; do
        ((SECONDS < deadline)) || fail "waited $patience s in vain for $what"
        sleep 0.02
    done
}

# start_server [NAME=VALUE...]: on a free port, without admin pages unless told; sets $server and $address.
# shellcheck disable=SC2120 # not every script gives it a setting
start_server() {
    [[ -x $starling ]] || fail "$starling is not there: cargo build, or set STARLING_BIN"
    : >"$scratch/server.out"
    env STARLING__ADMIN__LISTEN=off "$@" "$starling" serve "${serve_args[@]}" --listen 127.0.0.1:0 >"$scratch/server.out" 2>"$scratch/server.err" &
    server=$!
    until_true 20 "the server to name its address" server_spoke
    # Read off the line {..., "message":"listening","address":"127.0.0.1:4567", ...}, or that for people.
    address=$(sed -nE 's/.*("message":"listening","address":"|listens on )([0-9.:]+).*/\2/p' "$scratch/server.out")
    [[ $address =~ ^127\.0\.0\.1:[0-9]+$ ]] || fail "no address in: $(cat "$scratch/server.out")"
}

server_spoke() {
    kill -0 "$server" 2>/dev/null || fail "the server did not start"
    grep -qE '"message":"listening"|listens on .*' "$scratch/server.out"
}

# Tells the server to stop and takes it at its word.
stop_server() {
    kill -TERM "$server"
    server_stops
}

server_stops() {
    local status=0
    wait "$server" || status=$?
    server=
    [[ $status -eq 0 ]] || fail "the server exited with $status after SIGTERM, not with 0"
}

# succeeds PID NAME: the process, a starling or another one, ends with 0; what it said is in NAME.err.
succeeds() {
    wait "$1" || fail "$2 failed: $(cat "$scratch/$2.err")"
    ok "$2: $(tail -n 1 "$scratch/$2.err")"
}

# received NAME: how many updates a viewer says it got; without a gap.
received() {
    local told
    told=$(sed -nE 's/^received ([0-9]+) updates,( [0-9]+ bytes,)? 0 gaps$/\1/p' "$scratch/$1.err")
    [[ -n $told ]] || fail "$1 says: $(cat "$scratch/$1.err")"
    echo "$told"
}

# longer FILE BYTES: the file has more than that many bytes.
longer() {
    [[ -e $1 && $(stat -c %s "$1") -gt $2 ]]
}

# frames FILE: how many frames decode; any error of the decoder fails.
frames() {
    local counted
    counted=$("$FFPROBE" -v error -count_frames -show_entries stream=nb_read_frames -of csv=p=0 "$1" 2>"$scratch/ffprobe.err") ||
        fail "ffprobe cannot read $1: $(cat "$scratch/ffprobe.err")"
    [[ ! -s $scratch/ffprobe.err ]] || fail "ffprobe complains about $1: $(cat "$scratch/ffprobe.err")"
    echo "$counted"
}
