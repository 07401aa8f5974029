// The nearest of some names to what somebody typed.
//
//   did_you_mean("--temprature", {"--temperature", "--top-p"})   // " (did you mean '--temperature'?)"
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace caravan {

// Edits between two words: insertions, deletions, substitutions and swaps of neighbours (optimal string alignment).
int edit_distance(std::string_view a, std::string_view b);

// Empty where nothing is near: more than a third of the letters would change.
std::string nearest(std::string_view typed, const std::vector<std::string>& names);
std::string did_you_mean(std::string_view typed, const std::vector<std::string>& names);

}  // namespace caravan
