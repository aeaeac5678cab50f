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
//   - What a row gives on a CPU does not depend on the rows beside it, to the last
//     bit, in the operators that serving uses: Encode, First, Absorbed,
//     PackedLinear, Attention, Attend, RMSNorm, GELUTanh, Scale and Gate.
//   - Live counts the handles that exist. It returns to its start when work ends,
//     and every test of a package above checks it.
//
// # Kernels of our own
//
// On a CPU frozen weights are packed (Scope.Pack) into panels of 64 outputs, which
// kernels.cpp multiplies by six rows at a time: for AVX-512 with products of bfloat16
// and of 8 bits, AVX-512, and AVX2; amx.cpp by tiles of 16 rows, where there is AMX.
// Encode is a layer over texts without padding, and First one of the decoder's first
// step, whose attention to the states is Absorbed. VALENCE_MAX_CPU_ISA=avx2, avx512,
// avx512vnni or avx512bf16 makes less of the processor, for tests and comparisons.
//
// On a GPU in bfloat16 the forward up to the decoder's first step is one call (GPU),
// with kernels (kernels.cu) between cuBLAS's products, and a replay where a small batch's
// shape came before. A Lesson goes through the layers there, to answer what stands behind
// prefixes, and to train, by kernels of learn.cu, back, without libtorch's autograd; it is
// replayed likewise. What a machine lacks, AMX or a GPU, is emulated in tests: with
// EmulateGPU models take a GPU's way, whose kernels run on the CPU, and what is recorded is
// run again.
package torch
