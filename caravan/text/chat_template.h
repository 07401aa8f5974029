// Chat templates: a Jinja interpreter that renders what transformers' apply_chat_template renders.
//
//   ChatTemplate chat(source, "chat_template.jinja");
//   std::string prompt = chat.render({{"messages", messages}, {"add_generation_prompt", true}, {"bos_token", "<s>"}});
//
// Environment as in transformers: trim_blocks, lstrip_blocks, loop controls, `tojson` without HTML escapes,
// raise_exception, strftime_now, the `generation` block. Templates are untrusted: no attribute access beyond JSON keys
// and a fixed method table, no import/include/extends, and limits on size, depth, work and output.
#pragma once

#include <cstdint>
#include <ctime>
#include <memory>
#include <string>
#include <string_view>

#include "caravan/base/json.h"

namespace caravan::text {

struct TemplateLimits {
  size_t source_bytes = 256 << 10;
  int depth = 128;                // of parsing and of calls
  int64_t fuel = 2'000'000;       // evaluated nodes
  size_t output_bytes = 4 << 20;  // also of any single string value; raised to 8x the input's size + 64 KiB
  int64_t range = 100'000;        // longest range() or repeated sequence
};

class ChatTemplate {
 public:
  // Throws corrupt_file (fault json, with the line) for a syntax error, unsupported (fault unsupported) for import,
  // include, extends and unknown tags, fault limit for a source that is too large or too deep.
  ChatTemplate(std::string source, std::string where, TemplateLimits limits = {});
  ~ChatTemplate();
  ChatTemplate(ChatTemplate&&) noexcept;

  // `variables` is an object: messages, tools, documents, add_generation_prompt, bos_token, eos_token,
  // continue_final_message (true or the name of a field: the text ends where that of the last message does), and
  // anything else. Throws invalid_argument for raise_exception() (its message as it is) and for errors in evaluation
  // (with the line), fault fuel or limit where a limit is met.
  std::string render(const Json& variables) const;

  // strftime_now() reads the clock; tests fix it.
  void set_now(std::time_t now);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace caravan::text
