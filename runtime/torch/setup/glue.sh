#!/bin/sh
# glue.sh FOLDER: what the build needs beside libtorch, in a folder of the user's cache.
#
# - Empty shared objects under the names that gotch's link line asks for: the CUDA libraries, and libtorch.so, which pulls
#   them in. With --as-needed the linker records none of these in the binary; CUDA is loaded at run time if it is asked for.
# - compat.h. It lies in the cache, not in the checkout, because Go's build cache keys on the compiler flags: with one path
#   for all checkouts, gotch's C++ is compiled once for a user and not once for a clone.
set -eu
here=$(dirname "$0")
mkdir -p "$1"
for name in cuda cudart cublas cudnn caffe2_nvrtc nvrtc-builtins nvrtc nvToolsExt c10_cuda torch_cuda torch; do
  [ -e "$1/lib$name.so" ] || { : | ${CC:-cc} -shared -x c - -o "$1/lib$name.so.$$" && mv "$1/lib$name.so.$$" "$1/lib$name.so"; }
done
cmp -s "$here/compat.h" "$1/compat.h" || { cp "$here/compat.h" "$1/compat.h.$$" && mv "$1/compat.h.$$" "$1/compat.h"; }
