// A text that ships with the program, written for it: what `caravan quantize` measures the loss of quality on where the
// user gives no text of their own.
#pragma once

#include <string_view>

namespace caravan::cli {

std::string_view sample_text();  // English, about 1,100 words: narration, explanation, dialogue, a recipe, code

}  // namespace caravan::cli
