// Package hubtest is a Hugging Face Hub in memory, for tests: model repositories
// with commits, branches and tags, private and gated ones, tokens, large file
// storage on a host of its own, and faults on demand.
//
// It speaks enough of the Hub's protocol for huggingface_hub 0.36.2 (without Xet) to
// create repositories, upload folders and download files and snapshots;
// testdata/check_hub.py of package hub runs that client against it. It listens on
// the loopback interface only.
package hubtest
