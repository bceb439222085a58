#!/usr/bin/env bash
# Honest publishers that are as fast as they can be, in several languages, each with its stock gRPC library and default
# settings: small updates, each of which may be a DATA frame of its own, are no attack.
#
#   .ci/e2e/abuse.sh                every language, side by side
#   .ci/e2e/abuse.sh LANGUAGE...    only these: go node java
#
# Each program of e2e/abuse, against a server of its own, publishes updates with payloads of 0, 10 and 100 bytes, on 1,
# 8 and 64 publish streams of one connection, each into a livestream of its own, while the server is stopped (SIGSTOP)
# for a while in the middle. No stream may end before its time, no update be refused, and all must be acknowledged.
#
# On a machine as .ci/generate/run.sh wants it. STARLING_BIN: see lib.sh. PUBLISH_SECONDS: for how long each of the nine
# combinations publishes; default 3. STOP_SECONDS: for how long the server is stopped meanwhile; default 0.5. By hand:
#   PUBLISH_SECONDS=60 STOP_SECONDS=2 .ci/e2e/abuse.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source-path=SCRIPTDIR source=../install.sh
source .ci/install.sh
# shellcheck source-path=SCRIPTDIR source=lib.sh
source .ci/e2e/lib.sh
PUBLISH_SECONDS=${PUBLISH_SECONDS:-3}
STOP_SECONDS=${STOP_SECONDS:-0.5}
here=$root/.ci/e2e/abuse
languages=("$@")
[[ $# -gt 0 ]] || languages=(go node java)
# shellcheck source-path=SCRIPTDIR source=languages.sh
source .ci/e2e/languages.sh

# Nine combinations, and time for each to open its streams and to hear the last acknowledgement.
patience=$((9 * (${PUBLISH_SECONDS%.*} + ${STOP_SECONDS%.*} + 10)))

run_go() { timeout "$patience" ./program "$@"; }

run_node() { timeout "$patience" node built/publish.js "$@"; }

run_java() { timeout "$patience" java -classpath "classes:$ci/java/*" Publish "$@"; }

# published LANGUAGE: against a server of its own.
published() {
    local line status=0
    cd "$scratch/$1"
    scratch=$PWD
    trap clean_up EXIT
    start_server
    "run_$1" "$address" "$server" "$PUBLISH_SECONDS" "$STOP_SECONDS" >publish.out 2>publish.err || status=$?
    while read -r line; do ok "$1: $line"; done <publish.out
    # One that was ended while the server was stopped must not leave it so.
    kill -CONT "$server"
    [[ $status -eq 0 ]] || fail "$1: $(cat publish.err)"
    stop_server
}

tools
side_by_side made
side_by_side published
