#!/usr/bin/env bash
# A Prometheus server scrapes a server under load: every metric of docs/metrics.md is there, with sane values. Before, one
# scrapes over TLS, with the certificate of a reader, and curl asks what others may read there.
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
admin_spoke() { grep -q '"message":"serving the admin pages"' "$scratch/server.err"; }

# start_admin [NAME=VALUE...]: starts the server with admin pages, at $admin.
start_admin() {
    start_server STARLING__ADMIN__LISTEN=127.0.0.1:0 STARLING__LOG__FILTER=info STARLING__LOG__FORMAT=json "$@"
    until_true 20 'the admin pages' admin_spoke
    admin=$(sed -nE 's/.*"message":"serving the admin pages","address":"([0-9.:]+)".*/\1/p' "$scratch/server.err")
}

# scrape [LINE...]: starts a Prometheus server that scrapes $admin, with these lines of its own, and waits for the first
# scrape.
scrape() {
    # Prometheus does not tell which port it got when it is left to the system.
    port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    cat >"$scratch/prometheus.yml" <<YAML
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
  - job_name: starling
    static_configs: [{targets: ["$admin"]}]
$(printf '    %s\n' "$@")
YAML
    rm -rf "$scratch/tsdb"
    "$prometheus" --config.file "$scratch/prometheus.yml" --storage.tsdb.path "$scratch/tsdb" \
        --web.listen-address "127.0.0.1:$port" >"$scratch/prometheus.out" 2>&1 &
    scraper=$!
    until_true 30 'the first scrape' ask up 2>/dev/null
}
ask() { "$python" "$root/.ci/e2e/scrape.py" "http://127.0.0.1:$port" "$@"; }

# --- over TLS
# signed NAME NAMES USAGE: a certificate of the authority ca.
signed() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout "$scratch/$1.key" \
        -out "$scratch/$1.csr" 2>"$scratch/openssl.err" || fail "openssl: $(cat "$scratch/openssl.err")"
    openssl x509 -req -in "$scratch/$1.csr" -CA "$scratch/ca.crt" -CAkey "$scratch/ca.key" -days 2 -out "$scratch/$1.crt" \
        -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=%s\n' "$2" "$3") 2>"$scratch/openssl.err" ||
        fail "openssl: $(cat "$scratch/openssl.err")"
}
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=ca -keyout "$scratch/ca.key" \
    -out "$scratch/ca.crt" 2>"$scratch/openssl.err" || fail "openssl: $(cat "$scratch/openssl.err")"
signed server DNS:localhost,IP:127.0.0.1 serverAuth
signed reader URI:starling://reader clientAuth
signed node URI:starling://node/7 clientAuth
start_admin STARLING__TLS__CERT_FILE="$scratch/server.crt" STARLING__TLS__KEY_FILE="$scratch/server.key" \
    STARLING__TLS__CLIENT_CA_FILE="$scratch/ca.crt" STARLING__ADMIN__TLS=true STARLING__ADMIN__CLIENT_AUTH=required

# page PATH ARGUMENTS...: the status that curl gets.
page() {
    curl -sS -o "$scratch/page" -w '%{http_code}' --cacert "$scratch/ca.crt" "https://$admin$1" "${@:2}"
}
for probe in /livez /readyz; do
    [[ $(page $probe) == 200 ]] || fail "$probe without a certificate: $(cat "$scratch/page")"
done
for private in /metrics /config; do
    [[ $(page $private) == 403 ]] || fail "$private without a certificate: $(cat "$scratch/page")"
    [[ $(page $private --cert "$scratch/node.crt" --key "$scratch/node.key") == 403 ]] ||
        fail "$private with the certificate of a node: $(cat "$scratch/page")"
    [[ $(page $private --cert "$scratch/reader.crt" --key "$scratch/reader.key") == 200 ]] ||
        fail "$private with the certificate of a reader: $(cat "$scratch/page")"
done
ok 'curl over TLS: probes without a certificate, the other pages with that of a reader alone'
scrape 'scheme: https' 'tls_config: {ca_file: ca.crt, cert_file: reader.crt, key_file: reader.key}'
ok "Prometheus scrapes https://$admin/metrics with the certificate of a reader"
kill -TERM "$scraper"
wait "$scraper" || true
stop_server

# --- under load
start_admin
scrape
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
