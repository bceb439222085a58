{{- define "starling.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* Short enough for "-headless" and "-test" behind it: names of Services end at 63. */}}
{{- define "starling.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name }}
{{- if .Values.fullnameOverride }}
{{- $name = .Values.fullnameOverride }}
{{- else if not (contains $name .Release.Name) }}
{{- $name = printf "%s-%s" .Release.Name $name }}
{{- else }}
{{- $name = .Release.Name }}
{{- end }}
{{- $name | trunc 54 | trimSuffix "-" }}
{{- end }}

{{- define "starling.selectorLabels" -}}
app.kubernetes.io/name: {{ include "starling.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "starling.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "starling.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "starling.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default (include "starling.fullname" .) }}
{{- else }}
{{- .Values.serviceAccount.name | default "default" }}
{{- end }}
{{- end }}

{{- define "starling.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}
{{- end }}

{{/* Pod Security Standard "restricted", for the pod. */}}
{{- define "starling.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* The same, for its container. */}}
{{- define "starling.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop:
    - ALL
{{- end }}

{{/* Where pods may run and how their image gets there: holds for the test as for the server. */}}
{{- define "starling.placement" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The port of an address to listen on. Takes a dict: "key" for the message, "listen". */}}
{{- define "starling.portOf" -}}
{{- $port := regexFind "[0-9]+$" .listen | default "0" | atoi }}
{{- if not (and (regexMatch `^(0\.0\.0\.0|\[::\]):[1-9][0-9]{0,4}$` .listen) (le $port 65535)) }}
{{- fail (printf "%s: %q is not 0.0.0.0:PORT or [::]:PORT; in a pod the server must listen on all addresses, on a port that Services and probes can name" .key .listen) }}
{{- end }}
{{- $port }}
{{- end }}

{{- define "starling.port" -}}
{{- include "starling.portOf" (dict "key" "config.server.listen" "listen" .Values.config.server.listen) }}
{{- end }}

{{/* Where the kubelet asks for health. */}}
{{- define "starling.healthPort" -}}
{{- $port := include "starling.portOf" (dict "key" "config.server.health_listen" "listen" .Values.config.server.health_listen) }}
{{- if eq $port (include "starling.port" .) }}
{{- fail (printf "config.server.health_listen: %q has the port of config.server.listen" .Values.config.server.health_listen) }}
{{- end }}
{{- $port }}
{{- end }}

{{/* Where scrapers come; empty for nowhere. */}}
{{- define "starling.adminPort" -}}
{{- $listen := .Values.config.admin.listen }}
{{- if ne $listen "off" }}
{{- $port := include "starling.portOf" (dict "key" "config.admin.listen" "listen" $listen) }}
{{- if has $port (list (include "starling.port" .) (include "starling.healthPort" .)) }}
{{- fail (printf "config.admin.listen: %q has the port of config.server.listen or config.server.health_listen" $listen) }}
{{- end }}
{{- $port }}
{{- end }}
{{- end }}

{{/* "true" if there may be several pods. */}}
{{- define "starling.clustered" -}}
{{- if .Values.cluster.enabled }}true{{ end }}
{{- end }}

{{/* Where pods talk to each other. */}}
{{- define "starling.peerPort" -}}
{{- $port := int .Values.cluster.peer.port | toString }}
{{- if has $port (list (include "starling.port" .) (include "starling.healthPort" .) (include "starling.adminPort" .)) }}
{{- fail (printf "cluster.peer.port: %s is that of config.server.listen, config.server.health_listen or config.admin.listen" $port) }}
{{- end }}
{{- $port }}
{{- end }}

{{/* "true" if the address of a pod is one of IPv6, which needs brackets in front of a port. */}}
{{- define "starling.ipv6" -}}
{{- $family := .Values.cluster.peer.ipFamily | default (ternary "IPv6" "IPv4" (hasPrefix "[" .Values.config.server.listen)) }}
{{- if eq $family "IPv6" }}true{{ end }}
{{- end }}

{{/* The Secret with the files of TLS to NATS; empty for none. */}}
{{- define "starling.natsTlsSecret" -}}
{{- $tls := .Values.cluster.nats.tls }}
{{- if or $tls.caKey $tls.certKey }}
{{- $tls.existingSecret | default .Values.cluster.nats.existingSecret }}
{{- end }}
{{- end }}

{{/* The Secrets of a cluster, each mounted as a whole directory below /etc: a list of dicts in JSON, "name", "secret", "files". */}}
{{- define "starling.clusterSecrets" -}}
{{- $nats := .Values.cluster.nats }}
{{- $secrets := list }}
{{- if include "starling.clustered" . }}
{{- $secrets = append $secrets (dict "name" "peer" "value" "cluster.peer.existingSecret" "secret" .Values.cluster.peer.existingSecret "files" (list "secret")) }}
{{- if $nats.existingSecret }}
{{- $secrets = append $secrets (dict "name" "nats" "value" "cluster.nats.existingSecret" "secret" $nats.existingSecret "files" (list $nats.credentialsKey $nats.nkeyKey | compact)) }}
{{- end }}
{{- with include "starling.natsTlsSecret" . }}
{{- $secrets = append $secrets (dict "name" "nats-tls" "value" "cluster.nats.tls.existingSecret" "secret" . "files" (list $nats.tls.caKey $nats.tls.certKey $nats.tls.keyKey | compact)) }}
{{- end }}
{{- end }}
{{- toJson $secrets }}
{{- end }}

{{- define "starling.clusterMounts" -}}
{{- range include "starling.clusterSecrets" . | fromJsonArray }}
- name: {{ .name }}
  mountPath: /etc/starling-{{ .name }}
  readOnly: true
{{- end }}
{{- end }}

{{- define "starling.clusterVolumes" -}}
{{- range include "starling.clusterSecrets" . | fromJsonArray }}
- name: {{ .name }}
  secret:
    secretName: {{ .secret }}
{{- end }}
{{- end }}

{{/* Over zones and nodes; pods of another version do not count, for they are about to go. */}}
{{- define "starling.spread" -}}
{{- if include "starling.clustered" . }}
{{- $constraints := list }}
{{- range $key, $when := dict "topology.kubernetes.io/zone" .Values.cluster.spread.zones "kubernetes.io/hostname" .Values.cluster.spread.nodes }}
{{- if ne $when "off" }}
{{- $selector := merge (dict "app.kubernetes.io/component" "server") (include "starling.selectorLabels" $ | fromYaml) }}
{{- $constraints = append $constraints (dict "maxSkew" 1 "topologyKey" $key "whenUnsatisfiable" $when "nodeTaintsPolicy" "Honor" "matchLabelKeys" (list "pod-template-hash") "labelSelector" (dict "matchLabels" $selector)) }}
{{- end }}
{{- end }}
{{- with $constraints }}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}

{{/* How long a pod may take until it answers: it waits for NATS first, and gives up with a reason by itself. */}}
{{- define "starling.startupSeconds" -}}
{{- $wait := include "starling.milliseconds" (dict "key" "config.cluster.start_timeout" "text" (dig "cluster" "start_timeout" "30s" .Values.config)) | int64 }}
{{- add 60 (div (add $wait 999) 1000) }}
{{- end }}

{{/* The section `cluster` of the configuration, but for the address of the pod, which its environment has. */}}
{{- define "starling.clusterConfig" -}}
{{- $cluster := .Values.cluster }}
{{- $nats := $cluster.nats }}
{{- $config := deepCopy (.Values.config.cluster | default dict) }}
{{- $_ := set $config "name" $cluster.name }}
{{- $_ := set $config "nats_urls" (join "," $nats.urls) }}
{{- range $key, $file := dict "nats_credentials_file" $nats.credentialsKey "nats_nkey_file" $nats.nkeyKey }}
{{- if $file }}
{{- $_ := set $config $key (printf "/etc/starling-nats/%s" $file) }}
{{- end }}
{{- end }}
{{- $_ := set $config "nats_tls" $nats.tls.enabled }}
{{- $_ := set $config "nats_tls_first" $nats.tls.first }}
{{- range $key, $file := dict "nats_tls_ca_file" $nats.tls.caKey "nats_tls_cert_file" $nats.tls.certKey "nats_tls_key_file" $nats.tls.keyKey }}
{{- if $file }}
{{- $_ := set $config $key (printf "/etc/starling-nats-tls/%s" $file) }}
{{- end }}
{{- end }}
{{- $_ := set $config "peer_listen" (printf "%s:%s" (ternary "[::]" "0.0.0.0" (eq (include "starling.ipv6" .) "true")) (include "starling.peerPort" .)) }}
{{- $_ := set $config "peer_seeds" (printf "%s-peers:%s" (include "starling.fullname" .) (include "starling.peerPort" .)) }}
{{- $_ := set $config "peer_secret_file" "/etc/starling-peer/secret" }}
{{- toJson $config }}
{{- end }}

{{/* A duration in milliseconds. Takes a dict: "key" for the message, "text". */}}
{{- define "starling.milliseconds" -}}
{{- $units := dict "d" 86400000 "h" 3600000 "m" 60000 "s" 1000 "ms" 1 }}
{{- if not (regexMatch "^[0-9]{1,9} ?(ms|[dhms])( ?[0-9]{1,9} ?(ms|[dhms]))*$" .text) }}
{{- fail (printf "%s: %q is not a duration; write it in d, h, m, s and ms, such as \"15s\" or \"1m 30s\"" .key .text) }}
{{- end }}
{{- $sum := 0 }}
{{- range regexFindAll "[0-9]+ ?(ms|[dhms])" .text -1 }}
{{- $sum = add $sum (mul (regexFind "[0-9]+" . | atoi) (get $units (regexFind "[a-z]+" .))) }}
{{- end }}
{{- $sum }}
{{- end }}

{{/* Refuses a duration of `config` that the server would. Takes a dict: "key", such as "tls.reload_interval", "text", "root". */}}
{{- define "starling.duration" -}}
{{- $key := printf "config.%s" .key }}
{{- $value := include "starling.milliseconds" (dict "key" $key "text" .text) | int64 }}
{{- $ends := index (.root.Files.Get "durations.yaml" | fromYaml) .key }}
{{- $range := list }}
{{- range $ends }}
{{- $range = append $range (include "starling.milliseconds" (dict "key" $key "text" .) | int64) }}
{{- end }}
{{- if not (or (and (le (index $range 0) $value) (le $value (index $range 1))) (has $value (slice $range 2))) }}
{{- fail (printf "%s: %q is not in %s to %s" $key .text (index $ends 0) (index $ends 1)) }}
{{- end }}
{{- end }}

{{/* From the request to stop until the pod is killed: the drain must end by itself, or its streams get no goodbye. */}}
{{- define "starling.gracePeriodSeconds" -}}
{{- $drain := .Values.config.drain }}
{{- $spread := include "starling.milliseconds" (dict "key" "config.drain.spread" "text" $drain.spread) | int64 }}
{{- $timeout := include "starling.milliseconds" (dict "key" "config.drain.timeout" "text" $drain.timeout) | int64 }}
{{- if le $timeout $spread }}
{{- fail (printf "config.drain.timeout: %q is not longer than config.drain.spread, %q" $drain.timeout $drain.spread) }}
{{- end }}
{{- /* A pod of several says in the log that it goes; without a leader the log takes nothing for up to 9 s. */}}
{{- $log := ternary 10 0 (eq (include "starling.clustered" .) "true") }}
{{- add .Values.shutdown.preStopSeconds (div (add $timeout 999) 1000) .Values.shutdown.marginSeconds $log }}
{{- end }}

{{/* "true" if the server speaks TLS. */}}
{{- define "starling.tls" -}}
{{- if .Values.tls.secretName }}true{{ end }}
{{- end }}

{{/* Whether clients are asked for certificates. */}}
{{- define "starling.clientAuth" -}}
{{- dig "tls" "client_auth" "none" .Values.config }}
{{- end }}

{{/* "true" if somebody is asked for a certificate: then there are authorities that vouch for them. */}}
{{- define "starling.asksClients" -}}
{{- if or (ne (include "starling.clientAuth" .) "none") (ne (dig "client_auth" "none" .Values.config.admin) "none") }}true{{ end }}
{{- end }}

{{/* "true" if the admin pages are served over TLS. */}}
{{- define "starling.adminTls" -}}
{{- if dig "tls" false .Values.config.admin }}true{{ end }}
{{- end }}

{{/* "off" or "v2". */}}
{{- define "starling.proxyProtocol" -}}
{{- dig "proxy_protocol" "off" .Values.config.server }}
{{- end }}

{{/* "true" if `helm test` can ask: it has no certificate to show, and is no proxy. */}}
{{- define "starling.testable" -}}
{{- if and (ne (include "starling.clientAuth" .) "required") (eq (include "starling.proxyProtocol" .) "off") }}true{{ end }}
{{- end }}

{{- define "starling.scheme" -}}
{{- ternary "https" "http" (eq (include "starling.tls" .) "true") }}
{{- end }}

{{/* What gateways take the port for: the default is that without TLS. */}}
{{- define "starling.appProtocol" -}}
{{- if and (include "starling.tls" .) (eq .Values.service.appProtocol "kubernetes.io/h2c") }}https{{ else }}{{ .Values.service.appProtocol }}{{ end }}
{{- end }}

{{/* Whole directories, not single files: those would never change in a running pod. */}}
{{- define "starling.tlsMounts" -}}
{{- if include "starling.tls" . }}
- name: tls
  mountPath: /etc/starling-tls
  readOnly: true
{{- if and .Values.tls.clientCaSecretName (include "starling.asksClients" .) }}
- name: client-ca
  mountPath: /etc/starling-client-ca
  readOnly: true
{{- end }}
{{- end }}
{{- end }}

{{- define "starling.tlsVolumes" -}}
{{- if include "starling.tls" . }}
- name: tls
  secret:
    secretName: {{ .Values.tls.secretName }}
{{- if and .Values.tls.clientCaSecretName (include "starling.asksClients" .) }}
- name: client-ca
  secret:
    secretName: {{ .Values.tls.clientCaSecretName }}
{{- end }}
{{- end }}
{{- end }}

{{/* `config`, with the files of the Secrets. */}}
{{- define "starling.config" -}}
{{- $config := deepCopy .Values.config }}
{{- if include "starling.tls" . }}
{{- $tls := merge (dict "cert_file" "/etc/starling-tls/tls.crt" "key_file" "/etc/starling-tls/tls.key") ($config.tls | default dict) }}
{{- if include "starling.asksClients" . }}
{{- $_ := set $tls "client_ca_file" (ternary "/etc/starling-client-ca/ca.crt" "/etc/starling-tls/ca.crt" (ne .Values.tls.clientCaSecretName "")) }}
{{- end }}
{{- $_ := set $config "tls" $tls }}
{{- end }}
{{- if include "starling.clustered" . }}
{{- $_ := set $config "cluster" (include "starling.clusterConfig" . | fromJson) }}
{{- end }}
{{- toJson $config }}
{{- end }}

{{/* `config` as TOML. Not by toToml: to Helm every number is a float, and Starling wants integers. */}}
{{- define "starling.toml" -}}
{{- range $section, $keys := include "starling.config" . | fromJson }}
{{- with $keys }}
[{{ $section }}]
{{- range $key, $value := . }}
{{- if kindIs "string" $value }}
{{- if not (has $key (list "listen" "health_listen" "cert_file" "key_file" "client_ca_file" "client_auth" "admin_sans" "reader_sans" "proxy_protocol" "trusted_proxies" "client_address_header" "max_id" "mode" "issuer" "audience" "jwks_file" "keys_dir" "hs256_secret_file" "filter" "format" "name" "nats_urls" "nats_credentials_file" "nats_nkey_file" "nats_tls_ca_file" "nats_tls_cert_file" "nats_tls_key_file" "peer_listen" "peer_address" "peer_seeds" "peer_secret_file" "activate")) }}
{{- /* All other text is durations: a bad one is refused here, before a running pod is stopped for it. */}}
{{- $_ := include "starling.duration" (dict "key" (printf "%s.%s" $section $key) "text" $value "root" $) }}
{{- end }}
{{ $key }} = {{ toJson $value }}
{{- else if kindIs "bool" $value }}
{{ $key }} = {{ $value }}
{{- else }}
{{ $key }} = {{ int64 $value }}
{{- end }}
{{- end }}
{{ end }}
{{- end }}
{{- end }}

{{/*
What only the objects that are there can tell. Asked of a Kubernetes that has the release alone; elsewhere, as in
`helm template`, nothing is found at all.
*/}}
{{- define "starling.upgradeGuard" -}}
{{- $there := lookup "v1" "ConfigMap" .Release.Namespace (include "starling.fullname" .) }}
{{- if and .Release.IsUpgrade $there }}
{{- include "starling.secretsGuard" . }}
{{- include "starling.nameGuard" (dict "root" . "toml" (dig "data" "starling.toml" "" $there)) }}
{{- end }}
{{- end }}

{{/*
New pods of a cluster come before the old ones go. If these were of another cluster, or of none, clients would meet two
different states behind one Service meanwhile. Takes a dict: "root", "toml", the configuration of the old pods.
*/}}
{{- define "starling.nameGuard" -}}
{{- $root := .root }}
{{- $deployment := lookup "apps/v1" "Deployment" $root.Release.Namespace (include "starling.fullname" $root) }}
{{- $name := regexFind `(?m)^name = ".*"$` .toml | trimPrefix "name = " | trimAll "\"" }}
{{- if and (include "starling.clustered" $root) (ne $name $root.Values.cluster.name) (gt (dig "status" "replicas" 0 $deployment | int) 0) }}
{{- fail (printf "cluster.name: the pods that run are of %s, and for a while both would serve: stop them first, by kubectl --namespace %s scale deployment %s --replicas=0" (ternary (printf "the cluster %q" $name) "no cluster" (ne $name "")) $root.Release.Namespace (include "starling.fullname" $root)) }}
{{- end }}
{{- end }}

{{/*
An upgrade of one pod stops the old one first, and a new one that waits for a Secret leaves nothing running: they must
be there before. With several pods the upgrade would stand still.
*/}}
{{- define "starling.secretsGuard" -}}
{{- $tls := list "tls.crt" "tls.key" }}
{{- if and (include "starling.asksClients" .) (not .Values.tls.clientCaSecretName) }}
{{- $tls = append $tls "ca.crt" }}
{{- end }}
{{- $secrets := list
    (dict "value" "keysSecret" "secret" .Values.keysSecret "files" list)
    (dict "value" "tls.secretName" "secret" .Values.tls.secretName "files" $tls)
    (dict "value" "tls.clientCaSecretName" "secret" .Values.tls.clientCaSecretName "files" (list "ca.crt"))
}}
{{- range concat $secrets (include "starling.clusterSecrets" . | fromJsonArray) }}
{{- if .secret }}
{{- $secret := lookup "v1" "Secret" $.Release.Namespace .secret }}
{{- if not $secret }}
{{- fail (printf "%s: there is no Secret %q in the namespace %q, and the new pod would wait for it%s" .value .secret $.Release.Namespace (ternary "" ", with the old one stopped" (eq (include "starling.clustered" $) "true"))) }}
{{- end }}
{{- $wanted := . }}
{{- range $file := .files }}
{{- if not (dig "data" $file "" $secret) }}
{{- fail (printf "%s: the Secret %q has no %s" $wanted.value $wanted.secret $file) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* The same for several pods. */}}
{{- define "starling.clusterGuard" -}}
{{- $nats := .Values.cluster.nats }}
{{- if not .Values.cluster.name }}
{{- fail "cluster.name is empty: pods with one name share everything, so it has no default" }}
{{- end }}
{{- if not $nats.urls }}
{{- fail "cluster.nats.urls is empty: several pods keep their state by way of NATS, which the chart does not install" }}
{{- end }}
{{- range $nats.urls }}
{{- if contains "@" . }}
{{- fail "cluster.nats.urls: everybody who reads the ConfigMap would see the password: set cluster.nats.existingSecret, with credentials or an nkey" }}
{{- end }}
{{- end }}
{{- if not .Values.cluster.peer.existingSecret }}
{{- fail "cluster.peer.existingSecret is empty: set it to a Secret whose key \"secret\" has 32 bytes or more, which all pods know and nobody else" }}
{{- end }}
{{- if and $nats.credentialsKey $nats.nkeyKey }}
{{- fail "cluster.nats: there are credentialsKey and nkeyKey, but a pod can be one only" }}
{{- end }}
{{- if and (or $nats.credentialsKey $nats.nkeyKey) (not $nats.existingSecret) }}
{{- fail "cluster.nats.existingSecret is empty: set it to the Secret that has credentialsKey or nkeyKey" }}
{{- end }}
{{- if and $nats.existingSecret (not (or $nats.credentialsKey $nats.nkeyKey)) (ne (include "starling.natsTlsSecret" .) $nats.existingSecret) }}
{{- fail "cluster.nats.existingSecret: nothing of it is used: set credentialsKey or nkeyKey" }}
{{- end }}
{{- if and (not $nats.tls.enabled) (or $nats.tls.first $nats.tls.existingSecret $nats.tls.caKey $nats.tls.certKey $nats.tls.keyKey) }}
{{- fail "cluster.nats.tls: there is more to say only with TLS: set enabled" }}
{{- end }}
{{- if ne (empty $nats.tls.certKey) (empty $nats.tls.keyKey) }}
{{- fail "cluster.nats.tls: a certificate has a key: set certKey and keyKey, or neither" }}
{{- end }}
{{- if and (or $nats.tls.caKey $nats.tls.certKey) (not (include "starling.natsTlsSecret" .)) }}
{{- fail "cluster.nats.tls.existingSecret is empty: set it to the Secret that has caKey, certKey and keyKey" }}
{{- end }}
{{- if and $nats.tls.existingSecret (not (include "starling.natsTlsSecret" .)) }}
{{- fail "cluster.nats.tls.existingSecret: nothing of it is used: set caKey, or certKey and keyKey" }}
{{- end }}
{{- $shards := dig "store" "shards" 64 .Values.config | int }}
{{- if ne $shards 64 }}
{{- fail (printf "config.store.shards: %d is not 64, which all pods of a cluster have" $shards) }}
{{- end }}
{{- if eq .Values.config.admin.listen "off" }}
{{- fail "config.admin.listen is off: with cluster.enabled the kubelet asks there whether a pod is ready" }}
{{- end }}
{{- end }}

{{/* What a schema cannot say in words. */}}
{{- define "starling.guard" -}}
{{- if and (gt (int .Values.replicaCount) 1) (not (include "starling.clustered" .)) }}
{{- fail (printf "replicaCount is %d, but Starling keeps its state in one process: with a second pod, members of one swarm would meet in two different ones. Set it to 1, or cluster.enabled to true, which needs NATS" (int .Values.replicaCount)) }}
{{- end }}
{{- if include "starling.clustered" . }}
{{- include "starling.clusterGuard" . }}
{{- end }}
{{- range $key, $value := dict "name" "name" "nats_urls" "nats.urls" "nats_credentials_file" "nats.credentialsKey" "nats_nkey_file" "nats.nkeyKey" "nats_tls" "nats.tls.enabled" "nats_tls_first" "nats.tls.first" "nats_tls_ca_file" "nats.tls.caKey" "nats_tls_cert_file" "nats.tls.certKey" "nats_tls_key_file" "nats.tls.keyKey" "peer_listen" "peer.port" "peer_address" "peer.port" "peer_seeds" "peer.port" "peer_secret_file" "peer.existingSecret" }}
{{- if hasKey ($.Values.config.cluster | default dict) $key }}
{{- fail (printf "config.cluster.%s: it follows from other values: set cluster.%s" $key $value) }}
{{- end }}
{{- end }}
{{- $identity := .Values.config.identity }}
{{- if and (eq $identity.mode "off") (not $identity.insecure) }}
{{- fail "config.identity.mode is \"off\", so that everybody who reaches the Service could do everything: set it to \"jwt\", or config.identity.insecure to true" }}
{{- end }}
{{- if eq $identity.mode "jwt" }}
{{- range $key, $claim := dict "issuer" "iss" "audience" "aud" }}
{{- if not (get $identity $key) }}
{{- fail (printf "config.identity.%s is empty: with mode \"jwt\" set it to the claim %s of your tokens" $key $claim) }}
{{- end }}
{{- end }}
{{- if not $.Values.keysSecret }}
{{- fail "keysSecret is empty: with config.identity.mode \"jwt\" set it to a Secret that has the keys of tokens" }}
{{- end }}
{{- $files := list }}
{{- range $key := list "jwks_file" "keys_dir" "hs256_secret_file" }}
{{- with get $identity $key }}
{{- $files = append $files . }}
{{- if not (regexMatch "^/etc/starling-keys(/|$)" .) }}
{{- fail (printf "config.identity.%s: %q is not below /etc/starling-keys, where keysSecret is mounted" $key .) }}
{{- end }}
{{- end }}
{{- end }}
{{- if not $files }}
{{- fail "config.identity: no keys are named: set keys_dir to \"/etc/starling-keys\", or jwks_file or hs256_secret_file to a file below it" }}
{{- end }}
{{- end }}
{{- range $key := list "cert_file" "key_file" "client_ca_file" }}
{{- if dig "tls" $key "" $.Values.config }}
{{- fail (printf "config.tls.%s: the files of TLS are those of Secrets: set tls.secretName" $key) }}
{{- end }}
{{- end }}
{{- if and (ne (include "starling.clientAuth" .) "none") (not (include "starling.tls" .)) }}
{{- fail "config.tls.client_auth: clients show certificates over TLS only: set tls.secretName" }}
{{- end }}
{{- if and .Values.tls.clientCaSecretName (not (include "starling.asksClients" .)) }}
{{- fail "tls.clientCaSecretName: nobody is asked for a certificate: set config.tls.client_auth or config.admin.client_auth" }}
{{- end }}
{{- if and (include "starling.adminTls" .) (not (include "starling.tls" .)) }}
{{- fail "config.admin.tls: the certificate is that of a Secret: set tls.secretName" }}
{{- end }}
{{- if and (ne (dig "client_auth" "none" .Values.config.admin) "none") (not (include "starling.adminTls" .)) }}
{{- fail "config.admin.client_auth: certificates are shown over TLS only: set config.admin.tls" }}
{{- end }}
{{- if and (ne (include "starling.proxyProtocol" .) "off") (not (dig "server" "trusted_proxies" "" .Values.config)) }}
{{- fail "config.server.proxy_protocol: nobody could connect: set config.server.trusted_proxies" }}
{{- end }}
{{- range .Values.extraEnv }}
{{- if hasPrefix "STARLING__" (upper .name) }}
{{- fail (printf "extraEnv: %s would win over the configuration file, and ports and grace period follow from `config`: set it there" .name) }}
{{- end }}
{{- end }}
{{- include "starling.upgradeGuard" . }}
{{- end }}
