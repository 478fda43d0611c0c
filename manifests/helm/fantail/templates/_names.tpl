{{- define "fantail.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "fantail.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "fantail.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The name with a suffix, cut to the maximum length of a Service's name. Takes .root and .suffix. */}}
{{- define "fantail.nameWith" -}}
{{- printf "%s-%s" (include "fantail.fullname" .root | trunc (sub 62 (len .suffix) | int) | trimSuffix "-") .suffix -}}
{{- end -}}

{{- define "fantail.namespace" -}}
{{- .Values.namespace | default .Release.Namespace -}}
{{- end -}}

{{/* Cluster-wide objects have the namespace in their name, so that two releases with the same name do not share them. */}}
{{- define "fantail.clusterName" -}}
{{- printf "%s-%s" (include "fantail.namespace" .) (include "fantail.fullname" .) -}}
{{- end -}}

{{- define "fantail.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "fantail.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/*
The labels by which workloads, Services and policies select pods. Never change them: the selector of a workload is immutable,
so each upgrade would fail.
*/}}
{{- define "fantail.selectorLabels" -}}
app.kubernetes.io/name: {{ include "fantail.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Takes .root and .workload: daemonset or deployment. Each selects only its own pods. */}}
{{- define "fantail.workloadLabels" -}}
{{ include "fantail.selectorLabels" .root }}
app.kubernetes.io/component: {{ ternary "node" "receiver" (eq .workload "daemonset") }}
{{- end -}}

{{- define "fantail.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "fantail.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "fantail.image" -}}
{{- $registry := .Values.global.imageRegistry | default .Values.image.registry -}}
{{- $name := .Values.image.repository -}}
{{- if $registry -}}{{- $name = printf "%s/%s" $registry $name -}}{{- end -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $name .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* Takes .root and .workload. */}}
{{- define "fantail.workloadName" -}}
{{- if eq .workload "deployment" -}}
{{- include "fantail.nameWith" (dict "root" .root "suffix" "receiver") -}}
{{- else -}}
{{- include "fantail.fullname" .root -}}
{{- end -}}
{{- end -}}

{{/* The enabled workloads, separated by commas. */}}
{{- define "fantail.workloads" -}}
{{- $all := list -}}
{{- if .Values.daemonset.enabled -}}{{- $all = append $all "daemonset" -}}{{- end -}}
{{- if .Values.deployment.enabled -}}{{- $all = append $all "deployment" -}}{{- end -}}
{{- join "," $all -}}
{{- end -}}
