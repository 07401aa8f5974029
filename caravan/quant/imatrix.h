// Importances that llama.cpp's llama-imatrix wrote, as a GGUF (general.type "imatrix") or in the older .dat form.
//
//   Importances importances = read_imatrix("imatrix.gguf", *checkpoint);
#pragma once

#include <string>

#include "caravan/formats/checkpoint.h"
#include "caravan/quant/calibration.h"

namespace caravan::quant {

// By Hugging Face's layer names, for the tensors of `model`; those that it does not have are left out. Throws
// corrupt_file for a broken file and invalid_argument where nothing in it fits the model.
Importances read_imatrix(const std::string& path, const formats::Checkpoint& model);

}  // namespace caravan::quant
