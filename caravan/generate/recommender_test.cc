// The recommender against transformers (tests/golden/recommend, made by scripts/golden/recommend.py), the engine's
// constrained beam search, and scoring every item one by one.
#include "caravan/generate/recommender.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <set>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/base/json.h"
#include "caravan/base/temporary_folder.h"
#include "caravan/generate/engine.h"
#include "caravan/generate/resemblance.h"

namespace caravan::generate {
namespace {

const std::string kFolder = std::string(CARAVAN_SOURCE_DIR) + "/tests/golden/recommend";

ItemModel golden_model() { return load_item_model(kFolder, {.dtype = at::kFloat}); }

// A random model whose words are the codes of random items; equal seeds give equal models.
struct RandomModel {
  std::unique_ptr<models::CausalLm> lm;
  std::vector<std::vector<int32_t>> tokens;
  items::Trie trie;
};

RandomModel random_model(int64_t items, std::vector<int32_t> sizes, uint64_t seed, bool tied = false) {
  RandomModel made;
  std::mt19937 random(static_cast<uint32_t>(seed));
  const int32_t vocabulary = 3 + std::accumulate(sizes.begin(), sizes.end(), 0);
  for (int64_t i = 0; i < items; ++i) {
    int32_t first = 3;
    auto& row = made.tokens.emplace_back();
    for (int32_t size : sizes) {
      row.push_back(first + static_cast<int32_t>(random() % static_cast<uint32_t>(size)));
      first += size;
    }
  }
  made.trie = items::Trie(made.tokens);
  Json config = models::find_family("llama").tiny_config();
  config["vocab_size"] = vocabulary;
  config["tie_word_embeddings"] = tied;
  made.lm = std::make_unique<models::CausalLm>(config);
  nn::initialize(*made.lm, {.std = 0.4, .seed = seed});
  return made;
}

std::vector<TrieQuery> random_queries(const RandomModel& model, int64_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<TrieQuery> queries(count);
  for (TrieQuery& query : queries) {
    for (size_t n = 1 + random() % 12; n > 0; --n) {
      const auto& item = model.tokens[random() % model.tokens.size()];
      query.prompt.insert(query.prompt.end(), item.begin(), item.end());
    }
  }
  return queries;
}

// Scores of what follows these tokens, [V].
Tensor next_logits(models::CausalLm& lm, const std::vector<int32_t>& ids) {
  const torch::InferenceMode guard;
  nn::Step step = nn::Step::packed(std::vector<int64_t>{std::ssize(ids)});
  const Tensor logits = lm.forward(at::tensor(at::ArrayRef<int32_t>(ids)).to(at::kLong), step);
  return logits[-1].to(at::kFloat);
}

float score_of(RandomModel& model, std::vector<int32_t> prompt, const std::vector<int32_t>& item, bool full) {
  float score = 0;
  for (size_t level = 0; level < item.size(); ++level) {
    Tensor logits = next_logits(*model.lm, prompt);
    const auto tokens = model.trie.level_tokens(static_cast<int64_t>(level));
    const Tensor among = at::tensor(at::ArrayRef<int32_t>(tokens.data(), tokens.size())).to(at::kLong);
    const Tensor normalizer = at::logsumexp(full ? logits : logits.index_select(0, among), 0);
    score += (logits[item[level]] - normalizer).item<float>();
    prompt.push_back(item[level]);
  }
  return score;
}

TEST(Recommender, ALlamaRecCheckpointHasTransformersLogitsBeforeAndAfterSaving) {
  ItemModel model = golden_model();
  const Json expected = parse_json(read_file(kFolder + "/expected.json"), "expected.json");
  std::vector<int32_t> ids = {1};
  for (int32_t item : {0, 1}) ids.insert(ids.end(), model.tokens[item].begin(), model.tokens[item].end());
  const TemporaryFolder folder;
  models::save_model(*model.lm, folder / "saved");
  const auto saved = models::load_causal_lm(folder / "saved");
  EXPECT_EQ(saved->config().at("model_type"), "llama-rec");
  EXPECT_TRUE(saved->config().contains("item_prompt"));
  for (models::CausalLm* lm : {model.lm.get(), saved.get()}) {
    const Tensor logits = next_logits(*lm, ids);
    for (int64_t i = 0; i < logits.numel(); ++i) {
      EXPECT_NEAR(logits[i].item<float>(), expected.at("logits")[i].get<float>(), 1e-4);
    }
  }
}

// Scores that are no numbers have no order: an error, not items.
TEST(Recommender, BrokenWeightsAreAnError) {
  for (const bool full : {false, true}) {
    RandomModel model = random_model(30, {4, 5}, 3);
    for (const nn::NamedParameter& p : model.lm->named_parameters()) {
      if (p.name == "model.norm.weight") p.parameter->value.fill_(std::nanf(""));
    }
    TrieSearch search(*model.lm, model.trie, {.beams = 5, .full_vocabulary = full});
    EXPECT_THROW(search.run(random_queries(model, 1, 1)[0]), Error) << full;
  }
}

// The random model, whose head has rows for the items themselves as well.
struct DenseModel {
  RandomModel made;
  items::PromptFormat prompt;
};

DenseModel dense_model(int64_t count, uint64_t seed, bool tied) {
  DenseModel dense{.made = random_model(count, {4, 5, 6}, seed), .prompt = {.bos = 1}};
  Json config = dense.made.lm->config();
  const auto first = config["vocab_size"].get<int64_t>();
  dense.prompt.items = items::OwnTokens{.run = {.first = first, .count = count}, .weight = 0.3};
  config["vocab_size"] = first + count;
  config["tie_word_embeddings"] = tied;
  dense.made.lm = std::make_unique<models::CausalLm>(config);
  nn::initialize(*dense.made.lm, {.std = 0.4, .seed = seed});
  return dense;
}

TEST(Recommender, ItemsOwnScoresOrderWhatTheBeamsFound) {
  for (const bool tied : {false, true}) {
    DenseModel dense = dense_model(40, 6, tied);
    const std::vector<int64_t> counts(40, 1);
    const std::vector<int32_t> history = {3, 17, 5};
    const std::vector<int32_t> ids = items::make_prompt(history, dense.made.tokens, dense.prompt);
    const int64_t first = dense.prompt.items->run.first;
    const Tensor own = at::log_softmax(next_logits(*dense.made.lm, ids).slice(0, first, first + 40), 0);
    for (const double weight : {0.0, 0.3, 1.0}) {
      RecommenderOptions options{.beams = 200};
      if (weight != 0.3) options.item_weight = weight;  // that one is the checkpoint's
      Recommender recommender(*dense.made.lm, dense.made.tokens, dense.prompt, counts, options);
      const auto found = recommender.recommend(history, 40);
      ASSERT_EQ(found.size(), 37u);
      for (size_t i = 0; i < found.size(); ++i) {
        const auto& item = dense.made.tokens[static_cast<size_t>(found[i].item)];
        const double expected =
            (1 - weight) * score_of(dense.made, ids, item, false) + weight * own[found[i].item].item<double>();
        EXPECT_NEAR(found[i].score, expected, 1e-3);
        EXPECT_GE(found[i > 0 ? i - 1 : 0].score, found[i].score);
      }
    }
  }
}

TEST(Recommender, ItemsOwnScoresDoNotDependOnTheBatch) {
  DenseModel dense = dense_model(40, 8, true);
  Recommender recommender(*dense.made.lm, dense.made.tokens, dense.prompt, std::vector<int64_t>(40, 1), {.beams = 30});
  std::mt19937 random(3);
  std::vector<std::vector<int32_t>> histories(75);
  std::vector<RecommendRequest> requests;
  for (auto& history : histories) {
    for (size_t n = 1 + random() % 6; n > 0; --n) history.push_back(static_cast<int32_t>(random() % 40));
    requests.push_back({.history = history, .exclude = history});
  }
  const auto together = recommender.recommend(requests, 5);
  for (size_t i = 0; i < requests.size(); i += 7) {
    const auto alone = recommender.recommend(std::span(&requests[i], 1), 5)[0];
    ASSERT_EQ(alone.size(), together[i].size());
    for (size_t k = 0; k < alone.size(); ++k) {
      EXPECT_EQ(alone[k].item, together[i][k].item) << i;
      EXPECT_NEAR(alone[k].score, together[i][k].score, 1e-5) << i;  // weights as they are: rounding, see below
    }
  }
}

// A history that is read in both directions: scores are those of one pass over history and codes with the same mask.
// Codes that are independent given the history: every item's score is the sum of its levels' log probabilities.
TEST(Recommender, ParallelCodesRankEveryItemByTheSumOfItsLevels) {
  RandomModel made = random_model(60, {5, 6, 4}, 8);
  const std::vector<int64_t> popularity(60, 1);
  Recommender recommender(*made.lm, made.tokens, {.bos = 1, .parallel = true}, popularity, {});
  const std::vector<int32_t> history = {3, 17, 4}, excluded = {3, 4, 17};
  std::vector<int32_t> prompt = {1};
  for (const int32_t item : history) prompt.insert(prompt.end(), made.tokens[item].begin(), made.tokens[item].end());
  const Tensor logits = next_logits(*made.lm, prompt);
  std::vector<Tensor> levels;
  for (int64_t level = 0; level < 3; ++level) {
    const auto tokens = made.trie.level_tokens(level);
    const Tensor among = at::tensor(at::ArrayRef<int32_t>(tokens.data(), tokens.size())).to(at::kLong);
    levels.push_back(logits - at::logsumexp(logits.index_select(0, among), 0));
  }
  const auto score = [&](int32_t item) {
    float sum = 0;
    for (size_t level = 0; level < 3; ++level) sum += levels[level][made.tokens[item][level]].item<float>();
    return sum;
  };
  const auto found = recommender.recommend(history, 100);
  ASSERT_EQ(found.size(), 57u);
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_FALSE(std::binary_search(excluded.begin(), excluded.end(), found[i].item));
    EXPECT_NEAR(found[i].score, score(found[i].item), 1e-4);
    if (i > 0) EXPECT_LE(found[i].score, found[i - 1].score);
  }
  std::vector<RecommendRequest> requests(40, {.history = history, .exclude = history});
  const std::vector<int32_t> other = {9};
  for (size_t i = 0; i < requests.size(); i += 3) requests[i] = {.history = other, .exclude = {}};
  const auto many = recommender.recommend(requests, 7);
  for (size_t i = 0; i < many.size(); ++i) {
    ASSERT_EQ(many[i].size(), 7u);
    if (i % 3 == 0) continue;
    for (size_t k = 0; k < 7; ++k) {
      EXPECT_EQ(many[i][k].item, found[k].item);
      EXPECT_EQ(many[i][k].score, found[k].score);  // to the bit, whoever runs beside
    }
  }
}

TEST(Recommender, APrefixIsReadInBothDirections) {
  RandomModel made = random_model(30, {4, 5, 6}, 12);
  const std::vector<int64_t> counts(30, 1);
  const items::PromptFormat prompt{.prefix = true};
  Recommender both(*made.lm, made.tokens, prompt, counts, {.beams = 200});
  Recommender causal(*made.lm, made.tokens, {}, counts, {.beams = 200});
  const std::vector<int32_t> history = {3, 17, 5, 9};
  const auto found = both.recommend(history, 26);
  ASSERT_EQ(found.size(), 26u);
  const std::vector<int32_t> ids = items::make_prompt(history, made.tokens, prompt);
  double apart = 0;
  for (const Recommendation& r : found) {
    std::vector<int32_t> all = ids;
    const auto& item = made.tokens[static_cast<size_t>(r.item)];
    all.insert(all.end(), item.begin(), item.end() - 1);
    nn::Step step = nn::Step::packed(std::vector<int64_t>{std::ssize(all)});
    step.prefixes = {std::ssize(ids)};
    const torch::InferenceMode guard;
    const Tensor logits = made.lm->forward(at::tensor(at::ArrayRef<int32_t>(all)).to(at::kLong), step);
    float score = 0;
    for (size_t level = 0; level < item.size(); ++level) {
      const auto tokens = made.trie.level_tokens(static_cast<int64_t>(level));
      const Tensor row = logits[std::ssize(ids) - 1 + static_cast<int64_t>(level)];
      const Tensor among = at::tensor(at::ArrayRef<int32_t>(tokens.data(), tokens.size())).to(at::kLong);
      score += (row[item[level]] - at::logsumexp(row.index_select(0, among), 0)).item<float>();
    }
    EXPECT_NEAR(r.score, score, 1e-4);
    apart = std::max<double>(apart, std::abs(score - score_of(made, ids, item, false)));
  }
  EXPECT_GT(apart, 0.01);  // the mask does something
}

TEST(Recommender, AWeightNeedsItemsWithTokens) {
  RandomModel made = random_model(20, {4, 5}, 3);
  const std::vector<int64_t> counts(20, 1);
  EXPECT_THROW(Recommender(*made.lm, made.tokens, {}, counts, {.item_weight = 0.5}), Error);
  EXPECT_NO_THROW(Recommender(*made.lm, made.tokens, {}, counts, {.item_weight = 0.0}));
  DenseModel dense = dense_model(40, 6, true);
  dense.prompt.items->run.count = 39;
  EXPECT_THROW(Recommender(*dense.made.lm, dense.made.tokens, dense.prompt, std::vector<int64_t>(40, 1), {}), Error);
}

TEST(Recommender, FindsWhatTransformersFindsWithPrefixAllowedTokens) {
  ItemModel model = golden_model();
  const Json expected = parse_json(read_file(kFolder + "/expected.json"), "expected.json");
  for (const Json& c : expected.at("cases")) {
    Recommender recommender(model, {.beams = c.at("beams").get<int64_t>(), .full_vocabulary = true});
    const auto history = c.at("history").get<std::vector<int32_t>>();
    TrieQuery query{.prompt = items::make_prompt(history, model.tokens, model.prompt)};
    if (c.at("exclude_seen").get<bool>()) query.banned = covered_nodes(recommender.trie(), history);
    TrieSearch search(*model.lm, recommender.trie(), {.beams = c.at("beams").get<int64_t>(), .full_vocabulary = true});
    const auto found = search.run(query);
    const auto tokens = c.at("tokens").get<std::vector<std::vector<int32_t>>>();
    const auto scores = c.at("scores").get<std::vector<float>>();
    ASSERT_EQ(found.size(), tokens.size());
    for (size_t i = 0; i < found.size(); ++i) {
      EXPECT_EQ(found[i].node, recommender.trie().find(tokens[i])) << "place " << i;
      EXPECT_NEAR(found[i].score, scores[i], 1e-4);
    }
  }
}

TEST(Recommender, EqualsTheEnginesConstrainedBeamSearch) {
  RandomModel model = random_model(200, {9, 9, 7, 5}, 3);
  TrieSearch search(*model.lm, model.trie, {.beams = 10, .full_vocabulary = true});
  Engine engine(*model.lm);
  const auto constraint = std::make_shared<TrieConstraint>(model.tokens);
  for (const TrieQuery& query : random_queries(model, 20, 1)) {
    GenerationConfig config;
    config.num_beams = config.num_return_sequences = 10;
    config.max_new_tokens = 4;
    config.length_penalty = 0;
    const auto expected = engine.generate({.prompt = query.prompt, .config = config, .constraint = constraint});
    const auto found = search.run(query);
    ASSERT_EQ(found.size(), expected.sequences.size());
    for (size_t i = 0; i < found.size(); ++i) {
      EXPECT_EQ(found[i].node, model.trie.find(expected.sequences[i].ids));
      EXPECT_NEAR(found[i].score, expected.sequences[i].score, 1e-4);
    }
  }
}

TEST(Recommender, WideBeamsRankEveryItemByItsScore) {
  for (const bool full : {false, true}) {
    for (const bool tied : {false, true}) {
      RandomModel model = random_model(40, {5, 4, 3}, 9, tied);
      TrieSearch search(*model.lm, model.trie, {.beams = 64, .full_vocabulary = full});
      for (const TrieQuery& query : random_queries(model, 3, 2)) {
        std::vector<std::pair<float, int32_t>> all;
        std::set<std::vector<int32_t>> distinct(model.tokens.begin(), model.tokens.end());
        for (const auto& item : distinct) {
          all.emplace_back(-score_of(model, query.prompt, item, full), model.trie.find(item));
        }
        std::sort(all.begin(), all.end());
        const auto found = search.run(query);
        ASSERT_EQ(found.size(), all.size());
        for (size_t i = 0; i < all.size(); ++i) {
          EXPECT_NEAR(found[i].score, -all[i].first, 1e-4);
          if (i + 1 < all.size() && all[i + 1].first - all[i].first > 1e-3 &&
              (i == 0 || all[i].first - all[i - 1].first > 1e-3))
            EXPECT_EQ(found[i].node, all[i].second);
        }
      }
    }
  }
}

TEST(Recommender, ItemsOfDifferentDepthAreFound) {
  RandomModel model = random_model(60, {5, 4, 3}, 4);
  for (size_t i = 0; i < model.tokens.size(); ++i) model.tokens[i].resize(1 + i % 3);
  model.trie = items::Trie(model.tokens);
  TrieSearch search(*model.lm, model.trie, {.beams = 100});
  const TrieQuery query{.prompt = {3, 4}};
  const auto found = search.run(query);
  std::set<int32_t> nodes, expected;
  for (const FoundPath& path : found) {
    nodes.insert(path.node);
    std::vector<int32_t> sequence;
    for (int32_t n = path.node; n != items::Trie::kRoot; n = model.trie.parent(n))
      sequence.push_back(model.trie.token(n));
    std::reverse(sequence.begin(), sequence.end());
    EXPECT_NEAR(path.score, score_of(model, query.prompt, sequence, false), 1e-4);
  }
  for (int32_t i = 0; i < model.trie.item_count(); ++i) expected.insert(model.trie.node_of(i));
  EXPECT_EQ(nodes, expected);
}

TEST(Recommender, PanelsGiveTheSameScores) {
  for (const bool full : {false, true}) {
    RandomModel model = random_model(300, {16, 16, 8}, 5);
    const auto queries = random_queries(model, 12, 3);
    // The plain one first: a model keeps its panels.
    const auto plain = TrieSearch(*model.lm, model.trie, {.beams = 7, .full_vocabulary = full}).run(queries);
    const auto in_panels =
        TrieSearch(*model.lm, model.trie, {.beams = 7, .full_vocabulary = full, .panels = true}).run(queries);
    for (size_t i = 0; i < plain.size(); ++i) {
      ASSERT_EQ(plain[i].size(), in_panels[i].size());
      for (size_t k = 0; k < plain[i].size(); ++k) EXPECT_NEAR(plain[i][k].score, in_panels[i][k].score, 1e-4) << i;
    }
  }
}

bool all_linears_have_panels(const nn::Module& module) {
  const auto* linear = dynamic_cast<const nn::Linear*>(&module);
  bool all = linear == nullptr || linear->has_panels();
  for (const auto& [name, child] : module.children()) all = all && all_linears_have_panels(*child);
  return all;
}

// A bf16 checkpoint's own numbers, with fp32 between products, whose inputs are rounded; quantized ones:
// tests/cli/recommend.test.
TEST(Recommender, RunsFromHalfPrecisionWeights) {
  const TemporaryFolder folder;
  const std::string path = folder / "bf16";
  models::save_model(*load_item_model(kFolder, {.dtype = at::kBFloat16}).lm, path);
  for (const char* file : {"codes.json", "items.jsonl", "tokenizer.json"})
    std::filesystem::copy_file(kFolder + "/" + file, path + "/" + file);
  ItemModel model = load_item_model(path), plain = load_item_model(path, {.dtype = at::kFloat});
  EXPECT_EQ(activation_dtype(*model.lm), at::kFloat);
  EXPECT_TRUE(model.lm->backbone().input_embedding().weight.packed.defined());
  const std::vector<int32_t> history = {1, 2, 3};
  const auto found = Recommender(model).recommend(history, 5), wanted = Recommender(plain).recommend(history, 5);
  ASSERT_EQ(found.size(), wanted.size());
  for (size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i].score, wanted[i].score, 0.25) << i;
}

TEST(Recommender, MakesPanelsWhenAsked) {
  for (const bool panels : {false, true}) {
    RandomModel model = random_model(50, {8, 8}, 5);
    const std::vector<int64_t> popularity(50, 1);
    const Recommender recommender(*model.lm, model.tokens, {}, popularity, {.beams = 7, .panels = panels});
    EXPECT_EQ(all_linears_have_panels(*model.lm), panels);
  }
}

// With panels on neither; with weights as they are not on the batch, with one thread.
TEST(Recommender, ResultsDoNotDependOnTheBatchOrTheThreads) {
  for (const auto& [full, panels] : {std::pair(false, false), {false, true}, {true, false}, {true, true}}) {
    RandomModel model = random_model(300, {16, 16, 8}, 5);
    const auto queries = random_queries(model, 40, 3);
    const int threads = at::get_num_threads();
    std::vector<std::vector<FoundPath>> first;
    for (const int n : {1, 2, 3}) {
      if (!panels && n > 1) break;  // libtorch may split a sum by the number of threads
      at::set_num_threads(n);
      for (const int64_t batch_tokens : {1, 100, 100000}) {
        const TrieSearchOptions options{
            .beams = 7, .full_vocabulary = full, .batch_tokens = batch_tokens, .panels = panels};
        TrieSearch search(*model.lm, model.trie, options);
        const auto found = search.run(queries);
        if (first.empty()) first = found;
        for (size_t i = 0; i < found.size(); ++i)
          ASSERT_TRUE(found[i] == first[i]) << i << ", batch " << batch_tokens << ", " << n << " threads";
      }
    }
    at::set_num_threads(threads);
  }
}

TEST(Recommender, PromptStatesAreTheLastHiddenStates) {
  RandomModel model = random_model(50, {8, 8}, 7);
  const auto queries = random_queries(model, 9, 5);
  TrieSearch search(*model.lm, model.trie, {.beams = 4, .batch_tokens = 60});
  Tensor states;
  search.run(queries, &states);
  ASSERT_EQ(states.size(0), 9);
  const torch::InferenceMode guard;
  for (size_t i = 0; i < queries.size(); ++i) {
    const std::vector<int32_t>& ids = queries[i].prompt;
    nn::Step step = nn::Step::packed(std::vector<int64_t>{std::ssize(ids)});
    const Tensor hidden = model.lm->hidden(at::tensor(at::ArrayRef<int32_t>(ids)).to(at::kLong), step);
    EXPECT_LT((hidden[-1] - states[static_cast<int64_t>(i)]).abs().max().item<double>(), 1e-5);
  }
}

// Windows, and layers that do not know that only some rows are wanted.
TEST(Recommender, OtherFamiliesRankEveryItemByItsScore) {
  for (const char* family : {"mistral", "qwen3", "sasrec"}) {
    RandomModel model = random_model(40, {5, 4, 3}, 9);
    Json config = models::find_family(family).tiny_config();
    config["vocab_size"] = model.lm->config().at("vocab_size");
    if (config.contains("sliding_window")) config["sliding_window"] = 6;
    model.lm = std::make_unique<models::CausalLm>(config);
    nn::initialize(*model.lm, {.std = 0.4, .seed = 2});
    TrieSearch search(*model.lm, model.trie, {.beams = 64});
    for (const TrieQuery& query : random_queries(model, 3, 2)) {
      const auto found = search.run(query);
      std::set<std::vector<int32_t>> distinct(model.tokens.begin(), model.tokens.end());
      ASSERT_EQ(found.size(), distinct.size());
      for (const auto& item : distinct) {
        const int32_t node = model.trie.find(item);
        const auto at = std::find_if(found.begin(), found.end(), [&](const FoundPath& p) { return p.node == node; });
        ASSERT_NE(at, found.end());
        EXPECT_NEAR(at->score, score_of(model, query.prompt, item, false), 2e-4) << family;
      }
    }
  }
}

TEST(Recommender, TenThousandDecodesNeverLeaveTheTrie) {
  RandomModel model = random_model(100, {30, 30, 30}, 6);
  std::set<int32_t> leaves;
  for (int32_t i = 0; i < model.trie.item_count(); ++i) leaves.insert(model.trie.node_of(i));
  auto queries = random_queries(model, 2000, 4);
  std::mt19937 random(1);
  for (TrieQuery& query : queries) query.prompt.resize(1 + random() % query.prompt.size());  // also within an item
  TrieSearch search(*model.lm, model.trie, {.beams = 5});
  int64_t decoded = 0;
  for (const auto& paths : search.run(queries)) {
    for (const FoundPath& path : paths) {
      ASSERT_TRUE(leaves.contains(path.node));
      ++decoded;
    }
    for (size_t i = 1; i < paths.size(); ++i) ASSERT_GE(paths[i - 1].score, paths[i].score);
  }
  EXPECT_EQ(decoded, 10000);
}

TEST(Recommender, CoveredNodesAreThoseWithNothingElseBelow) {
  // 0 and 1 share a leaf; 2 is beside it; 3 stands above 4.
  const items::Trie trie(std::vector<std::vector<int32_t>>{{1, 2}, {1, 2}, {1, 3}, {5}, {5, 6}});
  const auto nodes = [&](std::vector<std::vector<int32_t>> sequences) {
    std::vector<int32_t> out;
    for (const auto& s : sequences) out.push_back(trie.find(s));
    std::sort(out.begin(), out.end());
    return out;
  };
  const auto covered = [&](std::vector<int32_t> items) { return covered_nodes(trie, items); };
  EXPECT_EQ(covered({0}), nodes({}));
  EXPECT_EQ(covered({0, 1, 1}), nodes({{1, 2}}));
  EXPECT_EQ(covered({2, 0, 1}), nodes({{1}, {1, 2}, {1, 3}}));
  EXPECT_EQ(covered({3}), nodes({}));
  EXPECT_EQ(covered({4, 3}), nodes({{5}, {5, 6}}));
  EXPECT_EQ(covered({0, 1, 2, 3, 4}).size(), 6U);  // the root too
}

TEST(Recommender, SeenItemsStayOutAndTheirBeamsGoToOthers) {
  ItemModel model = golden_model();
  const std::vector<int32_t> history = {5, 9, 5, 20, 33};
  Recommender recommender(model, {.beams = 60});
  const std::vector<RecommendRequest> requests = {{.history = history, .exclude = {}}};
  const auto all = recommender.recommend(requests, 1000)[0], rest = recommender.recommend(history, 1000);
  EXPECT_EQ(all.size(), 60U);
  EXPECT_EQ(rest.size(), 56U);
  std::vector<int32_t> expected, got;
  for (const Recommendation& r : all) {
    if (std::find(history.begin(), history.end(), r.item) == history.end()) expected.push_back(r.item);
  }
  for (const Recommendation& r : rest) got.push_back(r.item);
  EXPECT_EQ(got, expected);
  EXPECT_EQ(recommender.recommend(history, 3).size(), 3U);
}

TEST(Recommender, AllItemsSeenLeavesNothing) {
  ItemModel model = golden_model();
  std::vector<int32_t> history(60);
  std::iota(history.begin(), history.end(), 0);
  EXPECT_TRUE(Recommender(model).recommend(history, 10).empty());
}

TEST(Recommender, WrongCallsAndFoldersGetTheirError) {
  ItemModel model = golden_model();
  EXPECT_THROW(Recommender(model, {.beams = 0}), Error);
  EXPECT_THROW(TrieSearch(*model.lm, items::Trie(), {}), Error);
  EXPECT_THROW(TrieSearch(*model.lm, items::Trie(std::vector<std::vector<int32_t>>{{1000}}), {}), Error);
  Recommender recommender(model);
  EXPECT_THROW(recommender.recommend(std::vector<int32_t>{60}, 1), Error);
  EXPECT_THROW(recommender.recommend(std::vector<int32_t>{-1}, 1), Error);
  EXPECT_FALSE(recommender.recommend(std::vector<int32_t>{}, 1).empty());  // the prompt begins with a bos
  model.prompt.bos.reset();
  EXPECT_THROW(Recommender(model).recommend(std::vector<int32_t>{}, 1), Error);
  model.prompt.max_items = 1000;
  EXPECT_THROW(Recommender(model).recommend(std::vector<int32_t>(30, 1), 1), Error);  // 90 tokens of 64
  const TemporaryFolder folder;
  EXPECT_THROW(load_item_model(folder.path()), Error);
}

TEST(Resemblance, OrdersTheHistoryBySharedCodesThenByCosine) {
  ItemModel model = golden_model();
  // Items 0, 56 and 57 share their tuple.
  const std::vector<int32_t> history = {7, 56, 12, 7, 30};
  const auto like = resembling(model, 57, history, 10);
  ASSERT_EQ(like.size(), 4U);
  EXPECT_EQ(like[0].item, 56);
  EXPECT_EQ(like[0].shared_levels, 3);
  EXPECT_NEAR(like[0].cosine, 1.0, 1e-5);
  for (size_t i = 1; i < like.size(); ++i) {
    EXPECT_GE(like[i - 1].shared_levels, like[i].shared_levels);
    if (like[i - 1].shared_levels == like[i].shared_levels) EXPECT_GE(like[i - 1].cosine, like[i].cosine);
    EXPECT_LE(std::abs(like[i].cosine), 1.0001);
  }
  EXPECT_EQ(resembling(model, 57, history, 2).size(), 2U);
}

}  // namespace
}  // namespace caravan::generate
