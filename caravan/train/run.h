// A run from its settings: reads the data, makes or loads the model, trains.
//
//   Run run(config, {.load_tokenizer = ...});
//   run.plan();                                   // sizes, as JSON, before anything is trained
//   Outcome outcome = run.execute(RunMode::fresh, hooks);
//
// What this folder must not know (how a checkpoint's tokenizer is found, how text is generated) is passed in.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "caravan/formats/checkpoint.h"
#include "caravan/items/codes.h"
#include "caravan/text/tokenizer.h"
#include "caravan/train/config.h"
#include "caravan/train/sources.h"
#include "caravan/train/trainer.h"

namespace caravan::train {

// What a ranking metric is measured on: the leave-one-out validation items of a dataset.
struct RankingTask {
  const data::Dataset* dataset = nullptr;
  const ItemTokens* tokens = nullptr;
  items::PromptFormat format;
  RankingMetric metric;
  int64_t users = 0, beams = 50;  // users: 0 for all
  int64_t part = 0, parts = 1;    // of several processes each ranks its part of the users
};

struct RunHooks {
  std::function<std::optional<text::Tokenizer>(const formats::Checkpoint&)> load_tokenizer = {};
  // tokenizer.json and its companions, made from the vocabulary of a checkpoint that has no such files (a GGUF).
  std::function<std::map<std::string, std::string>(const formats::Checkpoint&)> make_tokenizer_files = {};
  // Tokens that the model puts after the prompt.
  std::function<std::vector<int32_t>(models::CausalLm&, const std::vector<int32_t>& prompt, int64_t count)>
      continue_tokens = {};
  // "recall@10" and so on of a full ranking, at the task's K; and over how many users they are means.
  std::function<std::pair<Metrics, int64_t>(models::CausalLm&, const RankingTask&)> rank_items = {};
  std::function<void(const StepReport&)> progress = {};
  std::function<void(const std::string&)> say = {};
  std::function<bool()> interrupted = {};
  Communicator* processes = nullptr;  // of this run; none: this one alone
};

enum class RunMode { fresh, resume, overwrite };

class Run {
 public:
  Run(TrainConfig config, RunHooks hooks);

  Json plan() const;  // parameters, examples, batches, steps, bytes of weights and optimizer
  // Throws invalid_argument where the folder holds a run and the mode is fresh, busy where another process trains
  // there.
  Outcome execute(RunMode mode);
  const TrainConfig& config() const { return config_; }  // resolved: vocab_size and the like are filled in
  const std::vector<Json>& metrics() const { return metrics_; }

 private:
  void load_tokenizer();
  void read_tokenizer(const std::string& path);
  void load_tokens();
  void load_items();
  ItemTokens tokens_of(const items::ItemCodes& codes, const items::FindToken& find) const;
  items::PromptFormat prompt_format(const items::ItemCodes& codes, const items::FindToken& find) const;
  void prepare_ranking(data::Dataset dataset, ItemTokens tokens, const items::PromptFormat& format);
  void make_model();
  void start_item_tokens(double std);
  void check_positions() const;
  void count_steps();
  void prepare_folder(RunMode mode) const;
  void keep_settings() const;
  bool writes() const;                                    // of several processes the first one
  void for_all(const std::function<void()>& work) const;  // done by that one; where it fails all end
  TrainerOptions trainer_options() const;
  TrainerHooks trainer_hooks();
  Metrics evaluate(models::Head& model) const;
  std::string sample(models::Head& model) const;

  TrainConfig config_;
  RunHooks hooks_;
  std::unique_ptr<formats::Checkpoint> start_;  // of model.path
  std::shared_ptr<text::Tokenizer> tokenizer_;
  std::map<std::string, std::string> side_files_;
  Json model_config_ = Json::object();
  std::unique_ptr<models::Head> model_;
  std::shared_ptr<TokenExamples> train_, validation_;
  data::Dataset dataset_;   // of a ranking metric; else empty
  ItemTokens item_tokens_;  // the same
  std::optional<RankingTask> ranking_;
  std::vector<int32_t> sample_prompt_;
  int64_t item_width_ = 0;  // tokens of the deepest item
  int64_t total_steps_ = 0, total_batches_ = 0;
  std::vector<Json> metrics_;
};

}  // namespace caravan::train
