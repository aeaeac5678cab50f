// Package hub pulls files from the Hugging Face Hub and pushes them there.
//
// Pulled files lie in the cache of the Python library huggingface_hub, in its
// layout and under its locks, so that both share one cache:
//
//	<cache>/models--<owner>--<name>/
//	    refs/<revision>              the commit that a branch or tag stood for when last asked
//	    snapshots/<commit>/<file>    a link to ../../blobs/<hash>
//	    blobs/<hash>                 the content; <hash>.incomplete while it is fetched
//	    .no_exist/<commit>/<file>    empty: the commit has no such file
//	<cache>/.locks/models--<owner>--<name>/<hash>.lock
//
// A blob's name is the SHA-256 of its content for a file in large file storage
// (LFS) and its git object id otherwise, and is checked before the blob is used.
//
// A token is sent to the configured endpoint and to no other host. With a network,
// every call asks the Hub whether the caller's token may read the repository,
// whatever the cache holds; offline, the cache answers anyone.
//
// The protocol is that of huggingface_hub 0.36.2.
package hub
