{{- define "file-recycler.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "file-recycler.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "file-recycler.labels" -}}
{{ include "file-recycler.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- /* Above shutdown_timeout: what is in hand is finished first. A pod with the sidecar needs at least this. */ -}}
{{- define "file-recycler.terminationGracePeriodSeconds" -}}
{{- add .Values.shutdownTimeoutSeconds 15 -}}
{{- end -}}

{{- /* Variables that name the files of the Secret, with the names of its keys. */ -}}
{{- define "file-recycler.secretEnv" -}}
{{- $keys := list
  (list "FILE_RECYCLER_DATABASE__URL_FILE" .Values.secret.databaseUrl)
  (list "FILE_RECYCLER_BROKER__URL_FILE" .Values.secret.brokerUrl)
  (list "FILE_RECYCLER_STORAGE__ACCESS_KEY_FILE" .Values.secret.storageAccessKey)
  (list "FILE_RECYCLER_STORAGE__SECRET_KEY_FILE" .Values.secret.storageSecretKey)
  (list "FILE_RECYCLER_HTTP__TOKEN_FILE" .Values.secret.httpToken) -}}
{{- range $keys }}
{{- if index . 1 }}
- name: {{ index . 0 }}
  value: /run/secrets/file-recycler/{{ index . 1 }}
{{- end }}
{{- end }}
{{- end -}}

{{- /* The container; `sidecar` says in whose pod. */ -}}
{{- define "file-recycler.container" -}}
{{- $root := .root -}}
{{- with .root -}}
- name: file-recycler
  image: {{ printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  args:
    - {{ .Values.command }}
  env:
    - name: FILE_RECYCLER_HTTP__LISTEN
      value: "0.0.0.0:{{ .Values.port }}"
    - name: FILE_RECYCLER_SHUTDOWN_TIMEOUT
      value: "{{ .Values.shutdownTimeoutSeconds }}s"
    {{- include "file-recycler.secretEnv" . | trim | nindent 4 }}
    {{- with .Values.env }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  ports:
    - name: recycler
      containerPort: {{ .Values.port }}
  # Health is that of the process alone: an outage of a server is no reason to restart anything.
  startupProbe:
    httpGet:
      path: /healthz
      port: recycler
    periodSeconds: 2
    failureThreshold: 30
  livenessProbe:
    httpGet:
      path: /healthz
      port: recycler
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: 3
  {{- if not $.sidecar }}
  # Out of the Service while events could not be taken anyway.
  readinessProbe:
    httpGet:
      path: /readyz
      port: recycler
    periodSeconds: 10
    timeoutSeconds: 5
  {{- end }}
  resources:
    {{- toYaml .Values.resources | nindent 4 }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities:
      drop:
        - ALL
    seccompProfile:
      type: RuntimeDefault
  volumeMounts:
    - name: file-recycler-config
      mountPath: /etc/file-recycler
      readOnly: true
    - name: file-recycler-secret
      mountPath: /run/secrets/file-recycler
      readOnly: true
{{- end -}}
{{- end -}}

{{- /* For the CRM's chart: `include "file-recycler.sidecar" (index .Subcharts "file-recycler")`, below `containers:`. */ -}}
{{- define "file-recycler.sidecar" -}}
{{- include "file-recycler.container" (dict "root" . "sidecar" true) -}}
{{- end -}}

{{- /* And this below `volumes:`. Only our container mounts them; the pod's group may be another one, so that everybody in
       that container may read them. */ -}}
{{- define "file-recycler.volumes" -}}
- name: file-recycler-config
  configMap:
    name: {{ include "file-recycler.fullname" . }}
- name: file-recycler-secret
  secret:
    secretName: {{ .Values.secret.name }}
    defaultMode: 0444
{{- end -}}
