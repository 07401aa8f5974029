// Weights that are no numbers: a training that diverged, or a broken copy.
#pragma once

#include <optional>
#include <string>

#include "caravan/formats/checkpoint.h"

namespace caravan::cli {

// "tensor 'model.norm.weight': element 3 is nan" for the first NaN or infinity; none where all are finite. The second
// form looks at all tensors, in file order.
std::optional<std::string> find_not_finite(const formats::Checkpoint& checkpoint, const formats::TensorInfo& tensor);
std::optional<std::string> find_not_finite(const formats::Checkpoint& checkpoint);

}  // namespace caravan::cli
