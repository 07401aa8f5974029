// `caravan eval recommend`: the leave-one-out (or time split) protocol over a dataset folder. A recommender is a
// function (histories, K) -> ranked items (eval/recommend.h); the ones that are known here stand in recommenders().
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>

#include "caravan/base/error.h"
#include "caravan/cli/eval.h"
#include "caravan/cli/interrupt.h"
#include "caravan/cli/log.h"
#include "caravan/cli/model_options.h"
#include "caravan/cli/model_recommender.h"
#include "caravan/cli/number_options.h"
#include "caravan/cli/output.h"
#include "caravan/cli/progress.h"
#include "caravan/data/dataset.h"
#include "caravan/eval/baselines.h"
#include "caravan/eval/seeds.h"

namespace caravan::cli {
namespace {

struct Options {
  ModelOptions model;  // what all of `models` have in common
  std::vector<std::string> models;
  generate::RecommenderOptions search;
  std::string data, split = "test", targets = "next", seen = "exclude";
  std::vector<std::string> baselines;
  std::vector<int64_t> ks = {5, 10};
  eval::BaselineOptions baseline;
  int64_t max_users = 0;
  bool json = false;
};

struct Named {
  std::string name;
  eval::Recommender recommend;
  bool model = false;
};

std::vector<Named> recommenders(const Options& options, const data::Dataset& data, const Settings& settings) {
  std::vector<std::string> names = options.baselines;
  check(!names.empty() || !options.models.empty(), ErrorCode::invalid_argument,
        "eval recommend: what is to be measured? -m MODEL, --baseline NAME (or 'all'), or both");
  const int64_t longest = options.ks.empty() ? 0 : *std::max_element(options.ks.begin(), options.ks.end());
  check(options.models.empty() || options.search.beams >= longest, ErrorCode::invalid_argument,
        "--beams {} cannot find {} items: give at least as many beams as the longest list", options.search.beams,
        longest);
  if (names == std::vector<std::string>{"all"}) names = eval::baseline_names();
  std::vector<Named> all;
  for (const std::string& name : names) all.push_back({name, eval::find_baseline(name, data, options.baseline)});
  for (const std::string& model : options.models) {
    all.push_back({.name = model,
                   .recommend = model_recommender(model, load_options(options.model, settings), data, options.search),
                   .model = true});
  }
  return all;
}

// --seen exclude, include or both, as the protocol's flag.
std::vector<bool> seen_modes(const std::string& seen) {
  if (seen == "both") return {true, false};
  check(seen == "exclude" || seen == "include", ErrorCode::invalid_argument,
        "--seen: expected exclude, include or both, got '{}'", seen);
  return {seen == "exclude"};
}

std::string notes(const eval::Evaluation& e) {
  std::string text = fmt::format("{} user{}", with_commas(static_cast<uint64_t>(e.users)), e.users == 1 ? "" : "s");
  const auto note = [&](int64_t n, std::string_view what) {
    if (n > 0) text += fmt::format("; {} {}", with_commas(static_cast<uint64_t>(n)), what);
  };
  note(e.cold_targets, "with a target that training never saw");
  note(e.seen_targets, "with a target that stands in the history");
  note(e.without_history, "without a history, left out");
  return text;
}

eval::Evaluation evaluate(const data::Dataset& data, const Named& named, eval::Protocol protocol,
                          const Interrupt& interrupt, bool shown) {
  std::optional<Progress> progress;
  protocol.progress = [&](int64_t done, int64_t total) {
    interrupt.check("evaluating");
    if (!progress) progress.emplace(named.name, static_cast<uint64_t>(total), shown, "users");
    progress->update(static_cast<uint64_t>(done));
  };
  return eval::evaluate(data, named.recommend, protocol);
}

void check_given(const CLI::App& app, const Options& options) {
  check_companions(app, !options.models.empty(),
                   {"--beams", "--full-vocabulary", "--item-weight", "--dtype", "--device"}, "a model (-m)");
  const bool counts = std::ranges::any_of(options.baselines, [](const std::string& name) {
    return name == "markov" || name == "item-knn" || name == "all";
  });
  check_companions(app, counts, {"--last", "--decay"}, "--baseline markov or item-knn");
}

void run(const Options& options, const CLI::App& app, const Settings& settings) {
  eval::Protocol protocol{.ks = options.ks,
                          .part = eval::find_part(options.split),
                          .targets = eval::find_targets(options.targets),
                          .max_users = options.max_users};
  const std::vector<bool> modes = seen_modes(options.seen);
  for (size_t i = 0; i < options.ks.size(); ++i) {
    check(std::find(options.ks.begin(), options.ks.begin() + static_cast<int64_t>(i), options.ks[i]) ==
              options.ks.begin() + static_cast<int64_t>(i),
          ErrorCode::invalid_argument, "--k: the length {} is given twice", options.ks[i]);
  }
  check_given(app, options);
  const data::Dataset data = data::read_dataset(options.data);
  const Interrupt interrupt;
  Json results = Json::array(), seeds = Json::array();
  std::map<bool, std::vector<eval::Evaluation>> of_models;
  for (const Named& named : recommenders(options, data, settings)) {
    for (const bool exclude : modes) {
      protocol.exclude_seen = exclude;
      const eval::Evaluation evaluation = evaluate(data, named, protocol, interrupt, settings.verbosity >= 0);
      if (named.model) of_models[exclude].push_back(evaluation);
      if (options.json) {
        Json result = {{"recommender", named.name}};
        result.update(eval::to_json(evaluation, protocol));
        results.push_back(result);
      } else {
        print(fmt::format("{} ({}, seen items {}): {}\n{}\n", named.name, options.split,
                          exclude ? "excluded" : "included", notes(evaluation), eval::format_table(evaluation)));
      }
    }
  }
  for (const auto& [exclude, evaluations] : of_models) {
    if (evaluations.size() < 2) continue;
    const char* seen = exclude ? "exclude" : "include";
    if (!options.json) {
      print(fmt::format("mean and deviation of {} models (seen items {}d)\n{}\n", evaluations.size(), seen,
                        eval::format_seeds(evaluations)));
    }
    seeds.push_back({{"seen", seen}, {"models", evaluations.size()}, {"metrics", eval::seeds_json(evaluations)}});
  }
  if (!options.json) return;
  Json all = {{"data", options.data}, {"results", results}};
  if (!seeds.empty()) all["seeds"] = seeds;
  print_json(all);
}

}  // namespace

Run setup_eval_recommend(CLI::App& app, const Settings& settings) {
  auto options = std::make_shared<Options>();
  const auto all = CLI::MultiOptionPolicy::TakeAll;
  app.add_option("data,--data", options->data, "dataset folder (caravan items prepare)")->required();
  app.add_option("-m,--model", options->models,
                 "checkpoint of a recommender (caravan train); of several also mean and deviation, as for seeds")
      ->multi_option_policy(all)
      ->allow_extra_args(false);
  app.add_option("--dtype", options->model.dtype, "f32, bf16, f16 (default: the checkpoint's own)");
  app.add_option("--device", options->model.device, "cpu, cuda, cuda:N (default: cpu)");
  app.add_option("--beams,--num-beams", options->search.beams, "the model's: width of the beam search (default: 50)")
      ->check(whole(1, 1 << 20));
  app.add_flag("--full-vocabulary", options->search.full_vocabulary,
               "the model's: normalize scores over all tokens, not over a level's codes");
  add_item_weight(app, options->search.item_weight);
  app.add_option("--baseline", options->baselines,
                 "popularity, popularity-all, markov, item-knn; several by commas; all")
      ->delimiter(',')
      ->multi_option_policy(all)
      ->allow_extra_args(false);
  app.add_option("--k,--ks", options->ks, "list lengths (default: 5,10)")
      ->delimiter(',')
      ->multi_option_policy(all)
      ->allow_extra_args(false)
      ->check(whole(1, 1'000'000));
  app.add_option("--split", options->split, "test or validation (default: test)");
  app.add_option("--targets", options->targets, "next: the next item; all: all items of the part (default: next)");
  app.add_option("--seen", options->seen, "items of the history: exclude, include or both (default: exclude)");
  app.add_option("--max-users", options->max_users, "a sample, the same each time (default: everybody)")
      ->check(whole(1));
  app.add_option("--last", options->baseline.last, "markov, item-knn: items of the history that count (default: 3; 10)")
      ->check(whole(1));
  app.add_option("--decay", options->baseline.decay,
                 "markov, item-knn: weight from one to the item before (default: 1; 0.8)")
      ->check(real_above(0, 1));
  app.add_flag("--json", options->json, "print one JSON object");
  app.footer(
      "Full ranking over all items always. Equal scores are ordered by the dataset's shuffled item "
      "numbering.\n\nExamples:\n"
      "  caravan eval recommend --data beauty --baseline all\n"
      "  caravan eval recommend -m beauty-model --data beauty --beams 50 --baseline item-knn\n"
      "  caravan eval recommend --data beauty --baseline item-knn --k 5,10,20 --seen both --json");
  return [options, &app, &settings] { run(*options, app, settings); };
}

}  // namespace caravan::cli
