// Package templates holds the text of the files that daemons read, and
// nothing else: no logic beyond range and if.
package templates

import "embed"

// FS holds every *.tmpl file of this directory.
//
//go:embed *.tmpl
var FS embed.FS
