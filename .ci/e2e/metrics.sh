#!/usr/bin/env bash
# A Prometheus server scrapes a server under load: every metric of docs/metrics.md is there, with sane values.
#
# STARLING_BIN: see lib.sh; starling-bench is beside it. PROMETHEUS, PYTHON: default: those on the PATH.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
bench=$(dirname "$starling")/starling-bench
prometheus=${PROMETHEUS:-prometheus}
python=${PYTHON:-python3}
viewers=40

[[ -x $bench ]] || fail "$bench is not there: cargo build"
start_server STARLING__ADMIN__LISTEN=127.0.0.1:0 STARLING__LOG__FILTER=info STARLING__LOG__FORMAT=json
admin_spoke() { grep -q '"message":"serving the admin pages"' "$scratch/server.err"; }
until_true 20 'the admin pages' admin_spoke
admin=$(sed -nE 's/.*"message":"serving the admin pages","address":"([0-9.:]+)".*/\1/p' "$scratch/server.err")

# Prometheus does not tell which port it got when it is left to the system.
port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$scratch/prometheus.yml" <<YAML
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
  - job_name: starling
    static_configs: [{targets: ["$admin"]}]
YAML
"$prometheus" --config.file "$scratch/prometheus.yml" --storage.tsdb.path "$scratch/tsdb" \
    --web.listen-address "127.0.0.1:$port" >"$scratch/prometheus.out" 2>&1 &
scraper=$!
ask() { "$python" "$root/.ci/e2e/scrape.py" "http://127.0.0.1:$port" "$@"; }
until_true 30 'the first scrape' ask up 2>/dev/null
ok "$("$prometheus" --version 2>&1 | head -n 1 | cut -d' ' -f1-3) scrapes http://$admin/metrics"

"$bench" fanout --server "$address" --viewers "$viewers" --size 1200 --rate 30 --duration 8s --runs 1 \
    >"$scratch/bench.out" 2>"$scratch/bench.err" || fail "starling-bench: $(cat "$scratch/bench.out" "$scratch/bench.err")"
# Beside the run: an error.
"$starling" get --server "http://$address" --livestream 424242 >/dev/null 2>&1 && fail 'there is a livestream 424242'
sleep 3

ask metrics "$root/docs/metrics.md" "$viewers" >"$scratch/checks" 2>&1 || fail "$(cat "$scratch/checks")"
while read -r line; do
    ok "$line"
done <"$scratch/checks"

# The end is told before the connections go.
kill -TERM "$server"
server_stops
kill -TERM "$scraper"
wait "$scraper" || true
printf '%s checks passed\n' "$checked"
