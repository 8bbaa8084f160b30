{{- define "vrproxy.fullname" -}}
{{- $name := .Release.Name }}
{{- if not (contains "vrproxy" $name) }}{{ $name = printf "%s-vrproxy" $name }}{{ end }}
{{- $name | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "vrproxy.selector" -}}
app.kubernetes.io/name: vrproxy
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: {{ .Values.mode }}
{{- end }}

{{- define "vrproxy.labels" -}}
app.kubernetes.io/name: vrproxy
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Values.image.tag | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "vrproxy.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "vrproxy.fullname" .) }}
{{- end }}

{{/* Whether the chart makes pods of its own. */}}
{{- define "vrproxy.pods" -}}
{{- if or (ne .Values.mode "sidecar") .Values.sidecar.image }}true{{ end }}
{{- end }}

{{/* What the mode configures, before what the user writes. */}}
{{- define "vrproxy.defaults" -}}
admin:
  address: "0.0.0.0:8210"
  tls:
    cert_file: /etc/vrproxy/tls/tls.crt
    key_file: /etc/vrproxy/tls/tls.key
    client_ca_file: /etc/vrproxy/tls/ca.crt
{{- if eq .Values.mode "daemonset" }}
listeners:
  - address: "0.0.0.0:8200"
    tls:
      cert_file: /etc/vrproxy/tls/tls.crt
      key_file: /etc/vrproxy/tls/tls.key
    require_request_header: true
    identity: never
sessions: { max: 50000 }
shutdown: { drain_delay: 5s, drain_timeout: 30s }
{{- else if eq .Values.mode "resolver" }}
listeners:
  - address: "127.0.0.1:8200"
    identity: never
dns:
  address: "0.0.0.0:5353"
  zone: {{ .Values.resolver.zone | quote }}
  forward: []
  allow: {{ toJson .Values.resolver.allow }}
shutdown: { drain_delay: 5s, drain_timeout: 5s }
{{- else }}
listeners:
  - address: "127.0.0.1:8200"
    require_request_header: true
shutdown: { drain_delay: 0s, drain_timeout: 20s }
{{- end }}
{{- end }}

{{- define "vrproxy.config" -}}
{{- $config := mustMergeOverwrite (include "vrproxy.defaults" . | fromYaml) (deepCopy .Values.config) }}
{{- if ne .Values.mode "sidecar" }}
{{- if $config.identity }}{{ fail (printf "config.identity: in mode %s an identity would be everybody's; clients log in themselves, or use mode sidecar" .Values.mode) }}{{ end }}
{{- range $config.listeners }}
{{- if ne (.identity | default "") "never" }}{{ fail (printf "config.listeners: %s is shared by tenants; write identity: never" .address) }}{{ end }}
{{- end }}
{{- end }}
{{- toYaml $config }}
{{- end }}

{{/* Seconds that a stop may take. */}}
{{- define "vrproxy.grace" -}}
{{- if eq .Values.mode "daemonset" }}50{{ else if eq .Values.mode "resolver" }}30{{ else }}40{{ end }}
{{- end }}

{{- define "vrproxy.resources" -}}
{{- if .Values.resources }}{{ toYaml .Values.resources }}
{{- else if eq .Values.mode "daemonset" -}}
requests: { cpu: 50m, memory: 128Mi }
limits: { memory: 512Mi }
{{- else if eq .Values.mode "resolver" -}}
requests: { cpu: 20m, memory: 48Mi }
limits: { memory: 128Mi }
{{- else -}}
requests: { cpu: 10m, memory: 48Mi }
limits: { memory: 128Mi }
{{- end }}
{{- end }}

{{- define "vrproxy.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "vrproxy.security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}
