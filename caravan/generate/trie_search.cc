#include "caravan/generate/trie_search.h"

#include <torch/torch.h>

#include <algorithm>

#include "caravan/base/error.h"
#include "caravan/generate/candidates.h"
#include "caravan/ops/linear.h"

namespace caravan::generate {
namespace {

// Tokens a page: the prompt's last page is copied for every beam, so pages are small.
constexpr int64_t kPageTokens = 8;

// libtorch's GEMM computes a row of a few-row product by another order of sums: 3 rows and fewer with one thread, 11
// and fewer with two (measured, MKL 2024.2). Calls are filled up to this many rows a thread.
constexpr int64_t kRowsPerThread = 16;

int64_t least_rows() { return kRowsPerThread * at::get_num_threads(); }

nn::CacheShape small_pages(nn::CacheShape shape) {
  shape.page_tokens = kPageTokens;
  return shape;
}

const nn::Parameter& head_weight(models::CausalLm& model) {
  if (!model.tied()) {
    for (const nn::NamedParameter& p : model.named_parameters()) {
      if (p.name == "lm_head.weight") return *p.parameter;
    }
  }
  return model.backbone().input_embedding().weight;
}

at::ScalarType activation_dtype(models::CausalLm& model) {
  const nn::Parameter& weight = model.backbone().input_embedding().weight;
  check(weight.defined(), ErrorCode::invalid_argument, "the model has no weights: load a checkpoint first");
  return is_block_quantized(weight.dtype) ? at::kFloat : weight.value.scalar_type();
}

Tensor index_tensor(std::span<const int32_t> values, at::Device device) {
  Tensor tensor = at::empty({std::ssize(values)}, at::kLong);
  std::copy(values.begin(), values.end(), tensor.mutable_data_ptr<int64_t>());
  return tensor.to(device);
}

struct Extension {
  float score;
  int32_t node, beam;
};

// Best first; equal scores by node, so that the order says nothing about how it was found.
bool better(const Extension& a, const Extension& b) { return a.score != b.score ? a.score > b.score : a.node < b.node; }

}  // namespace

struct TrieSearch::User {
  struct Beam {
    int32_t node;
    float score;
  };
  const TrieQuery* query;
  std::vector<Beam> beams = {{items::Trie::kRoot, 0.0f}};
  std::vector<nn::CacheSequence> caches;  // one a beam; after the prompt one for all
  std::vector<int64_t> parents;           // of the beams: whose cache each goes on from
  std::vector<FoundPath> found;
};

TrieSearch::TrieSearch(models::CausalLm& model, const items::Trie& trie, TrieSearchOptions options)
    : model_(&model),
      trie_(&trie),
      options_(options),
      cache_(small_pages(model.backbone().cache_shape()), activation_dtype(model),
             model.backbone().input_embedding().weight.value.device()) {
  check(options.beams > 0, ErrorCode::invalid_argument, "the number of beams must be positive, got {}", options.beams);
  check(trie.depth() > 0, ErrorCode::invalid_argument, "the trie holds no items");
  const nn::Parameter& weight = head_weight(model);
  const int64_t vocabulary = weight.shape[0];
  for (int64_t level = 0; level < trie.depth(); ++level) {
    const auto tokens = trie.level_tokens(level);
    check(tokens.back() < vocabulary, ErrorCode::invalid_argument,
          "the items' token {} is outside the model's vocabulary of {}: they belong to another model", tokens.back(),
          vocabulary);
    if (options.full_vocabulary) continue;
    const Tensor dense = ops::dense(
        {.value = weight.value, .dtype = weight.dtype, .rows = vocabulary, .columns = weight.shape[1]}, cache_.dtype());
    heads_.push_back(dense.index_select(0, index_tensor(tokens, dense.device())).detach());
  }
}

void TrieSearch::check_query(const TrieQuery& query) const {
  check(!query.prompt.empty(), ErrorCode::invalid_argument,
        "there is nothing to recommend from: the history is empty and the model has no token that begins one");
  const Json& config = model_->config();
  const int64_t limit = get_int(config, "max_position_embeddings", "config.json", {}, 0);
  const int64_t length = std::ssize(query.prompt) + trie_->depth() - 1;
  check(limit <= 0 || length <= limit, ErrorCode::invalid_argument,
        "a history of {} tokens and {} of an item are more than the model's {} positions: use fewer items",
        query.prompt.size(), trie_->depth(), limit);
}

std::vector<FoundPath> TrieSearch::run(const TrieQuery& query) { return std::move(run(std::span(&query, 1))[0]); }

std::vector<std::vector<FoundPath>> TrieSearch::run(std::span<const TrieQuery> queries, Tensor* prompt_states) {
  for (const TrieQuery& query : queries) check_query(query);
  std::vector<std::vector<FoundPath>> results(queries.size());
  std::vector<Tensor> states;
  for (size_t begin = 0; begin < queries.size();) {
    size_t end = begin;
    for (int64_t tokens = 0; end < queries.size(); ++end) {
      tokens += std::max(std::ssize(queries[end].prompt), options_.beams);
      if (end > begin && tokens > options_.batch_tokens) break;
    }
    states.push_back(run_batch(queries.subspan(begin, end - begin), std::span(results).subspan(begin, end - begin)));
    begin = end;
  }
  if (prompt_states != nullptr && !states.empty()) *prompt_states = at::cat(states);
  return results;
}

// -> the hidden states after the prompts
Tensor TrieSearch::run_batch(std::span<const TrieQuery> queries, std::span<std::vector<FoundPath>> results) {
  const torch::InferenceMode guard;
  std::vector<User> users(queries.size());
  for (size_t i = 0; i < queries.size(); ++i) users[i].query = &queries[i];
  Tensor states;
  for (int64_t level = 0; level < trie_->depth(); ++level) {
    const Tensor hidden = level == 0 ? prompt_rows(users) : beam_rows(users, level);
    if (!hidden.defined()) break;  // no beam goes on
    if (level == 0) states = hidden.slice(0, 0, std::ssize(users));
    const Tensor log_p = log_probabilities(hidden, level);
    std::vector<int64_t> first_rows;
    int64_t rows = 0;
    for (const User& user : users) {
      first_rows.push_back(rows);
      rows += std::ssize(user.caches);
    }
    at::parallel_for(0, std::ssize(users), 1, [&](int64_t begin, int64_t end) {
      for (int64_t u = begin; u < end; ++u) select(users[u], log_p, first_rows[u], level);
    });
  }
  for (size_t i = 0; i < users.size(); ++i) {
    std::stable_sort(users[i].found.begin(), users[i].found.end(), [](const FoundPath& a, const FoundPath& b) {
      return a.score != b.score ? a.score > b.score : a.node < b.node;
    });
    results[i] = std::move(users[i].found);
  }
  return states;
}

// Final hidden states of the new tokens, and of the rows that fill the call up, which nobody reads.
Tensor TrieSearch::call(std::vector<nn::CacheSequence*> sequences, std::vector<int64_t> lengths,
                        std::vector<int32_t> ids, bool prefix) {
  std::vector<nn::CacheSequence> fillers;
  const bool single_tokens = sequences.size() == ids.size();
  const int64_t missing = std::max<int64_t>(0, least_rows() - std::ssize(ids));
  fillers.reserve(static_cast<size_t>(missing));
  for (int64_t rest = missing; rest > 0;) {
    const int64_t n = single_tokens ? 1 : rest;  // one query a sequence is a path of its own in the attention
    sequences.push_back(&fillers.emplace_back(cache_.new_sequence()));
    lengths.push_back(n);
    rest -= n;
  }
  ids.resize(ids.size() + static_cast<size_t>(missing), 0);
  nn::Step step = nn::Step::cached(cache_, std::move(sequences), lengths);
  if (prefix) step.prefixes = lengths;
  return model_->hidden(index_tensor(ids, cache_.device()), step);
}

// One row a user: the hidden state after its prompt. Then, as from beam_rows, rows that nobody reads.
Tensor TrieSearch::prompt_rows(std::span<User> users) {
  std::vector<nn::CacheSequence*> sequences;
  std::vector<int64_t> lengths;
  std::vector<int32_t> ids, last;
  for (User& user : users) {
    const auto& prompt = user.query->prompt;
    sequences.push_back(&user.caches.emplace_back(cache_.new_sequence()));
    lengths.push_back(std::ssize(prompt));
    ids.insert(ids.end(), prompt.begin(), prompt.end());
    last.push_back(static_cast<int32_t>(ids.size()) - 1);
  }
  const Tensor hidden = call(std::move(sequences), std::move(lengths), std::move(ids), options_.prefix);
  while (std::ssize(last) < least_rows()) last.push_back(last.back());
  return hidden.index_select(0, index_tensor(last, hidden.device()));
}

// One row a beam that can go on; undefined where there is none.
Tensor TrieSearch::beam_rows(std::span<User> users, int64_t level) {
  std::vector<nn::CacheSequence*> sequences;
  std::vector<int32_t> ids;
  for (User& user : users) {
    user.caches = inherit(std::move(user.caches), user.parents);
    for (size_t b = 0; b < user.beams.size(); ++b) {
      sequences.push_back(&user.caches[b]);
      ids.push_back(trie_->token(user.beams[b].node));
    }
  }
  if (ids.empty() || level >= trie_->depth()) return {};
  std::vector<int64_t> lengths(ids.size(), 1);
  return call(std::move(sequences), std::move(lengths), std::move(ids));
}

Tensor TrieSearch::log_probabilities(const Tensor& hidden, int64_t level) {
  const Tensor logits = options_.full_vocabulary ? model_->logits(hidden) : at::linear(hidden, heads_[level]);
  return at::log_softmax(logits.to(at::kFloat), -1).to(at::kCPU).contiguous();  // [R, V or tokens of the level]
}

// The best continuations of a user's beams become its beams; those that are items are kept.
void TrieSearch::select(User& user, const Tensor& log_p, int64_t first_row, int64_t level) const {
  const auto& banned = user.query->banned;
  const float* rows = log_p.const_data_ptr<float>();
  std::vector<Extension> all;
  for (size_t b = 0; b < user.beams.size(); ++b) {
    const float* row = rows + (first_row + static_cast<int64_t>(b)) * log_p.size(1);
    const items::Trie::Range children = trie_->children(user.beams[b].node);
    for (int32_t node = children.begin; node < children.end; ++node) {
      if (std::binary_search(banned.begin(), banned.end(), node)) continue;
      const float p = row[options_.full_vocabulary ? trie_->token(node) : trie_->column(node)];
      all.push_back({user.beams[b].score + p, node, static_cast<int32_t>(b)});
    }
  }
  const auto kept = static_cast<int64_t>(std::min<size_t>(all.size(), static_cast<size_t>(options_.beams)));
  if (kept < std::ssize(all)) std::nth_element(all.begin(), all.begin() + kept, all.end(), better);
  std::sort(all.begin(), all.begin() + kept, better);
  user.beams.clear();
  user.parents.clear();
  for (const Extension& e : std::span(all).first(static_cast<size_t>(kept))) {
    if (!trie_->items(e.node).empty()) user.found.push_back({e.node, e.score});
    if (trie_->children(e.node).size() == 0 || level + 1 == trie_->depth()) continue;
    user.beams.push_back({e.node, e.score});
    user.parents.push_back(e.beam);
  }
}

}  // namespace caravan::generate
