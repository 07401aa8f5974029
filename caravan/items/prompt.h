// How a user's history becomes a decoder's tokens, in training and in recommending alike:
//   [bos] item item ... item            each item's code tokens, oldest item first, after each the separator if any
// The model then says the next item's codes. Where items have a token of their own beside their codes, it follows them:
//   [bos] a b c <item:7> a b c <item:3>
// and the head's rows of these tokens give every item a dense score as well (LIGER, Yang et al. 2024; COBRA, Yang et
// al. 2025). The format stands in the checkpoint's config.json:
//   "item_prompt": {"bos": 1, "separator": null, "max_items": 50,
//                   "levels": [[4, 256], [260, 256]],                         runs of ids: first, how many
//                   "items": {"first": 516, "count": 12101, "weight": 0.5},   where they have such tokens
//                   "users": [12617, 2000],      a user's token stands behind the bos (TIGER): a hash of the user's id
//                   "prefix": true,              the history's tokens see one another in both directions
//                   "parallel": true}            all of an item's codes are said at once, by the last token (RPG)
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

struct TokenRun {
  int64_t first = 0, count = 0;
  bool holds(int64_t token) const { return token >= first && token < first + count; }
  bool operator==(const TokenRun&) const = default;
};

// Item i's own token is first + i.
struct OwnTokens {
  TokenRun run;
  double weight = 0.5;  // of the items' log probabilities in a recommendation's score; the codes' have 1 - weight
};

struct PromptFormat {
  std::optional<int32_t> bos;           // token before the first item
  std::optional<int32_t> separator;     // token after every item
  int64_t max_items = 50;               // of a longer history the newest ones are used
  std::vector<TokenRun> levels = {};    // ids of each level's codes, where they are runs; else empty
  std::optional<OwnTokens> items = {};  // tokens of the items themselves
  std::optional<TokenRun> users = {};   // tokens of users: several users share one
  bool parallel = false;                // an item's codes are independent given the history (RPG): nothing is decoded
  bool prefix = false;                  // the history is read in both directions (prefix-LM), as an encoder reads it
};

// Without "item_prompt" in the config: no bos, no separator, 50 items. Throws corrupt_file for values out of range.
PromptFormat read_prompt_format(const Json& config, std::string_view where);
void write_prompt_format(const PromptFormat& format, Json& config);  // sets config["item_prompt"]

// The runs that the levels' tokens are; empty where a level's ids are not one run, or runs overlap.
std::vector<TokenRun> level_runs(std::span<const std::vector<int32_t>> level_tokens);  // of code_token_ids

// Where the format has tokens of users; of an empty id none. FNV-1a of the id's bytes.
std::optional<int32_t> user_token(const PromptFormat& format, std::string_view user);

std::vector<int32_t> make_prompt(std::span<const int32_t> history, std::span<const std::vector<int32_t>> tokens,
                                 const PromptFormat& format, std::string_view user = {});

}  // namespace caravan::items
