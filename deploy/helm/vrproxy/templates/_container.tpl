{{/* The container, without what a mode adds. */}}
{{- define "vrproxy.container" -}}
name: vrproxy
image: {{ printf "%s:%s" .Values.image.repository .Values.image.tag | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args: [run, --watch]
env:
  - { name: VRPROXY_CONFIG, value: /etc/vrproxy/vrproxy.yaml }
  - name: VRPROXY_REGION
    valueFrom:
      fieldRef: { fieldPath: "metadata.labels['topology.kubernetes.io/region']" }
  {{- with .Values.logLevel }}
  - { name: VRPROXY_LOG_LEVEL, value: {{ . }} }
  {{- end }}
startupProbe:
  exec: { command: [/usr/bin/vrproxy, probe, startup] }
  periodSeconds: 1
  timeoutSeconds: 3
  failureThreshold: 60
livenessProbe:
  exec: { command: [/usr/bin/vrproxy, probe, liveness] }
  periodSeconds: 20
  timeoutSeconds: 3
  failureThreshold: 3
resources: {{- include "vrproxy.resources" . | nindent 2 }}
securityContext: {{- include "vrproxy.security" . | nindent 2 }}
volumeMounts:
  - { name: vrproxy, mountPath: /etc/vrproxy, readOnly: true }
  - { name: vrproxy-tls, mountPath: /etc/vrproxy/tls, readOnly: true }
  {{- if eq .Values.mode "sidecar" }}
  - { name: vrproxy-token, mountPath: /var/run/secrets/vrproxy, readOnly: true }
  {{- end }}
{{- end }}

{{/* For the initContainers of any pod: include "vrproxy.sidecar" .Subcharts.vrproxy */}}
{{- define "vrproxy.sidecar" -}}
{{ include "vrproxy.container" . }}
restartPolicy: Always
ports:
  - { name: admin, containerPort: 8210 }
{{- end }}

{{/* The volumes that it mounts: include "vrproxy.volumes" .Subcharts.vrproxy */}}
{{- define "vrproxy.volumes" -}}
- name: vrproxy
  configMap: { name: {{ include "vrproxy.fullname" . }} }
- name: vrproxy-tls
  secret: { secretName: {{ .Values.tls.secretName }}, defaultMode: 0440 }
{{- if eq .Values.mode "sidecar" }}
- name: vrproxy-token
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken: { path: token, audience: {{ .Values.sidecar.audience }}, expirationSeconds: 3600 }
{{- end }}
{{- end }}

{{- define "vrproxy.podMetadata" -}}
labels: {{- include "vrproxy.selector" . | nindent 2 }}
  {{- with .Values.podLabels }}{{ toYaml . | nindent 2 }}{{ end }}
annotations:
  checksum/config: {{ include "vrproxy.config" . | sha256sum }}
  {{- with .Values.podAnnotations }}{{ toYaml . | nindent 2 }}{{ end }}
{{- end }}

{{- define "vrproxy.podBasics" -}}
serviceAccountName: {{ include "vrproxy.serviceAccount" . }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{- range . }}{{ printf "- name: %s" . | nindent 2 }}{{ end }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
terminationGracePeriodSeconds: {{ include "vrproxy.grace" . }}
securityContext: {{- include "vrproxy.podSecurity" . | nindent 2 }}
{{- end }}
