{{/*
Prepares the user's values for the templates. Each template includes this first. Only the first call has an effect. It changes
.Values in place:
  - it refuses all unknown keys together;
  - it moves values under `promtail:`, as in a file for loki-stack, to the top level;
  - it stores facts for the notes in `_fantail`.
*/}}
{{- define "fantail.init" -}}
{{- if not (hasKey .Values "_fantail") -}}
{{- $nested := kindIs "map" .Values.promtail -}}
{{- $known := .Files.Get "files/known.yaml" | fromYaml -}}
{{- $found := dict "unknown" list "beside" list -}}
{{- include "fantail.findUnknown" (dict "path" "" "values" (omit .Values "promtail") "known" $known "found" $found) -}}
{{- if $nested -}}
  {{- /* Values beside `promtail:` belong to other charts, unless they are inside a value of this chart. */ -}}
  {{- $own := list -}}
  {{- range $found.unknown -}}
    {{- if .parent -}}{{- $own = append $own . -}}{{- else -}}{{- $_ := set $found "beside" (append $found.beside .key) -}}{{- end -}}
  {{- end -}}
  {{- $_ := set $found "unknown" $own -}}
  {{- include "fantail.findUnknown" (dict "path" "promtail." "values" .Values.promtail "known" $known "found" $found) -}}
{{- end -}}
{{- with $found.unknown -}}
  {{- include "fantail.refuseUnknown" (dict "unknown" . "known" $known) -}}
{{- end -}}
{{- if $nested -}}
  {{- $layer := .Values.promtail -}}
  {{- include "fantail.overlay" (dict "onto" .Values "from" $layer) -}}
  {{- $_ := unset .Values "promtail" -}}
{{- end -}}
{{- if and (hasKey .Values "enabled") (not .Values.enabled) -}}
  {{- fail (printf "\n\nvalues: %senabled is false, so nothing would be installed: set it to true, or remove it\n" (ternary "promtail." "" $nested)) -}}
{{- end -}}
{{- $_ := set .Values "_fantail" (dict "nested" $nested "beside" (sortAlpha $found.beside)) -}}
{{- include "fantail.check" . -}}
{{- if not .Values.httpPathPrefix -}}
  {{- /* Probes and monitors use the path prefix of the user's complete configuration. */ -}}
  {{- $workload := splitList "," (include "fantail.workloads" .) | first -}}
  {{- $server := (include "fantail.parsed" (dict "root" . "workload" $workload) | fromYaml).server | default dict -}}
  {{- $_ := set .Values "httpPathPrefix" (get $server "http_path_prefix" | toString | trimSuffix "/") -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Merges .from into .onto, map by map. Null removes a key, as in a values file. */}}
{{- define "fantail.overlay" -}}
{{- $onto := .onto -}}
{{- range $key, $value := .from -}}
  {{- if kindIs "invalid" $value -}}
    {{- $_ := unset $onto $key -}}
  {{- else if and (kindIs "map" $value) (kindIs "map" (get $onto $key)) -}}
    {{- include "fantail.overlay" (dict "onto" (get $onto $key) "from" $value) -}}
  {{- else -}}
    {{- $_ := set $onto $key $value -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{/* Values that have valid keys but cannot be intended. */}}
{{- define "fantail.check" -}}
{{- $v := .Values -}}
{{- if regexMatch "(^|/)grafana/promtail$" (toString $v.image.repository) -}}
  {{- fail "\n\nvalues: image.repository is grafana/promtail, which would start Promtail itself: remove image.repository and image.tag, or set your fantail image\n" -}}
{{- end -}}
{{- if and $v.config.scrape_configs $v.config.snippets.scrapeConfigs -}}
  {{- fail "\n\nvalues: config.scrape_configs and config.snippets.scrapeConfigs are the same: write one of them\n" -}}
{{- end -}}
{{- if and $v.config.file $v.config.scrape_configs -}}
  {{- fail "\n\nvalues: config.file is the whole configuration, so config.scrape_configs has no effect: write one of them\n" -}}
{{- end -}}
{{- if not (or $v.daemonset.enabled $v.deployment.enabled) -}}
  {{- fail "\n\nvalues: daemonset.enabled and deployment.enabled are both false, so nothing would run: set one to true\n" -}}
{{- end -}}
{{- /* A new pod cannot start while the old one holds the positions lock, and the old one runs until the new one is ready. */}}
{{- $surge := ($v.updateStrategy | default dict).rollingUpdate | default dict -}}
{{- if and $v.daemonset.enabled (not (regexMatch "^0?%?$" (toString ($surge.maxSurge | default 0)))) -}}
  {{- fail "\n\nvalues: with updateStrategy.rollingUpdate.maxSurge a new agent would start beside the old one, which has the positions, and the update would never end: remove maxSurge and set maxUnavailable\n" -}}
{{- end -}}
{{- if and $v.serviceMonitor.enabled $v.podMonitor.enabled -}}
  {{- fail "\n\nvalues: with serviceMonitor.enabled and podMonitor.enabled each agent would be scraped twice: set one to false\n" -}}
{{- end -}}
{{- end -}}

{{/*
A cluster without the kind of an object refuses the whole release, with a message that does not say what to do. The kinds are
only known if Helm is connected to a cluster (not with `helm template`). Then the namespace kube-system exists.
*/}}
{{- define "fantail.needs" -}}
{{- if not (.root.Capabilities.APIVersions.Has .api) -}}
{{- if lookup "v1" "Namespace" "" "kube-system" -}}
  {{- fail (printf "\n\nvalues: %s needs the API %s, which this cluster does not have: install %s first, or set %s to false\n" .key .api .by .key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
