#include "caravan/ops/cuda.h"

#include <dlfcn.h>

namespace caravan::ops {

bool load_cuda(std::string* problem) {
  // Found through this library's run path, beside libtorch_cpu.so. Its static initializers register the kernels, so it
  // is never closed.
  static std::string loader_error;
  static const bool loaded = [] {
    if (dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) != nullptr) return true;
    const char* words = dlerror();
    loader_error = words == nullptr ? "libtorch_cuda.so cannot be loaded" : words;
    return false;
  }();
  if (!loaded && problem != nullptr) *problem = loader_error;
  return loaded;
}

}  // namespace caravan::ops
