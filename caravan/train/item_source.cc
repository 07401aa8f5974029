// Users' histories as the code tokens of their items.
#include <algorithm>

#include "caravan/base/error.h"
#include "caravan/data/prepare.h"
#include "caravan/train/sources.h"

namespace caravan::train {
namespace {

struct History {
  std::span<const int32_t> items;  // oldest first
  std::string_view user;
};

// Items [begin, end) of a history as one example; those from `first_learned` on are learned.
Example window(const History& history, size_t begin, size_t end, size_t first_learned, const ItemTokens& tokens,
               const items::PromptFormat& format) {
  Example example;
  const auto put = [&](int32_t token, bool learned) {
    example.ids.push_back(token);
    example.learned.push_back(learned ? 1 : 0);
  };
  if (format.bos) put(*format.bos, false);
  if (const auto user = items::user_token(format, history.user)) put(*user, false);
  for (size_t i = begin; i < end; ++i) {
    for (const int32_t token : tokens.at(static_cast<size_t>(history.items[i]))) put(token, i >= first_learned);
    if (format.items) put(static_cast<int32_t>(format.items->run.first) + history.items[i], false);
    if (format.separator) put(*format.separator, false);
  }
  return example;
}

// Item `target` after the items before it, which are all read before it is said.
Example after_prefix(const History& history, size_t target, const ItemTokens& tokens,
                     const items::PromptFormat& format) {
  const auto most = static_cast<size_t>(format.max_items);
  const size_t begin = target > most ? target - most : 0;
  Example example = window(history, begin, target + 1, target, tokens, format);
  const Example context = window(history, begin, target, target, tokens, format);
  example.prefix = static_cast<int32_t>(context.ids.size());
  return example;
}

bool teaches(const Example& example) {
  return std::any_of(example.learned.begin() + 1, example.learned.end(), [](uint8_t l) { return l != 0; });
}

// Users with a validation item after a history; a sample of them where there are more than `limit` (0: all), the same
// as evaluation.users' (eval/recommend.cc). The log's order may say something about its users: the first are no sample.
std::vector<int64_t> validation_users(const data::Dataset& dataset, int64_t limit) {
  std::vector<int64_t> users;
  for (int64_t user = 0; user < dataset.user_count(); ++user) {
    if (dataset.validation_target(user) != data::kNoItem && !dataset.validation_history(user).empty())
      users.push_back(user);
  }
  if (limit <= 0 || std::ssize(users) <= limit) return users;
  const std::vector<int32_t> order = data::random_order(std::ssize(users), 0);
  std::vector<int64_t> sample;
  for (int64_t i = 0; i < limit; ++i) sample.push_back(users[static_cast<size_t>(order[static_cast<size_t>(i)])]);
  std::sort(sample.begin(), sample.end());
  return sample;
}

}  // namespace

std::shared_ptr<TokenExamples> item_sequences(const data::Dataset& dataset, const ItemTokens& tokens,
                                              const items::PromptFormat& format) {
  auto examples = std::make_shared<TokenExamples>();
  // A target sees at most max_items before it, as it will when the model recommends.
  const auto longest = static_cast<size_t>(format.max_items) + 1, stride = std::max<size_t>(1, longest / 2);
  for (int64_t user = 0; user < dataset.user_count(); ++user) {
    const History history{.items = dataset.train_history(user), .user = dataset.user_id(user)};
    for (size_t target = 0; format.prefix && target < history.items.size(); ++target) {
      const Example example = after_prefix(history, target, tokens, format);
      if (example.prefix > 0) examples->add(example);
    }
    if (format.prefix) continue;
    size_t learned = 0;
    for (size_t begin = 0; learned < history.items.size(); begin += stride) {
      const size_t end = std::min(begin + longest, history.items.size());
      const Example example = window(history, begin, end, learned, tokens, format);
      if (example.ids.size() > 1 && teaches(example)) examples->add(example);
      learned = end;
    }
  }
  check(examples->size() > 0, ErrorCode::invalid_argument, "the data set has no training sequence to learn from");
  return examples;
}

std::shared_ptr<TokenExamples> next_item_examples(const data::Dataset& dataset, const ItemTokens& tokens,
                                                  const items::PromptFormat& format, int64_t limit) {
  auto examples = std::make_shared<TokenExamples>();
  for (const int64_t user : validation_users(dataset, limit)) {
    const int32_t target = dataset.validation_target(user);
    std::vector<int32_t> items(dataset.validation_history(user).begin(), dataset.validation_history(user).end());
    items.push_back(target);
    Example example = after_prefix({.items = items, .user = dataset.user_id(user)}, items.size() - 1, tokens, format);
    if (!format.prefix) example.prefix = 0;
    if (example.ids.size() > 1) examples->add(example);
  }
  return examples;
}

}  // namespace caravan::train
