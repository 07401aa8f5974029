// Post-processors of tokenizer.json: TemplateProcessing, BertProcessing, RobertaProcessing, ByteLevel, Sequence.
//
//   auto post = make_post_processor(json["post_processor"], "tokenizer.json");
//   post->process(parts, /*add_special_tokens=*/true);   // parts: one encoding, or two for a pair
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "caravan/base/json.h"
#include "caravan/text/tokenizer.h"

namespace caravan::text {

class PostProcessor {
 public:
  virtual ~PostProcessor() = default;
  virtual size_t added_tokens(bool pair) const = 0;
  // Changes the parts and may put others between them; the caller joins them.
  virtual void process(std::vector<Encoding>& parts, bool add_special_tokens, bool details) const = 0;
};

// Throws fault unsupported for an unknown type, range for a template that names a special token it does not define.
std::unique_ptr<PostProcessor> make_post_processor(const Json& json, std::string_view where, int depth = 0);

}  // namespace caravan::text
