#include "caravan/train/run.h"

#include <fmt/ranges.h>
#include <torch/torch.h>

#include <cmath>
#include <filesystem>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/formats/carried_files.h"
#include "caravan/formats/side_file.h"
#include "caravan/items/lookup.h"
#include "caravan/models/load.h"
#include "caravan/models/stored_config.h"
#include "caravan/ops/cuda.h"
#include "caravan/train/checkpoint.h"
#include "caravan/train/item_start.h"
#include "caravan/train/item_vocabulary.h"
#include "caravan/train/model_settings.h"
#include "caravan/train/report.h"
#include "caravan/train/run_folder.h"

namespace caravan::train {
namespace {

constexpr const char* kGenerationFile = "generation_config.json";

void set_default(Json& config, const std::string& key, const Json& value) {
  if (find_member(config, key) == nullptr) config[key] = value;
}

// A token id of the config; -1 where it names none. Of several (LLaMA 3's ends of text) the first.
int64_t token_id(const Json& config, const std::string& key) {
  const Json* value = find_member(config, key);
  if (value != nullptr && value->is_array() && !value->empty() && value->front().is_number_integer())
    return value->front().get<int64_t>();
  return get_int(config, key, "the model's config", {}, -1);
}

ObjectiveOptions objective_options(const TrainConfig& c) {
  return {.label_smoothing = c.training.label_smoothing,
          .item_weight = c.training.item_weight,
          .sampled_items = c.training.sampled_items};
}

OptimizerOptions optimizer_options(const TrainConfig& c) {
  const auto& o = c.optimizer;
  return {.lr = o.lr,
          .weight_decay = o.weight_decay,
          .beta1 = o.beta1,
          .beta2 = o.beta2,
          .eps = o.eps,
          .momentum = o.momentum,
          .nesterov = o.nesterov,
          .newton_schulz_steps = o.newton_schulz_steps,
          .adjust_lr = o.adjust_lr,
          .adamw_lr = o.adamw_lr,
          .clip_threshold = o.clip_threshold,
          .decay_rate = o.decay_rate,
          .eps_scale = o.eps_scale,
          .first_moment = o.first_moment,
          .scale_parameter = o.scale_parameter,
          .relative_step = o.relative_step,
          .warmup_init = o.warmup_init};
}

ScheduleOptions schedule_options(const TrainConfig& c, int64_t total_steps) {
  const auto& s = c.schedule;
  const auto ratio_steps = static_cast<int64_t>(std::ceil(s.warmup_ratio * static_cast<double>(total_steps)));
  return {.name = s.name,
          .warmup_steps = s.warmup_steps > 0 ? s.warmup_steps : ratio_steps,
          .min_ratio = s.min_ratio,
          .cycles = s.cycles,
          .decay_steps = s.decay_steps,
          .decay_type = s.decay_type,
          .timescale = s.timescale};
}

// Positions of the model: the config's, else as many as a table of positions has rows; 0 where nothing limits them.
int64_t positions_of(models::Head& model, const Json& config) {
  constexpr std::string_view kTable = "embed_positions.weight";
  if (const int64_t said = get_int(config, "max_position_embeddings", "model", {}, 0); said > 0) return said;
  for (const nn::NamedParameter& p : model.named_parameters()) {
    if (p.name.ends_with(kTable)) return p.parameter->shape.at(0);
  }
  return 0;
}

// A rate for a model from scratch takes one that is trained far from what it knows.
void warn_of_default_rate(const TrainConfig& config, const std::function<void(const std::string&)>& say) {
  const double usual = TrainConfig{}.optimizer.lr;
  if (config.optimizer.lr != usual) return;
  say(
      fmt::format("warning: optimizer.lr = {} is the default for models from scratch; one that goes on from model.path "
                  "mostly wants 1e-5 to 2e-4",
                  usual));
}

std::string saved_settings(const std::string& folder) { return folder + "/config.toml"; }

// What the trainer would refuse, before anything is read or removed.
void check_method(const TrainConfig& c) {
  find_objective(c.training.objective);
  check_optimizer(c.optimizer.name, optimizer_options(c));
  check_schedule(schedule_options(c, 0));
  for (const std::string& role : c.optimizer.no_decay) parse_role(role);
}

}  // namespace

Run::Run(TrainConfig config, RunHooks hooks) : config_(std::move(config)), hooks_(std::move(hooks)) {
  check_method(config_);
  check_config(config_);
  if (!config_.model.path.empty()) {
    start_ = formats::Checkpoint::open(config_.model.path);
    model_config_ = models::stored_config(*start_);
  } else {
    model_config_ = config_.model.inline_config;
    check_model_settings(model_config_);
  }
  load_tokenizer();
  if (config_.data.kind == "items") {
    load_items();
  } else {
    load_tokens();
  }
  if (start_ == nullptr) config_.model.inline_config = model_config_;
  make_model();
  if (config_.data.kind == "items") check_positions();
  const Objective& objective = find_objective(config_.training.objective);
  if (objective.check != nullptr) objective.check(*model_);
  count_steps();
}

// --- data ------------------------------------------------------------------------------------------------------------

// Every model that is saved carries the files of the model that training began from, the tokenizer's own ones being
// those of data.tokenizer where that is given.
void Run::load_tokenizer() {
  const std::string& path = config_.data.tokenizer;
  if (start_ != nullptr) side_files_ = formats::carried_files(*start_);
  if (!path.empty()) std::erase_if(side_files_, [](const auto& f) { return formats::is_tokenizer_file(f.first); });
  const bool is_json = path.ends_with(".json");
  if (is_json || (is_folder(path) && file_exists(path + "/tokenizer.json"))) return read_tokenizer(path);
  if (path.empty() && start_ == nullptr) return;
  const auto other = path.empty() ? nullptr : formats::Checkpoint::open(path);
  const formats::Checkpoint& checkpoint = other ? *other : *start_;
  formats::TextFiles files;
  if (checkpoint.format() == "gguf" && hooks_.make_tokenizer_files) files = hooks_.make_tokenizer_files(checkpoint);
  files.merge(formats::carried_files(checkpoint));  // what was made stays
  const bool generates = start_ == nullptr || !other;
  for (auto& [name, text] : files) {
    if (formats::is_tokenizer_file(name) || (generates && name == kGenerationFile)) side_files_[name] = std::move(text);
  }
  if (!hooks_.load_tokenizer) return;
  if (auto found = hooks_.load_tokenizer(checkpoint)) tokenizer_ = std::make_shared<text::Tokenizer>(std::move(*found));
}

// A tokenizer with or without a model beside it: a folder, or a file. Companions belong to a file by its usual name.
void Run::read_tokenizer(const std::string& path) {
  const bool folder = is_folder(path);
  const std::string file = folder ? path + "/tokenizer.json" : path;
  const std::filesystem::path place(file);
  const std::string around = place.has_parent_path() ? place.parent_path().string() : ".";
  const std::string json = read_file(file);
  if (place.filename() == "tokenizer.json") {
    for (auto& [name, text] : formats::tokenizer_files_in(around)) side_files_[name] = std::move(text);
    if (const std::string generation = formats::read_side_file(around + "/" + kGenerationFile);
        start_ == nullptr && !generation.empty())
      side_files_[kGenerationFile] = generation;
  }
  side_files_["tokenizer.json"] = json;
  tokenizer_ = std::make_shared<text::Tokenizer>(text::Tokenizer::from_json(json, file));
}

void Run::load_tokens() {
  if (tokenizer_) set_default(model_config_, "vocab_size", static_cast<int64_t>(tokenizer_->vocab_size()));
  check(find_member(model_config_, "vocab_size") != nullptr || start_ != nullptr, ErrorCode::invalid_argument,
        "model.vocab_size is missing: give the number of token ids, or data.tokenizer");
  check(tokenizer_ || config_.sample.prompt.empty(), ErrorCode::invalid_argument,
        "sample.prompt is text: it needs data.tokenizer, or a model.path with a tokenizer");
  TokenFileOptions options{.vocabulary = get_int(model_config_, "vocab_size", "model.vocab_size", {.min = 1}),
                           .max_length = config_.data.max_length};
  if (tokenizer_) {
    const int64_t eos = config_.data.append_eos ? token_id(model_config_, "eos_token_id") : -1;
    options.encode = [this, eos](std::string_view text) {
      std::vector<int32_t> ids = tokenizer_->encode(text, {.details = false}).ids;
      if (eos >= 0 && (ids.empty() || ids.back() != eos)) ids.push_back(static_cast<int32_t>(eos));
      return ids;
    };
  }
  train_ = read_token_file(config_.data.train, options);
  options.limit = config_.data.validation_limit;
  if (!config_.data.validation.empty()) validation_ = read_token_file(config_.data.validation, options);
  if (!config_.sample.prompt.empty())
    sample_prompt_ = tokenizer_->encode(config_.sample.prompt, {.details = false}).ids;
}

void Run::load_items() {
  data::Dataset dataset = data::read_dataset(config_.data.dataset);
  const items::ItemCodes codes = read_item_codes(dataset, config_.data.dataset, config_.data.codes);
  if (!tokenizer_) {
    for (auto& [name, text] :
         item_tokenizer_files(codes, {.items = config_.data.item_tokens, .users = config_.data.user_tokens}))
      side_files_[name] = std::move(text);
    tokenizer_ =
        std::make_shared<text::Tokenizer>(text::Tokenizer::from_json(side_files_["tokenizer.json"], "tokenizer.json"));
    set_default(model_config_, "pad_token_id", tokenizer_->token_to_id("<pad>").value());
    set_default(model_config_, "bos_token_id", tokenizer_->token_to_id("<bos>").value());
    set_default(model_config_, "eos_token_id", tokenizer_->token_to_id("<eos>").value());
  }
  set_default(model_config_, "vocab_size", static_cast<int64_t>(tokenizer_->vocab_size()));
  const items::FindToken find = [this](std::string_view word) { return tokenizer_->token_to_id(word); };
  ItemTokens tokens = tokens_of(codes, find);
  for (const std::vector<int32_t>& item : tokens) item_width_ = std::max(item_width_, std::ssize(item));
  const items::PromptFormat format = prompt_format(codes, find);
  items::write_prompt_format(format, model_config_);
  train_ = item_sequences(dataset, tokens, format);
  validation_ = next_item_examples(dataset, tokens, format, config_.data.validation_limit);
  if (validation_->size() == 0) validation_ = nullptr;
  if (validation_) {  // the history of the first validation user: all but what is to be said
    const Example example = validation_->get(0);
    for (size_t i = 0; i < example.ids.size() && example.learned[i] == 0; ++i) sample_prompt_.push_back(example.ids[i]);
  }
  side_files_[std::string(items::kCodesFile)] = items::codes_json(codes, items::ids_of(dataset.items));
  side_files_[std::string(items::kItemsFile)] = read_file(config_.data.dataset + "/" + std::string(items::kItemsFile));
  prepare_ranking(std::move(dataset), std::move(tokens), format);
}

ItemTokens Run::tokens_of(const items::ItemCodes& codes, const items::FindToken& find) const {
  try {
    return items::item_tokens(codes, find);
  } catch (const Error& error) {
    const bool extendable = !config_.model.path.empty() && config_.data.codes != kItemIds;
    if (error.code() != ErrorCode::not_found || !extendable) throw;
    const std::string folder = config_.data.tokenizer.empty() ? config_.model.path : config_.data.tokenizer;
    fail(ErrorCode::not_found, "{}: {}; 'caravan items extend -m {} --data {} -o OUT' appends the codes' words to it",
         folder, error.what(), config_.model.path, config_.data.dataset);
  }
}

items::PromptFormat Run::prompt_format(const items::ItemCodes& codes, const items::FindToken& find) const {
  items::PromptFormat format{.max_items = config_.data.max_items,
                             .levels = items::level_runs(items::code_token_ids(codes, find)),
                             .parallel = config_.training.objective == "parallel_codes",
                             .prefix = config_.data.prefix_mask};
  const int64_t bos = token_id(model_config_, "bos_token_id");
  if (config_.data.bos && bos >= 0) format.bos = static_cast<int32_t>(bos);
  const auto run_of = [&](std::string_view key, std::string (*word)(int64_t), int64_t count) {
    const auto first = find(word(0)), last = find(word(count - 1));
    check(first && last && *last - *first == count - 1, ErrorCode::invalid_argument,
          "{}: the tokenizer has no words {} to {} with ids in a row; leave data.tokenizer out to have one made", key,
          word(0), word(count - 1));
    return items::TokenRun{.first = *first, .count = count};
  };
  if (config_.data.user_tokens > 0) format.users = run_of("data.user_tokens", user_word, config_.data.user_tokens);
  if (config_.data.item_tokens) {
    format.items = items::OwnTokens{.run = run_of("data.item_tokens", item_word, codes.items()),
                                    .weight = config_.evaluation.item_weight};
  }
  return format;
}

void Run::prepare_ranking(data::Dataset dataset, ItemTokens tokens, const items::PromptFormat& format) {
  const auto metric = ranking_metric(config_.evaluation.metric);
  if (!metric) return;
  check(validation_ != nullptr, ErrorCode::invalid_argument,
        "evaluation.metric = \"{}\": the dataset {} has no validation items to be found", config_.evaluation.metric,
        config_.data.dataset);
  check(hooks_.rank_items != nullptr, ErrorCode::unsupported, "this program ranks no items: use a metric of the loss");
  dataset_ = std::move(dataset);
  item_tokens_ = std::move(tokens);
  ranking_ = RankingTask{.dataset = &dataset_,
                         .tokens = &item_tokens_,
                         .format = format,
                         .metric = *metric,
                         .users = config_.evaluation.users,
                         .beams = config_.evaluation.beams};
}

// --- model -----------------------------------------------------------------------------------------------------------

void Run::make_model() {
  if (start_ == nullptr) check_token_ids(model_config_);
  model_ = start_ == nullptr ? make_model_of_settings(model_config_)
                             : models::make_head(model_config_, start_->place_of("config.json"));
  if (start_ != nullptr) {
    models::load_parameters(*model_, *start_, {.keep_mapped = true});
  } else {
    const double std = get_number(model_config_, "initializer_range", "model.initializer_range", 0.02);
    nn::initialize(*model_, {.std = std, .seed = mix(static_cast<uint64_t>(config_.seed), 0x696E6974)});
    if (!config_.data.item_vectors.empty()) start_item_tokens(std);
  }
  if (config_.device == "cpu") return;
  ops::load_cuda();
  model_->to(at::Device(config_.device));
}

void Run::start_item_tokens(double std) {
  const auto format = items::read_prompt_format(model_config_, "the model's config");
  auto* lm = dynamic_cast<models::CausalLm*>(model_.get());
  check(lm != nullptr && format.items.has_value(), ErrorCode::invalid_argument,
        "data.item_vectors needs a causal language model whose items have tokens");
  const items::TokenRun& run = format.items->run;
  start_items(*lm, run, read_item_vectors(config_.data.item_vectors, run.count), std);
}

// A model that cannot hold a whole history and the item after it would be trained, and then refuse to recommend.
void Run::check_positions() const {
  const int64_t positions = positions_of(*model_, model_config_), most = config_.data.max_items;
  const items::PromptFormat format = items::read_prompt_format(model_config_, "the model's config");
  const int64_t item = item_width_ + (format.items ? 1 : 0) + (format.separator ? 1 : 0);
  const int64_t beside = (format.bos ? 1 : 0) + (format.users ? 1 : 0);
  const int64_t needed = beside + item * (most + 1), fitting = (positions - beside) / item - 1;
  if (positions == 0 || needed <= positions) return;
  std::vector<std::string> ways;
  if (start_ == nullptr) ways.push_back(fmt::format("model.max_position_embeddings to at least {}", needed));
  if (fitting > 0) ways.push_back(fmt::format("data.max_items to at most {}", fitting));
  fail(
      ErrorCode::invalid_argument,
      "data.max_items = {}: a history of so many items and the item after it are {} tokens ({} an item), but the model "
      "has {} positions{}{}",
      most, needed, item, positions, ways.empty() ? "" : ": set ", fmt::join(ways, ", or "));
}

void Run::count_steps() {
  const auto& t = config_.training;
  if (t.steps > 0) {
    total_steps_ = t.steps;
    return;
  }
  PackedBatches batches(train_, {.token_budget = t.batch_tokens,
                                 .max_examples = t.batch_examples,
                                 .shuffle = config_.data.shuffle,
                                 .seed = static_cast<uint64_t>(config_.seed)});
  const auto whole = static_cast<int64_t>(std::floor(t.epochs));
  for (int64_t epoch = 0; epoch < whole; ++epoch) total_batches_ += batches.batches_in_epoch(epoch);
  const double rest = t.epochs - static_cast<double>(whole);
  if (rest > 0)
    total_batches_ += static_cast<int64_t>(std::ceil(rest * static_cast<double>(batches.batches_in_epoch(whole))));
  total_steps_ = (total_batches_ + t.accumulation - 1) / t.accumulation;
}

Json Run::plan() const {
  int64_t parameters = 0, tokens = 0;
  for (const nn::NamedParameter& p : model_->named_parameters()) {
    int64_t size = 1;
    for (const int64_t d : p.parameter->shape) size *= d;
    parameters += size;
  }
  for (int64_t i = 0; i < train_->size(); ++i) tokens += train_->length(i);
  const int64_t moments = config_.optimizer.name == "adamw" ? 2 : 1;
  const int64_t copies = config_.training.precision == "bf16" ? 2 : 0;
  return {{"model_type", get_string(model_config_, "model_type", "config")},
          {"parameters", parameters},
          {"vocabulary", get_int(model_config_, "vocab_size", "config")},
          {"training_examples", train_->size()},
          {"training_tokens", tokens},
          {"validation_examples", validation_ ? validation_->size() : 0},
          {"steps", total_steps_},
          {"state_bytes", parameters * (4 * (2 + moments + (config_.training.ema_decay > 0 ? 1 : 0)) + copies)}};
}

// --- training --------------------------------------------------------------------------------------------------------

TrainerOptions Run::trainer_options() const {
  const auto& c = config_;
  TrainerOptions t;
  t.folder = c.output;
  t.total_steps = total_steps_;
  t.total_batches = total_batches_;
  t.accumulation = c.training.accumulation;
  t.clip_norm = c.training.clip_norm;
  t.ema_decay = c.training.ema_decay;
  t.log_every = c.log.every;
  t.evaluate_every = c.evaluation.every;
  t.sample_every = c.sample.every;
  t.save_every = c.save.every;
  t.keep_last = c.save.keep_last;
  t.keep_best = c.save.keep_best;
  t.metric = c.evaluation.metric;
  t.higher_is_better = higher_is_better(c.evaluation.metric);
  t.patience = c.evaluation.patience;
  t.max_bad_steps = c.training.max_bad_steps;
  t.seed = static_cast<uint64_t>(c.seed);
  t.gradient_checkpointing = c.training.gradient_checkpointing;
  t.save_dtype = c.save.dtype;
  t.objective = objective_options(c);
  t.store.precision = c.training.precision == "bf16" ? Precision::bf16 : Precision::fp32;
  t.store.no_decay.clear();
  for (const std::string& role : c.optimizer.no_decay) t.store.no_decay.push_back(parse_role(role));
  t.optimizer = c.optimizer.name;
  t.optimizer_options = optimizer_options(c);
  t.schedule = schedule_options(c, total_steps_);
  t.side_files = side_files_;
  t.processes = hooks_.processes;
  t.shard_optimizer = c.parallel.shard_optimizer;
  return t;
}

std::string Run::sample(models::Head& model) const {
  auto* lm = dynamic_cast<models::CausalLm*>(&model);
  if (lm == nullptr || !hooks_.continue_tokens || !tokenizer_ || sample_prompt_.empty()) return "";
  const std::vector<int32_t> ids = hooks_.continue_tokens(*lm, sample_prompt_, config_.sample.max_new_tokens);
  return tokenizer_->decode(ids);
}

Metrics Run::evaluate(models::Head& model) const {
  Metrics metrics = evaluate_objective(model, find_objective(config_.training.objective), validation_,
                                       config_.evaluation.batch_tokens, "validation", hooks_.processes);
  auto* lm = dynamic_cast<models::CausalLm*>(&model);
  if (!ranking_ || lm == nullptr) return metrics;
  RankingTask task = *ranking_;
  if (hooks_.processes != nullptr) task.part = hooks_.processes->rank(), task.parts = hooks_.processes->size();
  auto [ranked, users] = hooks_.rank_items(*lm, task);
  if (task.parts > 1) {  // the mean of all users from the parts' means
    std::vector<double> sums = {static_cast<double>(users)};
    for (const auto& [name, value] : ranked) sums.push_back(users > 0 ? value * static_cast<double>(users) : 0);
    hooks_.processes->sum(sums);
    size_t i = 0;
    for (auto& [name, value] : ranked) value = sums[++i] / std::max(1.0, sums[0]);
  }
  metrics.merge(ranked);
  return metrics;
}

TrainerHooks Run::trainer_hooks() {
  TrainerHooks hooks{.progress = hooks_.progress, .say = hooks_.say, .interrupted = hooks_.interrupted};
  if (validation_) hooks.evaluate = [this](models::Head& model) { return evaluate(model); };
  if (config_.sample.every > 0) hooks.sample = [this](models::Head& model) { return sample(model); };
  return hooks;
}

void Run::prepare_folder(RunMode mode) const {
  const std::string& folder = config_.output;
  const std::string saved = saved_settings(folder);
  check(mode != RunMode::fresh || !holds_run(folder), ErrorCode::invalid_argument,
        "{} holds a run already: --resume continues it, --overwrite begins anew, --output names another folder",
        folder);
  if (mode == RunMode::overwrite) {
    const auto& data = config_.data;
    remove_run(folder, {{"model.path", config_.model.path},
                        {"data.tokenizer", data.tokenizer},
                        {"data.train", data.train},
                        {"data.validation", data.validation},
                        {"data.dataset", data.dataset},
                        {"data.codes", data.codes},
                        {"data.item_vectors", data.item_vectors}});
  }
  if (mode == RunMode::resume && file_exists(saved) && hooks_.say) {
    const std::vector<std::string> changed = differences(read_config(saved), config_);
    if (!changed.empty())
      hooks_.say(fmt::format("the settings differ from those in {}; the run goes on with the new ones: {}", saved,
                             fmt::join(changed, ", ")));
  }
}

// Only once the run goes on with them: settings that the checkpoint does not fit would leave a run that nobody resumes.
void Run::keep_settings() const {
  for_all([&] { write_file(saved_settings(config_.output), to_toml(config_)); });
}

void Run::for_all(const std::function<void()>& work) const {
  if (hooks_.processes == nullptr) return work();
  together(*hooks_.processes, [&] {
    if (writes()) work();
  });
}

bool Run::writes() const { return hooks_.processes == nullptr || hooks_.processes->rank() == 0; }

Outcome Run::execute(RunMode mode) {
  PackedBatches batches(train_, {.token_budget = config_.training.batch_tokens,
                                 .max_examples = config_.training.batch_examples,
                                 .shuffle = config_.data.shuffle,
                                 .seed = static_cast<uint64_t>(config_.seed)});
  Trainer trainer(*model_, find_objective(config_.training.objective), batches, trainer_options(), trainer_hooks());
  start_.reset();  // the trainer has its weights: no mapped file is kept for them
  std::unique_ptr<const FileLock> lock;
  for_all([&] {
    lock = lock_run_folder(config_.output);
    prepare_folder(mode);
  });
  if (mode == RunMode::resume && !trainer.resume() && hooks_.say)
    hooks_.say("there is no checkpoint to resume from: the run begins at step 0");
  if (mode != RunMode::resume && !config_.model.path.empty() && hooks_.say) warn_of_default_rate(config_, hooks_.say);
  keep_settings();
  const Outcome outcome = trainer.run();
  metrics_ = trainer.metrics();
  if (!writes()) return outcome;
  write_file(config_.output + "/report.html", make_report(config_.output, metrics_, to_toml(config_), plan()));
  return outcome;
}

}  // namespace caravan::train
