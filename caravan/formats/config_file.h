// config.json beside the weights, as plain JSON: what it means is the models' business (models/).
#pragma once

#include "caravan/formats/format.h"

namespace caravan::formats {

// The parsed config.json of a checkpoint's folder, or of the folder that a single file lies in; an empty object where
// there is none (a file of plain tensors). Throws corrupt_file: json, duplicate, type, utf8.
Json read_config(const Location& at);

}  // namespace caravan::formats
