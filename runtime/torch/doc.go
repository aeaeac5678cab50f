// Package torch runs libtorch operators safely from Go. It is the only package
// that touches gotch, and of gotch it uses the thin libtch layer alone.
//
// # Rules that hold here
//
//   - One Thread owns the device. Its goroutine is locked to one operating system
//     thread for life; loading, running and freeing all happen on it, because
//     libtorch keeps the last error and the gradient mode for each thread.
//   - Every tensor is born in a Scope and freed with it, on success, error and
//     panic alike. There are no finalizers.
//   - Errors stick: after the first failure the operators of a Scope return the
//     zero Tensor without calling libtorch, so that model code reads like the
//     paper and asks Scope.Err once at its end.
//   - Live counts the handles that exist. It returns to its start when work ends,
//     and every test of a package above checks it.
package torch
