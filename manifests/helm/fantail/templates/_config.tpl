{{/*
promtail.yaml of a workload. Takes .root and .workload: daemonset or deployment.

Agents of the Deployment run on arbitrary nodes, so they do not get the job that reads the node's pods, but they get the
user's own jobs.
*/}}
{{- define "fantail.config" -}}
{{- $root := .root -}}
{{- $config := $root.Values.config -}}
{{- $snippets := $config.snippets -}}
{{- if $config.file -}}
{{- include "fantail.readyWithoutTargets" (dict "text" (include "fantail.snippet" (dict "value" $config.file "root" $root)) "port" $config.serverPort) -}}
{{- else -}}
{{- $server := include "fantail.snippet" (dict "value" $snippets.extraServerConfigs "root" $root) -}}
{{- /* A server key that the user sets is not set again. */ -}}
{{- $given := $server | fromYaml -}}
server:
  {{- if not (hasKey $given "log_level") }}
  log_level: {{ $config.logLevel }}
  {{- end }}
  {{- if not (hasKey $given "log_format") }}
  log_format: {{ $config.logFormat }}
  {{- end }}
  {{- if not (hasKey $given "http_listen_port") }}
  http_listen_port: {{ $config.serverPort }}
  {{- end }}
  {{- if and $root.Values.httpPathPrefix (not (hasKey $given "http_path_prefix")) }}
  http_path_prefix: {{ $root.Values.httpPathPrefix | quote }}
  {{- end }}
  {{- if not (hasKey $given "health_check_target") }}
  # A node without a pod to read is ready too.
  health_check_target: false
  {{- end }}
  {{- if not (hasKey $given "http_pages") }}
  # Probes and metrics are open to all. Use `kubectl port-forward` for the other pages.
  http_pages: loopback
  {{- end }}
  {{- with $server }}
  {{- . | nindent 2 }}
  {{- end }}

clients:
  {{- include "fantail.snippet" (dict "value" $config.clients "root" $root) | nindent 2 }}

positions:
  {{- include "fantail.snippet" (dict "value" $config.positions "root" $root) | nindent 2 }}

{{- $jobs := list }}
{{- if $config.scrape_configs }}
{{- $jobs = append $jobs (include "fantail.snippet" (dict "value" $config.scrape_configs "root" $root)) }}
{{- else if $snippets.scrapeConfigs }}
{{- $jobs = append $jobs (include "fantail.snippet" (dict "value" $snippets.scrapeConfigs "root" $root)) }}
{{- else if eq .workload "daemonset" }}
{{- $jobs = append $jobs (include (ternary "fantail.podsJobForGrafana" "fantail.podsJob" (eq $config.labels "grafana")) $root) }}
{{- end }}
{{- with $snippets.extraScrapeConfigs }}
{{- $jobs = append $jobs (include "fantail.snippet" (dict "value" . "root" $root)) }}
{{- end }}
{{- if not $jobs }}
{{- fail "\n\nvalues: the Deployment has no job: write a receiver into config.snippets.extraScrapeConfigs, or set deployment.enabled to false\n" }}
{{- end }}

scrape_configs:
  {{- range $jobs }}
  {{- . | nindent 2 }}
  {{- end }}
{{- with include "fantail.snippet" (dict "value" $snippets.extraLimitsConfig "root" $root) }}

limits_config:
  {{- . | nindent 2 }}
{{- end }}
{{- with include "fantail.snippet" (dict "value" $snippets.extraTargetConfig "root" $root) }}

target_config:
  {{- . | nindent 2 }}
{{- end }}
{{- end -}}
{{- end -}}

{{/* The job that reads all pods, with the labels of Promtail's chart. */}}
{{- define "fantail.podsJob" -}}
{{- $snippets := .Values.config.snippets -}}
- job_name: kubernetes-pods
  {{- with include "fantail.snippet" (dict "value" $snippets.pipelineStages "root" .) }}
  pipeline_stages:
    {{- . | nindent 4 }}
  {{- end }}
  kubernetes_sd_configs:
    - role: pod
  relabel_configs:
    # The pod's owner, without the hash of a ReplicaSet.
    - source_labels:
        - __meta_kubernetes_pod_controller_name
      regex: ([0-9a-z-.]+?)(-[0-9a-f]{8,10})?
      target_label: __tmp_controller_name
    # The first of these labels that is set.
    - source_labels:
        - __meta_kubernetes_pod_label_app_kubernetes_io_name
        - __meta_kubernetes_pod_label_app
        - __tmp_controller_name
        - __meta_kubernetes_pod_name
      regex: ^;*([^;]+)(;.*)?$
      target_label: app
    - source_labels:
        - __meta_kubernetes_pod_label_app_kubernetes_io_instance
        - __meta_kubernetes_pod_label_instance
      regex: ^;*([^;]+)(;.*)?$
      target_label: instance
    - source_labels:
        - __meta_kubernetes_pod_label_app_kubernetes_io_component
        - __meta_kubernetes_pod_label_component
      regex: ^;*([^;]+)(;.*)?$
      target_label: component
    {{- if $snippets.addScrapeJobLabel }}
    - replacement: kubernetes-pods
      target_label: scrape_job
    {{- end }}
    {{- with include "fantail.snippet" (dict "value" $snippets.common "root" .) }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- with include "fantail.snippet" (dict "value" $snippets.extraRelabelConfigs "root" .) }}
    {{- . | nindent 4 }}
    {{- end }}
{{- end -}}

{{/*
The same with the labels of Grafana's own Kubernetes monitoring. All of them are derived from the pod and the line, so that
resent lines are identical.
*/}}
{{- define "fantail.podsJobForGrafana" -}}
{{- $snippets := .Values.config.snippets -}}
- job_name: kubernetes-pods
  pipeline_stages:
    {{- with include "fantail.snippet" (dict "value" $snippets.pipelineStages "root" .) }}
    {{- . | nindent 4 }}
    {{- end }}
    # Structured metadata must not be a label too.
    - structured_metadata:
        k8s_pod_name: pod
    - structured_metadata:
        pod:
        service_instance_id:
        detected_level: level
    - labeldrop:
        - filename
  kubernetes_sd_configs:
    - role: pod
  relabel_configs:
    # Pods that opt out.
    - source_labels: [__meta_kubernetes_pod_annotation_logs_grafana_com_pods_enabled]
      regex: "false|no|skip"
      action: drop
    - source_labels: [__meta_kubernetes_namespace]
      target_label: namespace
    - source_labels: [__meta_kubernetes_pod_name]
      target_label: pod
    - source_labels: [__meta_kubernetes_pod_container_name]
      target_label: container
    - source_labels: [namespace, container]
      separator: /
      target_label: job
    - source_labels: [__meta_kubernetes_pod_label_app_kubernetes_io_name]
      target_label: app_kubernetes_io_name
    # The first of these labels that is set.
    - source_labels:
        - __meta_kubernetes_pod_annotation_resource_opentelemetry_io_service_name
        - __meta_kubernetes_pod_label_app_kubernetes_io_name
        - __meta_kubernetes_pod_container_name
      regex: ^;*([^;]+)(;.*)?$
      target_label: service_name
    - source_labels:
        - __meta_kubernetes_pod_annotation_resource_opentelemetry_io_service_namespace
        - __meta_kubernetes_namespace
      regex: ^;*([^;]+)(;.*)?$
      target_label: service_namespace
    - source_labels: [namespace, pod, container]
      separator: .
      target_label: service_instance_id
    - source_labels: [__meta_kubernetes_pod_annotation_resource_opentelemetry_io_service_instance_id]
      regex: (.+)
      target_label: service_instance_id
    {{- with .Values.config.cluster }}
    - target_label: cluster
      replacement: {{ . | quote }}
    {{- end }}
    - source_labels: [__meta_kubernetes_pod_uid, __meta_kubernetes_pod_container_name]
      separator: /
      target_label: __path__
      replacement: /var/log/pods/*$1/*.log
    # The directory name of a static pod has the hash of its config.
    - source_labels:
        - __meta_kubernetes_pod_annotationpresent_kubernetes_io_config_hash
        - __meta_kubernetes_pod_annotation_kubernetes_io_config_hash
        - __meta_kubernetes_pod_container_name
      separator: /
      regex: true/(.*)
      target_label: __path__
      replacement: /var/log/pods/*$1/*.log
    {{- if $snippets.addScrapeJobLabel }}
    - replacement: kubernetes-pods
      target_label: scrape_job
    {{- end }}
    {{- with include "fantail.snippet" (dict "value" $snippets.extraRelabelConfigs "root" .) }}
    {{- . | nindent 4 }}
    {{- end }}
{{- end -}}

{{/*
Adds health_check_target to a complete promtail.yaml of the user that does not set it. The rest stays unchanged. Takes .text
and .port.
*/}}
{{- define "fantail.readyWithoutTargets" -}}
{{- if contains "health_check_target" .text -}}
{{- .text -}}
{{- else if regexMatch `(?m)^server:[ \t]*(#.*)?\n+[ \t]+` .text -}}
{{- regexReplaceAll `(?m)^(server:[ \t]*(?:#.*)?\n+)([ \t]+)` .text "${1}${2}health_check_target: false\n${2}" -}}
{{- else if regexMatch `(?m)^server:[ \t]*\{` .text -}}
{{- regexReplaceAll `(?m)^server:[ \t]*\{` .text "server: {health_check_target: false, " -}}
{{- else if regexMatch `(?m)^server:` .text -}}
{{- .text -}}
{{- else -}}
server:
  http_listen_port: {{ .port }}
  health_check_target: false
{{ .text }}
{{- end -}}
{{- end -}}

{{/*
The parsed promtail.yaml, for other templates: ports, directories, clients. An empty map if it is not the chart's, or if
it is not valid YAML before environment variables are replaced. Takes .root and .workload.
*/}}
{{- define "fantail.parsed" -}}
{{- if .root.Values.config.enabled -}}
  {{- $parsed := include "fantail.config" . | fromYaml -}}
  {{- if hasKey $parsed "Error" -}}
    {{- if not (regexMatch "-config.expand-env" (join " " .root.Values.extraArgs)) -}}
      {{- fail (printf "\n\nvalues: `config` does not make a promtail.yaml that is YAML: %s\n%s" $parsed.Error (include "fantail.around" (dict "error" $parsed.Error "text" (include "fantail.config" .)))) -}}
    {{- end -}}
    {{- $parsed = dict -}}
  {{- end -}}
  {{- toYaml $parsed -}}
{{- end -}}
{{- end -}}

{{/* The lines around the line of a YAML error, without possible secrets. Takes .error and .text. */}}
{{- define "fantail.around" -}}
{{- $at := regexFind "line [0-9]+" .error | trimPrefix "line " | int -}}
{{- range $i, $line := splitList "\n" .text -}}
{{- $number := add $i 1 | int -}}
{{- if and (ge $number (sub $at 2 | int)) (le $number (add $at 1 | int)) -}}
{{- if regexMatch `(?i)pass|secret|token|credential|key|://` $line -}}{{- $line = print (regexFind "^[^:]*" $line) ": <not shown>" -}}{{- end }}
{{ printf "%5d | %s" $number ($line | replace "\t" "<tab>") }}
{{- end -}}
{{- end }}
{{ end -}}

{{/* Returns "true" if any of the workloads discovers pods, otherwise nothing. */}}
{{- define "fantail.findsPods" -}}
{{- $root := . -}}
{{- $finds := not .Values.config.enabled -}}
{{- range splitList "," (include "fantail.workloads" .) -}}
  {{- if contains "kubernetes_sd_configs" (include "fantail.config" (dict "root" $root "workload" .)) -}}{{- $finds = true -}}{{- end -}}
{{- end -}}
{{- if $finds -}}true{{- end -}}
{{- end -}}

{{/* The port of the pages and metrics. The agent's own default is 80. Takes .root and .workload. */}}
{{- define "fantail.port" -}}
{{- $server := (include "fantail.parsed" . | fromYaml).server -}}
{{- if $server -}}
{{- $server.http_listen_port | default 80 | int -}}
{{- else -}}
{{- .root.Values.config.serverPort | int -}}
{{- end -}}
{{- end -}}

{{/* Returns "true" if the kubelet can probe the agent, otherwise nothing. Takes .root and .workload. */}}
{{- define "fantail.isReachable" -}}
{{- $server := (include "fantail.parsed" . | fromYaml).server | default dict -}}
{{- if not (or (eq (get $server "disable" | toString) "true") (regexMatch "^(127\\.|localhost$|\\[?::1)" (get $server "http_listen_address" | toString))) -}}
true
{{- end -}}
{{- end -}}
