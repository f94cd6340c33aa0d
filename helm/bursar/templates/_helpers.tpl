{{/* Names, labels, and small things that more than one template needs. */}}

{{- define "bursar.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- define "bursar.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "bursar.name" . -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{/* Of what part of the chart: (list . "broker"). */}}
{{- define "bursar.selector" -}}
{{- $top := index . 0 -}}
app.kubernetes.io/name: {{ include "bursar.name" $top }}
app.kubernetes.io/instance: {{ $top.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "bursar.labels" -}}
{{- $top := index . 0 -}}
{{ include "bursar.selector" . }}
app.kubernetes.io/version: {{ $top.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $top.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $top.Chart.Name $top.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "bursar.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- define "bursar.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "bursar.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end }}

{{- define "bursar.tlsSecret" -}}
{{- .Values.tls.secretName | default (printf "%s-tls" (include "bursar.fullname" .)) -}}
{{- end }}

{{/* As the program has it: with spaces between them. */}}
{{- define "bursar.audiences" -}}
{{- .Values.callers.tokens.cluster.audiences | default (list (printf "bursar.%s" .Release.Namespace)) | join " " -}}
{{- end }}

{{- define "bursar.audience" -}}
{{- include "bursar.audiences" . | splitList " " | first -}}
{{- end }}

{{/* The names that clients may reach brokers by, as a JSON list. */}}
{{- define "bursar.dnsNames" -}}
{{- $names := list -}}
{{- range $service := list (include "bursar.fullname" .) (printf "%s-headless" (include "bursar.fullname" .)) -}}
{{- $names = concat $names (list $service (printf "%s.%s" $service $.Release.Namespace) (printf "%s.%s.svc" $service $.Release.Namespace)
      (printf "%s.%s.svc.cluster.local" $service $.Release.Namespace)) -}}
{{- end -}}
{{- concat $names .Values.tls.dnsNames | uniq | toJson -}}
{{- end }}

{{/* A duration of the program in whole seconds, rounded up. */}}
{{- define "bursar.seconds" -}}
{{- $number := regexFind "^[0-9]+" . | int64 -}}
{{- $unit := regexFind "[a-z]+$" . -}}
{{- if eq $unit "ms" }}{{ div (add $number 999) 1000 }}
{{- else if eq $unit "m" }}{{ mul $number 60 }}
{{- else if eq $unit "h" }}{{ mul $number 3600 }}
{{- else }}{{ $number }}
{{- end -}}
{{- end }}

{{/* What SIGTERM leaves to a broker, after the sleep before it; and some seconds to put the process away. */}}
{{- define "bursar.terminationGrace" -}}
{{- $grace := include "bursar.seconds" (dig "shutdown" "grace" "90s" .Values.config) | int64 -}}
{{- add $grace .Values.rollout.preStopSeconds 15 -}}
{{- end }}

{{/* What pods of this chart may do: nothing. (list USER GROUP), either may be null. */}}
{{- define "bursar.podSecurity" -}}
runAsNonRoot: true
{{- if index . 0 }}
runAsUser: {{ index . 0 | int64 }}
runAsGroup: {{ index . 0 | int64 }}
{{- end }}
{{- if index . 1 }}
fsGroup: {{ index . 1 | int64 }}
fsGroupChangePolicy: OnRootMismatch
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "bursar.containerSecurity" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
{{- end }}

{{/* Whether something listens beside the API. */}}
{{- define "bursar.ports" -}}
- {name: grpc, containerPort: 7600}
- {name: monitoring, containerPort: 9464}
{{- if .Values.consent.enabled }}
- {name: consent, containerPort: 7680}
{{- end }}
{{- end }}
