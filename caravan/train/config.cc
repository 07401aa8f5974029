#include "caravan/train/config.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/base/nearest.h"
#include "caravan/train/toml.h"

namespace caravan::train {
namespace {

constexpr std::string_view kModel = "model.";

template <class T>
constexpr std::string_view kKind = "";
template <>
constexpr std::string_view kKind<int64_t> = "a whole number";
template <>
constexpr std::string_view kKind<double> = "a number";
template <>
constexpr std::string_view kKind<bool> = "true or false";
template <>
constexpr std::string_view kKind<std::string> = "a text";
template <>
constexpr std::string_view kKind<std::vector<std::string>> = "a list of texts";

bool fits(const Json& v, const int64_t*) { return v.is_number_integer(); }
bool fits(const Json& v, const double*) { return v.is_number(); }
bool fits(const Json& v, const bool*) { return v.is_boolean(); }
bool fits(const Json& v, const std::string*) { return v.is_string(); }
bool fits(const Json& v, const std::vector<std::string>*) {
  return v.is_array() && std::all_of(v.begin(), v.end(), [](const Json& e) { return e.is_string(); });
}

bool is_finite(const Json& value) {
  if (value.is_structured()) return std::all_of(value.begin(), value.end(), is_finite);
  return !value.is_number_float() || std::isfinite(value.get<double>());
}

void assign(const Field& field, const Json& value) {
  std::visit(
      [&](auto* target) {
        using T = std::remove_pointer_t<decltype(target)>;
        check(fits(value, target), ErrorCode::invalid_argument, "{}: {} is expected, got {}", field.key, kKind<T>,
              toml_value(value));
        if constexpr (std::is_same_v<T, double>)
          check(std::isfinite(value.get<double>()), ErrorCode::invalid_argument,
                "{}: a finite number is expected, got {}", field.key, toml_value(value));
        *target = value.get<T>();
      },
      field.value);
}

void set_all(TrainConfig& config, const Json& object, const std::string& prefix) {
  for (const auto& [key, value] : object.items()) {
    const std::string full = prefix.empty() ? key : prefix + "." + key;
    if (value.is_object() && !full.starts_with(kModel)) {
      set_all(config, value, full);
    } else {
      set_key(config, full, value);
    }
  }
}

}  // namespace

Json value_of(const Field& field) {
  return std::visit([](const auto* value) { return Json(*value); }, field.value);
}

void check_choice(const std::string& key, const std::string& value, const std::vector<std::string>& choices) {
  std::string known;
  for (const std::string& choice : choices) known += (known.empty() ? "" : ", ") + choice;
  check(std::find(choices.begin(), choices.end(), value) != choices.end(), ErrorCode::invalid_argument,
        "{}: '{}' is not known{}; known are {}", key, value, did_you_mean(value, choices), known);
}

std::vector<std::string> model_keys() {
  return {"model_type",
          "vocab_size",
          "hidden_size",
          "intermediate_size",
          "num_hidden_layers",
          "num_attention_heads",
          "num_key_value_heads",
          "head_dim",
          "max_position_embeddings",
          "rms_norm_eps",
          "rope_theta",
          "rope_scaling",
          "rope_parameters",
          "tie_word_embeddings",
          "hidden_act",
          "attention_dropout",
          "hidden_dropout",
          "embedding_dropout",
          "initializer_range",
          "pad_token_id",
          "bos_token_id",
          "eos_token_id",
          "attention_bias",
          "mlp_bias",
          "sliding_window",
          "use_sliding_window",
          "max_window_layers",
          "use_cache",
          "layer_norm_eps"};
}

namespace {

using Fields = std::vector<Field>;

constexpr Limits kAny{.min = 0, .max = 2147483647}, kSome{.min = 1, .max = 2147483647};  // how many
constexpr Limits kShare{.min = 0, .max = 1}, kBelowOne{.min = 0, .max = 1, .below = true};
constexpr Limits kFactor{.min = 0, .max = 1e6};

Fields run_fields(TrainConfig& c) {
  return {
      {"output", "folder of the run: config.toml, metrics.jsonl, checkpoints/, best/, final/, report.html", &c.output},
      {"seed", "equal seeds give equal bits", &c.seed},
      {"threads", "CPU threads; 0: all cores", &c.threads, {.min = 0, .max = 4096}},
      {"device", "cpu, cuda, cuda:N", &c.device},
      {"model.path",
       "checkpoint to start from; without it model.* holds config.json's keys: model_type, hidden_size ...",
       &c.model.path},
  };
}

Fields data_fields(TrainConfig& c) {
  auto& d = c.data;
  return {
      {"data.kind", "tokens: JSONL lines; items: a recommendation data set", &d.kind},
      {"data.train", "tokens: JSONL file, a line {\"text\": ...} or {\"ids\": [...], \"learned\": [0, 1, ...]}",
       &d.train},
      {"data.validation", "tokens: JSONL file of the same form", &d.validation},
      {"data.tokenizer",
       "checkpoint or folder whose tokenizer is used; default: model.path, items: made from the codes", &d.tokenizer},
      {"data.max_length", "tokens: longer texts are cut into pieces of this many tokens", &d.max_length, kSome},
      {"data.append_eos", "tokens: a text ends with the end-of-text token", &d.append_eos},
      {"data.dataset", "items: folder of dataset.json, items.jsonl, sequences.jsonl", &d.dataset},
      {"data.codes",
       "items: item codes (codes.json, index.json or a table), ids: one token an item; default: codes.json of the data "
       "set",
       &d.codes},
      {"data.max_items", "items: history length; a longer one is cut into windows that overlap by half", &d.max_items,
       kSome},
      {"data.bos", "items: a sequence begins with the <bos> token, so that the first item is learned too", &d.bos},
      {"data.item_tokens", "items: after its codes an item has a token of its own, which codes_and_items learns",
       &d.item_tokens},
      {"data.prefix_mask",
       "items: a history's tokens see one another in both directions and every target is an example of its own; "
       "several times the work of an epoch",
       &d.prefix_mask},
      {"data.user_tokens",
       "items: so many tokens of users, one after the bos, by a hash of the user's id; 0: none",
       &d.user_tokens,
       {.min = 0, .max = (1 << 24) - 1}},
      {"data.item_vectors",
       "data.item_tokens: a safetensors file (items build --save-vectors) whose principal components the items' tokens "
       "begin at",
       &d.item_vectors},
      {"data.shuffle", "another order every epoch", &d.shuffle},
      {"data.validation_limit",
       "validation examples that are used, items: of a fixed sample of the users, tokens: the first ones; 0: all",
       &d.validation_limit, kAny},
  };
}

Fields training_fields(TrainConfig& c) {
  auto& t = c.training;
  return {
      {"training.objective",
       "what is minimized: next_token; item_codes: an item's codes, each among those of its level; codes_and_items: "
       "also the item itself among all (needs data.item_tokens); parallel_codes: an item's codes all at once",
       &t.objective},
      {"training.item_weight", "codes_and_items: weight of the items' loss; the codes' is 1", &t.item_weight, kFactor},
      {"training.sampled_items", "codes_and_items: the softmax over items has this many random ones; 0: all",
       &t.sampled_items, kAny},
      {"training.precision", "fp32, or bf16: bf16 weights and activations, fp32 master weights", &t.precision},
      {"training.steps", "updates of the weights; 0: as training.epochs says", &t.steps, kAny},
      {"training.epochs", "passes over the training data", &t.epochs, kFactor},
      {"training.batch_tokens", "room of a batch in tokens; examples are packed without padding", &t.batch_tokens,
       kSome},
      {"training.batch_examples", "most examples in a batch; 0: no limit", &t.batch_examples, kAny},
      {"training.accumulation",
       "batches a step; their loss is the mean over all their targets",
       &t.accumulation,
       {.min = 1, .max = 1 << 16}},
      {"training.clip_norm", "gradients are scaled down to this norm; 0: never", &t.clip_norm, {.min = 0}},
      {"training.label_smoothing", "share of the target distribution spread over all tokens", &t.label_smoothing,
       kBelowOne},
      {"training.ema_decay", "decay of the weights' moving average, which evaluation and final/ then take; 0: none",
       &t.ema_decay, kBelowOne},
      {"training.gradient_checkpointing", "recompute layers in the backward pass: less memory, a third more time",
       &t.gradient_checkpointing},
      {"training.max_bad_steps", "steps in a row without a finite loss before the run stops with a diagnosis",
       &t.max_bad_steps, kSome},
  };
}

Fields optimizer_fields(TrainConfig& c) {
  auto& o = c.optimizer;
  return {
      {"optimizer.name", "adamw, sgd, adafactor, muon", &o.name},
      {"optimizer.lr", "the peak learning rate", &o.lr, kFactor},
      {"optimizer.weight_decay", "decoupled (sgd: L2)", &o.weight_decay, kFactor},
      {"optimizer.no_decay", "kinds of weights that do not decay: norm, bias, embedding, head, matrix", &o.no_decay},
      {"optimizer.beta1", "adamw", &o.beta1, kBelowOne},
      {"optimizer.beta2", "adamw", &o.beta2, kBelowOne},
      {"optimizer.eps", "adamw", &o.eps, {.min = 0, .max = 1, .above = true}},
      {"optimizer.momentum", "sgd; muon (0 there: 0.95)", &o.momentum, kBelowOne},
      {"optimizer.nesterov", "sgd", &o.nesterov},
      {"optimizer.newton_schulz_steps", "muon", &o.newton_schulz_steps, {.min = 1, .max = 99}},
      {"optimizer.adjust_lr", "muon: original, match_rms_adamw", &o.adjust_lr},
      {"optimizer.adamw_lr", "muon: of embeddings, head, norms and biases; 0: optimizer.lr", &o.adamw_lr, kFactor},
      {"optimizer.clip_threshold", "adafactor", &o.clip_threshold, {.min = 0, .max = 1e6, .above = true}},
      {"optimizer.decay_rate", "adafactor", &o.decay_rate, {.min = -10, .max = 0}},
      {"optimizer.eps_scale", "adafactor", &o.eps_scale, kFactor},
      {"optimizer.first_moment", "adafactor: its beta1; 0: none", &o.first_moment, kBelowOne},
      {"optimizer.scale_parameter", "adafactor", &o.scale_parameter},
      {"optimizer.relative_step", "adafactor", &o.relative_step},
      {"optimizer.warmup_init", "adafactor", &o.warmup_init},
  };
}

Fields schedule_fields(TrainConfig& c) {
  auto& s = c.schedule;
  return {
      {"schedule.name", "constant, linear, cosine, inverse_sqrt, wsd", &s.name},
      {"schedule.warmup_steps", "steps in which the learning rate rises from 0", &s.warmup_steps, kAny},
      {"schedule.warmup_ratio", "the same as a share of all steps, where warmup_steps is 0", &s.warmup_ratio, kShare},
      {"schedule.min_ratio", "cosine, wsd: where the learning rate ends, as a share of its peak", &s.min_ratio, kShare},
      {"schedule.cycles", "cosine: waves", &s.cycles, kFactor},
      {"schedule.decay_steps", "wsd: steps of the fall; 0: a tenth of all", &s.decay_steps, kAny},
      {"schedule.decay_type", "wsd: linear, cosine, 1-sqrt", &s.decay_type},
      {"schedule.timescale", "inverse_sqrt; 0: warmup_steps", &s.timescale, kAny},
  };
}

Fields output_fields(TrainConfig& c) {
  return {
      {"evaluation.every", "steps between evaluations; 0: only at the end", &c.evaluation.every, kAny},
      {"evaluation.batch_tokens", "room of a validation batch", &c.evaluation.batch_tokens, kSome},
      {"evaluation.metric",
       "what best/ and early stopping go by: validation_loss, validation_accuracy, validation_perplexity; items: also "
       "ndcg@10, recall@5 ... (hit_rate, mrr, map, precision at any K) of a beam search over all items",
       &c.evaluation.metric},
      {"evaluation.users", "items: users of such a ranking, the same sample every time; 0: everybody",
       &c.evaluation.users, kAny},
      {"evaluation.beams", "items: width of its beam search", &c.evaluation.beams, {.min = 1, .max = 1 << 20}},
      {"evaluation.item_weight",
       "data.item_tokens: an item's own score in what is recommended, from 0 (codes alone) to 1; also the saved "
       "model's",
       &c.evaluation.item_weight, kShare},
      {"evaluation.patience", "evaluations without a better value before the run stops; 0: never",
       &c.evaluation.patience, kAny},
      {"sample.every", "steps between outputs to look at; 0: never", &c.sample.every, kAny},
      {"sample.prompt", "what the output continues", &c.sample.prompt},
      {"sample.max_new_tokens", "its length", &c.sample.max_new_tokens, {.min = 1, .max = 1 << 20}},
      {"save.every", "steps between checkpoints; 0: only at the end and on Ctrl-C", &c.save.every, kAny},
      {"save.keep_last", "checkpoints that are kept", &c.save.keep_last, kSome},
      {"save.keep_best", "keep the model of the best evaluation in best/", &c.save.keep_best},
      {"save.dtype", "of best/ and final/: float32, bfloat16", &c.save.dtype},
      {"log.every", "steps between lines of metrics.jsonl", &c.log.every, kSome},
      {"parallel.shard_optimizer", "mpirun: each process keeps a part of the optimizer's state, not all of it (ZeRO-1)",
       &c.parallel.shard_optimizer},
  };
}

constexpr std::string_view kRankingMetrics[] = {"recall", "hit_rate", "ndcg", "mrr", "map", "precision"};

}  // namespace

std::optional<RankingMetric> ranking_metric(const std::string& metric) {
  const size_t at = metric.find('@');
  if (at == std::string::npos) {
    check_choice("evaluation.metric", metric, {"validation_loss", "validation_accuracy", "validation_perplexity"});
    return std::nullopt;
  }
  const std::string name = metric.substr(0, at), digits = metric.substr(at + 1);
  check_choice("evaluation.metric", name, {std::begin(kRankingMetrics), std::end(kRankingMetrics)});
  const bool number = !digits.empty() && digits.size() < 7 && digits[0] != '0' &&
                      digits.find_first_not_of("0123456789") == std::string::npos;
  check(number, ErrorCode::invalid_argument, "evaluation.metric: a positive number is expected after '@', got '{}'",
        metric);
  return RankingMetric{.name = name, .k = std::stoll(digits)};
}

bool higher_is_better(const std::string& metric) {
  return !metric.ends_with("loss") && !metric.ends_with("perplexity");
}

std::vector<Field> fields(TrainConfig& c) {
  Fields all;
  for (const auto part : {run_fields, data_fields, training_fields, optimizer_fields, schedule_fields, output_fields}) {
    Fields some = part(c);
    all.insert(all.end(), std::make_move_iterator(some.begin()), std::make_move_iterator(some.end()));
  }
  return all;
}

void set_key(TrainConfig& config, const std::string& key, const Json& value) {
  std::vector<std::string> names;
  for (const Field& field : fields(config)) {
    if (field.key == key) return assign(field, value);
    names.push_back(field.key);
  }
  if (key.starts_with(kModel) && key.size() > kModel.size()) {
    const std::string name = key.substr(kModel.size());
    const std::vector<std::string> known = model_keys();
    // Families have keys of their own; only what looks misspelt is refused.
    if (std::find(known.begin(), known.end(), name) == known.end())
      check(nearest(name, known).empty(), ErrorCode::invalid_argument, "unknown setting '{}'{}", key,
            did_you_mean(name, known));
    check(is_finite(value), ErrorCode::invalid_argument, "{}: a finite number is expected, got {}", key,
          toml_value(value));
    config.model.inline_config[name] = value;
    return;
  }
  fail(ErrorCode::invalid_argument, "unknown setting '{}'{}; 'caravan train --help' lists them", key,
       did_you_mean(key, names));
}

TrainConfig read_config(const std::string& path) {
  TrainConfig config;
  try {
    set_all(config, parse_toml(read_file(path, 1 << 24), path), "");
  } catch (const Error& error) {
    if (error.code() != ErrorCode::invalid_argument || std::string_view(error.what()).starts_with(path + ":")) throw;
    fail(ErrorCode::invalid_argument, "{}: {}", path, error.what());
  }
  return config;
}

std::string to_toml(TrainConfig config) {
  std::string text, table;
  const auto begin_table = [&](const std::string& name) {
    if (name == table) return;
    text += fmt::format("\n[{}]\n", name);
    table = name;
  };
  for (const Field& field : fields(config)) {
    const size_t dot = field.key.find('.');
    if (dot != std::string::npos) begin_table(field.key.substr(0, dot));
    text +=
        fmt::format("{} = {}\n", field.key.substr(dot == std::string::npos ? 0 : dot + 1), toml_value(value_of(field)));
    if (field.key != "model.path") continue;
    for (const auto& [key, value] : config.model.inline_config.items())
      text += fmt::format("{} = {}\n", key, toml_value(value));
  }
  return text;
}

std::vector<std::string> differences(TrainConfig before, TrainConfig now) {
  constexpr size_t kShown = 40;  // letters of a value
  std::vector<std::string> lines;
  const auto compare = [&](const std::string& key, const Json* was, const Json* is) {
    const std::string a = was == nullptr ? "" : toml_value(*was), b = is == nullptr ? "" : toml_value(*is);
    if (was != nullptr && is != nullptr && parse_toml_value(a) == parse_toml_value(b)) return;  // whatever the order
    const auto shown = [](const std::string& text) {
      return text.size() > kShown ? text.substr(0, kShown) + "..." : text;
    };
    lines.push_back(is == nullptr    ? fmt::format("{} is left out (before: {})", key, shown(a))
                    : was == nullptr ? fmt::format("{} = {} (before: none)", key, shown(b))
                                     : fmt::format("{} = {} (before: {})", key, shown(b), shown(a)));
  };
  const std::vector<Field> old_fields = fields(before), new_fields = fields(now);
  for (size_t i = 0; i < old_fields.size(); ++i) {
    const Json was = value_of(old_fields[i]), is = value_of(new_fields[i]);
    compare(new_fields[i].key, &was, &is);
  }
  const Json &old_model = before.model.inline_config, &new_model = now.model.inline_config;
  for (const auto& [key, value] : new_model.items())
    compare(std::string(kModel) + key, find_member(old_model, key), &value);
  for (const auto& [key, value] : old_model.items()) {
    if (!new_model.contains(key)) compare(std::string(kModel) + key, &value, nullptr);
  }
  return lines;
}

std::string config_help() {
  TrainConfig config;
  std::string text;
  for (const Field& field : fields(config)) {
    text += fmt::format("  {:<32} {}", field.key, field.help);
    const std::string value = toml_value(value_of(field));
    text += value == "\"\"" ? "\n" : fmt::format(" [{}]\n", value);
  }
  return text;
}

}  // namespace caravan::train
