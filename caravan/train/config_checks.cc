// What settings may be: each number within its limits, values that make sense together, and no setting that would say
// nothing because of another one. A value that equals its default says nothing: saved settings hold every key.
#include <algorithm>
#include <array>

#include "caravan/base/error.h"
#include "caravan/train/config.h"
#include "caravan/train/toml.h"

namespace caravan::train {
namespace {

std::string words(const Limits& limits) {
  if (limits.max == std::numeric_limits<double>::infinity())
    return limits.above ? fmt::format("must be above {}", limits.min) : fmt::format("must be at least {}", limits.min);
  if (limits.above || limits.below)
    return fmt::format("lies in {}{}, {}{}", limits.above ? '(' : '[', limits.min, limits.max,
                       limits.below ? ')' : ']');
  return fmt::format("lies between {} and {}", limits.min, limits.max);
}

void check_all_limits(TrainConfig config) {
  for (const Field& field : fields(config)) {
    if (const auto* count = std::get_if<int64_t*>(&field.value))
      check_limits(field.key, static_cast<double>(**count), field.limits);
    if (const auto* number = std::get_if<double*>(&field.value)) check_limits(field.key, **number, field.limits);
  }
}

// Settings that say something only beside others.
struct Companion {
  std::array<std::string_view, 7> keys;
  std::string_view needs;
  bool (*met)(const TrainConfig&);
};

bool optimizer_is(const TrainConfig& c, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), c.optimizer.name) != names.end();
}

using C = TrainConfig;
constexpr Companion kCompanions[] = {
    {{"data.train", "data.validation", "data.max_length", "data.append_eos", "sample.prompt"},
     "data.kind = \"tokens\"",
     [](const C& c) { return c.data.kind == "tokens"; }},
    {{"data.dataset", "data.codes", "data.max_items", "data.bos", "data.prefix_mask", "data.user_tokens"},
     "data.kind = \"items\"",
     [](const C& c) { return c.data.kind == "items"; }},
    {{"data.validation_limit", "evaluation.every", "evaluation.batch_tokens", "evaluation.metric",
      "evaluation.patience"},
     "data.validation",
     [](const C& c) { return c.data.kind != "tokens" || !c.data.validation.empty(); }},
    {{"evaluation.patience"},
     "evaluation.every above 0: the only evaluation comes at the end",
     [](const C& c) { return c.evaluation.every > 0; }},
    {{"evaluation.users", "evaluation.beams"},
     "a metric that ranks (evaluation.metric = \"ndcg@10\")",
     [](const C& c) { return ranking_metric(c.evaluation.metric).has_value(); }},
    {{"evaluation.item_weight"}, "data.item_tokens = true", [](const C& c) { return c.data.item_tokens; }},
    {{"training.item_weight", "training.sampled_items"},
     "training.objective = \"codes_and_items\"",
     [](const C& c) { return c.training.objective == "codes_and_items"; }},
    {{"optimizer.momentum"},
     "optimizer.name = \"sgd\" or \"muon\"",
     [](const C& c) {
       return optimizer_is(c, {"sgd", "muon"});
     }},
    {{"optimizer.nesterov"}, "optimizer.name = \"sgd\"", [](const C& c) { return optimizer_is(c, {"sgd"}); }},
    {{"optimizer.beta1", "optimizer.beta2", "optimizer.eps"},
     "optimizer.name = \"adamw\" or \"muon\"",
     [](const C& c) {
       return optimizer_is(c, {"adamw", "muon"});
     }},
    {{"optimizer.newton_schulz_steps", "optimizer.adjust_lr", "optimizer.adamw_lr"},
     "optimizer.name = \"muon\"",
     [](const C& c) { return optimizer_is(c, {"muon"}); }},
    {{"optimizer.clip_threshold", "optimizer.decay_rate", "optimizer.eps_scale", "optimizer.first_moment",
      "optimizer.scale_parameter", "optimizer.relative_step", "optimizer.warmup_init"},
     "optimizer.name = \"adafactor\"",
     [](const C& c) { return optimizer_is(c, {"adafactor"}); }},
    {{"optimizer.lr"},
     "optimizer.relative_step = false: steps set the learning rate",
     [](const C& c) { return !c.optimizer.relative_step; }},
    {{"schedule.min_ratio", "schedule.cycles"},
     "schedule.name = \"cosine\" or \"wsd\"",
     [](const C& c) { return c.schedule.name == "cosine" || c.schedule.name == "wsd"; }},
    {{"schedule.decay_steps", "schedule.decay_type"},
     "schedule.name = \"wsd\"",
     [](const C& c) { return c.schedule.name == "wsd"; }},
    {{"schedule.timescale"},
     "schedule.name = \"inverse_sqrt\"",
     [](const C& c) { return c.schedule.name == "inverse_sqrt"; }},
    {{"sample.prompt", "sample.max_new_tokens"}, "sample.every above 0", [](const C& c) { return c.sample.every > 0; }},
    {{"sample.every"},
     "sample.prompt, which the output continues",
     [](const C& c) { return c.data.kind != "tokens" || !c.sample.prompt.empty(); }},
};

void check_companions(TrainConfig config) {
  TrainConfig defaults;
  const std::vector<Field> now = fields(config), before = fields(defaults);
  for (const Companion& companion : kCompanions) {
    if (companion.met(config)) continue;
    for (size_t i = 0; i < now.size(); ++i) {
      const bool asked = std::find(companion.keys.begin(), companion.keys.end(), now[i].key) != companion.keys.end();
      const Json value = value_of(now[i]);
      check(!asked || value == value_of(before[i]), ErrorCode::invalid_argument,
            "{} = {} says nothing without {}: set that, or leave {} out", now[i].key, toml_value(value),
            companion.needs, now[i].key);
    }
  }
}

void check_data(const TrainConfig& c) {
  check_choice("data.kind", c.data.kind, {"tokens", "items"});
  check(c.data.kind != "tokens" || !c.data.train.empty(), ErrorCode::invalid_argument,
        "data.train is missing: a JSONL file with a line {{\"text\": ...}} or {{\"ids\": [...]}} for each example");
  check(c.data.kind != "items" || !c.data.dataset.empty(), ErrorCode::invalid_argument,
        "data.dataset is missing: the folder of a prepared data set");
  check(!c.data.item_tokens || (c.data.kind == "items" && c.data.codes != "ids"), ErrorCode::invalid_argument,
        "data.item_tokens gives items a token beside their codes: it needs data.kind = \"items\" with codes");
  check(
      c.data.item_vectors.empty() || (c.data.item_tokens && c.model.path.empty()), ErrorCode::invalid_argument,
      "data.item_vectors starts the items' tokens of a new model: it needs data.item_tokens = true and no model.path");
  check(c.training.objective != "parallel_codes" || !c.data.item_tokens, ErrorCode::invalid_argument,
        "training.objective = \"parallel_codes\" scores items by their codes alone: leave data.item_tokens out");
  check(c.training.objective != "codes_and_items" || c.data.item_tokens, ErrorCode::invalid_argument,
        "training.objective = \"codes_and_items\" needs data.item_tokens = true");
}

void check_evaluation(const TrainConfig& c) {
  const auto metric = ranking_metric(c.evaluation.metric);
  if (!metric) return;
  check(c.data.kind == "items", ErrorCode::invalid_argument,
        "evaluation.metric = \"{}\" ranks items: it needs data.kind = \"items\"", c.evaluation.metric);
  check(c.evaluation.beams >= metric->k, ErrorCode::invalid_argument,
        "evaluation.beams = {} cannot find the {} items of {}: give at least as many beams", c.evaluation.beams,
        metric->k, c.evaluation.metric);
}

}  // namespace

void check_limits(const std::string& key, double value, const Limits& limits) {
  const bool above = limits.above ? value > limits.min : value >= limits.min;
  const bool below = limits.below ? value < limits.max : value <= limits.max;
  check(above && below, ErrorCode::invalid_argument, "{} {}, got {}", key, words(limits), value);
}

void check_config(const TrainConfig& c) {
  check(!c.output.empty(), ErrorCode::invalid_argument,
        "output is missing: the folder that the run is written to (output = \"runs/first\" or --output runs/first)");
  check_choice("training.precision", c.training.precision, {"fp32", "bf16"});
  check_choice("save.dtype", c.save.dtype, {"float32", "bfloat16"});
  const bool numbered = c.device.starts_with("cuda:") && c.device.size() > 5 && c.device.size() < 9 &&
                        c.device.find_first_not_of("0123456789", 5) == std::string::npos;
  check(c.device == "cpu" || c.device == "cuda" || numbered, ErrorCode::invalid_argument,
        "device: cpu, cuda or cuda:N is expected, got '{}'", c.device);
  check_all_limits(c);
  check_data(c);
  check(!c.model.path.empty() || c.model.inline_config.contains("model_type"), ErrorCode::invalid_argument,
        "the model is missing: model.path, or model.model_type with the other keys of a config.json");
  check(c.model.path.empty() || c.model.inline_config.empty(), ErrorCode::invalid_argument,
        "model.path and model.{} exclude each other: a checkpoint brings its own config",
        c.model.inline_config.empty() ? "" : c.model.inline_config.begin().key());
  check(c.training.steps > 0 || c.training.epochs > 0, ErrorCode::invalid_argument,
        "training.steps or training.epochs must be above 0");
  check_evaluation(c);
  check_companions(c);
}

}  // namespace caravan::train
