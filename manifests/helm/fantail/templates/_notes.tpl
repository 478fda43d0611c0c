{{/* A short description of the logs that a job reads. */}}
{{- define "fantail.reads" -}}
{{- $job := . -}}
{{- if hasKey $job "kubernetes_sd_configs" -}}
  {{- $limits := list -}}
  {{- range get $job "relabel_configs" | default list -}}
    {{- if and (has (toString .action | lower) (list "keep" "drop")) .source_labels -}}
      {{- $what := join ";" .source_labels | replace "__meta_kubernetes_" "" -}}
      {{- $limits = append $limits (printf "%s %s is %s" (ternary "whose" "but not whose" (eq (lower .action) "keep")) $what (toString .regex)) -}}
    {{- end -}}
  {{- end -}}
pods of the node{{ if $limits }} {{ join ", " $limits }}{{ end }}
{{- else if hasKey $job "static_configs" -}}
  {{- $paths := list -}}
  {{- range get $job "static_configs" | default list -}}
    {{- with (.labels | default dict) }}{{- with get . "__path__" -}}{{- $paths = append $paths . -}}{{- end -}}{{- end -}}
  {{- end -}}
files {{ join ", " $paths | default "without a path" }}
{{- else -}}
  {{- range without (keys $job | sortAlpha) "job_name" "pipeline_stages" "relabel_configs" "encoding" "decompression" -}}
{{ trimSuffix "_sd_configs" . }} {{ with (get $job .) }}{{ if kindIs "map" . }}{{ with get . "listen_address" }}on {{ . }}{{ end }}{{ end }}{{ end }}
  {{- end -}}
{{- end -}}
{{- end -}}

{{/* Settings that were not used as written, and why. One line each. */}}
{{- define "fantail.remarks" -}}
{{- $v := .Values -}}
{{- $config := $v.config -}}{{- $snippets := $config.snippets -}}
{{- if hasPrefix "localhost/" (include "fantail.image" .) }}
- The image is {{ include "fantail.image" . }}, which exists only on nodes where you have loaded it: set image.registry, image.repository and image.tag to your image.
{{- end }}
{{- with $v._fantail.beside }}
- These values are not under `promtail` and belong to other charts: {{ join ", " . }}. They are not used.
{{- end }}
{{- if or $v.rbac.pspEnabled $v.podSecurityPolicy }}
- rbac.pspEnabled and podSecurityPolicy: ignored, because Kubernetes 1.25 and later have no PodSecurityPolicy. Label the namespace instead:
    kubectl label namespace {{ include "fantail.namespace" . }} pod-security.kubernetes.io/enforce=privileged
{{- end }}
{{- if get ($v.sidecar.configReloader | default dict) "enabled" }}
- sidecar.configReloader: ignored. `helm upgrade` with a changed configuration restarts the pods, and no line is lost.
{{- end }}
{{- if $config.enableTracing }}
- config.enableTracing: ignored, because fantail sends no traces.
{{- end }}
{{- $written := "" -}}{{- $by := "" -}}
{{- if $config.file -}}
  {{- $written = ternary $config.file (toYaml $config.file) (kindIs "string" $config.file) -}}{{- $by = "config.file" -}}
{{- else if $config.scrape_configs -}}
  {{- $written = "extraScrapeConfigs " -}}{{- $by = "config.scrape_configs" -}}
{{- else if $snippets.scrapeConfigs -}}
  {{- $written = print "extraScrapeConfigs " (ternary $snippets.scrapeConfigs (toYaml $snippets.scrapeConfigs) (kindIs "string" $snippets.scrapeConfigs)) -}}{{- $by = "config.snippets.scrapeConfigs" -}}
{{- end -}}
{{- if $by -}}
  {{- range $key := list "extraRelabelConfigs" "extraScrapeConfigs" "addScrapeJobLabel" -}}
    {{- if and (get $snippets $key) (not (contains $key $written)) }}
- config.snippets.{{ $key }} has no effect: {{ $by }} replaces the jobs that it would change, and does not include it.
    {{- end -}}
  {{- end -}}
  {{- if eq $by "config.file" -}}
  {{- range $key := list "scrapeConfigs" "extraLimitsConfig" "extraServerConfigs" "extraTargetConfig" -}}
    {{- if and (get $snippets $key) (not (contains $key $written)) }}
- config.snippets.{{ $key }} has no effect: config.file is the whole configuration, and does not include it.
    {{- end -}}
  {{- end -}}
  {{- end -}}
{{- end -}}
{{- if and $v.deployment.enabled (not $by) }}
- The Deployment does not get the job kubernetes-pods, because its agents run on arbitrary nodes.
{{- end }}
{{- if and $v.configmap.enabled (regexMatch "(?m)^ *\"?(password|bearer_token|credentials|client_secret)\"?: *[^$ ]" (toYaml $config.clients)) }}
- The configuration with its password is in a ConfigMap, which more users can read than a Secret: set configmap.enabled to false.
{{- end }}
{{- if $v.daemonset.enabled -}}
  {{- $positions := include "fantail.positionsFile" (dict "root" . "workload" "daemonset") -}}
  {{- if regexMatch "^(/var)?/run/" $positions }}
- Positions are in {{ dir $positions }}, which is empty after a reboot: then all logs on the node's disk are sent again. Without config.positions, they are in /var/lib/fantail.
  {{- end -}}
{{- end }}
{{- range splitList "," (include "fantail.workloads" .) }}
{{- if not (include "fantail.isReachable" (dict "root" $ "workload" .)) }}
- The HTTP server of the {{ . }}'s agents cannot be reached from outside the pod, so there are no probes and no scrapes.
{{- end }}
{{- end }}
{{- if and $v.networkPolicy.enabled (contains "anywhere" (include "fantail.destinations" .)) }}
- networkPolicy: only the agent knows the URL of a client, so all outgoing connections are allowed.
{{- end }}
{{- if and $v.serviceMonitor.prometheusRule.enabled (not $v.serviceMonitor.prometheusRule.rules) (not (.Files.Get "files/rules.yaml")) }}
- serviceMonitor.prometheusRule: this chart has no rules yet, and `rules` is empty, so there is no PrometheusRule.
{{- end }}
{{- if and $v.dashboards.enabled (not (.Files.Glob "files/dashboards/*.json")) }}
- dashboards: this chart has no dashboards yet.
{{- end }}
{{- if and $v.podDisruptionBudget.enabled (not $v.deployment.enabled) }}
- podDisruptionBudget: there is no Deployment, and pods of a DaemonSet are not evicted.
{{- end }}
{{- if and $v.rbac.create (include "fantail.findsPods" .) }}
- The agent may list and watch pods{{ if $v.rbac.extraRules }}, and has the permissions of rbac.extraRules{{ end }}. Promtail's chart also requests nodes, nodes/proxy, services and endpoints. nodes/proxy is as powerful as a shell in every pod.
{{- end }}
{{- end -}}
