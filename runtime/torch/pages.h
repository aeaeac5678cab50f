#ifndef VALENCE_TORCH_PAGES_H
#define VALENCE_TORCH_PAGES_H

#include <ATen/core/Tensor.h>

namespace valence {

// large_pages is a tensor of zeros on the CPU, in pages of 2 MiB where the system has them. A product with few rows reads every
// weight once: with pages of 4 KiB a virtual machine spent more time on finding them than on reading, 11 GB/s on one core in
// place of 27.
at::Tensor large_pages(at::IntArrayRef sizes, at::ScalarType type);

}  // namespace valence

#endif
