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

# told LANGUAGE: against a server of its own.
told() {
    local line
    cd "$scratch/$1"
    scratch=$PWD
    trap clean_up EXIT
    start_server STARLING__STREAMS__MAX_AGE=5s STARLING__STREAMS__HEARTBEAT_INTERVAL=250ms \
        STARLING__SERVER__MAX_CONNECTION_AGE=5s STARLING__SERVER__MAX_CONNECTION_AGE_GRACE=1s \
        STARLING__DRAIN__SPREAD=1s STARLING__DRAIN__TIMEOUT=5s
    "run_$1" "$address" "$server" >story.out 2>story.err || fail "$1: $(cat story.out story.err)"
    while read -r line; do ok "$1: $line"; done <story.out
    server_stops
}

tools
side_by_side made
side_by_side told
