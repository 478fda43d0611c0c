//go:build tools

// Package tools pins the main package that servers/build builds.
package tools

import _ "github.com/grafana/loki/v3/cmd/loki"
