// Whether a checkpoint could be loaded, before hours go into changing it.
#pragma once

#include "caravan/formats/checkpoint.h"

namespace caravan::models {

// As check_complete (load.h), and tensors that the model does not have are refused too, as loading refuses them; so are
// weights quantized by a method that is not read (unsupported). Nothing is read.
void check_fits(const formats::Checkpoint& checkpoint);

}  // namespace caravan::models
