#include "caravan/cli/model_recommender.h"

#include <algorithm>
#include <memory>

#include "caravan/base/error.h"
#include "caravan/cli/number_options.h"

namespace caravan::cli {
namespace {

class ModelRecommender {
 public:
  ModelRecommender(const std::string& folder, const models::LoadOptions& load, const data::Dataset& data,
                   const generate::RecommenderOptions& options)
      : model_(generate::load_item_model(folder, load)), recommender_(model_, options), beams_(options.beams) {
    const items::Catalogue& own = model_.items.catalogue;
    to_data_.assign(static_cast<size_t>(own.size()), data::kNoItem);
    for (int64_t i = 0; i < data.items.size(); ++i) {
      const auto found = own.find(data.items[i].id);
      check(found.has_value(), ErrorCode::invalid_argument,
            "{}: the model does not know the item '{}' of the dataset; train it on this dataset", folder,
            data.items[i].id);
      to_model_.push_back(*found);
      to_data_[static_cast<size_t>(*found)] = static_cast<int32_t>(i);
    }
  }

  std::vector<std::vector<int32_t>> operator()(std::span<const eval::Request> requests, int64_t k) {
    std::vector<std::vector<int32_t>> histories, excluded;
    std::vector<generate::RecommendRequest> asked;
    for (const eval::Request& request : requests) {
      histories.push_back(translate(request.history, to_model_));
      excluded.push_back(translate(request.exclude, to_model_));
      asked.push_back(
          {.history = histories.back(), .exclude = excluded.back(), .user = request.user});  // elements stay in place
    }
    std::vector<std::vector<int32_t>> ranked;
    for (const auto& found : recommender_.recommend(asked, std::min(k, beams_))) {
      ranked.emplace_back();
      for (const auto& one : found) ranked.back().push_back(to_data_[static_cast<size_t>(one.item)]);
      ranked.back().resize(static_cast<size_t>(k), data::kNoItem);
    }
    return ranked;
  }

 private:
  static std::vector<int32_t> translate(std::span<const int32_t> items, const std::vector<int32_t>& map) {
    std::vector<int32_t> out;
    for (int32_t item : items) out.push_back(map[static_cast<size_t>(item)]);
    return out;
  }

  generate::ItemModel model_;
  generate::Recommender recommender_;
  int64_t beams_;
  std::vector<int32_t> to_model_, to_data_;  // item indexes; an item that the dataset lacks: data::kNoItem
};

}  // namespace

void add_item_weight(CLI::App& app, std::optional<double>& weight) {
  app.add_option("--item-weight", weight,
                 "a model that learned codes and items: the items' own score in the order, from 0 (codes alone) to 1 "
                 "(default: the checkpoint's)")
      ->check(real(0, 1));
}

eval::Recommender model_recommender(const std::string& folder, const models::LoadOptions& load,
                                    const data::Dataset& data, const generate::RecommenderOptions& options) {
  const auto model = std::make_shared<ModelRecommender>(folder, load, data, options);
  return [model](std::span<const eval::Request> requests, int64_t k) { return (*model)(requests, k); };
}

}  // namespace caravan::cli
