{{/*
Runs Helm's templates in a string of the user's, and leaves alone what belongs to a template stage of the agent's: both are
written with braces. An action is Helm's if
  - it names .Values, .Release.…, .Chart.…, .Capabilities.…, .Files.… or .Template.…, or calls include, template, tpl,
    lookup or toYaml;
  - it is a comment, or nothing but a string (which is how braces are protected from Helm);
  - it uses a variable, and one of Helm's actions before it did;
  - it is inside a `with` or `range` of Helm's and does not use what only stages have (.Value, .Entry, ToLower, …);
  - it is a `range` over a list that is made there (list, until, dict, …);
  - it is the `else` or `end` of such a block.
Everything else is printed as it stands.
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
  {{- /* What is left of braces between actions was never closed. */ -}}
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

{{/* The same for every string in a value. Takes .value, .root and .into; leaves the result in .into under `value`. */}}
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
A string as it is, anything else as YAML; both with Helm's templates run. Takes .value and .root.

People count the `nindent` of a string from the edge of their values file, or from that of the string. What is no YAML as it
is written is tried with each `nindent` set to the place where its action stands.
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

{{/* "true" or nothing. */}}
{{- define "fantail.isNoYaml" -}}
{{- if hasKey (printf "it:\n%s" (indent 2 .) | fromYaml) "Error" -}}true{{- end -}}
{{- end -}}
