// What the parts of `caravan recommend` share: the model with its look-up, what is asked for, and how an answer looks.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "caravan/base/json.h"
#include "caravan/cli/command.h"
#include "caravan/cli/model_options.h"
#include "caravan/generate/recommender.h"

namespace caravan::cli {

struct RecommendOptions {
  ModelOptions model;
  std::string history, user, input, output = "-", seen = "exclude";
  int64_t count = 10, batch_tokens = generate::RecommenderOptions{}.batch_tokens;
  std::optional<int64_t> beams;       // none: 50, or as many as items are asked for
  std::optional<double> item_weight;  // none: the checkpoint's
  bool json = false, explain = false, full_vocabulary = false, overwrite = false;
};

class RecommendSession {
 public:
  RecommendSession(const RecommendOptions& options, const Settings& settings);

  const RecommendOptions& options() const { return options_; }
  const items::Catalogue& catalogue() const { return model_.items.catalogue; }
  const items::ItemLookup& lookup() const { return lookup_; }

  // One answer a history, in order; the user's id of each may be empty.
  std::vector<std::vector<generate::Recommendation>> recommend(std::span<const std::vector<int32_t>> histories,
                                                               std::span<const std::string> users);

  std::string table(std::span<const int32_t> history, std::span<const generate::Recommendation> found);
  Json json(std::span<const int32_t> history, std::span<const generate::Recommendation> found);

 private:
  RecommendOptions options_;
  generate::ItemModel model_;
  items::ItemLookup lookup_;
  generate::Recommender recommender_;
};

// --input to --output: a history a line, an answer a line.
void recommend_file(RecommendSession& session, const Settings& settings);

}  // namespace caravan::cli
