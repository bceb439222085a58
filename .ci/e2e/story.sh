#!/usr/bin/env bash
# What an ordinary client lives through, in several languages, each with its stock gRPC library and default settings.
#
#   .ci/e2e/story.sh                every language, side by side
#   .ci/e2e/story.sh LANGUAGE...    only these: go node java python browser
#
# Each program of e2e/story, against a server of its own whose connections and streams live for 5 s, asks it for its
# limits, creates a livestream, joins it with 20 viewers, folds WatchTargets and WatchLivestream while viewers come and
# go, publishes 600 updates at an even pace and receives them across what ends and is opened again meanwhile, reads the
# details of an error, sets a deadline, sends SIGTERM to the server and hears it say goodbye. It checks all that itself.
#
# Then it does so again over TLS, where each node has a token with its own rights and nothing more (STORY_TRUST). Now it
# is the tokens that end, after 5 to 6 s, and with them the streams: they are opened again with the next one, except that
# the publisher in Go renews its own on the open stream. A forged token and calls beyond a token's rights are refused.
#
# On a machine as .ci/generate/run.sh wants it; what else is missing is installed by the same means, Chromium by apt.
# STARLING_BIN: see lib.sh. PUBLISH_SECONDS: for how long the browser publishes, without RenewLease; default 20.
# LEASE_SECONDS: the lease of its session meanwhile, 1 to 300; default 4. So two minutes under an ordinary lease:
#   PUBLISH_SECONDS=120 LEASE_SECONDS=30 .ci/e2e/story.sh browser
# PYTHON: a Python with the packages of .ci/requirements.txt; default: that of .ci/run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source-path=SCRIPTDIR source=../install.sh
source .ci/install.sh
# shellcheck source-path=SCRIPTDIR source=lib.sh
source .ci/e2e/lib.sh
PYTHON=${PYTHON:-$ci/venv/bin/python}
PUBLISH_SECONDS=${PUBLISH_SECONDS:-20}
LEASE_SECONDS=${LEASE_SECONDS:-4}
here=$root/.ci/e2e/story
languages=("$@")
[[ $# -gt 0 ]] || languages=(go node java python browser)
# shellcheck source-path=SCRIPTDIR source=languages.sh
source .ci/e2e/languages.sh

# run_LANGUAGE is its program.

run_go() { timeout 90 ./program "$@"; }

run_node() { timeout 90 node built/story.js "$@"; }

run_java() { timeout 90 java -classpath "classes:$ci/java/*" Story "$@"; }

tool_python() { :; } # are there for other steps, too
make_python() {
    "$PYTHON" -m grpc_tools.protoc -I "$root/proto" --python_out=gen --grpc_python_out=gen "${files[@]}"
}
run_python() { PYTHONPATH=gen timeout 90 "$PYTHON" story.py "$@"; }

tool_browser() { node_packages .ci/e2e/story/browser && apt_package chromium chromium; }
make_browser() {
    ln -s "$ci/node/browser/node_modules" node_modules
    protoc -I "$root/proto" --plugin=node_modules/.bin/protoc-gen-es --es_out=gen --es_opt=target=ts \
        "${files[@]}" google/rpc/error_details.proto
    node_modules/.bin/tsc && node_modules/.bin/esbuild story.ts --bundle --outfile=story.js --log-level=warning
}
run_browser() { timeout $((PUBLISH_SECONDS + 70)) node serve.mjs "$@" "$PUBLISH_SECONDS" "$LEASE_SECONDS"; }

# mint NAME ARGUMENTS...: a token for NAME, in the place of the one before.
mint() {
    local name=$1
    shift
    "$starling" token mint --iss story --aud starling --ttl 6s "$@" >"$trust/$name.new"
    mv "$trust/$name.new" "$trust/$name.jwt"
}

# Each may do what its part of the story is; 404 is the livestream that is not there.
mint_all() {
    mint 1 --key "$trust/dev.key" --sub 1 --grant 'livestream:7:create,join,administer,publish=VISUAL' \
        --grant 'livestream:404:join'
    mint 2 --key "$trust/dev.key" --sub 2 --grant 'livestream:7:join'
    mint 3 --key "$trust/dev.key" --sub 3 --grant 'livestream:7:join'
    mint crowd --key "$trust/dev.key" --sub 'a gateway' --act-for 4-9999 --grant 'livestream:7:join'
    mint wrong --key "$trust/forged/dev.key" --sub 1 --grant 'livestream:7:join'
}

# An authority, the server's certificate by it, and who issues tokens; and another with a key of the same name.
make_trust() {
    mkdir -p "$trust/forged"
    (
        set -e
        cd "$trust"
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj '/CN=story' \
            -addext 'basicConstraints=critical,CA:TRUE' -keyout ca.key -out ca.pem
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '/CN=localhost' \
            -keyout tls.key -out tls.csr
        openssl x509 -req -in tls.csr -CA ca.pem -CAkey ca.key -days 2 -out tls.crt -extfile <(
            printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n'
        )
        # As Chromium wants it.
        openssl x509 -in tls.crt -noout -pubkey | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary |
            openssl base64 >tls.spki
        "$starling" token keygen
        cd forged
        "$starling" token keygen
    ) >"$trust/made.log" 2>&1
}

# told LANGUAGE: against servers of its own.
told() {
    cd "$scratch/$1"
    scratch=$PWD
    trap clean_up EXIT
    tell "$1" "$1" STARLING__STREAMS__MAX_AGE=5s STARLING__SERVER__MAX_CONNECTION_AGE=5s \
        STARLING__SERVER__MAX_CONNECTION_AGE_GRACE=1s
    export STORY_TRUST=$trust
    tell "$1" "$1 over TLS" STARLING__TLS__CERT_FILE="$trust/tls.crt" STARLING__TLS__KEY_FILE="$trust/tls.key" \
        STARLING__IDENTITY__MODE=jwt STARLING__IDENTITY__ISSUER=story STARLING__IDENTITY__AUDIENCE=starling \
        STARLING__IDENTITY__KEYS_DIR="$trust/keys" STARLING__IDENTITY__LEEWAY=0s
}

# tell LANGUAGE HOW NAME=VALUE...: against one server with these settings.
tell() {
    local language=$1 how=$2 line
    shift 2
    start_server STARLING__STREAMS__HEARTBEAT_INTERVAL=250ms STARLING__DRAIN__SPREAD=1s STARLING__DRAIN__TIMEOUT=5s "$@"
    "run_$language" "$address" "$server" >story.out 2>story.err || fail "$how: $(cat story.out story.err)"
    while read -r line; do ok "$how: $line"; done <story.out
    server_stops
}

tools
apt_package openssl openssl
side_by_side made
trust=$scratch/trust
trap 'cat "$trust/made.log" >&2; clean_up' EXIT
make_trust
trap clean_up EXIT
mint_all
while sleep 1; do mint_all; done &
minting=$!
side_by_side told
kill "$minting"
