// GenerationConfig: the options of text generation under transformers' names, with transformers' defaults.
//
//   GenerationConfig config = GenerationConfig::from_json(parse_json(text, path), path);   // generation_config.json
//   config.update({{"num_beams", 4}, {"max_new_tokens", 64}}, "command line");
//
// Source: transformers 5 GenerationConfig and the defaults that its generate() fills in. Beyond it: `seed`,
// `presence_penalty`, `frequency_penalty` (OpenAI's). Keys that Caravan does not know are kept in `extra`.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "caravan/base/json.h"

namespace caravan::generate {

enum class EarlyStopping { no, yes, never };  // false, true, "never"

// How tokens are chosen: one of these, whatever else is set. Sampling also goes with beams and with speculation.
enum class StrategyKind { greedy, sampling, beams, beam_groups, contrastive, speculative };

constexpr int64_t kDefaultNewTokens = 20;  // where neither max_new_tokens nor max_length is given

using TokenBias = std::pair<std::vector<int32_t>, double>;  // a token sequence and the bias on its last token

struct GenerationConfig {
  // Length. max_length and min_length count the prompt; max_new_tokens and min_new_tokens win over them. Where no
  // maximum is given, 20 new tokens.
  std::optional<int64_t> max_length, max_new_tokens;
  int64_t min_length = 0;
  std::optional<int64_t> min_new_tokens;
  std::optional<double> max_time;  // seconds
  std::vector<std::string> stop_strings;

  // Strategy.
  bool do_sample = false;
  int64_t num_beams = 1, num_return_sequences = 1;
  EarlyStopping early_stopping = EarlyStopping::no;
  double length_penalty = 1.0;
  int64_t num_beam_groups = 1;  // diverse beam search (Vijayakumar et al. 2016)
  double diversity_penalty = 0.0;
  std::optional<double> penalty_alpha;  // contrastive search (Su et al. 2022), with top_k > 1
  std::optional<int64_t> prompt_lookup_num_tokens, max_matching_ngram_size;
  int64_t num_assistant_tokens = 20;  // speculative decoding with a draft model: at most so many guesses at once
  std::string num_assistant_tokens_schedule = "heuristic";  // as many as pay (guess_length.h); "constant": all
  double assistant_confidence_threshold = 0.4;

  // Sampling.
  uint64_t seed = 0;
  double temperature = 1.0;
  int64_t top_k = 50;  // 0: off
  double top_p = 1.0;
  std::optional<double> min_p, top_h;
  double typical_p = 1.0, epsilon_cutoff = 0.0, eta_cutoff = 0.0;
  bool renormalize_logits = false;

  // Penalties and bans.
  double repetition_penalty = 1.0, encoder_repetition_penalty = 1.0;
  double presence_penalty = 0.0, frequency_penalty = 0.0;
  int64_t no_repeat_ngram_size = 0, encoder_no_repeat_ngram_size = 0;
  std::vector<std::vector<int32_t>> bad_words_ids;
  std::vector<TokenBias> sequence_bias;
  std::vector<int32_t> suppress_tokens, begin_suppress_tokens;
  std::optional<int32_t> forced_bos_token_id;
  std::vector<int32_t> forced_eos_token_id;
  std::optional<std::pair<int64_t, double>> exponential_decay_length_penalty;  // start, factor
  bool remove_invalid_values = false;

  // Special tokens.
  std::optional<int32_t> pad_token_id, bos_token_id;
  std::vector<int32_t> eos_token_id;

  Json extra = Json::object();

  // Throws corrupt_file (fault type or range) naming `where` and the key.
  static GenerationConfig from_json(const Json& json, std::string_view where);

  // Sets the keys of `options`; null gives a key its default again. Throws invalid_argument naming `where` and the key.
  void update(const Json& options, std::string_view where);

  // The keys that differ from the defaults, and `extra`.
  Json to_json() const;

  // Refuses values and combinations that make no sense (invalid_argument) or are not handled here (unsupported).
  void validate() const;

  // The strategy that the options choose; `draft`: there is a draft model.
  StrategyKind strategy(bool draft) const;
};

}  // namespace caravan::generate
