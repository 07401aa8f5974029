// Which weights a pass multiplies: all but an embedding that is only looked up, a row a token.
#pragma once

#include "caravan/models/heads.h"

namespace caravan::models {

bool is_multiplied(Head& model, const nn::Parameter& parameter);
int64_t multiplied_bytes(Head& model);  // as they are held: what one pass reads

}  // namespace caravan::models
