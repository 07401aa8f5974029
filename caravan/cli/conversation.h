// A conversation with a chat model: messages, rendered by the model's template, answered by the engine. Keys and values
// of earlier turns stay cached, so that a turn costs only its own tokens.
//
//   Conversation conversation(*checkpoint, {}, decoding);
//   conversation.answer("Hello!", [](std::string_view piece) { print(piece); });
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "caravan/cli/decoding_options.h"
#include "caravan/generate/engine.h"
#include "caravan/models/load.h"

namespace caravan::cli {

struct Answer {
  generate::GenerateResult result;  // one sequence
  bool kept = true;                 // false: stopped before it began; the history is as it was before
};

class Conversation {
 public:
  using Stream = std::function<void(std::string_view piece)>;

  // Throws not_found where the checkpoint has no chat template or no tokenizer.
  Conversation(const formats::Checkpoint& checkpoint, const models::LoadOptions& load, const DecodingOptions& decoding,
               generate::EngineOptions engine = {});

  // Adds the message and the answer to the history. Where the context is full the oldest turns are left out; a message
  // that is too long by itself is an error and leaves the history as it was.
  Answer answer(const std::string& message, const Stream& stream);
  Answer answer_again(const Stream& stream);  // the last message; invalid_argument where there is none

  void reset();                              // keeps the system message
  void set_system(const std::string& text);  // empty: none; forgets the conversation
  const std::string& system() const { return system_; }

  // Stops an answer, between the layers of the model while it reads the prompt, between tokens after that.
  void set_cancel_flag(std::shared_ptr<const std::atomic<bool>> flag) { cancelled_ = std::move(flag); }
  void set_notes(Stream notes) { notes_ = std::move(notes); }  // told what the user should know: turns left out
  const Json& messages() const { return messages_; }
  const generate::GenerationConfig& config() const { return config_; }

 private:
  std::vector<int32_t> prompt_ids(const Json& messages) const;
  std::vector<int32_t> fitting_prompt(int64_t room);
  Answer make_answer(Json before, const Stream& stream);
  generate::GenerateResult generate(generate::GenerateRequest request, const Stream& stream);

  std::string path_, system_;
  text::Tokenizer tokenizer_;
  generate::GenerationConfig config_;
  std::unique_ptr<models::CausalLm> model_;
  std::unique_ptr<generate::Engine> engine_;
  std::shared_ptr<const std::atomic<bool>> cancelled_;
  Stream notes_;
  Json messages_ = Json::array();
  int64_t context_ = 0;  // tokens; 0: unknown
  uint64_t turns_ = 0;   // each turn draws from its own random stream
};

}  // namespace caravan::cli
