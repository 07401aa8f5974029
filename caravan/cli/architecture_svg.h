// A drawing of a decoder: the stack on the left, one layer opened in the middle, its attention and MLP opened on the
// right, the share of the parameters below. Data flows upwards.
//
//   write_file("model.svg", draw_architecture(describe(config, tensors)));
#pragma once

#include <string>

#include "caravan/cli/architecture.h"

namespace caravan::cli {

std::string draw_architecture(const Architecture& a);

}  // namespace caravan::cli
