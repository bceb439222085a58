#!/usr/bin/env bash
# The chart by real Helm: what it renders is valid Kubernetes, what it refuses it refuses in words, and what it writes
# into its ConfigMap and its pods runs with the real binary. No cluster is needed.
#
# STARLING_BIN, GRPCURL: see lib.sh. HELM, PYTHON: helm, and a Python that has .ci/requirements.txt; default: those of
# .ci/run.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
HELM=${HELM:-$root/target/ci/bin/helm}
PYTHON=${PYTHON:-$root/target/ci/venv/bin/python}
chart=$root/helm/starling
# The oldest that the chart allows, the last without and the first with a preStop that sleeps, and a new one. Always
# given: a helm that `go install` built knows no version of Kubernetes of its own and takes 1.20.
versions=(1.27.0 1.29.0 1.30.0 1.37.0)
newest=${versions[-1]}
# Where a Deployment has its pod.
pod=spec.template.spec

chart_py() {
    "$PYTHON" "$root/.ci/e2e/chart.py" "$@"
}

# render OUTPUT VERSION ARGUMENTS...: release "live" in namespace "media".
render() {
    local output=$1 version=$2
    shift 2
    "$HELM" template live "$chart" --namespace media --kube-version "$version" "$@" >"$output" 2>"$scratch/helm.err" ||
        fail "helm template $*: $(cat "$scratch/helm.err")"
}

# refused PATTERN ARGUMENTS...: helm fails, and its message has the pattern.
refused() {
    local pattern=$1
    shift
    if "$HELM" template live "$chart" --kube-version "$newest" "$@" >/dev/null 2>"$scratch/helm.err"; then
        fail "accepted: $*"
    fi
    grep -qE -- "$pattern" "$scratch/helm.err" || fail "$* is refused without \"$pattern\": $(cat "$scratch/helm.err")"
    ok "refused: $*"
}

# grace SECONDS ARGUMENTS...: the grace period of the pod.
grace() {
    local wanted=$1 found
    shift
    render "$scratch/grace.yaml" "$newest" "$@"
    found=$(chart_py get Deployment live-starling $pod.terminationGracePeriodSeconds "$scratch/grace.yaml")
    [[ $found == "$wanted" ]] || fail "the grace period is $found, not $wanted, with: $*"
    ok "grace period $found s with: ${*:-the defaults}"
}

printf 'helm %s\n' "$("$HELM" version --short)"
app_version=$(sed -n 's/^appVersion: "\(.*\)"$/\1/p' "$chart/Chart.yaml")
[[ "starling $app_version" == "$("$starling" --version)" ]] ||
    fail "appVersion is $app_version, but: $("$starling" --version)"
ok "appVersion is that of the binary, $app_version"
told=$(chart_py schema "$chart" "$root/src/config/default.toml" "$starling")
ok "the schema says what the program says: $told"

# --- what it renders
for values in values values-production ci/full-values ci/ipv6-values ci/cluster-values; do
    file=$chart/$values.yaml
    name=${values##*/}
    "$HELM" lint --strict "$chart" --values "$file" --kube-version "$newest" >"$scratch/lint" 2>&1 ||
        fail "helm lint with $name: $(cat "$scratch/lint")"
    for version in "${versions[@]}"; do
        render "$scratch/$name-$version.yaml" "$version" --values "$file"
        kinds=$(chart_py validate "$version" "$scratch/$name-$version.yaml") || fail "not valid in Kubernetes $version"
    done
    ok "$name: lint, and valid in Kubernetes ${versions[*]}: $kinds"
done
# The validator itself must refuse: an unknown field, a wrong type, a container that may write, a key twice,
# a Service that selects no pod.
good=$scratch/values-$newest.yaml
for edit in 's/revisionHistoryLimit:/revisionHistoryLimits:/' 's/replicas: 1/replicas: one/' \
    's/readOnlyRootFilesystem: true/readOnlyRootFilesystem: false/' 's/^automountS.*/&\n&/' \
    's|^    app.kubernetes.io/component: server|&s|'; do
    sed "$edit" "$good" >"$scratch/bad.yaml"
    ! chart_py validate "$newest" "$scratch/bad.yaml" >/dev/null 2>&1 || fail "taken for valid after $edit"
done
ok 'the validator refuses objects that were spoilt'

lifecycle=$(chart_py get Deployment live-starling $pod.containers.0.lifecycle "$good")
[[ $lifecycle == '{"preStop": {"sleep": {"seconds": 5}}}' ]] ||
    fail 'no preStop sleep of 5 s'
for without in "values-1.29.0" "ipv6-values-$newest"; do
    ! grep -q preStop "$scratch/$without.yaml" || fail "a preStop in $without"
done
ok 'preStop sleeps 5 s by default, is not there before Kubernetes 1.30 nor with 0 s'
for probe in startup readiness liveness; do
    port=$(chart_py get Deployment birds $pod.containers.0.${probe}Probe.grpc.port "$scratch/full-values-$newest.yaml")
    [[ $port == 6001 ]] || fail "the ${probe}Probe asks port $port"
done
ports=$(chart_py get Service birds spec.ports.0.port "$scratch/full-values-$newest.yaml")/$(
    chart_py get Service birds-headless spec.ports.0.port "$scratch/full-values-$newest.yaml")
[[ $ports == 443/6000 ]] || fail "ports of Service and headless Service: $ports"
[[ $(chart_py get Deployment birds $pod.containers.0.ports.2 "$scratch/full-values-$newest.yaml") == *'"containerPort": 6002'* ]] ||
    fail 'the port of the admin pages does not follow config.admin.listen'
[[ $(chart_py get PodMonitor birds spec.podMetricsEndpoints.0.port "$scratch/full-values-$newest.yaml") == admin ]] ||
    fail 'the PodMonitor scrapes another port'
[[ $(chart_py get Deployment live-starling 'spec.template.metadata.annotations.prometheus\.io/port' "$good") == 50053 ]] ||
    fail 'the annotations name another port than that of the admin pages'
! grep -qE 'name: admin|prometheus.io' "$scratch/ipv6-values-$newest.yaml" || fail 'there is a port of what is off'
ok 'the port admin, the annotations and the PodMonitor follow config.admin.listen'

ok 'probes follow config.server.health_listen, the headless Service follows listen, the Service has its own port'

render "$scratch/other.yaml" "$newest" --set config.store.shards=32
before=$(grep checksum/config "$good") && after=$(grep checksum/config "$scratch/other.yaml")
[[ $before != "$after" ]] || fail "the checksum does not follow the configuration"
ok 'another configuration is another pod'

# With RollingUpdate two pods would each have a state of its own. The schemas do not know which names there are.
[[ $(chart_py get Deployment live-starling spec.strategy.type "$good") == Recreate ]] || fail 'an upgrade runs two pods'
ok 'an upgrade stops the old pod before it starts the new one'

# --- several pods
several=$scratch/cluster-values-$newest.yaml
# of_cluster KIND PATH WANTED: one value of one object of the cluster.
of_cluster() {
    local found
    found=$(chart_py get "$1" "$2" "$3" "$several")
    [[ $found == "$4" ]] || fail "$3 of $1 $2 is $found, not $4"
}
of_cluster Deployment flock spec.strategy '{"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}'
of_cluster Deployment flock spec.replicas 5
of_cluster PodDisruptionBudget flock spec.maxUnavailable 1
of_cluster Service flock-peers spec.clusterIP None
of_cluster Service flock-peers spec.publishNotReadyAddresses true
of_cluster Service flock-peers spec.ports.0.port 8003
! chart_py get Service flock-headless spec.publishNotReadyAddresses "$several" >/dev/null 2>&1 ||
    fail 'clients are sent to pods that are not ready'
for probe in startup/livez readiness/readyz liveness/livez; do
    of_cluster Deployment flock $pod.containers.0.${probe%/*}Probe.httpGet "{\"port\": \"admin\", \"path\": \"/${probe#*/}\", \"scheme\": \"HTTPS\"}"
done
of_cluster Deployment flock $pod.containers.0.startupProbe.failureThreshold 120
of_cluster Deployment flock $pod.containers.0.ports.3.containerPort 8003
of_cluster Deployment flock $pod.containers.0.env.2.valueFrom.fieldRef.fieldPath status.podIP
# The kubelet replaces $(POD_IP), which must stand before it.
of_cluster Deployment flock $pod.containers.0.env.3 '{"name": "STARLING__CLUSTER__PEER_ADDRESS", "value": "[$(POD_IP)]:8003"}'
of_cluster Deployment flock $pod.topologySpreadConstraints.0.topologyKey topology.kubernetes.io/zone
of_cluster Deployment flock $pod.topologySpreadConstraints.0.whenUnsatisfiable DoNotSchedule
! chart_py get Deployment flock $pod.topologySpreadConstraints.1 "$several" >/dev/null 2>&1 || fail 'spread over nodes that is off'
of_cluster Deployment flock $pod.terminationGracePeriodSeconds 40
ok 'several pods: one more, then one less; probes by HTTP; a Service of their own, with those that are not ready'
chart_py get ConfigMap flock 'data.starling\.toml' "$several" >"$scratch/cluster.toml"
for line in 'name = "flock-1_A"' 'nats_urls = "tls://nats-0.nats:4222,tls://nats-1.nats:4222"' 'nats_tls = true' \
    'nats_tls_first = true' 'nats_nkey_file = "/etc/starling-nats/nats.nk"' 'nats_tls_ca_file = "/etc/starling-nats-tls/ca.crt"' \
    'nats_tls_cert_file = "/etc/starling-nats-tls/tls.crt"' 'nats_tls_key_file = "/etc/starling-nats-tls/tls.key"' \
    'peer_listen = "[::]:8003"' 'peer_seeds = "flock-peers:8003"' 'peer_secret_file = "/etc/starling-peer/secret"' \
    'max_log_bytes = 8589934592' 'activate = "manual"'; do
    grep -qxF "$line" "$scratch/cluster.toml" || fail "the configuration of several pods has no $line"
done
for volume in 2=peer=peers 3=nats=nats-user 4=nats-tls=nats-certs; do
    IFS== read -r at name secret <<<"$volume"
    of_cluster Deployment flock $pod.containers.0.volumeMounts.$at.mountPath "/etc/starling-$name"
    of_cluster Deployment flock $pod.containers.0.volumeMounts.$at.name "$name"
    of_cluster Deployment flock $pod.volumes.$at "{\"name\": \"$name\", \"secret\": {\"secretName\": \"$secret\"}}"
done
ok 'several pods: the Secrets are mounted, and the configuration says where'
[[ $(chart_py get NetworkPolicy flock spec.ingress.3.ports.0.port "$several") == peer ]] || fail 'the peers have no rule'
[[ $(chart_py get NetworkPolicy flock spec.ingress.3.from "$several") == '[{"podSelector": {"matchLabels": {"app.kubernetes.io/component": "server", "app.kubernetes.io/instance": "live", "app.kubernetes.io/name": "starling"}}}]' ]] ||
    fail "others reach the port of peers: $(chart_py get NetworkPolicy flock spec.ingress.3.from "$several")"
[[ $(chart_py get NetworkPolicy flock spec.ingress "$several" | grep -o '"port": "[a-z]*"' | tr '\n' ' ') == \
    '"port": "grpc" "port": "health" "port": "admin" "port": "peer" ' ]] || fail 'a NetworkPolicy with other ports'
render "$scratch/policy.yaml" "$newest" --set networkPolicy.enabled=true
[[ $(chart_py get NetworkPolicy live-starling spec.ingress.0 "$scratch/policy.yaml") == '{"ports": [{"port": "grpc", "protocol": "TCP"}]}' ]] ||
    fail 'clients are kept out'
! grep -qE 'peer|POD_IP|PodDisruptionBudget|topologySpread' "$scratch/policy.yaml" "$good" || fail 'one pod has what several have'
ok 'the port of peers is for pods of the release alone'
clustered=(--set cluster.enabled=true,cluster.name=a,cluster.nats.urls={nats://nats:4222},cluster.peer.existingSecret=peers)
render "$scratch/plain.yaml" "$newest" "${clustered[@]}" --set replicaCount=3
chart_py validate "$newest" "$scratch/plain.yaml" >/dev/null || fail 'not valid with several pods'
[[ $(chart_py get Deployment live-starling $pod.containers.0.env.3.value "$scratch/plain.yaml") == '$(POD_IP):50061' &&
    $(chart_py get Deployment live-starling $pod.topologySpreadConstraints.1.topologyKey "$scratch/plain.yaml") == topology.kubernetes.io/zone ]] ||
    fail 'the defaults of several pods'
chart_py get ConfigMap live-starling 'data.starling\.toml' "$scratch/plain.yaml" >"$scratch/plain.toml"
grep -qxF 'peer_listen = "0.0.0.0:50061"' "$scratch/plain.toml" || fail 'the peers of IPv4 listen elsewhere'
# IPv4 where all families are listened on.
render "$scratch/family.yaml" "$newest" "${clustered[@]}" --set 'cluster.peer.ipFamily=IPv4,config.server.listen=[::]:50051'
[[ $(chart_py get Deployment live-starling $pod.containers.0.env.3.value "$scratch/family.yaml") == '$(POD_IP):50061' ]] ||
    fail 'brackets around an address of IPv4'
# One Secret for all that NATS wants.
render "$scratch/one.yaml" "$newest" "${clustered[@]}" \
    --set cluster.nats.existingSecret=nats,cluster.nats.credentialsKey=nats.creds,cluster.nats.tls.enabled=true,cluster.nats.tls.caKey=ca.crt
[[ $(grep -cE '^ +secretName: nats$' "$scratch/one.yaml") == 2 ]] || fail 'one Secret is not mounted for both'
for toml in plain cluster; do
    STARLING__CLUSTER__PEER_ADDRESS=10.0.0.1:8003 "$starling" serve --config "$scratch/$toml.toml" --print-config \
        >"$scratch/printed.toml" 2>"$scratch/server.err" || fail "the configuration of several pods is refused ($toml)"
    grep -qxF 'peer_address = "10.0.0.1:8003"' "$scratch/printed.toml" || fail 'the address of the pod is not in force'
done
count=$(chart_py config "$chart/ci/cluster-values.yaml" "$scratch/printed.toml") || fail 'the configuration of several pods is not in force'
ok "several pods: the program takes the configuration, $count keys"

# What the example of NATS allows is what a test of the cluster shows to be enough, and what the documentation says.
allowed=0
while read -r subject; do
    grep -qF "\"${subject//production/a}\"" <(sed -n '/fn these_permissions_are_enough/,/^}/p' "$root/crates/cluster/tests/nats/start.rs" | tr -d '\\') ||
        fail "no test allows $subject"
    grep -qF "\`$subject\`" "$root/docs/cluster.md" || fail "docs/cluster.md does not allow $subject"
    allowed=$((allowed + 1))
done < <(sed -n '/permissions:/,/^$/s/^ *- //p' "$root/examples/nats/values.yaml")
((allowed == 9)) || fail "the example of NATS allows $allowed subjects"
grep -qx '  name: production' "$chart/values-production.yaml" || fail 'the example of NATS is for another cluster'
ok "the example of NATS allows what is needed, $allowed subjects"

# preStop + drain.timeout + margin.
grace 30
grace 119 --set shutdown.preStopSeconds=8,shutdown.marginSeconds=20 --set-string 'config.drain.timeout=1m 30s 500ms'
grace 3615 --set-string config.drain.timeout=1h
grace 40 "${clustered[@]}"

# TLS: the Secret is mounted as a directory, its files are in the configuration, and the test trusts its authority.
secured=(--set tls.secretName=certs,config.tls.client_auth=optional,tls.clientCaSecretName=clients)
render "$scratch/tls.yaml" "$newest" "${secured[@]}"
chart_py validate "$newest" "$scratch/tls.yaml" >/dev/null || fail 'not valid with TLS'
chart_py get ConfigMap live-starling 'data.starling\.toml' "$scratch/tls.yaml" >"$scratch/tls.toml"
for line in 'cert_file = "/etc/starling-tls/tls.crt"' 'key_file = "/etc/starling-tls/tls.key"' \
    'client_ca_file = "/etc/starling-client-ca/ca.crt"' 'client_auth = "optional"'; do
    grep -qF "$line" "$scratch/tls.toml" || fail "the configuration with TLS has no $line"
done
"$starling" serve --config "$scratch/tls.toml" --print-config >/dev/null || fail 'the configuration with TLS is refused'
[[ $(chart_py get Deployment live-starling $pod.volumes.1.secret.secretName "$scratch/tls.yaml") == certs ]] ||
    fail 'the Secret is not mounted'
[[ $(chart_py get Service live-starling spec.ports.0.appProtocol "$scratch/tls.yaml") == https ]] ||
    fail 'the Service takes TLS for plain text'
mapfile -t args < <(chart_py get Pod live-starling-test spec.containers.0.args "$scratch/tls.yaml")
[[ ${args[*]} == 'healthcheck --server https://live-starling:50051 --ca /etc/starling-tls/ca.crt' ]] ||
    fail "the test with TLS asks: ${args[*]}"
[[ $(chart_py get Pod live-starling-test spec.volumes.0.secret.optional "$scratch/tls.yaml") == true ]] ||
    fail 'the test with TLS waits for an authority that may be missing'
render "$scratch/tls.yaml" "$newest" --set tls.secretName=certs,config.tls.client_auth=required
! grep -q 'helm.sh/hook: test' "$scratch/tls.yaml" || fail 'a test that can show no certificate'
ok 'tls.secretName: mounted, configured, and asked over TLS'

# The admin pages over TLS: configured, and told to scrapers. Calls are not asked for certificates then.
scraped=(--set tls.secretName=certs,config.admin.tls=true,config.admin.client_auth=required,metrics.podMonitor.enabled=true
    --set tls.clientCaSecretName=clients,metrics.podMonitor.tlsConfig.serverName=starling.example)
render "$scratch/admin.yaml" "$newest" "${scraped[@]}"
chart_py validate "$newest" "$scratch/admin.yaml" >/dev/null || fail 'not valid with TLS for the admin pages'
chart_py get ConfigMap live-starling 'data.starling\.toml' "$scratch/admin.yaml" >"$scratch/admin.toml"
for line in 'client_ca_file = "/etc/starling-client-ca/ca.crt"' 'client_auth = "required"' 'tls = true'; do
    grep -qF "$line" "$scratch/admin.toml" || fail "the configuration with TLS for the admin pages has no $line"
done
"$starling" serve --config "$scratch/admin.toml" --print-config >/dev/null || fail 'TLS for the admin pages is refused'
[[ $(chart_py get Deployment live-starling 'spec.template.metadata.annotations.prometheus\.io/scheme' "$scratch/admin.yaml") == https &&
    $(chart_py get PodMonitor live-starling spec.podMetricsEndpoints.0.scheme "$scratch/admin.yaml") == https &&
    $(chart_py get PodMonitor live-starling spec.podMetricsEndpoints.0.tlsConfig.serverName "$scratch/admin.yaml") == starling.example ]] ||
    fail 'scrapers are not told of TLS'
ok 'config.admin.tls: configured, and told to scrapers'

# Tokens, as the documentation has them: the keys are mounted as a directory, and configured.
tokens=(--set config.identity.mode=jwt,config.identity.issuer=https://login.example,config.identity.audience=starling)
keyed=(--set keysSecret=keys,config.identity.keys_dir=/etc/starling-keys)
render "$scratch/tokens.yaml" "$newest" "${tokens[@]}" "${keyed[@]}"
chart_py validate "$newest" "$scratch/tokens.yaml" >/dev/null || fail 'not valid with tokens'
chart_py get ConfigMap live-starling 'data.starling\.toml' "$scratch/tokens.yaml" >"$scratch/tokens.toml"
"$starling" serve --config "$scratch/tokens.toml" --print-config >"$scratch/printed.toml" 2>"$scratch/server.err" ||
    fail 'the configuration with tokens is refused'
for line in 'mode = "jwt"' 'issuer = "https://login.example"' 'audience = "starling"' 'keys_dir = "/etc/starling-keys"'; do
    grep -qxF "$line" "$scratch/printed.toml" || fail "the configuration in force with tokens has no $line"
done
[[ $(chart_py get Deployment live-starling $pod.volumes.1.secret.secretName "$scratch/tokens.yaml") == keys &&
    $(chart_py get Deployment live-starling $pod.containers.0.volumeMounts.1.mountPath "$scratch/tokens.yaml") == /etc/starling-keys ]] ||
    fail 'the Secret of the keys is not mounted'
ok 'keysSecret: mounted and configured'

# The PROXY protocol: in force, and no test that would be refused.
render "$scratch/proxy.yaml" "$newest" --set config.server.proxy_protocol=v2,config.server.trusted_proxies=10.0.0.0/8
chart_py get ConfigMap live-starling 'data.starling\.toml' "$scratch/proxy.yaml" >"$scratch/proxy.toml"
"$starling" serve --config "$scratch/proxy.toml" --print-config >"$scratch/printed.toml" 2>"$scratch/server.err" ||
    fail 'the PROXY protocol is refused'
grep -q '^proxy_protocol = "v2"$' "$scratch/printed.toml" || fail 'the PROXY protocol is not in force'
! grep -q 'helm.sh/hook: test' "$scratch/proxy.yaml" || fail 'a test that is no proxy'
ok 'config.server.proxy_protocol: in force, and without a test'

# --- what it refuses
refused 'config.admin.tls: the certificate is that of a Secret' --set config.admin.tls=true
refused 'config.admin.client_auth: certificates are shown over TLS only' --set config.admin.client_auth=required
refused 'config.server.proxy_protocol: nobody could connect' --set config.server.proxy_protocol=v2
refused 'config.tls.cert_file: the files of TLS are those of Secrets' --set config.tls.cert_file=/tls.crt
refused 'config.tls.client_auth: clients show certificates over TLS only' --set config.tls.client_auth=required
refused 'replicaCount is 2, but Starling keeps its state in one process' --set replicaCount=2
refused 'cluster.enabled to true' --set replicaCount=3,cluster.name=a
refused 'cluster.name is empty' --set cluster.enabled=true
refused 'cluster.nats.urls is empty' --set cluster.enabled=true,cluster.name=a
refused 'cluster.peer.existingSecret is empty' --set cluster.enabled=true,cluster.name=a,cluster.nats.urls={nats:4222}
refused "'/cluster/name': 'a.b' does not match pattern" "${clustered[@]}" --set cluster.name=a.b
refused "'/cluster/nats/urls/0': .* does not match pattern" "${clustered[@]}" --set 'cluster.nats.urls={a\,b}'
refused 'cluster.nats.urls: everybody who reads the ConfigMap would see the password' "${clustered[@]}" \
    --set cluster.nats.urls={nats://user:word@nats:4222}
refused 'cluster.nats: there are credentialsKey and nkeyKey' "${clustered[@]}" \
    --set cluster.nats.existingSecret=nats,cluster.nats.nkeyKey=a,cluster.nats.credentialsKey=b
refused 'cluster.nats.existingSecret is empty' "${clustered[@]}" --set cluster.nats.nkeyKey=a
refused 'cluster.nats.existingSecret: nothing of it is used' "${clustered[@]}" --set cluster.nats.existingSecret=nats
refused 'cluster.nats.tls: there is more to say only with TLS' "${clustered[@]}" --set cluster.nats.tls.caKey=ca.crt
refused 'cluster.nats.tls: a certificate has a key' "${clustered[@]}" \
    --set cluster.nats.tls.enabled=true,cluster.nats.tls.existingSecret=a,cluster.nats.tls.certKey=b
refused 'cluster.nats.tls.existingSecret is empty' "${clustered[@]}" --set cluster.nats.tls.enabled=true,cluster.nats.tls.caKey=b
refused 'cluster.nats.tls.existingSecret: nothing of it is used' "${clustered[@]}" \
    --set cluster.nats.tls.enabled=true,cluster.nats.tls.existingSecret=a
refused 'config.admin.listen is off: with cluster.enabled' "${clustered[@]}" --set config.admin.listen=off
refused 'config.store.shards: 32 is not 64' "${clustered[@]}" --set config.store.shards=32
refused 'cluster.peer.port: 50052 is that of' "${clustered[@]}" --set cluster.peer.port=50052
refused 'config.cluster.nats_urls: it follows from other values: set cluster.nats.urls' --set config.cluster.nats_urls=nats:4222
refused "'/config/cluster/replicas': value must be one of 1, 3, 5" --set config.cluster.replicas=2
refused 'config.cluster.max_staleness: "1s" is not in' "${clustered[@]}" --set config.cluster.max_staleness=1s
refused "additional properties 'autoscaling' not allowed" --set autoscaling.enabled=true
refused "'/config/store': additional properties 'shard' not allowed" --set config.store.shard=64
refused "'/config/drain/timeout': got number, want string" --set config.drain.timeout=15
refused "'/config/server/reflection': got string, want boolean" --set-string config.server.reflection=yes
refused "'/config/store/list_page': maximum: got 1,001, want 1,000" --set config.store.list_page=1001
refused 'config.drain.timeout: "15 parsecs" is not a duration' --set-string 'config.drain.timeout=15 parsecs'
refused 'config.drain.timeout: "15" is not a duration' --set-string config.drain.timeout=15
refused 'config.streams.max_age: "never" is not a duration' --set config.streams.max_age=never
refused 'config.tls.reload_interval: "0s" is not in 1s to 1h' --set tls.secretName=certs,config.tls.reload_interval=0s
refused 'config.streams.max_age: "999ms" is not in 1s to 30d' --set config.streams.max_age=999ms
refused 'config.retention.ended: "24h 1ms" is not in 0s to 24h' --set-string 'config.retention.ended=24h 1ms'
render "$scratch/ends.yaml" "$newest" --set config.streams.max_age=0s,config.streams.heartbeat_interval=100ms
refused 'config.drain.timeout: "5s" is not longer than config.drain.spread, "5000ms"' \
    --set config.drain.timeout=5s,config.drain.spread=5000ms
refused 'config.server.listen: "127.0.0.1:50051" is not 0.0.0.0:PORT' --set config.server.listen=127.0.0.1:50051
refused 'config.server.listen: "0.0.0.0:65536" is not 0.0.0.0:PORT' --set config.server.listen=0.0.0.0:65536
refused 'config.server.health_listen: "" is not 0.0.0.0:PORT' --set config.server.health_listen=
refused 'config.server.health_listen: "\[::\]:50051" has the port of config.server.listen' \
    --set 'config.server.health_listen=[::]:50051'
refused 'config.identity.mode is "off", so that everybody who reaches the Service could do everything' \
    --set config.identity.insecure=false
refused 'config.identity.issuer is empty: with mode "jwt"' --set config.identity.mode=jwt,config.identity.audience=us
refused 'config.identity.audience is empty: with mode "jwt"' --set config.identity.mode=jwt,config.identity.issuer=us
refused 'keysSecret is empty: with config.identity.mode "jwt"' "${tokens[@]}"
refused 'config.identity: no keys are named: set keys_dir to "/etc/starling-keys"' "${tokens[@]}" --set keysSecret=keys
for key in jwks_file keys_dir hs256_secret_file; do
    refused "config.identity.$key: \"/etc/starling-keys-old\" is not below /etc/starling-keys" "${tokens[@]}" "${keyed[@]}" \
        --set config.identity.$key=/etc/starling-keys-old
done
refused 'tls.clientCaSecretName: nobody is asked for a certificate' --set tls.secretName=certs,tls.clientCaSecretName=clients
for secret in keysSecret tls.secretName tls.clientCaSecretName; do
    refused "'/${secret//.//}': 'My_Secret' does not match pattern" --set $secret=My_Secret
done
refused "'/config': missing property 'identity'" --set config.identity=null
refused "'/metrics': missing property 'podMonitor'" --set metrics.podMonitor=null
refused "'/config/identity/mode': value must be" --set config.identity.mode=none
refused 'config.admin.listen: "127.0.0.1:50053" is not 0.0.0.0:PORT' --set config.admin.listen=127.0.0.1:50053
refused 'config.admin.listen: "0.0.0.0:50052" has the port of config.server.listen or' \
    --set config.admin.listen=0.0.0.0:50052
refused 'metrics.podMonitor.enabled: there is nothing to scrape' \
    --set config.admin.listen=off,metrics.podMonitor.enabled=true
refused 'extraEnv: STARLING__DRAIN__TIMEOUT would win' \
    --set 'extraEnv[0].name=STARLING__DRAIN__TIMEOUT,extraEnv[0].value=1h'
refused 'kubeVersion: >=1.27.0-0' --kube-version 1.26.0

# An upgrade looks for its Secrets in the cluster, before it stops the old pod.
"$PYTHON" "$root/.ci/e2e/cluster.py" default live-starling,flock:blue:3,still:blue:0 peers=secret certs=tls.crt,tls.key whole=tls.crt,tls.key,ca.crt keys=dev.jwk \
    >"$scratch/port" 2>"$scratch/cluster.err" &
cluster=$!
until_true 20 'the cluster to name its port' grep -q . "$scratch/port"
upgrade=(--is-upgrade --dry-run=server --kube-apiserver "http://127.0.0.1:$(cat "$scratch/port")")
refused 'keysSecret: there is no Secret "new" in the namespace "default"' "${upgrade[@]}" --set keysSecret=new
refused 'tls.secretName: there is no Secret "cert"' "${upgrade[@]}" --set tls.secretName=cert
refused 'tls.secretName: the Secret "keys" has no tls.crt' "${upgrade[@]}" --set tls.secretName=keys
refused 'tls.secretName: the Secret "certs" has no ca.crt' "${upgrade[@]}" \
    --set tls.secretName=certs,config.tls.client_auth=optional
refused 'tls.clientCaSecretName: the Secret "keys" has no ca.crt' "${upgrade[@]}" \
    --set tls.secretName=certs,config.tls.client_auth=optional,tls.clientCaSecretName=keys
for there in tls.secretName=certs keysSecret=keys tls.secretName=whole,config.tls.client_auth=required \
    tls.secretName=certs,config.tls.client_auth=required,tls.clientCaSecretName=whole; do
    render "$scratch/upgrade.yaml" "$newest" --namespace default "${upgrade[@]}" --set "$there"
done
# Pods of one cluster are replaced one by one; those of another, or of none, have to go first.
refused 'cluster.name: the pods that run are of no cluster' "${upgrade[@]}" "${clustered[@]}"
refused 'cluster.name: the pods that run are of the cluster "blue", .* scale deployment flock --replicas=0' \
    "${upgrade[@]}" "${clustered[@]}" --set fullnameOverride=flock
refused 'cluster.peer.existingSecret: there is no Secret "none" .* would wait for it$' "${upgrade[@]}" "${clustered[@]}" \
    --set fullnameOverride=flock,cluster.name=blue,cluster.peer.existingSecret=none
refused 'cluster.nats.existingSecret: the Secret "keys" has no nats.creds' "${upgrade[@]}" "${clustered[@]}" \
    --set fullnameOverride=flock,cluster.name=blue,cluster.nats.existingSecret=keys,cluster.nats.credentialsKey=nats.creds
for there in fullnameOverride=flock,cluster.name=blue fullnameOverride=still,cluster.name=green; do
    render "$scratch/upgrade.yaml" "$newest" --namespace default "${upgrade[@]}" "${clustered[@]}" --set "$there"
done
# Back to one pod all others stop first.
render "$scratch/upgrade.yaml" "$newest" --namespace default "${upgrade[@]}" --set fullnameOverride=flock
# One to install may come later, and without a cluster nobody can look.
render "$scratch/upgrade.yaml" "$newest" "${upgrade[@]:1}" --set tls.secretName=cert
render "$scratch/upgrade.yaml" "$newest" --is-upgrade --set tls.secretName=cert
kill "$cluster"
wait "$cluster" 2>/dev/null || true
ok 'an upgrade to Secrets that are there is rendered, as is an install before them'

# --- what it writes runs
# Without a cluster Helm shows no notes: in a copy of the chart they are the text of an object.
noted=$scratch/noted
cp -r "$chart" "$noted"
mv "$noted/templates/NOTES.txt" "$noted/notes"
cat >"$noted/templates/notes.yaml" <<'YAML'
kind: Notes
metadata: {name: notes}
text: {{ tpl (.Files.Get "notes") . | toJson }}
YAML

# notes ARGUMENTS...: what an install says, in the file notes.
notes() {
    "$HELM" template live "$noted" --namespace media --kube-version "$newest" "$@" \
        --show-only templates/notes.yaml >"$scratch/notes.yaml" 2>"$scratch/helm.err" ||
        fail "the notes: $(cat "$scratch/helm.err")"
    chart_py get Notes notes text "$scratch/notes.yaml" >"$scratch/notes"
}
notes --set tls.secretName=certs,config.tls.client_auth=required "${tokens[@]}" "${keyed[@]}" --set config.server.reflection=false
grep -qF 'grpcurl -insecure -cert client.crt -key client.key -import-path proto' "$scratch/notes" &&
    grep -qF 'livestream.proto -H "authorization: Bearer $TOKEN" localhost:50051' "$scratch/notes" ||
    fail "what is to be shown is not said: $(cat "$scratch/notes")"
! grep -qE 'helm test|WARNING: config.identity.mode' "$scratch/notes" || fail 'the notes speak of a test, or of strangers'
notes --set config.server.proxy_protocol=v2,config.server.trusted_proxies=10.0.0.0/8
! grep -qE '^ +(helm|kubectl|grpcurl)' "$scratch/notes" || fail 'the notes have commands that only a proxy could give'
notes "${clustered[@]}" --set replicaCount=3
grep -qE 'exec deployment/live-starling -- starling cluster status --server http://live-starling:50051$' "$scratch/notes" &&
    ! grep -qE 'memory of one pod|less than two pods' "$scratch/notes" || fail "the notes of several pods: $(cat "$scratch/notes")"
notes --values "$chart/values-production.yaml"
grep -qF -- '--server https://live-starling:50051 --ca /etc/starling-tls/ca.crt --token "$TOKEN"' "$scratch/notes" ||
    fail "the notes of several pods do not say how to ask: $(cat "$scratch/notes")"
notes "${clustered[@]}" --set config.server.proxy_protocol=v2,config.server.trusted_proxies=10.0.0.0/8
! grep -q 'starling cluster status' "$scratch/notes" || fail 'the notes ask where only a proxy may'
ok 'the notes say which certificate and which token are wanted, and nothing that cannot be done'

for values in values full-values ipv6-values; do
    rendered=$scratch/$values-$newest.yaml
    name=live-starling
    file=$chart/ci/$values.yaml
    [[ $values != full-values ]] || name=birds
    [[ $values != values ]] || file=$chart/values.yaml
    toml=$scratch/$values.toml
    chart_py get ConfigMap $name 'data.starling\.toml' "$rendered" >"$toml" || fail "no starling.toml in $values"
    # As the pod runs it: its arguments, its variable over that of the image.
    listen=$(chart_py get Deployment $name $pod.containers.0.env.0.value "$rendered")
    mapfile -t args < <(chart_py get Deployment $name $pod.containers.0.args "$rendered")
    [[ ${args[*]} == 'serve --config /etc/starling/starling.toml' ]] || fail "the arguments are: ${args[*]}"
    STARLING__SERVER__LISTEN=$listen "$starling" serve --config "$toml" --print-config \
        >"$scratch/printed.toml" 2>"$scratch/server.err" ||
        fail "the configuration of $values is refused"
    count=$(chart_py config "$file" "$scratch/printed.toml") || fail "the configuration of $values is not in force"
    if [[ $values == values ]]; then
        limit=$(chart_py get Deployment $name $pod.containers.0.resources.limits.memory "$rendered")
        most=$(sed -nE 's/^# +([0-9]+)  in all$/\1/p' "$scratch/printed.toml")
        ((most > 0 && most * 5 / 4 <= ${limit%Gi} * 1024)) || fail "the budgets add up to $most MiB, the limit is $limit"
        ok "the limit of memory, $limit, is a quarter more than all budgets, $most MiB"
        # The same with TLS and tokens, as the documentation says.
        render "$scratch/secure.yaml" "$newest" --set tls.secretName=certs "${tokens[@]}" "${keyed[@]}"
        chart_py get ConfigMap $name 'data.starling\.toml' "$scratch/secure.yaml" >"$scratch/secure.toml"
        most=$("$starling" serve --config "$scratch/secure.toml" --print-config | sed -nE 's/^# +([0-9]+)  in all$/\1/p')
        ((most > 0 && most * 5 / 4 <= ${limit%Gi} * 1024)) || fail "with TLS budgets add up to $most MiB, the limit is $limit"
        ok "the same with TLS and tokens, $most MiB"
    fi
    serve_args=(--config "$toml")
    start_server STARLING__SERVER__HEALTH_LISTEN=127.0.0.1:0 STARLING__ADMIN__LISTEN=127.0.0.1:0 \
        STARLING__LOG__FILTER=info STARLING__LOG__FORMAT=json
    "$starling" healthcheck --server "http://$address" || fail "not healthy with $values"
    ok "$values: $count keys in force, serves, is healthy"
    # What the kubelet asks, where there is nothing else.
    until_true 20 'the server to serve health' grep -q '"message":"serving health"' "$scratch/server.err"
    health=$(sed -nE 's/.*"message":"serving health","address":"([0-9.:]+)".*/\1/p' "$scratch/server.err")
    "$starling" healthcheck --server "http://$health" || fail "no health on its own port with $values"
    ! "$starling" list --server "http://$health" >/dev/null 2>&1 || fail "more than health on its port with $values"
    ok "health, and nothing else, is answered on its own port too"

    mapfile -t args < <(chart_py get Pod $name-test spec.containers.0.args "$rendered")
    service_port=$(chart_py get Service $name spec.ports.0.port "$rendered")
    [[ ${args[2]} == "http://$name:$service_port" ]] || fail "the test asks ${args[2]}"
    "$starling" "${args[@]/"http://$name:$service_port"/"http://$address"}" ||
        fail "the command of helm test: ${args[*]}"
    ok "helm test's command succeeds: ${args[*]}"

    notes --values "$file"
    grep -q "port-forward service/$name 50051:$service_port\$" "$scratch/notes" || fail 'the notes forward another port'
    grep -q 'WARNING: everything is in the memory of one pod' "$scratch/notes" || fail 'the notes do not warn'
    grep -q 'WARNING: config.identity.mode is "off"' "$scratch/notes" || fail 'the notes do not warn of strangers'
    read -r -a line < <(sed -n 's/^  grpcurl //p' "$scratch/notes")
    (cd "$root" && "$GRPCURL" "${line[@]/#localhost:50051/$address}" >"$scratch/answer") ||
        fail "the notes say: grpcurl ${line[*]}"
    ok "the notes' command succeeds: grpcurl ${line[*]}"
    stop_server
    ! "$starling" "${args[@]/"http://$name:$service_port"/"http://$address"}" 2>/dev/null ||
        fail "helm test's command succeeds without a server"
done
printf '%s checks passed\n' "$checked"
