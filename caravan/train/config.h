// The settings of a run: a TOML file, and every key on the command line as --key value.
//
//   TrainConfig config = read_config("run.toml");
//   set_key(config, "optimizer.lr", "3e-4");
//   write_file("run/config.toml", to_toml(config));
//
// One list (config.cc: fields()) names every key with its default and its meaning; reading, overriding, the saved file
// and the help all come from it. An unknown key is refused with the nearest name.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "caravan/base/json.h"

namespace caravan::train {

struct TrainConfig {
  std::string output;
  int64_t seed = 0, threads = 0;
  std::string device = "cpu";
  struct {
    std::string path;
    Json inline_config = Json::object();  // config.json's keys, for a model from scratch
  } model;
  struct {
    std::string kind = "tokens", train, validation, tokenizer, dataset, codes, item_vectors;
    int64_t max_length = 1024, max_items = 50, validation_limit = 0, user_tokens = 0;
    bool append_eos = true, bos = true, shuffle = true, item_tokens = false, prefix_mask = false;
  } data;
  struct {
    std::string objective = "next_token", precision = "fp32";
    int64_t steps = 0;
    double epochs = 1;
    int64_t batch_tokens = 4096, batch_examples = 0, accumulation = 1, max_bad_steps = 5;
    double clip_norm = 1.0, label_smoothing = 0, ema_decay = 0, item_weight = 1;
    int64_t sampled_items = 0;
    bool gradient_checkpointing = false;
  } training;
  struct {
    bool shard_optimizer = false;
  } parallel;
  struct {
    std::string name = "adamw";
    double lr = 1e-3, weight_decay = 0.01, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, momentum = 0;
    bool nesterov = false;
    std::vector<std::string> no_decay = {"norm", "bias"};
    int64_t newton_schulz_steps = 5;
    std::string adjust_lr = "original";
    double adamw_lr = 0, clip_threshold = 1, decay_rate = -0.8, eps_scale = 1e-3, first_moment = 0;
    bool scale_parameter = true, relative_step = false, warmup_init = false;
  } optimizer;
  struct {
    std::string name = "cosine", decay_type = "cosine";
    int64_t warmup_steps = 0, decay_steps = 0, timescale = 0;
    double warmup_ratio = 0, min_ratio = 0, cycles = 0.5;
  } schedule;
  struct {
    int64_t every = 0, patience = 0, batch_tokens = 8192, users = 1000, beams = 50;
    double item_weight = 0.5;
    std::string metric = "validation_loss";
  } evaluation;
  struct {
    int64_t every = 0, max_new_tokens = 32;
    std::string prompt;
  } sample;
  struct {
    int64_t every = 0, keep_last = 2;
    bool keep_best = true;
    std::string dtype = "float32";
  } save;
  struct {
    int64_t every = 10;
  } log;
};

// Values that a number may have.
struct Limits {
  double min = -std::numeric_limits<double>::infinity(), max = std::numeric_limits<double>::infinity();
  bool above = false, below = false;  // min, or max, is not one of them
};

struct Field {
  std::string key;  // "optimizer.lr"
  std::string help;
  std::variant<int64_t*, double*, bool*, std::string*, std::vector<std::string>*> value;
  Limits limits = {};
};

std::vector<std::string> model_keys();  // what model.* usually holds: config.json's keys
Json value_of(const Field& field);
std::vector<Field> fields(TrainConfig& config);  // in the order of the saved file; model.* keys are not in it

// A metric of a ranking: {"ndcg", 10} of "ndcg@10"; nullopt for one of the objective. Throws invalid_argument for a
// name that is neither.
struct RankingMetric {
  std::string name;  // as in eval::to_json: recall, hit_rate, ndcg, mrr, map, precision
  int64_t k = 0;
};
std::optional<RankingMetric> ranking_metric(const std::string& metric);
bool higher_is_better(const std::string& metric);  // all but losses and perplexities

TrainConfig read_config(const std::string& path);
void set_key(TrainConfig& config, const std::string& key, const Json& value);  // invalid_argument
std::string to_toml(TrainConfig config);
std::vector<std::string> differences(TrainConfig before, TrainConfig now);  // "training.steps = 60 (before: 40)" ...
std::string config_help();

// invalid_argument for numbers beyond their limits, values that make no sense together, and settings that would say
// nothing because of others (config_checks.cc). Names of optimizers, schedules and objectives are checked by their
// lists.
void check_config(const TrainConfig& config);
void check_limits(const std::string& key, double value, const Limits& limits);
void check_choice(const std::string& key, const std::string& value, const std::vector<std::string>& choices);

}  // namespace caravan::train
