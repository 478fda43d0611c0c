//go:build tools

// Package tools pins the main package that servers/build builds.
package tools

import _ "k8s.io/kubernetes/cmd/kube-apiserver"
