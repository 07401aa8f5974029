// How a user's history becomes a decoder's tokens, in training and in recommending alike:
//   [bos] item item ... item            each item's code tokens, oldest item first, after each the separator if any
// The model then says the next item's codes. The format stands in the checkpoint's config.json:
//   "item_prompt": {"bos": 1, "separator": null, "max_items": 50}
//
//   PromptFormat format = read_prompt_format(config, "config.json");
//   std::vector<int32_t> prompt = make_prompt(history, tokens, format);   // tokens = item_tokens(codes, find)
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "caravan/base/json.h"

namespace caravan::items {

struct PromptFormat {
  std::optional<int32_t> bos;        // token before the first item
  std::optional<int32_t> separator;  // token after every item
  int64_t max_items = 50;            // of a longer history the newest ones are used
};

// Without "item_prompt" in the config: no bos, no separator, 50 items. Throws corrupt_file for values out of range.
PromptFormat read_prompt_format(const Json& config, std::string_view where);
void write_prompt_format(const PromptFormat& format, Json& config);  // sets config["item_prompt"]

std::vector<int32_t> make_prompt(std::span<const int32_t> history, std::span<const std::vector<int32_t>> tokens,
                                 const PromptFormat& format);

}  // namespace caravan::items
