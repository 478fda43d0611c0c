{{/*
Evaluates Helm templates in a string of the user, and keeps templates of the agent's template stages unchanged. Both use
braces. An action is Helm's if
  - it names .Values, .Release.…, .Chart.…, .Capabilities.…, .Files.… or .Template.…, or calls include, template, tpl,
    lookup or toYaml;
  - it is a comment, or only a string (the usual way to escape braces in Helm);
  - it uses a variable that an earlier Helm action uses;
  - it is inside a Helm `with` or `range`, and uses nothing that only stages have (.Value, .Entry, ToLower, …);
  - it is a `range` over a list that it makes itself (list, until, dict, …);
  - it is the `else` or `end` of such a block.
Everything else is printed unchanged.
Takes .text and .root.
*/}}
{{- define "fantail.tpl" -}}
{{- $text := .text -}}
{{- if not (contains "{{" $text) -}}
{{- $text -}}
{{- else -}}
  {{- $literal := `"(?:\\[\s\S]|[^"\\])*"|\x60[^\x60]*\x60` -}}
  {{- $action := printf `\{\{(?:-?\s*/\*[\s\S]*?\*/\s*-?|(?:\\[\s\S]|%s|[\s\S])*?)\}\}` $literal -}}
  {{- $helms := `(?:^|[^\w.])\$?\.(?:Values\b|(?:Release|Chart|Capabilities|Files|Template|Subcharts)\.)|\b(?:include|template|tpl|lookup|toYaml)\b` -}}
  {{- $stages := `\.(?:Value|Entry)\b|\b(?:ToLower|ToUpper|Replace|Trim|TrimLeft|TrimRight|TrimPrefix|TrimSuffix|TrimSpace|Hash|Sha2Hash)\b` -}}
  {{- $actions := regexFindAll $action $text -1 -}}
  {{- $between := regexSplit $action $text -1 -}}
  {{- /* Remaining braces between actions were never closed. */ -}}
  {{- $open := "{{ \"{{\" }}" -}}
  {{- $out := list (first $between | replace "{{" $open) -}}
  {{- $blocks := list -}}{{- $variables := false -}}
  {{- range $i, $one := $actions -}}
    {{- $bare := regexReplaceAll $literal $one "\"\"" -}}
    {{- $word := regexFind `^\{\{-?\s*\w*` $bare | regexFind `\w*$` -}}
    {{- $helm := false -}}
    {{- if or (eq $word "end") (eq $word "else") -}}
      {{- $helm = hasPrefix "helm" (last $blocks | default "stage") -}}
      {{- if eq $word "end" -}}{{- $blocks = initial $blocks -}}{{- end -}}
    {{- else -}}
      {{- $helm = or (regexMatch $helms $bare)
            (regexMatch `^\{\{-?\s*/\*` $one)
            (regexMatch `^\{\{-?\s*""\s*-?\}\}$` $bare)
            (and $variables (contains "$" $bare))
            (and (eq $word "range") (regexMatch `\b(?:list|tuple|dict|until|untilStep)\b` $bare))
            (and (has "helm dot" $blocks) (not (regexMatch $stages $bare))) -}}
      {{- if has $word (list "if" "with" "range" "define" "block") -}}
        {{- $blocks = append $blocks (ternary (ternary "helm" "helm dot" (eq $word "if")) "stage" $helm) -}}
      {{- end -}}
    {{- end -}}
    {{- if and $helm (contains "$" $bare) -}}{{- $variables = true -}}{{- end -}}
    {{- $out = append $out (ternary $one (printf "{{ %q }}" $one) $helm) -}}
    {{- $out = append $out (index $between (add $i 1 | int) | replace "{{" $open) -}}
  {{- end -}}
  {{- tpl (join "" $out) .root -}}
{{- end -}}
{{- end -}}

{{/* The same for each string in a value. Takes .value, .root and .into. Puts the result into .into under `value`. */}}
{{- define "fantail.walk" -}}
{{- $root := .root -}}
{{- if kindIs "string" .value -}}
  {{- $_ := set .into "value" (include "fantail.tpl" (dict "text" .value "root" $root)) -}}
{{- else if kindIs "map" .value -}}
  {{- $made := dict -}}
  {{- range $key, $value := .value -}}
    {{- $part := dict -}}
    {{- include "fantail.walk" (dict "value" $value "root" $root "into" $part) -}}
    {{- $_ := set $made $key $part.value -}}
  {{- end -}}
  {{- $_ := set .into "value" $made -}}
{{- else if kindIs "slice" .value -}}
  {{- $made := list -}}
  {{- range .value -}}
    {{- $part := dict -}}
    {{- include "fantail.walk" (dict "value" . "root" $root "into" $part) -}}
    {{- $made = append $made $part.value -}}
  {{- end -}}
  {{- $_ := set .into "value" $made -}}
{{- else -}}
  {{- $_ := set .into "value" .value -}}
{{- end -}}
{{- end -}}

{{/*
A string unchanged, any other value as YAML, with evaluated Helm templates. Takes .value and .root.

Users count the `nindent` of a string from the edge of their values file, or of the string. If the result is not valid YAML,
each `nindent` is tried with the indent of its action.
*/}}
{{- define "fantail.snippet" -}}
{{- if kindIs "string" .value -}}
  {{- $text := include "fantail.tpl" (dict "text" .value "root" .root) | trimSuffix "\n" -}}
  {{- if and (contains "nindent" .value) (include "fantail.isNoYaml" $text) -}}
    {{- $lines := list -}}
    {{- range splitList "\n" .value -}}
      {{- $column := regexFind "^ *" . | len -}}
      {{- $lines = append $lines (regexReplaceAll `^( *\{\{-.*\| *nindent +)[0-9]+( *-?\}\}) *$` . (printf "${1}%d${2}" $column)) -}}
    {{- end -}}
    {{- $again := include "fantail.tpl" (dict "text" (join "\n" $lines) "root" .root) | trimSuffix "\n" -}}
    {{- if not (include "fantail.isNoYaml" $again) -}}{{- $text = $again -}}{{- end -}}
  {{- end -}}
  {{- $text -}}
{{- else if not (empty .value) -}}
{{- $part := dict -}}
{{- include "fantail.walk" (dict "value" .value "root" .root "into" $part) -}}
{{- toYaml $part.value -}}
{{- end -}}
{{- end -}}

{{/* Returns "true" or nothing. */}}
{{- define "fantail.isNoYaml" -}}
{{- if hasKey (printf "it:\n%s" (indent 2 .) | fromYaml) "Error" -}}true{{- end -}}
{{- end -}}
