// What Caravan's sources get from `#include <torch/torch.h>`: tensors, operators and autograd, without torch::nn,
// torch::optim, torch::data, torch::jit and serialization. This folder comes before libtorch's own on the include path of
// the build (never in an installed Caravan), and the header is precompiled.
//
// Why: GCC instantiates a precompiled header's pending templates again in every file that uses it. Measured with GCC 12
// and libtorch 2.13: 7.3 s a file with all of torch/torch.h, 2.6 s with these. Where one of the others is needed in a
// .cc file, include it there: <torch/optim.h>.
#pragma once

#include <ATen/ATen.h>
#include <torch/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/fft.h>
#include <torch/special.h>
#include <torch/types.h>
#include <torch/utils.h>
#include <torch/version.h>
