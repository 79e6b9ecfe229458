{{/* What everything of a release is called, and told by. */}}
{{- define "xds.name" -}}
{{- if contains "xds" .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-xds" .Release.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "xds.selector" -}}
app.kubernetes.io/name: xds
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "xds.labels" -}}
{{ include "xds.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "xds.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "xds.several" -}}
{{- if or .Values.autoscaling.enabled (gt (int .Values.replicas) 1) }}yes{{ end }}
{{- end }}

{{/* Settings as variables: they go before those of xds.toml. */}}
{{- define "xds.environment" -}}
- {name: XDS_SERVER_DATA, value: /var/lib/xds}
{{- with .Values.database }}
{{- if .secret }}
- name: XDS_SERVER_DATABASE
  valueFrom:
    secretKeyRef: {name: {{ .secret }}, key: {{ .key }}}
{{- end }}
{{- end }}
{{- with .Values.documents }}
- {name: XDS_SERVER_DOCUMENTS, value: {{ . | quote }}}
{{- end }}
{{- with .Values.oids }}
{{- if .repository }}
- {name: XDS_REPOSITORY_UNIQUE_ID, value: {{ .repository | quote }}}
{{- end }}
{{- if .assigningAuthorities }}
- {name: XDS_DOMAIN_ASSIGNING_AUTHORITIES, value: {{ join "," .assigningAuthorities | quote }}}
{{- end }}
{{- if .homeCommunity }}
- {name: XDS_DOMAIN_HOME_COMMUNITY_ID, value: {{ .homeCommunity | quote }}}
{{- end }}
{{- if .retrieveLocation }}
- {name: XDS_IMAGING_SOURCE_RETRIEVE_LOCATION_UID, value: {{ .retrieveLocation | quote }}}
{{- end }}
{{- end }}
{{- end }}

{{/* Of each pod: not root, and nothing more than it needs. */}}
{{- define "xds.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "xds.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* Asks the node itself, by its own certificate where it wants one: no shell, and no curl. */}}
{{- define "xds.probe" -}}
{{- if .root.Values.tls.secret }}
exec:
  command:
    - python3
    - -c
    - |
      import ssl, urllib.request
      context = ssl.create_default_context(cafile="/etc/xds/tls/ca.crt")
      context.check_hostname = False  # this is the loopback
      context.load_cert_chain("/etc/xds/tls/tls.crt", "/etc/xds/tls/tls.key")
      urllib.request.urlopen("https://127.0.0.1:8080{{ .path }}", timeout=4, context=context)
{{- else }}
httpGet: {path: {{ .path }}, port: http}
{{- end }}
timeoutSeconds: 5
{{- end }}
