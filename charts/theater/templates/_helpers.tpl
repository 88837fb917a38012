{{- define "theater.name" -}}
{{- printf "%s-theater" .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "theater.selector" -}}
app.kubernetes.io/name: theater
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "theater.labels" -}}
{{ include "theater.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* What cannot work is refused here, before anything is installed. */}}
{{- define "theater.check" -}}
{{- if not (has .Values.store.kind (list "sqlite" "postgres")) -}}
{{- fail (printf "store.kind is %q: want sqlite or postgres" .Values.store.kind) -}}
{{- end -}}
{{- if not (has .Values.redis.kind (list "embedded" "external")) -}}
{{- fail (printf "redis.kind is %q: want embedded or external" .Values.redis.kind) -}}
{{- end -}}
{{- if and (eq .Values.store.kind "sqlite") (gt (int .Values.replicaCount) 1) -}}
{{- fail "replicaCount over 1 needs store.kind=postgres: a SQLite file has one process (see values-postgres.yaml)" -}}
{{- end -}}
{{- if and (eq .Values.store.kind "postgres") (eq .Values.redis.kind "embedded") -}}
{{- fail "store.kind=postgres needs redis.kind=external: an embedded Redis is not shared between replicas" -}}
{{- end -}}
{{- if and (eq .Values.store.kind "postgres") (not .Values.store.postgres.existingSecret) -}}
{{- fail "store.postgres.existingSecret: name the secret with the database's URL" -}}
{{- end -}}
{{- if and (eq .Values.redis.kind "external") (not .Values.redis.existingSecret) -}}
{{- fail "redis.existingSecret: name the secret with the Redis URL" -}}
{{- end -}}
{{- if not (has .Values.auth.kind (list "static" "oidc" "oidc,static")) -}}
{{- fail (printf "auth.kind is %q: want static, oidc or oidc,static; a server open to everyone listens on loopback addresses only" .Values.auth.kind) -}}
{{- end -}}
{{- if and (contains "static" .Values.auth.kind) (not .Values.auth.existingSecret) -}}
{{- fail "auth.existingSecret: name the secret with the file of static keys, or set auth.kind=oidc" -}}
{{- end -}}
{{- if contains "oidc" .Values.auth.kind -}}
{{- if not (hasPrefix "https://" .Values.auth.oidc.issuer) -}}
{{- fail (printf "auth.oidc.issuer is %q: want the https URL of the identity provider" .Values.auth.oidc.issuer) -}}
{{- end -}}
{{- if not .Values.auth.oidc.audience -}}
{{- fail "auth.oidc.audience: name this service as the provider does; without it the tokens of every other service would do" -}}
{{- end -}}
{{- else if or .Values.auth.oidc.issuer .Values.auth.oidc.audience -}}
{{- fail (printf "auth.oidc is for auth.kind=oidc or oidc,static: with %s no token of a provider is taken" .Values.auth.kind) -}}
{{- end -}}
{{- if .Values.tls.clientCA.existingSecret -}}
{{- if not .Values.tls.existingSecret -}}
{{- fail "tls.clientCA needs tls.existingSecret: without TLS there is nothing to show a certificate in" -}}
{{- end -}}
{{- if not (contains "static" .Values.auth.kind) -}}
{{- fail "tls.clientCA needs auth.kind=oidc,static: the names of client certificates are listed in the file of static keys" -}}
{{- end -}}
{{- end -}}
{{- if or (not (regexMatch "^[0-9]*[.]?[0-9]+(e[+-]?[0-9]+)?$" (toString .Values.quota))) (gt (float64 .Values.quota) 1e9) -}}
{{- fail (printf "quota is %v: want calls a second, up to 1e9, or 0 for any number" .Values.quota) -}}
{{- end -}}
{{- if not (kindIs "slice" .Values.origins) -}}
{{- fail "origins: want a list, [https://tv.example.com]" -}}
{{- end -}}
{{- range .Values.origins -}}
{{- if not (regexMatch "^(\\*|[a-z0-9+.-]+://[^/?#@A-Z]+)$" .) -}}
{{- fail (printf "origins has %q: want scheme and host alone, in small letters as browsers send them: https://tv.example.com" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Kubernetes' own gRPC probes speak plain text only; over TLS the port of the metrics says it. */}}
{{- define "theater.probe" -}}
{{- if .Values.tls.existingSecret -}}
httpGet:
  path: /readyz
  port: metrics
{{- else -}}
grpc:
  port: 50051
{{- end }}
periodSeconds: 2
timeoutSeconds: 2
{{- end -}}
