// Which processors a config asks for, in transformers' order (generation/utils.py, _get_logits_processor).
#include "caravan/generate/logits_processor.h"

namespace caravan::generate {
namespace {

void add_penalties(ProcessorList& list, const GenerationConfig& c, const PromptView& prompt, int64_t vocab_size) {
  const int64_t length = std::ssize(prompt.ids);
  if (!c.sequence_bias.empty()) list.add(sequence_bias(c.sequence_bias, vocab_size, "sequence_bias"));
  if (c.encoder_repetition_penalty != 1.0 && length > 0) {
    list.add(encoder_repetition_penalty(c.encoder_repetition_penalty, prompt.ids));
  }
  if (c.repetition_penalty != 1.0) list.add(repetition_penalty(c.repetition_penalty));
  if (c.presence_penalty != 0 || c.frequency_penalty != 0) {
    list.add(occurrence_penalty(c.presence_penalty, c.frequency_penalty, length));
  }
  if (c.no_repeat_ngram_size > 0) list.add(no_repeat_ngram(c.no_repeat_ngram_size));
  if (c.encoder_no_repeat_ngram_size > 0 && length > 0) {
    list.add(encoder_no_repeat_ngram(c.encoder_no_repeat_ngram_size, prompt.ids));
  }
  if (!c.bad_words_ids.empty()) list.add(bad_words(c.bad_words_ids, c.eos_token_id, vocab_size));
}

void add_token_rules(ProcessorList& list, const GenerationConfig& c, const PromptView& prompt, int64_t vocab_size,
                     std::shared_ptr<Constraint> constraint) {
  const int64_t length = std::ssize(prompt.ids);
  if (prompt.min_length > 0 && !c.eos_token_id.empty()) list.add(min_length(prompt.min_length, c.eos_token_id));
  if (constraint != nullptr) list.add(constrain(std::move(constraint), length));
  if (c.forced_bos_token_id) list.add(forced_tokens(1, {*c.forced_bos_token_id}, vocab_size, "forced_bos_token_id"));
  if (!c.forced_eos_token_id.empty()) {
    list.add(forced_tokens(prompt.max_length - 1, c.forced_eos_token_id, vocab_size, "forced_eos_token_id"));
  }
  if (c.remove_invalid_values) list.add(remove_invalid());
  if (c.exponential_decay_length_penalty && !c.eos_token_id.empty()) {
    const auto [start, factor] = *c.exponential_decay_length_penalty;
    list.add(exponential_decay(start + length, factor, c.eos_token_id, vocab_size));
  }
  if (!c.suppress_tokens.empty()) list.add(suppress_tokens(c.suppress_tokens));
  if (!c.begin_suppress_tokens.empty()) {
    const int64_t begin = length > 1 || !c.forced_bos_token_id ? length : length + 1;
    list.add(suppress_tokens_at(c.begin_suppress_tokens, begin));
  }
}

void add_sampling_filters(ProcessorList& list, const GenerationConfig& c) {
  // Beams need one continuation that is not eos.
  const int64_t eos = std::ssize(c.eos_token_id);
  const int64_t keep = c.num_beams > 1 ? (eos > 0 ? eos + 1 : 2) : 1;
  if (c.temperature != 1.0) list.add(temperature(c.temperature));
  if (c.top_h) list.add(top_h(*c.top_h));
  if (c.top_k != 0) list.add(top_k(c.top_k, keep));
  if (c.top_p < 1.0) list.add(top_p(c.top_p, keep));
  if (c.min_p) list.add(min_p(*c.min_p, keep));
  if (c.typical_p < 1.0) list.add(typical_p(c.typical_p, keep));
  if (c.epsilon_cutoff > 0 && c.epsilon_cutoff < 1) list.add(epsilon_cutoff(c.epsilon_cutoff, keep));
  if (c.eta_cutoff > 0 && c.eta_cutoff < 1) list.add(eta_cutoff(c.eta_cutoff, keep));
}

}  // namespace

ProcessorList make_processors(const GenerationConfig& config, const PromptView& prompt, int64_t vocab_size,
                              std::shared_ptr<Constraint> constraint) {
  ProcessorList list;
  add_penalties(list, config, prompt, vocab_size);
  add_token_rules(list, config, prompt, vocab_size, std::move(constraint));
  if (config.do_sample) add_sampling_filters(list, config);
  if (config.renormalize_logits) list.add(renormalize());
  return list;
}

}  // namespace caravan::generate
