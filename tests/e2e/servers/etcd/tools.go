//go:build tools

// Package tools pins the main package that servers/build builds.
package tools

import _ "go.etcd.io/etcd/server/v3"
