{{/*
The destinations of the agents, one per line, without duplicates: `namespace <name> <host>` for a host in the cluster,
`port <number> <host>` for one outside, `anywhere` if it is not known. A host with one dot may be either, so it is both.
*/}}
{{- define "fantail.destinations" -}}
{{- $root := . -}}
{{- $found := list -}}
{{- range splitList "," (include "fantail.workloads" .) -}}
  {{- $clients := (include "fantail.parsed" (dict "root" $root "workload" .) | fromYaml).clients -}}
  {{- if not $clients -}}{{- $found = append $found "anywhere" -}}{{- end -}}
  {{- range $clients -}}
    {{- $urls := list (get . "url") -}}
    {{- with get . "proxy_url" -}}{{- $urls = append $urls . -}}{{- end -}}
    {{- with get . "oauth2" -}}{{- with get . "token_url" -}}{{- $urls = append $urls . -}}{{- end -}}{{- end -}}
    {{- range $urls -}}
      {{- $url := toString . -}}
      {{- if not $url -}}
      {{- else if or (contains "${" $url) (not (regexMatch `(?i)^https?://[^/?#]+` $url)) -}}
        {{- $found = append $found "anywhere" -}}
      {{- else -}}
        {{- $authority := regexFind `(?i)^https?://[^/?#]+` $url | regexFind `[^/@]+$` -}}
        {{- $port := regexFind `:[0-9]+$` $authority | trimPrefix ":" | default (ternary "443" "80" (hasPrefix "https" (lower $url))) -}}
        {{- $host := regexReplaceAll `:[0-9]+$` $authority "" | trimSuffix "." -}}
        {{- $parts := splitList "." $host -}}
        {{- if regexMatch `^([0-9.]+|\[.*\])$` $host -}}
          {{- $found = append $found (printf "port %s %s" $port $host) -}}
        {{- else if eq (len $parts) 1 -}}
          {{- $found = append $found (printf "namespace %s %s" (include "fantail.namespace" $root) $host) -}}
        {{- else if regexMatch `^[^.]+\.[^.]+\.svc(\.|$)` $host -}}
          {{- $found = append $found (printf "namespace %s %s" (index $parts 1) $host) -}}
        {{- else -}}
          {{- if eq (len $parts) 2 -}}{{- $found = append $found (printf "namespace %s %s" (index $parts 1) $host) -}}{{- end -}}
          {{- $found = append $found (printf "port %s %s" $port $host) -}}
        {{- end -}}
      {{- end -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- join "\n" (uniq $found) -}}
{{- end -}}
