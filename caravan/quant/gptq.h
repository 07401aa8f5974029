// GPTQ (Frantar et al. 2023): columns are rounded one after another, and what a column loses is made up for by the
// columns that follow, as the inputs' correlations allow. Here for every block type of GGUF but q8_0: the scales of a
// block are searched when its first column comes up, on the values as they are then.
//
//   gptq({DType::q4_0, out, in}, values, gram, blocks);
//
// Left out: reordering of columns (blocks are runs of columns), statistics taken anew behind each rounded layer.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <span>

#include "caravan/ops/quantize.h"

namespace caravan::quant {

// values [rows, columns] are changed; gram [columns, columns]: sum of x x^T over the inputs. `damping`: a part of the
// mean of its diagonal that is added there. Throws invalid_argument for sizes that do not fit or a type without a grid.
void gptq(const ops::RowsOf& shape, std::span<float> values, const at::Tensor& gram, std::span<std::byte> blocks,
          double damping = 0.01);

}  // namespace caravan::quant
