#include "caravan/cli/speed_line.h"
#include "caravan/cli/log.h"

#include <fmt/format.h>

#include <algorithm>

namespace caravan::cli {

std::string speed_line(std::span<const generate::GenerateResult> results) {
  // Requests of a batch run together: their times overlap, so the longest counts.
  int64_t prompt = 0, reused = 0, made = 0, accepted = 0, proposed = 0;
  double prefill = 0, decode = 0;
  for (const generate::GenerateResult& result : results) {
    prompt += result.prompt_tokens, reused += result.reused_tokens;
    accepted += result.accepted_tokens, proposed += result.proposed_tokens;
    for (const auto& sequence : result.sequences) made += std::ssize(sequence.ids);
    prefill = std::max(prefill, result.prefill_seconds), decode = std::max(decode, result.decode_seconds);
  }
  const auto rate = [](int64_t tokens, double seconds) {
    return seconds > 0 ? static_cast<double>(tokens) / seconds : 0.0;
  };
  std::string line = fmt::format("prompt {} token{} in {:.2f} s ({:.1f} tokens/s)", prompt - reused,
                                 prompt - reused == 1 ? "" : "s", prefill, rate(prompt - reused, prefill));
  if (reused > 0) line += fmt::format(", {} kept", reused);
  line += fmt::format("; {} new token{} in {:.2f} s ({:.1f} tokens/s)", made, made == 1 ? "" : "s", decode,
                      rate(made, decode));
  if (proposed > 0) line += fmt::format("; {} of {} proposed tokens accepted", accepted, proposed);
  return line;
}

void log_speed(std::span<const generate::GenerateResult> results) { log_info("{}", speed_line(results)); }

}  // namespace caravan::cli
