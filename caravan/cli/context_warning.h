// A warning where more tokens stand in a row than the model has positions.
#pragma once

#include <fmt/format.h>

#include <string_view>

#include "caravan/base/json.h"
#include "caravan/cli/log.h"

namespace caravan::cli {

// Positions beyond those that the model was made for are computed as any others; the text may be poor. `what`: "windows
// of 4096 tokens".
inline void warn_of_context(const Json& config, int64_t tokens, std::string_view what) {
  const Json* context = find_member(config, "max_position_embeddings");
  if (context == nullptr || !context->is_number_integer() || tokens <= context->get<int64_t>()) return;
  log_info("warning: {} pass the model's {} positions (max_position_embeddings)", what, context->get<int64_t>());
}

}  // namespace caravan::cli
