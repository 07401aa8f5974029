// The training loop. It knows parameters, batches and an objective; no family, no method, no data format.
//
//   Trainer trainer(model, find_objective("next_token"), batches, {.folder = "run", .total_steps = 1000});
//   if (resuming) trainer.resume();
//   Outcome outcome = trainer.run();
//
// One step is a window of `accumulation` batches: the loss is the mean over all targets of the window, so it equals one
// large batch. The same seed gives the same bits, and a run that was stopped anywhere and resumed gives the bits of a
// run that was not: everything random in step n follows from (seed, n).
//
// Several processes share a step's sequences and hold all weights each; process 0 writes and talks. With
// shard_optimizer each keeps the optimizer's state of its shard only (ZeRO-1, Rajbhandari et al. 2020): gradients are
// summed at their shard's owner, who updates the weights and sends them to the others.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "caravan/train/communicator.h"
#include "caravan/train/gradient_buckets.h"
#include "caravan/train/metrics_log.h"
#include "caravan/train/objective.h"
#include "caravan/train/optimizer.h"
#include "caravan/train/schedule.h"
#include "caravan/train/shares.h"
#include "caravan/train/tensorboard.h"

namespace caravan::train {

using Metrics = std::map<std::string, double>;

struct StepReport {
  int64_t step = 0, total_steps = 0;
  double loss = 0, lr = 0, gradient_norm = 0, epoch = 0;
  double tokens_per_second = 0, seconds = 0, seconds_left = 0;  // since the run or its resumption began
};

struct TrainerHooks {
  std::function<Metrics(models::Head&)> evaluate = {};    // the model is in evaluation mode, without gradients
  std::function<std::string(models::Head&)> sample = {};  // some output to look at
  std::function<void(const StepReport&)> progress = {};   // every step
  std::function<void(const std::string&)> say = {};       // one line for people
  std::function<bool()> interrupted = {};                 // asked after every step
};

struct TrainerOptions {
  std::string
      folder;  // of the run: metrics.jsonl, checkpoints/, best/, final/, tensorboard/; empty: nothing is written
  int64_t total_steps = 0;
  int64_t total_batches = 0;  // 0: no limit; else the last window ends with this batch
  int64_t accumulation = 1;
  double clip_norm = 1.0;  // 0: gradients are not clipped
  double ema_decay = 0;    // 0: no average; else evaluation, best/ and final/ take the averaged weights
  int64_t log_every = 10, evaluate_every = 0, sample_every = 0, save_every = 0;  // steps; 0: only at the end
  int64_t keep_last = 2;
  bool keep_best = true;
  std::string metric = "validation_loss";  // what best/ and early stopping go by
  bool higher_is_better = false;
  int64_t patience = 0;       // evaluations without a better metric before the run stops; 0: never
  int64_t max_bad_steps = 5;  // steps in a row whose loss or gradients are not finite
  uint64_t seed = 0;
  bool gradient_checkpointing = false;
  std::string save_dtype = "float32";  // of best/ and final/; "bfloat16"
  ObjectiveOptions objective;
  StoreOptions store;
  std::string optimizer = "adamw";
  OptimizerOptions optimizer_options;
  ScheduleOptions schedule;
  std::map<std::string, std::string> side_files;  // tokenizer.json ..., saved with every model
  Communicator* processes = nullptr;              // of this run; must outlive the trainer. None: this one alone
  bool shard_optimizer = false;
};

enum class Outcome { finished, stopped_early, interrupted, nothing_left };  // nothing_left: had been finished before

class Trainer {
 public:
  Trainer(models::Head& model, const Objective& objective, PackedBatches& batches, TrainerOptions options,
          TrainerHooks hooks = {});
  ~Trainer();

  // Throws invalid_argument, everywhere at once, where weights or too many steps in a row are not finite: no such
  // weights are ever saved.
  Outcome run();
  bool resume();  // also of another number of processes; from the newest complete checkpoint; false where there is none

  int64_t step() const { return progress_.step; }
  ParameterStore& store() { return store_; }
  const std::vector<Json>& metrics() const { return rows_; }

 private:
  // What a checkpoint holds beside tensors.
  struct Progress {
    int64_t step = 0, batches = 0, bad_steps = 0, bad_in_a_row = 0;
    double logged_loss = 0;  // sums since the last line of the log
    int64_t logged_targets = 0, tokens = 0;
    double best = 0;
    int64_t best_step = -1, evaluations_without_gain = 0;
    bool done = false;
    std::string diagnosis;  // of the first of the steps in a row that were not finite
  };

  Window next_window();
  double backward(const Window& window);  // the window's loss
  double gradient_norm();
  void share_values();
  void one_step();
  bool update(double loss, double norm, double factor);
  void handle_bad_step(const Window& window, double loss, double norm);
  std::string diagnose(const Window& window);
  std::string first_diagnosis(const Window& window);
  std::string bad_weight() const;  // empty where all weights are finite
  void require_finite_weights();
  bool goes_on_finite();
  void check_last_steps();
  [[noreturn]] void stop(const std::string& what);
  void log_step(double norm, double factor);
  void evaluate();
  void note_metric(const Metrics& metrics);
  void show_sample();
  void save();
  void save_plain(const std::string& name);
  void finish(Outcome outcome);
  void add_row(const Json& row);
  void start_logs();
  StepReport report(double loss, double norm, double factor) const;
  double seconds() const;
  void say(const std::string& line) const;
  std::vector<std::pair<std::string, Tensor>> training_tensors(
      std::vector<std::pair<std::string, Tensor>> optimizer) const;
  std::vector<std::pair<std::string, Tensor>> all_optimizer_state();
  Json state() const;
  void restore(const Json& state);

  bool writes() const { return processes_.rank() == 0 && !options_.folder.empty(); }

  models::Head& model_;
  const Objective& objective_;
  PackedBatches& batches_;
  TrainerOptions options_;
  TrainerHooks hooks_;
  std::unique_ptr<Communicator> alone_;
  Communicator& processes_;
  ParameterStore store_;
  GradientBuckets buckets_;
  std::unique_ptr<Optimizer> optimizer_;
  Tensor average_;  // flat, like the store's values; undefined without ema_decay
  Progress progress_;
  std::vector<Json> rows_;
  std::unique_ptr<MetricsLog> log_;
  std::unique_ptr<EventFile> events_;
  double started_ = 0;  // wall clock
  int64_t tokens_at_start_ = 0, steps_at_start_ = 0;
};

// The mean loss, accuracy and perplexity over one pass through `examples`: "validation_loss" and so on for the prefix
// "validation". Of several processes each takes its part of the batches; all get the result.
Metrics evaluate_objective(models::Head& model, const Objective& objective,
                           const std::shared_ptr<const Examples>& examples, int64_t token_budget,
                           const std::string& prefix, Communicator* processes = nullptr);

}  // namespace caravan::train
