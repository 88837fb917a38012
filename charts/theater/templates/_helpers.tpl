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
{{- if not .Values.auth.existingSecret -}}
{{- fail "auth.existingSecret: name the secret with the file of static keys; a server open to everyone listens on loopback addresses only" -}}
{{- end -}}
{{- end -}}
