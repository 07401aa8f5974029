// Tensors that f16 cannot hold: a number of 65520 or more would become infinite, and the model's output NaN.
#pragma once

#include <map>
#include <string>

#include "caravan/quant/recipe.h"

namespace caravan::quant {

// Those of the tensors for which the recipe means f16, by name, with the type that holds them: bf16 where they are
// stored so, else f32. Reads each of them; what is infinite already does not count.
std::map<std::string, DType> beyond_half(const formats::Checkpoint& from, const RecipeOptions& recipe);

}  // namespace caravan::quant
