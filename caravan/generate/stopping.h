// When a sequence is over: eos, stop strings, the token limit, the clock.
//
//   Stopping stopping(config, max_length, tokenizer);
//   if (auto reason = stopping.check(ids)) finish(*reason);      // ids: prompt and generated tokens
//
// Stop strings follow transformers' StopStringCriteria: generation stops when the decoded text contains a stop string
// that reaches into the newest token, wherever the token borders lie.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "caravan/generate/config.h"
#include "caravan/generate/request.h"
#include "caravan/text/tokenizer.h"

namespace caravan::generate {

class Stopping {
 public:
  // Throws invalid_argument where there are stop strings and no tokenizer.
  Stopping(const GenerationConfig& config, int64_t max_length, const text::Tokenizer* tokenizer);
  std::optional<FinishReason> check(std::span<const int32_t> ids) const;
  bool is_eos(int32_t id) const;

 private:
  bool reaches_stop_string(std::span<const int32_t> ids) const;
  std::vector<int32_t> eos_;
  std::vector<std::string> stops_;
  size_t longest_stop_ = 0;  // bytes
  int64_t max_length_;
  std::optional<std::chrono::steady_clock::time_point> deadline_;
  const text::Tokenizer* tokenizer_;
};

// The text of one sequence as it grows. Text that may be the beginning of a stop string is held back; where a stop
// string ended the sequence, its text is cut before it.
class TextStream {
 public:
  TextStream(const text::Tokenizer* tokenizer, bool skip_special_tokens, std::vector<std::string> stops);
  // The text to show now; `end` with the last token. Empty without a tokenizer.
  std::string push(int32_t id, std::optional<FinishReason> end);
  const std::string& text() const { return text_; }  // all that push() returned

 private:
  size_t held_back() const;  // bytes at the end of pending_ that may begin a stop string
  std::optional<text::StreamDecoder> decoder_;
  std::vector<std::string> stops_;
  std::string pending_, text_;
};

}  // namespace caravan::generate
