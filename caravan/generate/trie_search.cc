#include "caravan/generate/trie_search.h"

#include <torch/torch.h>

#include <algorithm>
#include <atomic>
#include <cmath>

#include "caravan/base/error.h"
#include "caravan/ops/threads.h"

namespace caravan::generate {
namespace {

// Where libtorch's GEMM multiplies (other types than fp32, a GPU) a row of a few-row product is summed in another
// order: it changes below 4 rows a thread (measured, MKL 2024.2). Calls are filled up to this many rows a thread there.
constexpr int64_t kRowsPerThread = 32;

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

Tensor joined(std::vector<Tensor> states) {
  std::erase_if(states, [](const Tensor& t) { return !t.defined(); });
  return states.empty() ? Tensor() : at::cat(states);
}

}  // namespace

struct TrieSearch::User {
  struct Beam {
    int32_t node;
    float score;
    int32_t from;  // the beam before it
  };
  const TrieQuery* query;
  std::vector<Beam> beams = {{items::Trie::kRoot, 0.0f, 0}};
  std::vector<FoundPath> found;
};

// Users that run together. Behind them stands a prompt that nobody asked for, whose tokens and rows fill the calls up.
class TrieSearch::Group {
 public:
  Group(const TrieSearch& search, std::span<const TrieQuery> queries)
      : search_(search), cache_(search.model_->backbone().cache_shape().layers, search.device()) {
    for (const TrieQuery& query : queries) users_.emplace_back().query = &query;
  }

  // -> the hidden states after the prompts [U, C]
  Tensor run(std::span<std::vector<FoundPath>> results);
  Tensor prompt_rows();
  Tensor states(const Tensor& hidden) const;  // of prompt_rows(): those of the users

 private:
  Tensor beam_rows();

  const TrieSearch& search_;
  nn::TreeCache cache_;
  std::vector<User> users_;
  std::vector<int64_t> first_rows_;  // [U + 1] each user's rows of the latest call, then the filling ones
};

TrieSearch::TrieSearch(models::CausalLm& model, const items::Trie& trie, TrieSearchOptions options)
    : model_(&model), trie_(&trie), options_(options) {
  const at::ScalarType dtype = activation_dtype(model);
  rows_stand_alone_ = dtype == at::kFloat && device().is_cpu();
  if (options.panels) nn::make_panels(model);
  check(options.beams > 0, ErrorCode::invalid_argument, "the number of beams must be positive, got {}", options.beams);
  check(trie.depth() > 0, ErrorCode::invalid_argument, "the trie holds no items");
  for (int64_t level = 0; level < trie.depth(); ++level) {
    const auto tokens = trie.level_tokens(level);
    check_token(model, tokens.back());
    if (!options.full_vocabulary) heads_.emplace_back(model, index_tensor(tokens, device()));
  }
}

void TrieSearch::check_query(const TrieQuery& query) const {
  check(!query.prompt.empty(), ErrorCode::invalid_argument,
        "there is nothing to recommend from: the history is empty and the model has no token that begins one");
  const int64_t limit = get_int(model_->config(), "max_position_embeddings", model_->where(), {}, 0);
  const int64_t length = std::ssize(query.prompt) + trie_->depth() - 1;
  check(limit <= 0 || length <= limit, ErrorCode::invalid_argument,
        "a history of {} tokens and {} of an item are more than the model's {} positions: use fewer items",
        query.prompt.size(), trie_->depth(), limit);
}

std::vector<FoundPath> TrieSearch::run(const TrieQuery& query) { return std::move(run(std::span(&query, 1))[0]); }

int64_t TrieSearch::least_rows() const { return rows_stand_alone_ ? 1 : kRowsPerThread * at::get_num_threads(); }

at::Device TrieSearch::device() const { return model_->backbone().input_embedding().weight.value.device(); }

std::vector<std::span<const TrieQuery>> TrieSearch::split(std::span<const TrieQuery> queries) const {
  std::vector<std::span<const TrieQuery>> groups;
  for (size_t begin = 0; begin < queries.size();) {
    size_t end = begin;
    for (int64_t tokens = 0; end < queries.size(); ++end) {
      tokens += std::max(std::ssize(queries[end].prompt), options_.beams);
      if (end > begin && tokens > options_.batch_tokens) break;
    }
    groups.push_back(queries.subspan(begin, end - begin));
    begin = end;
  }
  return groups;
}

template <class F>
void TrieSearch::for_each_group(std::span<const TrieQuery> queries, const F& f) const {
  for (const TrieQuery& query : queries) check_query(query);
  const auto groups = split(queries);
  const auto threads = static_cast<int64_t>(at::get_num_threads());
  if (std::ssize(groups) < threads || !device().is_cpu()) {
    for (const auto& group : groups) f(group);
    return;
  }
  std::atomic<size_t> next = 0;
  ops::parallel_pieces(threads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t worker = begin; worker < end; ++worker) {
      for (size_t g = next++; g < groups.size(); g = next++) f(groups[g]);
    }
  });
}

std::vector<std::vector<FoundPath>> TrieSearch::run(std::span<const TrieQuery> queries, Tensor* prompt_states) {
  std::vector<std::vector<FoundPath>> results(queries.size());
  std::vector<Tensor> states(queries.size());  // of a group at its first query
  for_each_group(queries, [&](std::span<const TrieQuery> group) {
    const auto first = static_cast<size_t>(group.data() - queries.data());
    states[first] = Group(*this, group).run(std::span(results).subspan(first, group.size()));
  });
  if (prompt_states != nullptr) *prompt_states = joined(states);
  return results;
}

Tensor TrieSearch::prompt_states(std::span<const TrieQuery> queries) {
  std::vector<Tensor> states(queries.size());
  for_each_group(queries, [&](std::span<const TrieQuery> group) {
    const torch::InferenceMode guard;
    Group one(*this, group);
    states[static_cast<size_t>(group.data() - queries.data())] = one.states(one.prompt_rows());
  });
  return joined(states);
}

Tensor TrieSearch::Group::run(std::span<std::vector<FoundPath>> results) {
  const torch::InferenceMode guard;
  Tensor after_prompts;
  for (int64_t level = 0; level < search_.trie_->depth(); ++level) {
    const Tensor hidden = level == 0 ? prompt_rows() : beam_rows();
    if (!hidden.defined()) break;  // no beam goes on
    const Tensor log_p = search_.log_probabilities(hidden, level);
    if (level == 0) after_prompts = states(hidden);
    ops::parallel_pieces(std::ssize(users_), 1, [&](int64_t begin, int64_t end) {
      for (int64_t u = begin; u < end; ++u) search_.select(users_[u], log_p, first_rows_[u], level);
    });
  }
  for (size_t i = 0; i < users_.size(); ++i) {
    std::stable_sort(users_[i].found.begin(), users_[i].found.end(), [](const FoundPath& a, const FoundPath& b) {
      return a.score != b.score ? a.score > b.score : a.node < b.node;
    });
    results[i] = std::move(users_[i].found);
  }
  return after_prompts;
}

Tensor TrieSearch::Group::states(const Tensor& hidden) const {
  return hidden.index_select(0, at::tensor(at::ArrayRef<int64_t>(first_rows_), at::kLong).to(hidden.device()));
}

// The hidden state after each prompt, and as many rows before these as fill the last layer's products up.
Tensor TrieSearch::Group::prompt_rows() {
  std::vector<int64_t> lengths, last;
  std::vector<int32_t> ids;
  for (const User& user : users_) {
    const auto& prompt = user.query->prompt;
    lengths.push_back(std::ssize(prompt));
    ids.insert(ids.end(), prompt.begin(), prompt.end());
    last.push_back(std::ssize(ids) - 1);
  }
  lengths.push_back(std::max<int64_t>(1, search_.least_rows() - std::ssize(ids)));
  ids.resize(ids.size() + static_cast<size_t>(lengths.back()), 0);
  nn::Step step = cache_.prompts(lengths);
  if (search_.options_.prefix) step.prefixes = lengths;
  std::vector<bool> wanted(ids.size(), false);
  for (int64_t row : last) wanted[row] = true;
  int64_t missing = search_.least_rows() - std::ssize(last);
  for (int64_t row = std::ssize(ids); row-- > 0 && missing > 0;) {
    if (!wanted[row]) wanted[row] = true, --missing;
  }
  first_rows_.clear();
  for (int64_t row = 0; row < std::ssize(ids); ++row) {
    if (first_rows_.size() < last.size() && row == last[first_rows_.size()])
      first_rows_.push_back(std::ssize(step.output_rows));
    if (wanted[row]) step.output_rows.push_back(row);
  }
  return search_.model_->hidden(index_tensor(ids, search_.device()), step);
}

// One row a beam that goes on; undefined where there is none.
Tensor TrieSearch::Group::beam_rows() {
  std::vector<int64_t> starts = {0}, parents;
  std::vector<int32_t> ids;
  const int64_t filled = first_rows_.size() > users_.size() ? first_rows_[users_.size()] : 0;
  for (size_t u = 0; u < users_.size(); ++u) {
    for (const User::Beam& beam : users_[u].beams) {
      parents.push_back(first_rows_[u] + beam.from);
      ids.push_back(search_.trie_->token(beam.node));
    }
    starts.push_back(std::ssize(ids));
  }
  if (ids.empty()) return {};
  const auto rows = static_cast<size_t>(std::max(search_.least_rows(), std::ssize(ids) + 1));
  ids.resize(rows, 0);
  parents.resize(rows, filled);
  first_rows_ = starts;
  starts.push_back(static_cast<int64_t>(rows));
  nn::Step step = cache_.branch(std::move(starts), parents);
  return search_.model_->hidden(index_tensor(ids, search_.device()), step);
}

Tensor TrieSearch::log_probabilities(const Tensor& hidden, int64_t level) const {
  const Tensor logits = options_.full_vocabulary ? model_->logits(hidden) : heads_[level].logits(hidden);
  return at::log_softmax(logits.to(at::kFloat), -1).to(at::kCPU).contiguous();  // [R, V or tokens of the level]
}

// The best continuations of a user's beams become its beams; those that are items are kept.
void TrieSearch::select(User& user, const Tensor& log_p, int64_t first_row, int64_t level) const {
  const auto& banned = user.query->banned;
  const float* rows = log_p.const_data_ptr<float>();
  std::vector<Extension> all;
  bool are_numbers = true;
  for (size_t b = 0; b < user.beams.size(); ++b) {
    const float* row = rows + (first_row + static_cast<int64_t>(b)) * log_p.size(1);
    const items::Trie::Range children = trie_->children(user.beams[b].node);
    for (int32_t node = children.begin; node < children.end; ++node) {
      if (std::binary_search(banned.begin(), banned.end(), node)) continue;
      const float p = row[options_.full_vocabulary ? trie_->token(node) : trie_->column(node)];
      are_numbers = are_numbers && !std::isnan(p);
      all.push_back({user.beams[b].score + p, node, static_cast<int32_t>(b)});
    }
  }
  check_scores_are_numbers(are_numbers);
  const auto kept = static_cast<int64_t>(std::min<size_t>(all.size(), static_cast<size_t>(options_.beams)));
  if (kept < std::ssize(all)) std::nth_element(all.begin(), all.begin() + kept, all.end(), better);
  std::sort(all.begin(), all.begin() + kept, better);
  user.beams.clear();
  for (const Extension& e : std::span(all).first(static_cast<size_t>(kept))) {
    if (!trie_->items(e.node).empty()) user.found.push_back({e.node, e.score});
    if (trie_->children(e.node).size() == 0 || level + 1 == trie_->depth()) continue;
    user.beams.push_back({e.node, e.score, e.beam});
  }
}

}  // namespace caravan::generate
