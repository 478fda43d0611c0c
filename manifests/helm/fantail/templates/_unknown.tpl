{{/*
Refuses unknown keys. The schema could refuse them too, but without a suggestion, and Helm checks the schema first. The known
keys are in files/known.yaml, which a test makes from the schema: a map has the known keys (`*` for any key), and any other
value means that all keys are allowed.
*/}}
{{- define "fantail.findUnknown" -}}
{{- $path := .path -}}{{- $known := .known -}}{{- $found := .found -}}
{{- range $key, $value := .values -}}
  {{- $below := false -}}{{- $is := true -}}
  {{- if hasKey $known $key -}}{{- $below = get $known $key -}}
  {{- else if hasKey $known "*" -}}{{- $below = get $known "*" -}}
  {{- else -}}{{- $is = false -}}
  {{- end -}}
  {{- if not $is -}}
    {{- $parent := regexReplaceAll "^promtail\\." $path "" -}}
    {{- $entry := dict "key" $key "path" (print $path $key) "parent" $parent "prefix" (ternary "promtail." "" (hasPrefix "promtail." $path)) "siblings" (keys $known) -}}
    {{- $_ := set $found "unknown" (append $found.unknown $entry) -}}
  {{- else if and (kindIs "map" $below) (kindIs "map" $value) -}}
    {{- include "fantail.findUnknown" (dict "path" (print $path $key ".") "values" $value "known" $below "found" $found) -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{- define "fantail.refuseUnknown" -}}
{{- $flat := dict "paths" list -}}
{{- include "fantail.flatten" (dict "path" "" "known" .known "flat" $flat) -}}
{{- $lines := list -}}
{{- range .unknown -}}
  {{- $hint := include "fantail.hint" (dict "entry" . "paths" $flat.paths) -}}
  {{- $lines = append $lines (printf "values: `%s` is not known to this chart%s" .path $hint) -}}
{{- end -}}
{{- fail (printf "\n\n%s\n" (join "\n" $lines)) -}}
{{- end -}}

{{- define "fantail.flatten" -}}
{{- $path := .path -}}{{- $flat := .flat -}}
{{- range $key, $below := .known -}}
  {{- if ne $key "*" -}}
    {{- $_ := set $flat "paths" (append $flat.paths (print $path $key)) -}}
    {{- if kindIs "map" $below -}}
      {{- include "fantail.flatten" (dict "path" (print $path $key ".") "known" $below "flat" $flat) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{/* Common wrong keys that are not similar to the correct ones. */}}
{{- define "fantail.meant" -}}
securityContext: "write `podSecurityContext` for the pod or `containerSecurityContext` for the container"
env: "write `extraEnv`"
envFrom: "write `extraEnvFrom`"
args: "write `extraArgs`"
volumes: "write `extraVolumes`"
volumeMounts: "write `extraVolumeMounts`"
secretName: "write `credentials.existingSecret`"
lokiAddress: "write `config.clients`, as a list of `url: …`"
loki: "write `config.clients`, as a list of `url: …`"
clients: "write `config.clients`"
client: "write `config.clients`"
config.server: "write `config.snippets.extraServerConfigs`, or `config.logLevel`, `config.logFormat` and `config.serverPort`"
config.target_config: "write `config.snippets.extraTargetConfig`"
config.limits_config: "write `config.snippets.extraLimitsConfig`"
config.lokiAddress: "write `config.clients`, as a list of `url: …`"
config.client: "write `config.clients`, as a list of `url: …`"
config.scrapeConfigs: "write `config.scrape_configs`"
config.tracing: "leave it out: fantail sends no traces"
serviceMonitor.selector: "write `serviceMonitor.labels`"
serviceMonitor.port: "leave it out: the port is `http-metrics`"
prometheusRule: "write `serviceMonitor.prometheusRule`"
service.type: "leave it out: pages and metrics are not for the world outside; ports of receivers are in `extraPorts`"
{{- end -}}

{{- define "fantail.hint" -}}
{{- $entry := .entry -}}
{{- $path := print $entry.parent $entry.key -}}
{{- $meant := include "fantail.meant" . | fromYaml -}}
{{- if hasKey $meant $path -}}
: {{ get $meant $path }}{{ if $entry.prefix }} (under `promtail`){{ end }}
{{- else -}}
  {{- $best := "" -}}{{- $likeness := 0 -}}
  {{- $paths := .paths -}}
  {{- range $entry.siblings -}}{{- $paths = append $paths (print $entry.parent .) -}}{{- end -}}
  {{- range uniq $paths -}}
    {{- $name := splitList "." . | last -}}
    {{- $score := include "fantail.likeness" (dict "a" $entry.key "b" $name) | int -}}
    {{- /* Of two similar keys, the one in the same map is suggested. */ -}}
    {{- $sibling := eq . (print $entry.parent $name) -}}
    {{- if $sibling -}}{{- $score = add $score 15 -}}{{- end -}}
    {{- /* A short name is similar to many others, so in other maps only equal names count. */ -}}
    {{- if and (not $sibling) (lt $score 90) -}}{{- $score = 0 -}}{{- end -}}
    {{- if and (ge (int $score) 60) (gt (int $score) (int $likeness)) -}}{{- $best = . -}}{{- $likeness = $score -}}{{- end -}}
  {{- end -}}
  {{- if $best -}}
; did you mean `{{ $entry.prefix }}{{ $best }}`?
  {{- else if and $entry.parent (le (len $entry.siblings) 20) -}}
: `{{ trimSuffix "." (print $entry.prefix $entry.parent) }}` has {{ $entry.siblings | sortAlpha | join ", " }}
  {{- end -}}
{{- end -}}
{{- end -}}

{{/* The similarity of two names, from 0 to 100: the share of common pairs of letters (Dice). */}}
{{- define "fantail.likeness" -}}
{{- $a := .a | lower | replace "_" "" | replace "-" "" -}}
{{- $b := .b | lower | replace "_" "" | replace "-" "" -}}
{{- if eq $a $b -}}100
{{- else if or (lt (len $a) 2) (lt (len $b) 2) -}}0
{{- else -}}
  {{- $pairs := list -}}
  {{- range $i := until (sub (len $b) 1 | int) -}}{{- $pairs = append $pairs (substr $i (add $i 2 | int) $b) -}}{{- end -}}
  {{- $all := add (sub (len $a) 1) (len $pairs) -}}
  {{- $both := 0 -}}
  {{- range $i := until (sub (len $a) 1 | int) -}}
    {{- $pair := substr $i (add $i 2 | int) $a -}}
    {{- if has $pair $pairs -}}
      {{- $both = add $both 1 -}}
      {{- /* Each pair counts once. */ -}}
      {{- $left := list -}}{{- $taken := false -}}
      {{- range $pairs -}}
        {{- if and (eq . $pair) (not $taken) -}}{{- $taken = true -}}{{- else -}}{{- $left = append $left . -}}{{- end -}}
      {{- end -}}
      {{- $pairs = $left -}}
    {{- end -}}
  {{- end -}}
  {{- div (mul 200 $both) $all -}}
{{- end -}}
{{- end -}}
