// The line about speed that follows generated text on stderr.
#pragma once

#include <span>
#include <string>

#include "caravan/generate/request.h"

namespace caravan::cli {

// "prompt 12 tokens in 0.08 s (150.0 tokens/s), 64 new tokens in 2.10 s (30.5 tokens/s)"
std::string speed_line(std::span<const generate::GenerateResult> results);
void log_speed(std::span<const generate::GenerateResult> results);

}  // namespace caravan::cli
