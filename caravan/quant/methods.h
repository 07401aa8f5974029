// The list of methods: what happens to weights before, or instead of, rounding each to the nearest. Adding one is a
// file and a line of the list in methods.cc.
//
//   const Method& method = find_method("gptq");
//   std::unique_ptr<formats::Checkpoint> other = method.prepare(context);      // nullptr: the source as it is
//   quantize_checkpoint(other ? *other : from, out, context.options);
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "caravan/quant/gram_source.h"
#include "caravan/quant/quantize.h"

namespace caravan::quant {

struct MethodContext {
  const formats::Checkpoint& from;
  GramSource* grams;  // where needs_text
  QuantizeOptions& options;
  std::function<void(int64_t layers_done)> progress = {};  // may throw to stop
};

struct Method {
  std::string_view name, summary;
  bool needs_text = false;  // statistics of the model on a text
  // Sets options.method, or gives another checkpoint to be rounded in place of `from`.
  std::function<std::unique_ptr<formats::Checkpoint>(MethodContext&)> prepare;
};

const std::vector<Method>& methods();
const Method& find_method(std::string_view name);  // invalid_argument, with the list

}  // namespace caravan::quant
