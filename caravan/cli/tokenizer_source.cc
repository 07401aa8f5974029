#include "caravan/cli/tokenizer_source.h"

#include <optional>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/cli/log.h"
#include "caravan/cli/text_source.h"
#include "caravan/formats/checkpoint.h"
#include "caravan/generate/tokenizer_loading.h"

namespace caravan::cli {

namespace {

text::Tokenizer read_tokenizer(const std::string& model) {
  if (!is_folder(model)) {
    if (model.ends_with(".json")) return text::Tokenizer::from_json(read_file(model), model);
    if (model.ends_with(".model")) return text::Tokenizer::from_sentencepiece(read_file(model), model);
  }
  if (const std::string json = is_folder(model) ? side_file(model, "tokenizer.json") : ""; !json.empty()) {
    return text::Tokenizer::from_json(json, model + " (tokenizer.json)");
  }
  if (is_folder(model) && !holds_checkpoint(model)) {
    const std::string pieces = side_file(model, "tokenizer.model");
    check(!pieces.empty(), ErrorCode::not_found, "{}: no tokenizer.json or tokenizer.model in this folder", model);
    return text::Tokenizer::from_sentencepiece(pieces, model + " (tokenizer.model)");
  }
  std::optional<text::Tokenizer> tokenizer = generate::load_tokenizer(*formats::Checkpoint::open(model));
  check(tokenizer.has_value(), ErrorCode::not_found, "{}: no tokenizer.json or tokenizer.model in it or beside it",
        model);
  return std::move(*tokenizer);
}

}  // namespace

text::Tokenizer load_tokenizer(const std::string& model) {
  text::Tokenizer tokenizer = read_tokenizer(model);
  for (const std::string& warning : tokenizer.warnings()) log_info("{}: {}", model, warning);
  return tokenizer;
}

text::Tokenizer load_tokenizer_for(std::string_view option, const std::string& model) {
  try {
    return load_tokenizer(model);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::not_found) throw;
    fail(ErrorCode::not_found, "{} needs a tokenizer: {}", option, error.what());
  }
}

}  // namespace caravan::cli
