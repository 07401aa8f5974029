// Loads libtorch's CUDA library when a CUDA device is asked for. It is not linked: the program then starts without it
// on machines that have a CUDA build of libtorch and no CUDA libraries, and a run on the CPU does not pay for loading
// it.
//
//   if (!ops::load_cuda()) use_cpu();       // before the first torch::cuda call: libtorch looks for it once
#pragma once

#include <string>

namespace caravan::ops {

// True where libtorch's CUDA kernels are loaded, now or before; a GPU and a driver are another question
// (torch::cuda::is_available). Where false, `problem` receives the loader's words.
bool load_cuda(std::string* problem = nullptr);

}  // namespace caravan::ops
