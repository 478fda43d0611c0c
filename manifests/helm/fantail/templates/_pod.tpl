{{/* The pods of a workload. Takes .root and .workload. */}}
{{- define "fantail.pod" -}}
{{- $root := .root -}}
{{- $v := $root.Values -}}
{{- $folders := include "fantail.folders" . | fromYaml -}}
metadata:
  labels:
    {{- include "fantail.workloadLabels" . | nindent 4 }}
    {{- with $v.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    {{- if $v.config.enabled }}
    # A changed configuration restarts the pods.
    checksum/config: {{ include "fantail.config" . | sha256sum }}
    {{- end }}
    {{- with $v.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "fantail.serviceAccountName" $root }}
  automountServiceAccountToken: {{ $v.automountServiceAccountToken }}
  enableServiceLinks: {{ $v.enableServiceLinks }}
  {{- with $v.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with concat ($v.global.imagePullSecrets | default list) ($v.imagePullSecrets | default list) }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $v.hostAliases }}
  hostAliases:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if not (kindIs "invalid" $v.hostNetwork) }}
  hostNetwork: {{ $v.hostNetwork }}
  {{- end }}
  {{- if not (kindIs "invalid" $v.hostUsers) }}
  hostUsers: {{ $v.hostUsers }}
  {{- end }}
  {{- /* By default, a pod on the node's network uses the node's name server, which does not know Services. */}}
  {{- with $v.dnsPolicy | default (ternary "ClusterFirstWithHostNet" "" (eq (toString $v.hostNetwork) "true")) }}
  dnsPolicy: {{ . }}
  {{- end }}
  {{- with $v.dnsConfig }}
  dnsConfig:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if not (kindIs "invalid" $v.terminationGracePeriodSeconds) }}
  terminationGracePeriodSeconds: {{ $v.terminationGracePeriodSeconds }}
  {{- end }}
  {{- with $v.podSecurityContext }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- $first := concat ($v.initContainer | default list) ($v.initContainers | default list) }}
  {{- if or $first $v.checkConfig }}
  initContainers:
    {{- with $first }}
    {{- include "fantail.snippet" (dict "value" . "root" $root) | nindent 4 }}
    {{- end }}
    {{- if $v.checkConfig }}
    - name: check-config
      {{- include "fantail.container" (dict "root" $root "workload" .workload "folders" $folders "first" "-check-syntax") | nindent 6 }}
    {{- end }}
  {{- end }}
  containers:
    - name: fantail
      {{- include "fantail.container" (dict "root" $root "workload" .workload "folders" $folders) | nindent 6 }}
      ports:
        - name: http-metrics
          containerPort: {{ include "fantail.port" . }}
          protocol: TCP
        {{- range $v.extraPorts }}
        - name: {{ .name }}
          containerPort: {{ .containerPort }}
          protocol: {{ .protocol | default "TCP" }}
        {{- end }}
      {{- $reachable := include "fantail.isReachable" . }}
      {{- with ternary $v.livenessProbe nil (eq $reachable "true") }}
      livenessProbe:
        {{- include "fantail.snippet" (dict "value" . "root" $root) | nindent 8 }}
      {{- end }}
      {{- with ternary $v.readinessProbe nil (eq $reachable "true") }}
      readinessProbe:
        {{- include "fantail.snippet" (dict "value" . "root" $root) | nindent 8 }}
      {{- end }}
      {{- with $v.lifecycle }}
      lifecycle:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    {{- range $name, $container := $v.extraContainers }}
    - name: {{ $name }}
      {{- include "fantail.snippet" (dict "value" (omit $container "name") "root" $root) | nindent 6 }}
    {{- end }}
  nodeSelector:
    {{- toYaml (merge (deepCopy ($v.nodeSelector | default dict)) (dict "kubernetes.io/os" "linux")) | nindent 4 }}
  {{- with $v.affinity }}
  affinity:
    {{- include "fantail.snippet" (dict "value" . "root" $root) | nindent 4 }}
  {{- end }}
  {{- $tolerations := $v.tolerations | default list }}
  {{- if and (eq .workload "deployment") (deepEqual $tolerations (list (dict "operator" "Exists"))) }}
  {{- /* A pod that tolerates all taints never leaves a dead node. */}}
  {{- $tolerations = list }}
  {{- end }}
  {{- with $tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if eq .workload "deployment" }}
  {{- with $v.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- include "fantail.snippet" (dict "value" . "root" $root) | nindent 4 }}
  {{- end }}
  {{- end }}
  volumes:
    {{- toYaml $folders.volumes | nindent 4 }}
{{- end -}}

{{/* The common part of the agent's container and of the container that checks the configuration. Takes .root, .workload, .folders and .first. */}}
{{- define "fantail.container" -}}
{{- $root := .root -}}
{{- $v := $root.Values -}}
image: {{ include "fantail.image" $root | quote }}
imagePullPolicy: {{ $v.image.pullPolicy }}
args:
  {{- with .first }}
  - {{ . }}
  {{- end }}
  - -config.file=/etc/fantail/promtail.yaml
  {{- $parsed := include "fantail.parsed" . | fromYaml }}
  {{- if and $parsed (not (get ($parsed.positions | default dict) "filename")) (not (contains "-positions.file" (join " " $v.extraArgs))) }}
  # promtail.yaml does not set it.
  - -positions.file={{ include "fantail.positionsFile" . }}
  {{- end }}
  {{- with $v.extraArgs }}
  {{- include "fantail.snippet" (dict "value" . "root" $root) | nindent 2 }}
  {{- end }}
env:
  # The node whose pods are read. Promtail has the same variable.
  - name: NODE_NAME
    valueFrom:
      fieldRef:
        fieldPath: spec.nodeName
  - name: HOSTNAME
    valueFrom:
      fieldRef:
        fieldPath: spec.nodeName
  {{- with $v.extraEnv }}
  {{- include "fantail.snippet" (dict "value" . "root" $root) | nindent 2 }}
  {{- end }}
{{- with $v.extraEnvFrom }}
envFrom:
  {{- include "fantail.snippet" (dict "value" . "root" $root) | nindent 2 }}
{{- end }}
resources:
  {{- include "fantail.resources" . | nindent 2 }}
{{- $context := deepCopy ($v.containerSecurityContext | default dict) }}
{{- if $v.readAllFiles }}
{{- $capabilities := get $context "capabilities" | default dict }}
{{- $_ := set $capabilities "add" (append (get $capabilities "add" | default list) "DAC_READ_SEARCH" | uniq) }}
{{- $_ := set $context "capabilities" $capabilities }}
{{- end }}
{{- with $context }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
# `kubectl describe pod` also shows why the agent does not start.
terminationMessagePolicy: FallbackToLogsOnError
volumeMounts:
  {{- toYaml .folders.mounts | nindent 2 }}
{{- end -}}

{{/*
Volumes and their mounts. The directory of the positions is always mounted, and so are the directories that positions are
taken over from. A directory that is already mounted is not mounted again.
*/}}
{{- define "fantail.folders" -}}
{{- $root := .root -}}
{{- $v := $root.Values -}}
{{- $name := include "fantail.workloadName" . -}}
{{- $parsed := include "fantail.parsed" . | fromYaml -}}
{{- $volumes := list -}}{{- $mounts := list -}}
{{- if $v.configmap.enabled -}}
  {{- $volumes = append $volumes (dict "name" "config" "configMap" (dict "name" $name)) -}}
{{- else -}}
  {{- $volumes = append $volumes (dict "name" "config" "secret" (dict "secretName" $name)) -}}
{{- end -}}
{{- $mounts = append $mounts (dict "name" "config" "mountPath" "/etc/fantail" "readOnly" true) -}}
{{- if $v.credentials.existingSecret -}}
  {{- $volumes = append $volumes (dict "name" "credentials" "secret" (dict "secretName" (tpl $v.credentials.existingSecret $root) "defaultMode" 256)) -}}
  {{- $mounts = append $mounts (dict "name" "credentials" "mountPath" $v.credentials.mountPath "readOnly" true) -}}
{{- end -}}
{{- $reads := false -}}
{{- range $parsed.scrape_configs -}}
  {{- if or (hasKey . "kubernetes_sd_configs") (hasKey . "static_configs") (hasKey . "file_sd_configs") -}}{{- $reads = true -}}{{- end -}}
{{- end -}}
{{- if or (eq .workload "daemonset") $reads -}}
  {{- $volumes = concat $volumes ($v.defaultVolumes | default list) -}}
  {{- $mounts = concat $mounts ($v.defaultVolumeMounts | default list) -}}
{{- end -}}
{{- with $v.extraVolumes -}}
  {{- $part := dict -}}
  {{- include "fantail.walk" (dict "value" . "root" $root "into" $part) -}}
  {{- $volumes = concat $volumes $part.value -}}
{{- end -}}
{{- with $v.extraVolumeMounts -}}
  {{- $part := dict -}}
  {{- include "fantail.walk" (dict "value" . "root" $root "into" $part) -}}
  {{- $mounts = concat $mounts $part.value -}}
{{- end -}}
{{- $positions := $parsed.positions | default dict -}}
{{- $folder := dir (include "fantail.positionsFile" .) -}}
{{- if not (include "fantail.isMounted" (dict "folder" $folder "mounts" $mounts)) -}}
  {{- if eq .workload "daemonset" -}}
    {{- $volumes = append $volumes (dict "name" "positions" "hostPath" (dict "path" $folder "type" "DirectoryOrCreate")) -}}
  {{- else -}}
    {{- /* Two agents of a Deployment on the same node would use the same file. */ -}}
    {{- $volumes = append $volumes (dict "name" "positions" "emptyDir" (dict "sizeLimit" "64Mi")) -}}
  {{- end -}}
  {{- $mounts = append $mounts (dict "name" "positions" "mountPath" $folder) -}}
{{- end -}}
{{- if eq .workload "daemonset" -}}
{{- range $i, $file := get $positions "import_from" | default list -}}
  {{- $folder := dir $file -}}
  {{- if not (include "fantail.isMounted" (dict "folder" $folder "mounts" $mounts)) -}}
    {{- /* Without a type, because a node may not have this directory. */ -}}
    {{- $volumes = append $volumes (dict "name" (printf "positions-before-%d" $i) "hostPath" (dict "path" $folder)) -}}
    {{- $mounts = append $mounts (dict "name" (printf "positions-before-%d" $i) "mountPath" $folder "readOnly" true) -}}
  {{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml (dict "volumes" $volumes "mounts" $mounts) -}}
{{- end -}}

{{/* The positions file: from a flag, from promtail.yaml, or the chart's default. Takes .root and .workload. */}}
{{- define "fantail.positionsFile" -}}
{{- $flag := regexFind "-positions\\.file[= ][^ ]+" (join " " .root.Values.extraArgs) | regexFind "[^= ]+$" -}}
{{- $positions := (include "fantail.parsed" . | fromYaml).positions | default dict -}}
{{- $flag | default (get $positions "filename") | default "/var/lib/fantail/positions.yaml" -}}
{{- end -}}

{{/* Returns "true" if a directory is a mount or below one, otherwise nothing. */}}
{{- define "fantail.isMounted" -}}
{{- $folder := .folder -}}
{{- range .mounts -}}
  {{- if hasPrefix (print (trimSuffix "/" .mountPath) "/") (print $folder "/") -}}true{{- end -}}
{{- end -}}
{{- end -}}

{{/*
Resources of a container. By default, the memory limit follows docs/operation.md ("Memory"): for each client twice its buffer_size
plus 32 MiB, and 64 MiB for the rest.
*/}}
{{- define "fantail.resources" -}}
{{- if .root.Values.resources -}}
{{- toYaml .root.Values.resources -}}
{{- else -}}
{{- $limit := 64 -}}
{{- range (include "fantail.parsed" . | fromYaml).clients | default (list dict) -}}
  {{- $size := regexFind "^[0-9.]+" (toString (get . "buffer_size")) -}}
  {{- $unit := regexFind "[A-Za-z]+$" (toString (get . "buffer_size")) | upper -}}
  {{- $buffer := 16 -}}
  {{- if and $size (has $unit (list "M" "MB" "MIB")) -}}{{- $buffer = ceil (float64 $size) | int -}}
  {{- else if and $size (has $unit (list "G" "GB" "GIB")) -}}{{- $buffer = ceil (mulf (float64 $size) 1024) | int -}}
  {{- end -}}
  {{- $limit = add $limit 32 (mul 2 $buffer) -}}
{{- end -}}
requests:
  cpu: 10m
  memory: 24Mi
limits:
  memory: {{ $limit }}Mi
{{- end -}}
{{- end -}}
