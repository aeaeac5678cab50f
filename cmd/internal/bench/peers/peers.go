// Package peers is the Python script that runs what Valence is measured against, with
// the versions of what it needs.
package peers

import _ "embed" // the script

// Script is the program. Its own text says how it is talked to.
//
//go:embed peers.py
var Script []byte
