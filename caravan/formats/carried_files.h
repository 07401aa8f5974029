// The text files beside the weights that go along wherever a model is written: convert, quantize, train, items extend.
//
//   models::save_model(model, "out", {.side_files = formats::carried_files(*checkpoint)});
//   for (auto& [name, text] : formats::tokenizer_files_in("dataset")) ...     // a tokenizer without a model
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "caravan/formats/checkpoint.h"

namespace caravan::formats {

using TextFiles = std::map<std::string, std::string>;  // name -> contents

// Those of a tokenizer, of generation, of a processor and of a recommender's items that the checkpoint has.
TextFiles carried_files(const Checkpoint& from);

// Those of a tokenizer that the folder has: tokenizer.json and its companions, chat_template.jinja ...
TextFiles tokenizer_files_in(const std::string& folder);

bool is_carried_file(std::string_view name);
bool is_tokenizer_file(std::string_view name);

// Those that state the vocabulary a second time beside tokenizer.json, so that they are wrong once that has changed.
bool restates_vocabulary(std::string_view name);

}  // namespace caravan::formats
