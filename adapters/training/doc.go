// Package training joins what trains (package train) to the jobs that survive (package
// jobs): it makes a recipe and rows out of a request and data sets, goes from checkpoint
// to checkpoint, and makes the result a version of an adapter.
//
// A job starts from the base, or from a version that it names. What it takes from there,
// vectors, template and verbalisers, goes into its checkpoints, so that whatever happens to
// that version meanwhile changes nothing.
//
// A version that is published has canary rows of this package's own. No text of anybody's
// data goes into it, and so none to the Hub.
package training
