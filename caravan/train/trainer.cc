#include "caravan/train/trainer.h"

#include <torch/torch.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <ctime>
#include <filesystem>
#include <optional>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/models/load.h"
#include "caravan/nn/observe.h"
#include "caravan/train/checkpoint.h"
#include "caravan/train/weights_scope.h"

namespace caravan::train {
namespace {

double wall_clock() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

StoreOptions store_options(const TrainerOptions& options, const Communicator& processes) {
  StoreOptions store = options.store;
  if (options.shard_optimizer) store.shard = processes.rank(), store.shards = processes.size();
  return store;
}

// Dropout draws from the default generators: another mask in every step and process.
uint64_t step_seed(uint64_t seed, int64_t step, int rank) {
  const uint64_t drawn = mix(seed, static_cast<uint64_t>(step));
  return rank == 0 ? drawn : mix(drawn, static_cast<uint64_t>(rank));
}

std::span<std::byte> bytes_of(const Tensor& t) { return {static_cast<std::byte*>(t.mutable_data_ptr()), t.nbytes()}; }

std::string checkpoints_of(const TrainerOptions& options) { return options.folder + "/checkpoints"; }

}  // namespace

Trainer::Trainer(models::Head& model, const Objective& objective, PackedBatches& batches, TrainerOptions options,
                 TrainerHooks hooks)
    : model_(model),
      objective_(objective),
      batches_(batches),
      options_(std::move(options)),
      hooks_(std::move(hooks)),
      alone_(options_.processes == nullptr ? single_process() : nullptr),
      processes_(options_.processes == nullptr ? *alone_ : *options_.processes),
      store_(model, store_options(options_, processes_)),
      buckets_(store_, processes_),
      optimizer_(make_optimizer(options_.optimizer, store_, options_.optimizer_options)) {
  check(options_.total_steps > 0, ErrorCode::invalid_argument, "a run needs at least one step");
  check(options_.accumulation > 0, ErrorCode::invalid_argument, "a step needs at least one batch, got {}",
        options_.accumulation);
  check(processes_.size() == 1 || store_.values().is_cpu(), ErrorCode::unsupported,
        "several processes train on CPUs only: use device = \"cpu\", or one process");
  check(options_.ema_decay >= 0 && options_.ema_decay < 1, ErrorCode::invalid_argument,
        "the decay of the average lies in [0, 1), got {}", options_.ema_decay);
  options_.schedule.total_steps = options_.total_steps;
  check_schedule(options_.schedule);
  if (options_.ema_decay > 0) average_ = store_.values().clone();
  model_.backbone().gradient_checkpointing = options_.gradient_checkpointing;
}

Trainer::~Trainer() = default;

double Trainer::seconds() const { return wall_clock() - started_; }

void Trainer::say(const std::string& line) const {
  if (hooks_.say) hooks_.say(line);
}

// --- one step ------------------------------------------------------------------------------------------------------

Window Trainer::next_window() {
  std::vector<std::vector<Example>> batches;
  const int64_t left = options_.total_batches > 0 ? options_.total_batches - progress_.batches : options_.accumulation;
  const int64_t count = std::max<int64_t>(1, std::min(options_.accumulation, left));
  for (int64_t i = 0; i < count; ++i) batches.push_back(batches_.next_examples());
  progress_.batches += count;
  return share_of(std::move(batches), processes_.rank(), processes_.size());
}

double Trainer::backward(const Window& window) {
  const auto teaches = [](const Batch& batch) { return batch.target_count > 0; };
  double loss = 0;
  store_.begin_window();
  buckets_.begin(std::count_if(window.batches.begin(), window.batches.end(), teaches));
  for (const Batch& batch : window.batches) {
    if (!teaches(batch)) continue;
    const Tensor mean = objective_.loss(model_, batch, options_.objective) / static_cast<double>(window.targets);
    mean.backward();
    loss += mean.item<double>();
  }
  store_.end_window();
  buckets_.finish();
  processes_.sum({&loss, 1});
  return loss;
}

double Trainer::gradient_norm() {
  const Tensor norms = store_.gradient_norms();
  if (store_.shards() > 1) {
    // Each weight's norm comes from one process; the others have 0: the sum is exact.
    processes_.start_sum({norms.mutable_data_ptr<float>(), static_cast<size_t>(norms.numel())});
    processes_.wait();
  }
  return ParameterStore::total_norm(norms);
}

// Every owner sends its shard of the weights.
void Trainer::share_values() {
  if (store_.shards() == 1) return;
  for (int64_t shard = 0; shard < store_.shards(); ++shard) {
    const ParameterSpan span = store_.shard_span(shard);
    if (span.end > span.begin)
      processes_.start_broadcast(bytes_of(store_.values().slice(0, span.begin, span.end)), static_cast<int>(shard));
  }
  processes_.wait();
}

bool Trainer::update(double loss, double norm, double factor) {
  if (!std::isfinite(loss) || !std::isfinite(norm)) return false;
  if (options_.clip_norm > 0 && norm > options_.clip_norm) store_.scale_gradients(options_.clip_norm / (norm + 1e-6));
  optimizer_->step(factor);
  share_values();
  store_.publish();
  if (average_.defined()) {
    // Early on a long average would remember the initial weights: its length grows with the run.
    const auto n = static_cast<double>(optimizer_->steps());
    const double decay = std::min(options_.ema_decay, (1.0 + n) / (10.0 + n));
    const torch::NoGradGuard no_grad;
    average_.lerp_(store_.values(), 1.0 - decay);
  }
  return true;
}

void Trainer::one_step() {
  at::manual_seed(step_seed(options_.seed, progress_.step, processes_.rank()));
  model_.train(true);
  const Window window = next_window();
  const double loss = backward(window), norm = gradient_norm();
  const double factor = schedule_factor(options_.schedule, progress_.step);
  ++progress_.step;
  progress_.tokens += window.tokens;
  if (update(loss, norm, factor)) {
    progress_.bad_in_a_row = 0;
    progress_.diagnosis.clear();
    progress_.logged_loss += loss * static_cast<double>(window.targets);
    progress_.logged_targets += window.targets;
  } else {
    handle_bad_step(window, loss, norm);
  }
  if (progress_.step % options_.log_every == 0 || progress_.step == options_.total_steps) log_step(norm, factor);
  if (hooks_.progress) hooks_.progress(report(loss, norm, factor));
}

void Trainer::handle_bad_step(const Window& window, double loss, double norm) {
  ++progress_.bad_steps;
  if (++progress_.bad_in_a_row == 1) progress_.diagnosis = first_diagnosis(window);
  say(fmt::format("step {}: the loss is {} and the norm of its gradient {}; the step is skipped ({} in a row)",
                  progress_.step, loss, norm, progress_.bad_in_a_row));
  require_finite_weights();
  if (progress_.bad_in_a_row >= options_.max_bad_steps)
    stop(fmt::format("{} steps in a row had no finite loss or gradient. {}", progress_.bad_in_a_row,
                     progress_.diagnosis));
}

std::string Trainer::bad_weight() const {
  for (const ParameterSlot& slot : store_.slots()) {
    const int64_t bad = at::isfinite(slot.value).logical_not().sum().item<int64_t>();
    if (bad > 0) return fmt::format("The weight {} has {} non-finite values of {}", slot.name, bad, slot.size);
  }
  return "";
}

// No later step could mend them, and they must not be saved. All processes have the same weights.
void Trainer::require_finite_weights() {
  const std::string found = bad_weight();
  if (!found.empty()) stop("the weights are lost. " + found);
}

// Whether the model can be learned from still: one more window, of which nothing stays.
bool Trainer::goes_on_finite() {
  const Json position = batches_.state();
  const Progress before = progress_;
  model_.train(true);
  const Window window = next_window();
  const double loss = backward(window), norm = gradient_norm();
  batches_.restore(position);
  progress_ = before;
  return std::isfinite(loss) && std::isfinite(norm);
}

// A run whose last steps were skipped ends well only where these were accidents.
void Trainer::check_last_steps() {
  require_finite_weights();
  if (progress_.bad_in_a_row == 0) return;
  if (optimizer_->steps() == 0 || !goes_on_finite())
    stop(fmt::format("the last {} steps had no finite loss or gradient. {}", progress_.bad_in_a_row,
                     progress_.diagnosis));
  say(fmt::format("the last {} steps were skipped; the model itself is finite", progress_.bad_in_a_row));
}

void Trainer::stop(const std::string& what) {
  if (log_) log_->sync();
  std::optional<std::string> saved;
  if (writes()) saved = newest_checkpoint(checkpoints_of(options_), [this](const std::string& line) { say(line); });
  const std::string go_on =
      saved ? fmt::format(
                  "The last checkpoint has finite weights: --resume goes on from {} with the settings that it is "
                  "given",
                  *saved)
            : std::string(
                  "There is no checkpoint to go back to (save.every makes some on the way): begin anew, with "
                  "--overwrite");
  fail_together(
      processes_,
      {ErrorCode::invalid_argument,
       fmt::format(
           "training stopped at step {}: {}. {}. What usually helps: a lower learning rate (optimizer.lr = {}), a "
           "longer warm-up (schedule.warmup_steps = {}), gradient clipping (training.clip_norm = {})",
           progress_.step, what, go_on, options_.optimizer_options.lr, options_.schedule.warmup_steps,
           options_.clip_norm)});
}

// That of the process in whose sequences it happened: the others see gradients only, which are everybody's.
std::string Trainer::first_diagnosis(const Window& window) {
  const std::vector<std::string> all = gather(processes_, diagnose(window));
  for (const std::string& text : all) {
    if (text.starts_with("First in")) return text;
  }
  return all.front();
}

std::string Trainer::diagnose(const Window& window) {
  if (std::string found = bad_weight(); !found.empty()) return found;
  const torch::NoGradGuard no_grad;
  nn::FiniteCheck finite;
  try {
    const nn::ScopedObserver watch(finite);
    for (const Batch& batch : window.batches) objective_.loss(model_, batch, options_.objective);
  } catch (const Error& error) {
    return fmt::format("First in {}", error.what());
  }
  for (const ParameterSlot& slot : store_.slots()) {
    const int64_t bad = at::isfinite(slot.gradient).logical_not().sum().item<int64_t>();
    if (bad > 0) {
      return fmt::format("All activations are finite; the gradient of {} has {} non-finite values of {}", slot.name,
                         bad, slot.size);
    }
  }
  return "All weights, activations and gradients are finite: the loss itself overflows";
}

// --- logs, evaluation ------------------------------------------------------------------------------------------------

StepReport Trainer::report(double loss, double norm, double factor) const {
  const double passed = seconds();
  const auto done = static_cast<double>(progress_.step - steps_at_start_);
  return {.step = progress_.step,
          .total_steps = options_.total_steps,
          .loss = loss,
          .lr = options_.optimizer_options.lr * factor,
          .gradient_norm = norm,
          .epoch = std::round(batches_.epochs_done() * 1e4) / 1e4,
          .tokens_per_second = static_cast<double>(progress_.tokens - tokens_at_start_) / std::max(passed, 1e-9),
          .seconds = passed,
          .seconds_left = passed / done * static_cast<double>(options_.total_steps - progress_.step)};
}

void Trainer::log_step(double norm, double factor) {
  if (progress_.logged_targets == 0) return;
  const double loss = progress_.logged_loss / static_cast<double>(progress_.logged_targets);
  const StepReport now = report(loss, norm, factor);
  Json row = {{"step", now.step},   {"loss", loss},          {"lr", now.lr},
              {"epoch", now.epoch}, {"gradient_norm", norm}, {"tokens", progress_.tokens}};
  if (progress_.bad_steps > 0) row["bad_steps"] = progress_.bad_steps;
  row["timing"] = {{"tokens_per_second", now.tokens_per_second},
                   {"seconds", now.seconds},
                   {"cpu_seconds", static_cast<double>(std::clock()) / CLOCKS_PER_SEC}};  // of all threads
  add_row(row);
  progress_.logged_loss = 0;
  progress_.logged_targets = 0;
}

void Trainer::add_row(const Json& row) {
  rows_.push_back(row);
  if (log_) log_->add(row);
  if (events_) add_scalars(*events_, row, wall_clock());
}

void Trainer::start_logs() {
  started_ = wall_clock();
  tokens_at_start_ = progress_.tokens;
  steps_at_start_ = progress_.step;
  if (!writes()) return;
  std::filesystem::create_directories(options_.folder);
  log_ = std::make_unique<MetricsLog>(options_.folder + "/metrics.jsonl", progress_.step);
  events_ = std::make_unique<EventFile>(options_.folder + "/tensorboard", started_);
  rows_ = log_->rows();
  for (const Json& row : rows_) add_scalars(*events_, row, started_);
}

void Trainer::evaluate() {
  if (!hooks_.evaluate) return;
  require_finite_weights();
  Metrics metrics;
  {
    const torch::NoGradGuard no_grad;
    const auto dtype = store_.precision() == Precision::bf16 ? at::kBFloat16 : at::kFloat;
    const ScopedWeights scope(store_, average_.defined() ? average_ : store_.values(), dtype);
    model_.train(false);
    metrics = hooks_.evaluate(model_);
  }
  Json row = {{"step", progress_.step}};
  std::string line = fmt::format("step {}:", progress_.step);
  for (const auto& [name, value] : metrics) {
    row[name] = value;
    line += fmt::format("  {} {:.5g}", name, value);
  }
  add_row(row);
  say(line);
  note_metric(metrics);
}

void Trainer::note_metric(const Metrics& metrics) {
  const auto found = metrics.find(options_.metric);
  if (found == metrics.end()) {
    std::string known;
    for (const auto& [name, value] : metrics) known += (known.empty() ? "" : ", ") + name;
    check(options_.patience == 0, ErrorCode::invalid_argument,
          "early stopping goes by the metric '{}', which the evaluation does not give; it gives {}", options_.metric,
          known);
    return;
  }
  const double value = found->second;
  const bool better =
      progress_.best_step < 0 || (options_.higher_is_better ? value > progress_.best : value < progress_.best);
  if (!better || !std::isfinite(value)) {
    ++progress_.evaluations_without_gain;
    return;
  }
  progress_.best = value;
  progress_.best_step = progress_.step;
  progress_.evaluations_without_gain = 0;
  if (options_.keep_best) save_plain("best");
}

void Trainer::show_sample() {
  if (!hooks_.sample || processes_.rank() > 0) return;
  const torch::NoGradGuard no_grad;
  model_.train(false);
  const std::string text = hooks_.sample(model_);
  if (text.empty()) return;
  add_row({{"step", progress_.step}, {"sample", text}});
  say(fmt::format("step {}: {}", progress_.step, text));
}

// --- saving ----------------------------------------------------------------------------------------------------------

std::vector<std::pair<std::string, Tensor>> Trainer::training_tensors(
    std::vector<std::pair<std::string, Tensor>> optimizer) const {
  std::vector<std::pair<std::string, Tensor>> tensors;
  for (auto& [name, tensor] : optimizer) tensors.emplace_back("optimizer." + name, tensor);
  if (!average_.defined()) return tensors;
  for (auto& [name, tensor] : store_.views(average_, "average")) tensors.emplace_back(name, tensor);
  return tensors;
}

Json Trainer::state() const {
  const Progress& p = progress_;
  return {{"version", 1},
          {"step", p.step},
          {"total_steps", options_.total_steps},
          {"batches", p.batches},
          {"optimizer_steps", optimizer_->steps()},
          {"seed", options_.seed},
          {"data", batches_.state()},
          {"bad_steps", p.bad_steps},
          {"bad_in_a_row", p.bad_in_a_row},
          {"logged_loss", p.logged_loss},
          {"logged_targets", p.logged_targets},
          {"tokens", p.tokens},
          {"best", p.best},
          {"best_step", p.best_step},
          {"evaluations_without_gain", p.evaluations_without_gain},
          {"done", p.done},
          {"diagnosis", p.diagnosis}};
}

void Trainer::restore(const Json& state) {
  constexpr std::string_view kWhere = "state.json";
  Progress& p = progress_;
  check_file(get_int(state, "version", kWhere) == 1, FileFault::version, kWhere, "version 1 is expected");
  p.step = get_int(state, "step", kWhere, {.min = 0});
  p.batches = get_int(state, "batches", kWhere, {.min = 0});
  optimizer_->set_steps(get_int(state, "optimizer_steps", kWhere, {.min = 0}));
  p.bad_steps = get_int(state, "bad_steps", kWhere, {.min = 0});
  p.bad_in_a_row = get_int(state, "bad_in_a_row", kWhere, {.min = 0});
  p.logged_loss = get_number(state, "logged_loss", kWhere);
  p.logged_targets = get_int(state, "logged_targets", kWhere, {.min = 0});
  p.tokens = get_int(state, "tokens", kWhere, {.min = 0});
  p.best = get_number(state, "best", kWhere);
  p.best_step = get_int(state, "best_step", kWhere);
  p.evaluations_without_gain = get_int(state, "evaluations_without_gain", kWhere, {.min = 0});
  p.diagnosis = get_string(state, "diagnosis", kWhere, "");  // checkpoints of earlier versions have none
  // A finished run goes on where it was given more steps.
  p.done = get_bool(state, "done", kWhere) && get_int(state, "total_steps", kWhere) >= options_.total_steps;
  const Json* data = find_member(state, "data");
  check_file(data != nullptr && data->is_object(), FileFault::layout, kWhere, "\"data\" is expected");
  batches_.restore(*data);
}

bool Trainer::resume() {
  std::string path;
  together(processes_, [&] {
    if (processes_.rank() > 0) return;
    path = newest_checkpoint(checkpoints_of(options_), [this](const std::string& line) { say(line); }).value_or("");
  });
  path = broadcast(processes_, path);
  if (path.empty()) return false;
  const LoadedCheckpoint loaded = load_checkpoint(path);
  const auto model = formats::Checkpoint::open(loaded.model);
  models::load_parameters(model_, *model, {.dtype = at::kFloat, .keep_mapped = false});
  store_.take_values();
  const torch::NoGradGuard no_grad;
  for (auto& [name, tensor] : training_tensors(optimizer_->state())) {
    const auto found = loaded.tensors.find(name);
    check(found != loaded.tensors.end() && found->second.sizes() == tensor.sizes(), ErrorCode::invalid_argument,
          "{}: {} is missing or has another shape: resume with the optimizer and settings that the run began with",
          path, name);
    tensor.copy_(found->second);
  }
  restore(loaded.state);
  say(fmt::format("resuming from {} at step {}", path, progress_.step));
  return true;
}

// At process 0 everybody's, elsewhere nothing.
std::vector<std::pair<std::string, Tensor>> Trainer::all_optimizer_state() {
  auto named = optimizer_->state();
  if (store_.shards() == 1) return named;
  Json own = Json::array();
  for (const auto& [name, tensor] : named) own.push_back({name, tensor.sizes().vec()});
  const std::vector<std::string> lists = gather(processes_, own.dump());
  if (processes_.rank() > 0) {
    for (const auto& [name, tensor] : named) processes_.start_send(bytes_of(tensor), 0);
    processes_.wait();
    return {};
  }
  for (int rank = 1; rank < processes_.size(); ++rank) {
    for (const Json& entry : parse_json(lists[static_cast<size_t>(rank)], "the list of optimizer states")) {
      named.emplace_back(entry[0].get<std::string>(), at::empty(entry[1].get<std::vector<int64_t>>(), at::kFloat));
      processes_.start_receive(bytes_of(named.back().second), rank);
    }
  }
  processes_.wait();
  return named;
}

void Trainer::save() {
  require_finite_weights();
  if (options_.folder.empty()) return;
  std::vector<std::pair<std::string, Tensor>> optimizer = all_optimizer_state();
  if (!writes()) return;
  if (log_) log_->sync();
  const auto write_model = [this](const std::string& path) {
    const ScopedWeights scope(store_, store_.values(), at::kFloat);
    models::save_model(model_, path, {.side_files = options_.side_files});
  };
  save_checkpoint(checkpoints_of(options_),
                  {.step = progress_.step, .state = state(), .tensors = training_tensors(std::move(optimizer))},
                  write_model);
  // What made the last steps fail may be in this checkpoint: those from before it stay.
  if (progress_.bad_in_a_row == 0) prune_checkpoints(checkpoints_of(options_), options_.keep_last);
}

void Trainer::save_plain(const std::string& name) {
  if (!writes()) return;
  const auto dtype = options_.save_dtype == "bfloat16" ? at::kBFloat16 : at::kFloat;
  const ScopedWeights scope(store_, average_.defined() ? average_ : store_.values(), dtype);
  models::save_model(model_, options_.folder + "/" + name, {.side_files = options_.side_files});
}

void Trainer::finish(Outcome outcome) {
  progress_.done = outcome != Outcome::interrupted;
  save();
  if (progress_.done) save_plain("final");
  if (log_) log_->sync();
}

Outcome Trainer::run() {
  start_logs();
  processes_.start_broadcast(bytes_of(store_.values()), 0);  // equal already, unless a file differs between machines
  processes_.wait();
  store_.publish();
  if (progress_.done) return Outcome::nothing_left;
  const auto due = [this](int64_t every) { return every > 0 && progress_.step % every == 0; };
  Outcome outcome = Outcome::finished;
  int64_t evaluated = -1;
  while (progress_.step < options_.total_steps) {
    one_step();
    if (due(options_.evaluate_every)) evaluate(), evaluated = progress_.step;
    if (due(options_.sample_every)) show_sample();
    if (options_.patience > 0 && progress_.evaluations_without_gain >= options_.patience) {
      outcome = Outcome::stopped_early;
      say(fmt::format("step {}: {} has not improved for {} evaluations (best {:.5g} at step {}); stopping early",
                      progress_.step, options_.metric, options_.patience, progress_.best, progress_.best_step));
      break;
    }
    if (any_of_all(processes_, hooks_.interrupted && hooks_.interrupted())) {
      outcome = Outcome::interrupted;
      break;
    }
    const bool saves = due(options_.save_every) && progress_.step < options_.total_steps;
    if (saves && progress_.bad_in_a_row == 0) save();
  }
  if (outcome != Outcome::interrupted) check_last_steps();
  if (outcome == Outcome::finished && evaluated != progress_.step) evaluate();
  if (outcome == Outcome::finished && !due(options_.sample_every)) show_sample();
  finish(outcome);
  return outcome;
}

Metrics evaluate_objective(models::Head& model, const Objective& objective,
                           const std::shared_ptr<const Examples>& examples, int64_t token_budget,
                           const std::string& prefix, Communicator* processes) {
  const torch::NoGradGuard no_grad;
  const int64_t rank = processes == nullptr ? 0 : processes->rank(),
                size = processes == nullptr ? 1 : processes->size();
  PackedBatches batches(examples, {.token_budget = token_budget, .shuffle = false});
  Measurement sums;
  const int64_t count = batches.batches_in_epoch(0);
  for (int64_t n = 0; n < count; ++n) {
    const std::vector<Example> examples_of_batch = batches.next_examples();
    if (n % size == rank) objective.measure(model, make_batch(examples_of_batch), sums);
  }
  if (size > 1) {
    std::array<double, 3> all = {sums.loss, static_cast<double>(sums.correct), static_cast<double>(sums.targets)};
    processes->sum(all);
    sums = {.loss = all[0], .correct = std::llround(all[1]), .targets = std::llround(all[2])};
  }
  check(sums.targets > 0, ErrorCode::invalid_argument, "the {} examples have nothing to predict", prefix);
  const double loss = sums.loss / static_cast<double>(sums.targets);
  return {{prefix + "_loss", loss},
          {prefix + "_perplexity", std::exp(loss)},
          {prefix + "_accuracy", static_cast<double>(sums.correct) / static_cast<double>(sums.targets)}};
}

}  // namespace caravan::train
