// The tokenizer of whatever the user names with -m.
//
//   text::Tokenizer tokenizer = load_tokenizer("SmolLM2-135M-Instruct.gguf");
#pragma once

#include <string>
#include <string_view>

#include "caravan/text/tokenizer.h"

namespace caravan::cli {

// `model`: a checkpoint, a folder that holds only a tokenizer, a tokenizer.json or a SentencePiece .model. Throws
// not_found where there is no tokenizer.
text::Tokenizer load_tokenizer(const std::string& model);

// The same for an option's sake, which the error names: "--calibration needs a tokenizer: ...".
text::Tokenizer load_tokenizer_for(std::string_view option, const std::string& model);

}  // namespace caravan::cli
