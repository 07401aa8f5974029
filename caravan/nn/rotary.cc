#include "caravan/nn/rotary.h"

#include <torch/torch.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numbers>

#include "caravan/base/error.h"

namespace caravan::nn {
namespace {

constexpr std::array<std::string_view, 6> kTypes = {"default", "linear", "dynamic", "yarn", "longrope", "llama3"};

// The object that holds the rotary keys: rope_scaling with the rest at the top, or rope_parameters (transformers 5).
// Where a file has both, transformers takes the first that is not empty.
const Json* scaling_of(const Json& config) {
  const Json* old = find_member(config, "rope_scaling");
  const Json* now = find_member(config, "rope_parameters");
  if (old != nullptr && !old->empty()) return old;
  return now != nullptr && !now->empty() ? now : nullptr;
}

std::optional<double> optional_number(const Json& object, std::string_view key, std::string_view where) {
  if (find_member(object, key) == nullptr) return std::nullopt;
  return get_number(object, key, where);
}

std::vector<double> factors(const Json& object, std::string_view key, int64_t count, std::string_view where) {
  const Json* list = find_member(object, key);
  check_file(list != nullptr && list->is_array() && static_cast<int64_t>(list->size()) == count, FileFault::range,
             where, "\"{}\" must list {} numbers", key, count);
  std::vector<double> values;
  for (const Json& value : *list) {
    check_file(value.is_number() && std::isfinite(value.get<double>()) && value.get<double>() > 0, FileFault::range,
               where, "\"{}\" must hold positive numbers", key);
    values.push_back(value.get<double>());
  }
  return values;
}

void read_scaling(RotaryConfig& rotary, const Json& config, const Json& scaling, std::string_view where) {
  rotary.original_max_position_embeddings = get_int(scaling, "original_max_position_embeddings", where,
                                                    {.min = 1, .max = 1 << 30}, rotary.max_position_embeddings);
  // Phi-3 and its relatives keep the pre-training length at the top level; there it wins.
  if (find_member(config, "original_max_position_embeddings") != nullptr) {
    rotary.original_max_position_embeddings =
        get_int(config, "original_max_position_embeddings", where, {.min = 1, .max = 1 << 30});
  }
  const bool inferred = rotary.type == "yarn" || rotary.type == "longrope";
  const double ratio = static_cast<double>(rotary.max_position_embeddings) /
                       static_cast<double>(rotary.original_max_position_embeddings);
  rotary.factor = inferred ? get_number(scaling, "factor", where, ratio) : get_number(scaling, "factor", where);
  check_file(rotary.factor > 0, FileFault::range, where, "the rotary scaling factor must be positive, got {}",
             rotary.factor);
  rotary.attention_factor = optional_number(scaling, "attention_factor", where);
  rotary.mscale = optional_number(scaling, "mscale", where);
  rotary.mscale_all_dim = optional_number(scaling, "mscale_all_dim", where);
  rotary.beta_fast = get_number(scaling, "beta_fast", where, 32.0);
  rotary.beta_slow = get_number(scaling, "beta_slow", where, 1.0);
  rotary.truncate = get_bool(scaling, "truncate", where, true);
  if (rotary.type == "llama3") {
    rotary.low_freq_factor = get_number(scaling, "low_freq_factor", where);
    rotary.high_freq_factor = get_number(scaling, "high_freq_factor", where);
    check_file(rotary.low_freq_factor > 0 && rotary.high_freq_factor > rotary.low_freq_factor, FileFault::range, where,
               "llama3 scaling needs 0 < low_freq_factor < high_freq_factor");
  }
  if (rotary.type == "longrope") {
    rotary.short_factor = factors(scaling, "short_factor", rotary.rotary_dim / 2, where);
    rotary.long_factor = factors(scaling, "long_factor", rotary.rotary_dim / 2, where);
  }
}

RotaryConfig parse(const Json& config, int64_t head_dim, bool partial_default, std::string_view where) {
  RotaryConfig rotary;
  const Json* scaling = scaling_of(config);
  check_file(scaling == nullptr || scaling->is_object(), FileFault::type, where,
             "the rotary parameters must be an object");
  const Json& keys = scaling != nullptr ? *scaling : config;
  rotary.type =
      scaling == nullptr ? "default" : get_string(keys, "rope_type", where, get_string(keys, "type", where, "default"));
  if (rotary.type == "su") rotary.type = "longrope";    // Phi-3's first name for it
  if (rotary.type == "mrope") rotary.type = "default";  // text positions of the vision models are the plain ones
  check_file(std::find(kTypes.begin(), kTypes.end(), rotary.type) != kTypes.end(), FileFault::unsupported, where,
             "the rotary scaling \"{}\" is not known; known are default, linear, dynamic, yarn, longrope, llama3",
             rotary.type);
  rotary.theta = get_number(keys, "rope_theta", where, get_number(config, "rope_theta", where, 10000.0));
  check_file(static_cast<float>(rotary.theta) > 0, FileFault::range, where, "rope_theta must be positive, got {}",
             rotary.theta);
  rotary.max_position_embeddings = get_int(config, "max_position_embeddings", where, {.min = 1, .max = 1 << 30}, 2048);
  double partial =
      get_number(keys, "partial_rotary_factor", where, get_number(config, "partial_rotary_factor", where, 1.0));
  if (rotary.type == "default" && !partial_default) partial = 1.0;
  check_file(partial > 0 && partial <= 1, FileFault::range, where, "partial_rotary_factor must lie in (0, 1], got {}",
             partial);
  rotary.rotary_dim = static_cast<int64_t>(static_cast<double>(head_dim) * partial);
  check_file(rotary.rotary_dim > 0 && rotary.rotary_dim % 2 == 0, FileFault::range, where,
             "{} rotary features of a head: an even, positive number is needed", rotary.rotary_dim);
  if (rotary.type != "default") read_scaling(rotary, config, *scaling, where);
  return rotary;
}

}  // namespace

RotaryConfig RotaryConfig::from_json(const Json& config, int64_t head_dim, std::string_view where) {
  return parse(config, head_dim, /*partial_default=*/true, where);
}

RotaryConfig RotaryConfig::full_width_from_json(const Json& config, int64_t head_dim, std::string_view where) {
  return parse(config, head_dim, /*partial_default=*/false, where);
}

namespace {

// base^(2i / R) for i in [0, R/2), in fp32 as transformers computes it.
Tensor powers(const RotaryConfig& c, const Tensor& base) {
  const Tensor exponents = at::arange(0, c.rotary_dim, 2, at::kLong).to(at::kFloat) / static_cast<double>(c.rotary_dim);
  return at::pow(base, exponents);
}

Tensor scalar(double x) { return at::scalar_tensor(x, at::kFloat); }

Tensor dynamic_frequencies(const RotaryConfig& c, int64_t length) {
  const double longest = static_cast<double>(std::max(length, c.max_position_embeddings));
  const double width = static_cast<double>(c.rotary_dim);
  const double stretch = c.factor * longest / static_cast<double>(c.max_position_embeddings) - (c.factor - 1);
  return 1.0 / powers(c, scalar(c.theta * std::pow(stretch, width / (width - 2))));
}

// NTK by parts (Peng et al. 2023): fast dimensions keep their frequency, slow ones are interpolated.
Tensor yarn_frequencies(const RotaryConfig& c) {
  const double width = static_cast<double>(c.rotary_dim);
  const auto dimension_of = [&](double rotations) {
    return width *
           std::log(static_cast<double>(c.original_max_position_embeddings) / (rotations * 2 * std::numbers::pi)) /
           (2 * std::log(c.theta));
  };
  double low = dimension_of(c.beta_fast), high = dimension_of(c.beta_slow);
  if (c.truncate) low = std::floor(low), high = std::ceil(high);
  low = std::max(low, 0.0);
  high = std::min(high, width - 1);
  if (low == high) high += 0.001;
  const Tensor base = powers(c, scalar(c.theta));
  const Tensor ramp = at::clamp((at::arange(c.rotary_dim / 2, at::kFloat) - low) / (high - low), 0, 1);
  const Tensor keep = 1 - ramp;
  return 1.0 / (c.factor * base) * (1 - keep) + 1.0 / base * keep;
}

Tensor longrope_frequencies(const RotaryConfig& c, int64_t length) {
  const auto& list = length > c.original_max_position_embeddings ? c.long_factor : c.short_factor;
  const Tensor stretch = at::tensor(at::ArrayRef<double>(list), at::kDouble).to(at::kFloat);
  return 1.0 / (stretch * powers(c, scalar(c.theta)));
}

// Llama 3.1: long wavelengths are divided by the factor, a band between is blended.
Tensor llama3_frequencies(const RotaryConfig& c) {
  const double context = static_cast<double>(c.original_max_position_embeddings);
  const Tensor inverse = 1.0 / powers(c, scalar(c.theta));
  const Tensor wavelength = 2 * std::numbers::pi / inverse;
  const Tensor is_long = wavelength > context / c.low_freq_factor, is_short = wavelength < context / c.high_freq_factor;
  const Tensor scaled = at::where(is_long, inverse / c.factor, inverse);
  const Tensor smooth = (context / wavelength - c.low_freq_factor) / (c.high_freq_factor - c.low_freq_factor);
  const Tensor blended = (1 - smooth) * scaled / c.factor + smooth * scaled;
  return at::where(at::logical_or(is_long, is_short), scaled, blended);
}

bool depends_on_length(const RotaryConfig& c) { return c.type == "dynamic" || c.type == "longrope"; }

Tensor fixed_frequencies(const RotaryConfig& c) {
  if (c.type == "linear") return 1.0 / powers(c, scalar(c.theta)) / c.factor;
  if (c.type == "yarn") return yarn_frequencies(c);
  if (c.type == "llama3") return llama3_frequencies(c);
  return 1.0 / powers(c, scalar(c.theta));
}

}  // namespace

RotaryEmbedding::RotaryEmbedding(RotaryConfig config) : config_(std::move(config)) {
  const torch::NoGradGuard no_grad;
  if (!depends_on_length(config_)) fixed_ = fixed_frequencies(config_);
}

Tensor RotaryEmbedding::frequencies(int64_t length) const {
  if (fixed_.defined()) return fixed_;
  return config_.type == "dynamic" ? dynamic_frequencies(config_, length) : longrope_frequencies(config_, length);
}

double RotaryEmbedding::attention_factor() const {
  const RotaryConfig& c = config_;
  if (c.type != "yarn" && c.type != "longrope") return 1.0;
  if (c.attention_factor) return *c.attention_factor;
  if (c.type == "longrope") {
    return c.factor <= 1.0
               ? 1.0
               : std::sqrt(1 + std::log(c.factor) / std::log(static_cast<double>(c.original_max_position_embeddings)));
  }
  const auto magnitude = [&](double m) { return c.factor <= 1 ? 1.0 : 0.1 * m * std::log(c.factor) + 1.0; };
  if (c.mscale.value_or(0) != 0 && c.mscale_all_dim.value_or(0) != 0)
    return magnitude(*c.mscale) / magnitude(*c.mscale_all_dim);
  return magnitude(1.0);
}

Tensor RotaryEmbedding::own_frequencies(const Step& step) const {
  // The smallest length with the same frequencies: most sequences share one.
  const auto representative = [&](int64_t length) {
    if (config_.type == "dynamic") return std::max(length, config_.max_position_embeddings);
    const int64_t longest_short = config_.original_max_position_embeddings;
    return length > longest_short ? longest_short + 1 : int64_t{0};
  };
  const Tensor positions = step.positions.cpu().contiguous();
  const auto* p = positions.const_data_ptr<int64_t>();
  std::map<int64_t, Tensor> by_length;
  std::vector<int64_t> lengths;  // [B]
  for (int64_t b = 0; b < step.batch(); ++b) {
    lengths.push_back(representative(*std::max_element(p + step.starts[b], p + step.starts[b + 1]) + 1));
    if (Tensor& known = by_length[lengths.back()]; !known.defined()) known = frequencies(lengths.back());
  }
  if (by_length.size() == 1) return by_length.begin()->second;
  std::vector<Tensor> rows;
  for (int64_t b = 0; b < step.batch(); ++b)
    rows.push_back(by_length.at(lengths[b]).expand({step.starts[b + 1] - step.starts[b], -1}));
  return at::cat(rows);
}

void RotaryEmbedding::prepare(Step& step, at::ScalarType dtype) {
  const torch::NoGradGuard no_grad;
  const bool own = depends_on_length(config_) && step.rotary_length == 0;
  const Tensor inverse = (own ? own_frequencies(step) : frequencies(step.rotary_length)).to(step.positions.device());
  const Tensor angles = step.positions.to(at::kFloat).unsqueeze(1) * inverse;  // [T, R/2]
  const Tensor both = at::cat({angles, angles}, -1);                           // [T, R]
  const double factor = attention_factor();
  const auto scaled = [&](const Tensor& t) { return (factor == 1.0 ? t : t * factor).to(dtype); };
  step.cos = scaled(both.cos());
  step.sin = scaled(both.sin());
}

}  // namespace caravan::nn
