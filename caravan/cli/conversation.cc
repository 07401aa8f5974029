#include "caravan/cli/conversation.h"

#include <fmt/format.h>

#include <algorithm>

#include "caravan/base/error.h"
#include "caravan/cli/observers.h"
#include "caravan/cli/text_source.h"
#include "caravan/cli/tokenizer_source.h"

namespace caravan::cli {
namespace {

constexpr int64_t kDefaultAnswer = 1024;  // new tokens, where nothing says otherwise
constexpr int64_t kKeptTokens = 1 << 17;  // of earlier turns' keys and values

// The config for chatting: sampling with mild defaults where neither the checkpoint nor the command line decide.
generate::GenerationConfig chat_config(const formats::Checkpoint& checkpoint, const DecodingOptions& decoding) {
  generate::GenerationConfig config = decoding.config(checkpoint);
  const std::string text = checkpoint.side_file("generation_config.json");
  const Json stored = text.empty() ? Json::object() : parse_json(text, checkpoint.place_of("generation_config.json"));
  const Json given = decoding.given();
  const auto decided = [&](const char* key) { return given.contains(key) || find_member(stored, key) != nullptr; };
  if (!decided("do_sample") && !decided("num_beams") && !decided("penalty_alpha")) {
    config.do_sample = !given.contains("prompt_lookup_num_tokens");
    if (!decided("temperature")) config.temperature = 0.5;
    if (!decided("top_p")) config.top_p = 0.9;
  }
  if (!decided("max_new_tokens") && !decided("max_length")) config.max_new_tokens = kDefaultAnswer;
  if (!decided("seed")) choose_seed(config);
  return config;
}

// The template ends a turn with the tokenizer's eos token, which generation_config.json may not list.
void add_turn_end(generate::GenerationConfig& config, const std::string& model, const text::Tokenizer& tokenizer) {
  const std::optional<int32_t> eos = tokenizer.token_to_id(special_token(model, "eos_token"));
  if (eos.has_value() &&
      std::find(config.eos_token_id.begin(), config.eos_token_id.end(), *eos) == config.eos_token_id.end()) {
    config.eos_token_id.push_back(*eos);
  }
}

int64_t context_of(const Json& config) {
  const Json* value = find_member(config, "max_position_embeddings");
  return value != nullptr && value->is_number_integer() ? value->get<int64_t>() : 0;
}

}  // namespace

Conversation::Conversation(const formats::Checkpoint& checkpoint, const models::LoadOptions& load,
                           const DecodingOptions& decoding, generate::EngineOptions engine)
    : path_(checkpoint.path()),
      tokenizer_(load_tokenizer(path_)),
      config_(chat_config(checkpoint, decoding)),
      context_(context_of(checkpoint.config())) {
  chat_template_source(path_, false);  // before the weights are loaded: a base model cannot chat
  add_turn_end(config_, path_, tokenizer_);
  decoding.check_use(config_, checkpoint);
  model_ = models::load_causal_lm(checkpoint, load);
  engine.keep_prefix_tokens = kKeptTokens;
  engine_ = std::make_unique<generate::Engine>(*model_, engine);
}

void Conversation::reset() {
  messages_ = Json::array();
  if (!system_.empty()) messages_.push_back({{"role", "system"}, {"content", system_}});
}

void Conversation::set_system(const std::string& text) {
  system_ = text;
  reset();
}

std::vector<int32_t> Conversation::prompt_ids(const Json& messages) const {
  const std::string prompt = render_chat(path_, {{"messages", messages}, {"add_generation_prompt", true}});
  return tokenizer_.encode(prompt, {.add_special_tokens = false, .details = false}).ids;  // the template wrote them
}

// The prompt with as many of the latest turns as leave room for an answer.
std::vector<int32_t> Conversation::fitting_prompt(int64_t room) {
  Json messages = messages_;
  const size_t first = system_.empty() ? 0 : 1;
  std::vector<int32_t> ids = prompt_ids(messages);
  int dropped = 0;
  while (context_ > 0 && std::ssize(ids) + room > context_ && messages.size() > first + 2) {
    messages.erase(messages.begin() + static_cast<int64_t>(first), messages.begin() + static_cast<int64_t>(first) + 2);
    ids = prompt_ids(messages), ++dropped;
  }
  if (dropped > 0 && notes_ != nullptr) {
    notes_(fmt::format("the context of {} tokens is full: the first {} turns are left out", context_, dropped));
  }
  check(context_ <= 0 || std::ssize(ids) < context_, ErrorCode::invalid_argument,
        "the message has {} tokens with its template, the model's context holds {}", ids.size(), context_);
  return ids;
}

// The engine looks at the flag between its steps; until the first token a step may be a long part of the prompt, so the
// flag is looked at between layers, too.
generate::GenerateResult Conversation::generate(generate::GenerateRequest request, const Stream& stream) {
  request.cancelled = cancelled_;
  Stopper stopper(cancelled_);
  request.on_token = [&](const generate::TokenEvent& event) {
    stopper.disarm();
    if (stream != nullptr && event.sequence == 0 && !event.text.empty()) stream(event.text);
    return true;
  };
  generate::GenerateResult result;
  try {
    result = engine_->generate(std::move(request));
  } catch (const Error& error) {
    if (error.code() != ErrorCode::cancelled) throw;
  }
  if (result.sequences.empty()) result.sequences.push_back({.reason = generate::FinishReason::cancelled});
  return result;
}

// Answers messages_; where that fails or is stopped before it began, messages_ becomes `before`.
Answer Conversation::make_answer(Json before, const Stream& stream) {
  try {
    generate::GenerateRequest request{.config = config_};
    const int64_t wanted = config_.max_new_tokens.value_or(kDefaultAnswer);
    request.prompt = fitting_prompt(context_ > 0 ? std::min(wanted, context_ / 4) : wanted);
    if (context_ > 0) request.config.max_new_tokens = std::min(wanted, context_ - std::ssize(request.prompt));
    request.config.seed += turns_++;
    request.tokenizer = &tokenizer_;
    Answer answer{.result = generate(std::move(request), stream)};
    const generate::GeneratedSequence& sequence = answer.result.sequences[0];
    answer.kept = !sequence.text.empty() || sequence.reason != generate::FinishReason::cancelled;
    if (answer.kept) {
      messages_.push_back({{"role", "assistant"}, {"content", sequence.text}});
    } else {
      messages_ = std::move(before);
    }
    return answer;
  } catch (...) {
    messages_ = std::move(before);
    throw;
  }
}

Answer Conversation::answer(const std::string& message, const Stream& stream) {
  Json before = messages_;
  messages_.push_back({{"role", "user"}, {"content", message}});
  return make_answer(std::move(before), stream);
}

Answer Conversation::answer_again(const Stream& stream) {
  size_t turns = messages_.size();
  while (turns > 0 && messages_[turns - 1]["role"] == "assistant") --turns;
  check(turns > 0 && messages_[turns - 1]["role"] == "user", ErrorCode::invalid_argument,
        "there is no message to answer again");
  Json before = messages_;
  while (messages_.size() > turns) messages_.erase(messages_.size() - 1);
  return make_answer(std::move(before), stream);
}

}  // namespace caravan::cli
