// y = x W^T for an fp32 weight on the CPU that was repacked once and then serves many calls of a few rows to a few
// thousand (kernels/panel_gemm.h). The packed copy is as large as the weight.
//
//   const Panels panels = pack_panels(weight);
//   Tensor y = panel_linear(x, panels);
//
// Inference only. A row's bits do not depend on the other rows or on the number of threads.
#pragma once

#include "caravan/ops/linear.h"

namespace caravan::ops {

struct Panels {
  Tensor packed;  // undefined: none
  int64_t rows = 0, columns = 0;
  bool defined() const { return packed.defined(); }
};

// Undefined for weights that are no dense fp32 on the CPU.
Panels pack_panels(const Weight& weight);

// x fp32 [..., columns] -> [..., rows]
Tensor panel_linear(const Tensor& x, const Panels& panels);

}  // namespace caravan::ops
