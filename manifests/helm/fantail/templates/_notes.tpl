{{/* What a job reads, in a few words. */}}
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

{{/* What was not done as it is written, and why; a line each. */}}
{{- define "fantail.remarks" -}}
{{- $v := .Values -}}
{{- $config := $v.config -}}{{- $snippets := $config.snippets -}}
{{- if hasPrefix "localhost/" (include "fantail.image" .) }}
- The image is {{ include "fantail.image" . }}, which only a node has that it was put on: set image.registry, image.repository and image.tag to where yours is.
{{- end }}
{{- with $v._fantail.beside }}
- These stand beside `promtail` and belong to other charts: {{ join ", " . }}. Nothing was done with them.
{{- end }}
{{- if or $v.rbac.pspEnabled $v.podSecurityPolicy }}
- rbac.pspEnabled and podSecurityPolicy: ignored, since Kubernetes 1.25 has no PodSecurityPolicy. Label the namespace instead:
    kubectl label namespace {{ include "fantail.namespace" . }} pod-security.kubernetes.io/enforce=privileged
{{- end }}
{{- if get ($v.sidecar.configReloader | default dict) "enabled" }}
- sidecar.configReloader: ignored. `helm upgrade` with a changed configuration rolls the pods, and no line is lost by that.
{{- end }}
{{- if $config.enableTracing }}
- config.enableTracing: ignored, since fantail sends no traces.
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
- config.snippets.{{ $key }} has no effect: {{ $by }} stands in place of what it adds to, and does not name it.
    {{- end -}}
  {{- end -}}
  {{- if eq $by "config.file" -}}
  {{- range $key := list "scrapeConfigs" "extraLimitsConfig" "extraServerConfigs" "extraTargetConfig" -}}
    {{- if and (get $snippets $key) (not (contains $key $written)) }}
- config.snippets.{{ $key }} has no effect: config.file is the whole configuration, and does not name it.
    {{- end -}}
  {{- end -}}
  {{- end -}}
{{- end -}}
{{- if and $v.deployment.enabled (not $by) }}
- The Deployment does not get the job kubernetes-pods: its agents are on nodes by chance.
{{- end }}
{{- if and $v.configmap.enabled (regexMatch "(?m)^ *\"?(password|bearer_token|credentials|client_secret)\"?: *[^$ ]" (toYaml $config.clients)) }}
- The configuration with its password is in a ConfigMap, which more people may read than a Secret: set configmap.enabled to false.
{{- end }}
{{- if $v.daemonset.enabled -}}
  {{- $positions := include "fantail.positionsFile" (dict "root" . "workload" "daemonset") -}}
  {{- if regexMatch "^(/var)?/run/" $positions }}
- Positions are in {{ dir $positions }}, which is empty after a reboot: then everything on the node's disk is sent again. Without config.positions they are in /var/lib/fantail.
  {{- end -}}
{{- end }}
{{- range splitList "," (include "fantail.workloads" .) }}
{{- if not (include "fantail.isReachable" (dict "root" $ "workload" .)) }}
- The server of the {{ . }}'s agents is not to be reached from outside, so there are no probes, and nothing can be scraped.
{{- end }}
{{- end }}
{{- if and $v.networkPolicy.enabled (contains "anywhere" (include "fantail.destinations" .)) }}
- networkPolicy: the URL of a client is known to the agent only, so everything that goes out is allowed.
{{- end }}
{{- if and $v.serviceMonitor.prometheusRule.enabled (not $v.serviceMonitor.prometheusRule.rules) (not (.Files.Get "files/rules.yaml")) }}
- serviceMonitor.prometheusRule: this chart has no rules yet, and `rules` has none, so there is no PrometheusRule.
{{- end }}
{{- if and $v.dashboards.enabled (not (.Files.Glob "files/dashboards/*.json")) }}
- dashboards: this chart has none yet.
{{- end }}
{{- if and $v.podDisruptionBudget.enabled (not $v.deployment.enabled) }}
- podDisruptionBudget: there is no Deployment, and pods of a DaemonSet are not evicted.
{{- end }}
{{- if and $v.rbac.create (include "fantail.findsPods" .) }}
- The agent may list and watch pods{{ if $v.rbac.extraRules }}, and what rbac.extraRules says{{ end }}. Promtail's chart asked for nodes, nodes/proxy, services and endpoints as well; nodes/proxy amounts to a shell in every pod.
{{- end }}
{{- end -}}
