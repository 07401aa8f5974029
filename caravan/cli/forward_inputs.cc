#include "caravan/cli/forward_inputs.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/torch.h>

#include <algorithm>

#include "caravan/base/error.h"
#include "caravan/base/nearest.h"
#include "caravan/cli/id_list.h"
#include "caravan/models/tensor_file.h"

namespace caravan::cli {
namespace {

using at::Tensor;

std::string sizes_of(const Tensor& tensor) { return fmt::format("[{}]", fmt::join(tensor.sizes(), ", ")); }

// One sequence alone may come without its batch dimension.
void add_batch_dimension(Tensor& tensor, int64_t rank) {
  if (tensor.defined() && tensor.dim() == rank - 1) tensor = tensor.unsqueeze(0);
}

void check_shape(const char* name, const Tensor& tensor, int64_t batch, int64_t width) {
  if (!tensor.defined()) return;
  const bool fits = tensor.dim() == 2 && (tensor.size(0) == batch || tensor.size(0) == 1) && tensor.size(1) == width;
  check(fits, ErrorCode::invalid_argument, "{}: expected [{}, {}], got {}", name, batch, width, sizes_of(tensor));
}

// Inputs of transformers' other kinds of models.
struct ForeignInput {
  std::string_view name, reason;
};
constexpr ForeignInput kForeign[] = {
    {"decoder_input_ids", "this model has no decoder input (it is decoder-only): give its tokens as input_ids"},
    {"decoder_attention_mask", "this model has no decoder input (it is decoder-only): give attention_mask"},
    {"pixel_values", "this model has no image input"},
};

void check_integers(const char* name, const Tensor& tensor) {
  check(!tensor.defined() || at::isIntegralType(tensor.scalar_type(), /*includeBool=*/false),
        ErrorCode::invalid_argument, "{}: expected integers, got {}", name, c10::toString(tensor.scalar_type()));
}

}  // namespace

ForwardInputs inputs_from_ids(const std::vector<std::string>& ids) {
  std::vector<std::vector<int32_t>> rows;
  size_t width = 0;
  for (const std::string& text : ids) {
    rows.push_back(parse_ids(text, "--ids"));
    check(!rows.back().empty(), ErrorCode::invalid_argument, "--ids: at least one token id is needed");
    width = std::max(width, rows.back().size());
  }
  const std::vector<int64_t> shape = {std::ssize(rows), static_cast<int64_t>(width)};
  ForwardInputs inputs{.input_ids = at::zeros(shape, at::kLong), .attention_mask = at::zeros(shape, at::kLong)};
  for (size_t b = 0; b < rows.size(); ++b) {
    for (size_t t = 0; t < rows[b].size(); ++t) {
      inputs.input_ids[static_cast<int64_t>(b)][static_cast<int64_t>(t)] = rows[b][t];
      inputs.attention_mask[static_cast<int64_t>(b)][static_cast<int64_t>(t)] = 1;
    }
  }
  return inputs;
}

ForwardInputs inputs_from_file(const std::string& path) {
  ForwardInputs inputs;
  const std::pair<const char*, Tensor ForwardInputs::*> names[] = {{"input_ids", &ForwardInputs::input_ids},
                                                                   {"inputs_embeds", &ForwardInputs::inputs_embeds},
                                                                   {"attention_mask", &ForwardInputs::attention_mask},
                                                                   {"position_ids", &ForwardInputs::position_ids},
                                                                   {"labels", &ForwardInputs::labels},
                                                                   {"start_positions", &ForwardInputs::start_positions},
                                                                   {"end_positions", &ForwardInputs::end_positions}};
  std::vector<std::string> known;
  for (const auto& [name, member] : names) known.emplace_back(name);
  for (auto& [name, tensor] : models::read_tensors(path)) {
    for (const ForeignInput& foreign : kForeign) {
      check(name != foreign.name, ErrorCode::invalid_argument, "{}: {}: {}", path, name, foreign.reason);
    }
    const auto it =
        std::find_if(std::begin(names), std::end(names), [&](const auto& entry) { return name == entry.first; });
    check(it != std::end(names), ErrorCode::invalid_argument, "{}: unknown input '{}'{}; inputs are {}", path, name,
          did_you_mean(name, known), fmt::join(known, ", "));
    inputs.*(it->second) = tensor;
  }
  check(inputs.input_ids.defined() || inputs.inputs_embeds.defined(), ErrorCode::invalid_argument,
        "{}: expected input_ids or inputs_embeds", path);
  return inputs;
}

void ForwardInputs::check_and_move(int64_t vocab_size, int64_t hidden_size, at::Device device) {
  add_batch_dimension(input_ids, 2);
  add_batch_dimension(inputs_embeds, 3);
  add_batch_dimension(attention_mask, 2);
  add_batch_dimension(position_ids, 2);
  check_integers("input_ids", input_ids);
  check_integers("position_ids", position_ids);
  check(!input_ids.defined() || (input_ids.dim() == 2 && input_ids.numel() > 0), ErrorCode::invalid_argument,
        "input_ids: expected [B, T], got {}", sizes_of(input_ids));
  check(!inputs_embeds.defined() || (inputs_embeds.dim() == 3 && inputs_embeds.numel() > 0 &&
                                     inputs_embeds.size(2) == hidden_size && inputs_embeds.is_floating_point()),
        ErrorCode::invalid_argument, "inputs_embeds: expected floats [B, T, {}]", hidden_size);
  const Tensor& shaped = inputs_embeds.defined() ? inputs_embeds : input_ids;
  const int64_t batch = shaped.size(0), width = shaped.size(1);
  check_shape("input_ids", input_ids, batch, width);
  check_shape("attention_mask", attention_mask, batch, width);
  check_shape("position_ids", position_ids, batch, width);
  if (input_ids.defined()) {
    input_ids = input_ids.to(at::kLong);
    const auto least = input_ids.min().item<int64_t>(), most = input_ids.max().item<int64_t>();
    check(least >= 0 && most < vocab_size, ErrorCode::invalid_argument, "input_ids: ids must lie in [0, {}), got {}",
          vocab_size, least < 0 ? least : most);
  }
  if (!attention_mask.defined()) attention_mask = at::ones({batch, width}, at::kLong);
  attention_mask = attention_mask.expand({batch, width}).contiguous();
  for (Tensor* tensor :
       {&input_ids, &inputs_embeds, &attention_mask, &position_ids, &labels, &start_positions, &end_positions}) {
    if (tensor->defined()) *tensor = tensor->to(device);
  }
}

void ForwardInputs::check_targets(Targets wanted) const {
  const int64_t batch = attention_mask.size(0), width = attention_mask.size(1);
  if (wanted == Targets::tokens && labels.defined()) {
    check_integers("labels", labels);
    check(labels.dim() == 2 && labels.size(0) == batch && labels.size(1) == width, ErrorCode::invalid_argument,
          "labels: expected one a token, [{}, {}], got {}", batch, width, sizes_of(labels));
  }
  if (wanted == Targets::sequences && labels.defined()) {
    check(labels.dim() <= 2 && labels.numel() >= batch && labels.numel() % batch == 0, ErrorCode::invalid_argument,
          "labels: expected one or more a sequence, [{}] or [{}, labels], got {}", batch, batch, sizes_of(labels));
  }
  if (wanted != Targets::spans) return;
  for (const auto& [name, positions] :
       {std::pair{"start_positions", start_positions}, {"end_positions", end_positions}}) {
    if (!positions.defined()) continue;
    check_integers(name, positions);
    check(positions.numel() == batch, ErrorCode::invalid_argument, "{}: expected one a sequence, [{}], got {}", name,
          batch, sizes_of(positions));
  }
}

}  // namespace caravan::cli
