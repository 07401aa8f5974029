// The config.json keys that LLaMA and its relatives share, read and checked once; a family sets what differs.
#pragma once

#include <string_view>
#include <vector>

#include "caravan/base/json.h"
#include "caravan/models/decoder.h"
#include "caravan/nn/decoder_layer.h"

namespace caravan::models {

using LlamaStyleModel = DecoderStack<nn::DecoderLayer>;

struct LlamaStyleConfig {
  StackConfig stack;
  std::vector<nn::DecoderLayerConfig> layers;  // one a layer
};

// vocab_size, hidden_size, num_hidden_layers, head counts, head_dim, intermediate_size, hidden_act, rms_norm_eps,
// attention_dropout, rotary parameters. No biases, no windows. `defaults` are the family's values for keys that the
// file leaves out. Throws corrupt_file (range or type), naming the key.
LlamaStyleConfig read_llama_style(const Json& config, const Json& defaults, std::string_view where);

// A probability under this key, 0 where the config lacks it. Throws corrupt_file outside [0, 1).
double read_dropout(const Json& config, std::string_view key, std::string_view where);

// Sets the sliding window of the layers whose layer_types entry is "sliding_attention"; where the config lists no
// layer_types, of those from max_window_layers on (Qwen's rule, only under use_sliding_window).
void set_qwen_windows(LlamaStyleConfig& model, const Json& config, std::string_view where);

}  // namespace caravan::models
