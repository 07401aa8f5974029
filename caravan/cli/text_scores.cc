#include "caravan/cli/text_scores.h"

#include <torch/torch.h>

#include <chrono>
#include <cmath>

#include "caravan/base/error.h"
#include "caravan/cli/finite_weights.h"
#include "caravan/formats/checkpoint.h"
#include "caravan/items/prompt.h"
#include "caravan/ops/threads.h"

namespace caravan::cli {
namespace {

using at::Tensor;

// The token that the tokenizer puts before a text, if it does.
std::optional<int32_t> first_special(const text::Tokenizer& tokenizer) {
  const std::vector<int32_t> ids = tokenizer.encode("a", {.details = false}).ids;
  const std::vector<int32_t> bare = tokenizer.encode("a", {.add_special_tokens = false, .details = false}).ids;
  return ids.size() > bare.size() && ids.front() != bare.front() ? std::optional(ids.front()) : std::nullopt;
}

Tensor hidden_of(models::CausalLm& model, const std::vector<int32_t>& ids) {
  const int64_t length = std::ssize(ids);
  const at::Device device = model.backbone().input_embedding().weight.value.device();
  nn::Step step = nn::Step::packed({&length, 1}, device);
  return model.hidden(at::tensor(at::ArrayRef<int32_t>(ids), at::kInt).to(device, at::kLong), step);
}

Tensor logits_of(models::CausalLm& model, const Tensor& hidden, int64_t first, int64_t rows) {
  return model.logits(hidden.narrow(0, first, rows)).to(at::kCPU, at::kFloat).contiguous();
}

std::span<const float> row_of(const Tensor& logits, int64_t row) {
  return {logits.const_data_ptr<float>() + row * logits.size(1), static_cast<size_t>(logits.size(1))};
}

class Scorer {
 public:
  Scorer(const ScoredModel& model, const std::optional<ScoredModel>& reference, TextScores& scores)
      : model_(model), reference_(reference), scores_(scores) {
    if (reference) scores.divergence.emplace(), scores.reference.emplace();
  }

  void window(const std::vector<int32_t>& ids, int64_t first) {
    ++window_;
    constexpr int64_t kRows = 128;  // logits of so many rows at once: 25 MB at a vocabulary of 49152
    const auto start = std::chrono::steady_clock::now();
    const Tensor hidden = hidden_of(model_.model, ids);
    seconds_since(start);
    const Tensor other = reference_ ? hidden_of(reference_->model, ids) : Tensor();
    for (int64_t begin = first; begin < std::ssize(ids); begin += kRows) {
      const int64_t rows = std::min(kRows, std::ssize(ids) - begin);
      const std::span<const int32_t> targets =
          std::span(ids).subspan(static_cast<size_t>(begin), static_cast<size_t>(rows));
      const auto from = std::chrono::steady_clock::now();
      const Tensor logits = logits_of(model_.model, hidden, begin - 1, rows);
      seconds_since(from);
      if (!reference_) {
        add(logits, targets);
      } else {
        compare(logits_of(reference_->model, other, begin - 1, rows), logits, targets);
      }
    }
  }

 private:
  void seconds_since(std::chrono::steady_clock::time_point start) {
    scores_.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  void add(const Tensor& logits, std::span<const int32_t> targets) {
    std::vector<double> found(targets.size());
    ops::parallel_pieces(std::ssize(targets), 4, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const auto at = static_cast<size_t>(i);
        eval::log_probabilities(row_of(logits, i), targets.subspan(at, 1), std::span(found).subspan(at, 1));
      }
    });
    for (const double log_probability : found) {
      check_finite(log_probability, model_);
      scores_.perplexity.add(-log_probability);
    }
  }

  void compare(const Tensor& p, const Tensor& q, std::span<const int32_t> targets) {
    std::vector<eval::Divergence::Token> found(targets.size());
    ops::parallel_pieces(std::ssize(targets), 4, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        found[static_cast<size_t>(i)] = eval::divergence(row_of(p, i), row_of(q, i), targets[static_cast<size_t>(i)]);
      }
    });
    for (const eval::Divergence::Token& token : found) {
      check_finite(token.p_nll, *reference_);
      check_finite(token.q_nll, model_);
      scores_.divergence->add(token);
      scores_.perplexity.add(token.q_nll);
      scores_.reference->add(token.p_nll);
    }
  }

  void check_finite(double log_probability, const ScoredModel& model) const {
    if (std::isfinite(log_probability)) return;
    const std::optional<std::string> weight = find_not_finite(*formats::Checkpoint::open(model.path));
    check_file(!weight, FileFault::range, model.path, "{}; the model gives no finite probabilities (window {})",
               weight.value_or(""), window_);
    fail(
        ErrorCode::invalid_argument,
        "{}: window {} of the text has probabilities that are not finite, though every weight is: its numbers pass the "
        "range of the dtype; a wider one (f32, bf16) may hold them",
        model.path, window_);
  }

  const ScoredModel& model_;
  const std::optional<ScoredModel>& reference_;
  TextScores& scores_;
  int64_t window_ = 0;  // from 1
};

}  // namespace

int64_t ScoredText::tokens_run() const {
  int64_t tokens = 0;
  for (const eval::Window& w : windows) tokens += w.end - w.begin;
  return tokens;
}

void check_reads_forward(const formats::Checkpoint& checkpoint) {
  check(!items::read_prompt_format(checkpoint.config(), checkpoint.place_of("config.json")).prefix,
        ErrorCode::unsupported,
        "{}: the model reads a prompt in both directions (\"prefix\" in \"item_prompt\"), so that a text has no "
        "perplexity under it: caravan eval recommend says how good it is",
        checkpoint.path());
}

int64_t ScoredText::longest_window() const {
  int64_t longest = 0;
  for (const eval::Window& w : windows) longest = std::max(longest, w.end - w.begin);
  return longest;
}

ScoredText scored_text(const text::Tokenizer& tokenizer, const NamedText& named, const WindowOptions& options) {
  ScoredText scored;
  std::string_view text = named.text;
  const bool strided = options.stride > 0;
  if (!strided && text.ends_with('\n')) text.remove_suffix(1);
  scored.ids = tokenizer.encode(text, {.details = false, .parse_special = strided}).ids;
  if (!strided) scored.bos = first_special(tokenizer);
  const auto tokens = static_cast<int64_t>(scored.ids.size());
  const int64_t least = strided ? 2 : options.context;
  check(tokens >= least, ErrorCode::invalid_argument,
        "{}: the text has {} tokens, a window {} ({}): give a longer text or a shorter window", named.name, tokens,
        least, options.option);
  scored.windows = strided ? eval::strided_windows(tokens, options.context, options.stride)
                           : eval::llama_windows(tokens, options.context);
  if (options.max_windows > 0 && std::ssize(scored.windows) > options.max_windows) {
    scored.windows.resize(static_cast<size_t>(options.max_windows));
  }
  return scored;
}

TextScores score_text(const ScoredModel& model, const std::optional<ScoredModel>& reference, const ScoredText& text,
                      const std::function<void(int64_t)>& progress) {
  if (reference) {
    const int64_t q = model.model.backbone().vocab_size(), p = reference->model.backbone().vocab_size();
    check(p == q, ErrorCode::invalid_argument,
          "{} has a vocabulary of {} tokens, {} one of {}: their distributions cannot be compared", model.path, q,
          reference->path, p);
  }
  const torch::InferenceMode guard;
  TextScores scores;
  Scorer scorer(model, reference, scores);
  for (size_t i = 0; i < text.windows.size(); ++i) {
    if (progress) progress(static_cast<int64_t>(i));
    const eval::Window& w = text.windows[i];
    std::vector<int32_t> ids(text.ids.begin() + w.begin, text.ids.begin() + w.end);
    if (text.bos) ids.front() = *text.bos;
    scorer.window(ids, w.first - w.begin);
  }
  if (progress) progress(std::ssize(text.windows));
  return scores;
}

}  // namespace caravan::cli
