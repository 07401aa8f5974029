// Rotary position embedding (Su et al. 2021) with the scalings of transformers' modeling_rope_utils: default, linear,
// dynamic (NTK), yarn, longrope, llama3; partial rotary. Half-split layout: pairs are (i, i + R/2).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "caravan/base/json.h"
#include "caravan/nn/module.h"
#include "caravan/nn/step.h"

namespace caravan::nn {

struct RotaryConfig {
  std::string type = "default";
  double theta = 10000.0;
  int64_t rotary_dim = 0;  // R: rotated features of a head (head_dim * partial_rotary_factor)
  int64_t max_position_embeddings = 2048;
  int64_t original_max_position_embeddings = 0;
  double factor = 1.0;
  std::optional<double> attention_factor, mscale, mscale_all_dim;
  double beta_fast = 32.0, beta_slow = 1.0;
  bool truncate = true;
  std::vector<double> short_factor, long_factor;
  double low_freq_factor = 1.0, high_freq_factor = 4.0;

  // From config.json, in the form of transformers 5 (rope_parameters) or older (rope_theta, rope_scaling).
  static RotaryConfig from_json(const Json& config, int64_t head_dim, std::string_view where);

  // As above, for the families (LLaMA, Mistral, Qwen) whose unscaled embedding ignores partial_rotary_factor in
  // transformers.
  static RotaryConfig full_width_from_json(const Json& config, int64_t head_dim, std::string_view where);
};

class RotaryEmbedding final : public Module {
 public:
  explicit RotaryEmbedding(RotaryConfig config);

  // Fills step.cos and step.sin, [T, R], in the dtype of the hidden states. Where the frequencies depend on the length
  // (dynamic, longrope), each sequence has those of its own: a batch gives what its sequences give alone.
  void prepare(Step& step, at::ScalarType dtype);

  // Inverse frequencies [R/2], fp32, for sequences of this length. Those that do not depend on it are computed once.
  Tensor frequencies(int64_t length) const;
  double attention_factor() const;  // on cos and sin
  std::string_view kind() const override { return "RotaryEmbedding"; }

 private:
  Tensor own_frequencies(const Step& step) const;  // of each row [T, R/2], or of all rows [R/2]
  RotaryConfig config_;
  Tensor fixed_;  // [R/2]: undefined where frequencies depend on the length
};

}  // namespace caravan::nn
