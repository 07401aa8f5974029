#include "caravan/quant/methods.h"

#include "caravan/base/error.h"
#include "caravan/quant/awq.h"
#include "caravan/quant/gptq.h"
#include "caravan/quant/grid.h"

namespace caravan::quant {
namespace {

using Other = std::unique_ptr<formats::Checkpoint>;

Other prepare_rtn(MethodContext&) { return nullptr; }

Other prepare_gptq(MethodContext& context) {
  const TypeChooser choose(context.from, context.options.recipe);
  std::vector<std::string> order;  // of the conversion
  for (const formats::TensorInfo& t : context.from.tensors()) {
    if (has_grid(choose(t))) order.push_back(t.name.substr(0, t.name.rfind('.')));
  }
  check(!order.empty(), ErrorCode::invalid_argument,
        "--method gptq changes nothing at --type {}: it is for types of 2 to 6 bits (q4_0, q4_k_m, iq4_xs, int4 ...)",
        context.options.recipe.recipe);
  context.grams->expect(std::move(order));
  context.options.method = [grams = context.grams](const formats::TensorInfo& t, std::span<float> values,
                                                   std::span<std::byte> blocks) {
    if (!has_grid(t.dtype)) return false;
    const InputStatistics* seen = grams->find(t.name.substr(0, t.name.rfind('.')));
    if (seen == nullptr || !seen->gram.defined()) return false;
    gptq({t.dtype, std::ssize(values) / t.shape.back(), t.shape.back()}, values, seen->gram, blocks);
    return true;
  };
  return nullptr;
}

Other prepare_awq(MethodContext& context) {
  return awq(context.from, *context.grams,
             {.choose = TypeChooser(context.from, context.options.recipe),
              .progress = context.progress,
              .importances = &context.options.importances});
}

}  // namespace

const std::vector<Method>& methods() {
  static const std::vector<Method> list = {
      {"rtn", "each weight to the nearest, scales searched block by block", false, prepare_rtn},
      {"gptq", "later columns make up for what earlier ones lose", true, prepare_gptq},
      {"awq", "columns with large inputs are scaled up first", true, prepare_awq},
  };
  return list;
}

const Method& find_method(std::string_view name) {
  std::string names;
  for (const Method& method : methods()) {
    if (method.name == name) return method;
    names.append(names.empty() ? "" : ", ").append(method.name);
  }
  fail(ErrorCode::invalid_argument, "--method: expected one of {}; got '{}'", names, name);
}

}  // namespace caravan::quant
