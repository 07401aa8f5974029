// Stop strings are matched on the decoded last tokens: at most as many as the longest stop string has bytes, because
// every token stands for at least one byte, and a few more so that what decoding strips at its beginning is no matter.
#include "caravan/generate/stopping.h"

#include <algorithm>

#include "caravan/base/error.h"

namespace caravan::generate {

std::string_view to_string(FinishReason reason) {
  switch (reason) {
    case FinishReason::eos:
      return "eos";
    case FinishReason::stop:
      return "stop";
    case FinishReason::length:
      return "length";
    case FinishReason::time:
      return "time";
    case FinishReason::cancelled:
      return "cancelled";
  }
  return "unknown";
}

Stopping::Stopping(const GenerationConfig& config, int64_t max_length, const text::Tokenizer* tokenizer)
    : eos_(config.eos_token_id), stops_(config.stop_strings), max_length_(max_length), tokenizer_(tokenizer) {
  caravan::check(stops_.empty() || tokenizer != nullptr, ErrorCode::invalid_argument,
                 "stop_strings need the model's tokenizer, and this model has none");
  for (const std::string& stop : stops_) longest_stop_ = std::max(longest_stop_, stop.size());
  if (config.max_time) {
    const std::chrono::duration<double> limit(std::clamp(*config.max_time, 0.0, 1e9));
    deadline_ = std::chrono::steady_clock::now() + std::chrono::duration_cast<std::chrono::nanoseconds>(limit);
  }
}

bool Stopping::is_eos(int32_t id) const { return std::find(eos_.begin(), eos_.end(), id) != eos_.end(); }

std::optional<FinishReason> Stopping::check(std::span<const int32_t> ids) const {
  if (!ids.empty() && is_eos(ids.back())) return FinishReason::eos;
  if (!stops_.empty() && reaches_stop_string(ids)) return FinishReason::stop;
  if (std::ssize(ids) >= max_length_) return FinishReason::length;
  if (deadline_ && std::chrono::steady_clock::now() > *deadline_) return FinishReason::time;
  return std::nullopt;
}

bool Stopping::reaches_stop_string(std::span<const int32_t> ids) const {
  constexpr size_t kMargin = 4;
  const auto window = ids.last(std::min(ids.size(), longest_stop_ + kMargin));
  const std::string with = tokenizer_->decode(window, false);
  const std::string without = tokenizer_->decode(window.first(window.size() - 1), false);
  // The newest token's text starts where the two differ (earlier characters may have been completed by it).
  const auto differ = std::mismatch(without.begin(), without.end(), with.begin(), with.end()).second;
  const size_t stable = differ - with.begin();
  for (const std::string& stop : stops_) {
    const size_t from = stable + 1 > stop.size() ? stable + 1 - stop.size() : 0;  // ends after `stable`
    if (with.find(stop, from) != std::string::npos) return true;
  }
  return false;
}

TextStream::TextStream(const text::Tokenizer* tokenizer, bool skip_special_tokens, std::vector<std::string> stops)
    : stops_(std::move(stops)) {
  if (tokenizer != nullptr) decoder_.emplace(*tokenizer, skip_special_tokens);
}

size_t TextStream::held_back() const {
  size_t longest = 0;
  for (const std::string& stop : stops_) {
    for (size_t n = std::min(stop.size() - 1, pending_.size()); n > longest; --n) {
      if (pending_.ends_with(std::string_view(stop).substr(0, n))) longest = n;
    }
  }
  return longest;
}

std::string TextStream::push(int32_t id, std::optional<FinishReason> end) {
  if (!decoder_) return {};
  pending_ += decoder_->push(id);
  if (end) pending_ += decoder_->finish();
  size_t shown = pending_.size();
  if (!end) {
    shown -= held_back();
  } else if (*end == FinishReason::stop) {
    for (const std::string& stop : stops_) shown = std::min(shown, pending_.find(stop));
  }
  std::string piece = pending_.substr(0, shown);
  pending_.erase(0, shown);
  if (end) pending_.clear();
  text_ += piece;
  return piece;
}

}  // namespace caravan::generate
