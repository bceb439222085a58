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
{{- add .Values.shutdown.preStopSeconds (div (add $timeout 999) 1000) .Values.shutdown.marginSeconds }}
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
{{- toJson $config }}
{{- end }}

{{/* `config` as TOML. Not by toToml: to Helm every number is a float, and Starling wants integers. */}}
{{- define "starling.toml" -}}
{{- range $section, $keys := include "starling.config" . | fromJson }}
{{- with $keys }}
[{{ $section }}]
{{- range $key, $value := . }}
{{- if kindIs "string" $value }}
{{- if not (has $key (list "listen" "health_listen" "cert_file" "key_file" "client_ca_file" "client_auth" "admin_sans" "reader_sans" "proxy_protocol" "trusted_proxies" "client_address_header" "max_id" "mode" "issuer" "audience" "jwks_file" "keys_dir" "hs256_secret_file" "filter" "format")) }}
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
An upgrade stops the old pod first, and a new one that waits for a Secret leaves nothing running: they must be there
before. Asked of a cluster that has the release alone; elsewhere, as in `helm template`, nothing is found at all.
*/}}
{{- define "starling.secretsGuard" -}}
{{- if and .Release.IsUpgrade (lookup "v1" "ConfigMap" .Release.Namespace (include "starling.fullname" .)) }}
{{- $tls := list "tls.crt" "tls.key" }}
{{- if and (include "starling.asksClients" .) (not .Values.tls.clientCaSecretName) }}
{{- $tls = append $tls "ca.crt" }}
{{- end }}
{{- range list
    (dict "value" "keysSecret" "name" .Values.keysSecret "files" list)
    (dict "value" "tls.secretName" "name" .Values.tls.secretName "files" $tls)
    (dict "value" "tls.clientCaSecretName" "name" .Values.tls.clientCaSecretName "files" (list "ca.crt"))
}}
{{- if .name }}
{{- $secret := lookup "v1" "Secret" $.Release.Namespace .name }}
{{- if not $secret }}
{{- fail (printf "%s: there is no Secret %q in the namespace %q, and the new pod would wait for it, with the old one stopped" .value .name $.Release.Namespace) }}
{{- end }}
{{- $wanted := . }}
{{- range $file := .files }}
{{- if not (dig "data" $file "" $secret) }}
{{- fail (printf "%s: the Secret %q has no %s" $wanted.value $wanted.name $file) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* What a schema cannot say in words. */}}
{{- define "starling.guard" -}}
{{- if gt (int .Values.replicaCount) 1 }}
{{- fail (printf "replicaCount is %d, but Starling keeps its state in one process: with a second pod, members of one swarm would meet in two different ones. Set it to 1; give the pod more CPU and memory instead" (int .Values.replicaCount)) }}
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
{{- include "starling.secretsGuard" . }}
{{- end }}
