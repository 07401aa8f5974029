// The engine: batches equal singles, chunked prefill equals whole, prefixes are shared, sampling is reproducible and
// has the right distribution, speculative decoding changes nothing but the number of model calls.
#include "caravan/generate/engine.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <map>
#include <numeric>

#include "caravan/base/error.h"
#include "caravan/models/load.h"

namespace caravan::generate {
namespace {

models::CausalLm& model(const std::string& name = "llama") {
  static std::map<std::string, std::unique_ptr<models::CausalLm>> loaded;
  auto& lm = loaded[name];
  if (lm == nullptr) {
    lm = models::load_causal_lm(CARAVAN_SOURCE_DIR "/tests/golden/generate/" + name, {.dtype = at::kFloat});
  }
  return *lm;
}

std::vector<int32_t> prompt_of(int32_t seed, int64_t length) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < length; ++i) ids.push_back(4 + static_cast<int32_t>((seed * 31 + i * i * 7 + i) % 90));
  return ids;
}

GenerateRequest request_of(std::vector<int32_t> prompt, const Json& options) {
  GenerateRequest request{.prompt = std::move(prompt)};
  request.config.update(options, "test");
  return request;
}

std::vector<std::vector<int32_t>> ids_of(const GenerateResult& result) {
  std::vector<std::vector<int32_t>> ids;
  for (const auto& sequence : result.sequences) ids.push_back(sequence.ids);
  return ids;
}

const std::vector<Json>& kinds() {
  static const std::vector<Json> list = {
      {{"max_new_tokens", 12}, {"eos_token_id", 1}},
      {{"max_new_tokens", 12}, {"eos_token_id", {1, 2}}, {"num_beams", 4}, {"num_return_sequences", 3}},
      {{"max_new_tokens", 12}, {"do_sample", true}, {"seed", 5}, {"num_return_sequences", 3}, {"eos_token_id", 1}},
      {{"max_new_tokens", 9}, {"do_sample", true}, {"seed", 6}, {"num_beams", 3}, {"top_k", 20}},
      {{"max_new_tokens", 9}, {"num_beams", 4}, {"num_beam_groups", 2}, {"diversity_penalty", 0.7}},
      {{"max_new_tokens", 9}, {"penalty_alpha", 0.5}, {"top_k", 4}},
      {{"max_new_tokens", 12}, {"prompt_lookup_num_tokens", 3}}};
  return list;
}

TEST(Engine, ABatchOfDifferentPromptsAndStrategiesEqualsSingles) {
  std::vector<GenerateRequest> requests;
  for (size_t i = 0; i < kinds().size(); ++i) {
    requests.push_back(request_of(prompt_of(static_cast<int32_t>(i), 3 + 11 * static_cast<int64_t>(i)), kinds()[i]));
  }
  const auto together = Engine(model()).generate(requests);
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_EQ(ids_of(together[i]), ids_of(Engine(model()).generate(requests[i]))) << kinds()[i].dump();
  }
}

TEST(Engine, ChunkedPrefillGivesTheSameTokens) {
  for (const Json& kind : kinds()) {
    const GenerateRequest request = request_of(prompt_of(3, 50), kind);
    const auto whole = Engine(model()).generate(request);
    EXPECT_EQ(ids_of(Engine(model(), {.prefill_chunk = 7}).generate(request)), ids_of(whole)) << kind.dump();
    EXPECT_EQ(ids_of(Engine(model(), {.max_step_tokens = 5}).generate(request)), ids_of(whole)) << kind.dump();
  }
}

// A model whose prompts are read in both directions: greedy search equals one pass after another over all tokens with
// that mask, whatever the chunks, the neighbours and the strategy.
TEST(Engine, APromptThatIsReadInBothDirectionsRunsWhole) {
  const auto lm = models::load_causal_lm(CARAVAN_SOURCE_DIR "/tests/golden/generate/llama", {.dtype = at::kFloat});
  lm->mutable_config()["item_prompt"] = {{"max_items", 10}, {"prefix", true}};
  std::vector<GenerateRequest> requests;
  std::vector<std::vector<int32_t>> expected;
  const std::vector<int32_t> shared = prompt_of(1, 40);
  for (const int32_t i : {0, 1, 2}) {
    std::vector<int32_t> ids = shared;
    for (const int32_t id : prompt_of(50 + i, 3 + 5 * i)) ids.push_back(id);
    requests.push_back(request_of(ids, {{"max_new_tokens", 6}, {"eos_token_id", nullptr}}));
    const int64_t prompt = std::ssize(ids);
    while (std::ssize(ids) < prompt + 6) {
      const torch::InferenceMode guard;
      nn::Step step = nn::Step::packed(std::vector<int64_t>{std::ssize(ids)});
      step.prefixes = {prompt};
      const Tensor logits = lm->forward(at::tensor(at::ArrayRef<int32_t>(ids)).to(at::kLong), step);
      ids.push_back(logits[-1].argmax().item<int32_t>());
    }
    expected.emplace_back(ids.begin() + prompt, ids.end());
  }
  const auto check_all = [&](const EngineOptions& options, const std::string& what) {
    const auto results = Engine(*lm, options).generate(requests);
    for (size_t i = 0; i < requests.size(); ++i) EXPECT_EQ(ids_of(results[i])[0], expected[i]) << what << i;
  };
  check_all({}, "plain ");
  check_all({.prefill_chunk = 7}, "chunks ");
  check_all({.max_step_tokens = 5}, "small steps ");
  check_all({.keep_prefix_tokens = 1000}, "kept prefixes ");
  for (GenerateRequest& request : requests) request.config.update({{"prompt_lookup_num_tokens", 3}}, "test");
  check_all({}, "guesses ");
  bool apart = false;
  for (size_t i = 0; i < requests.size(); ++i)
    apart = apart || ids_of(Engine(model()).generate(requests[i]))[0] != expected[i];
  EXPECT_TRUE(apart);  // the mask does something
}

TEST(Engine, ACommonPrefixRunsThroughTheModelOnce) {
  const std::vector<int32_t> shared = prompt_of(1, 100);
  std::vector<GenerateRequest> requests;
  for (int32_t i = 0; i < 4; ++i) {
    std::vector<int32_t> prompt = shared;
    for (int32_t id : prompt_of(50 + i, 5)) prompt.push_back(id);
    requests.push_back(request_of(prompt, {{"max_new_tokens", 1}}));
  }
  requests.push_back(request_of(shared, {{"max_new_tokens", 1}}));
  Engine engine(model());
  const auto results = engine.generate(requests);
  // The first prompt, then what is different in the others (and the last token of the one that is all prefix).
  EXPECT_EQ(engine.runner().tokens_run(), 105 + 3 * 5 + 1);
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_EQ(ids_of(results[i]), ids_of(Engine(model()).generate(requests[i])));
  }
  EXPECT_EQ(engine.runner().cache().used_pages(), 0);
}

TEST(Engine, PrefixesAreKeptForLaterRequestsWhereAsked) {
  Engine engine(model(), {.keep_prefix_tokens = 1000});
  const GenerateRequest request = request_of(prompt_of(2, 60), {{"max_new_tokens", 4}});
  const auto first = engine.generate(request);
  const auto second = engine.generate(request);
  EXPECT_EQ(first.reused_tokens, 0);
  EXPECT_EQ(second.reused_tokens, 59);
  EXPECT_EQ(ids_of(first), ids_of(second));
}

TEST(Engine, SamplesAndBeamsShareThePromptsPages) {
  Engine engine(model());
  const RequestId id = engine.submit(request_of(prompt_of(4, 320), {{"max_new_tokens", 3}, {"num_beams", 8}}));
  engine.step();
  engine.step();
  EXPECT_LE(engine.runner().cache().used_pages(), 10 + 2 * 8);  // 10 pages of prompt, not 80
  while (engine.step()) {
  }
  EXPECT_TRUE(engine.finished(id));
  EXPECT_EQ(engine.runner().cache().used_pages(), 0);
}

TEST(Engine, RequestsMayJoinARunningEngine) {
  Engine engine(model());
  const GenerateRequest a = request_of(prompt_of(5, 9), {{"max_new_tokens", 15}});
  const GenerateRequest b = request_of(prompt_of(6, 30), {{"max_new_tokens", 6}, {"num_beams", 3}});
  const RequestId first = engine.submit(a);
  for (int i = 0; i < 4; ++i) engine.step();
  const RequestId second = engine.submit(b);
  while (engine.active() > 0) engine.step();
  EXPECT_EQ(ids_of(engine.take(first)), ids_of(Engine(model()).generate(a)));
  EXPECT_EQ(ids_of(engine.take(second)), ids_of(Engine(model()).generate(b)));
  EXPECT_THROW(engine.take(second), Error);
}

TEST(Engine, EmbeddingsOfThePromptGiveTheTokensOfItsIds) {
  const std::vector<int32_t> ids = prompt_of(7, 21);
  for (const Json& kind : kinds()) {
    const GenerateRequest by_ids = request_of(ids, kind);
    GenerateRequest embedded = request_of({}, kind);
    embedded.prompt_embeddings =
        model().backbone().embed(at::tensor(std::vector<int64_t>(ids.begin(), ids.end()), at::kLong)).detach();
    if (kind.contains("prompt_lookup_num_tokens")) continue;  // looks the prompt's ids up
    EXPECT_EQ(ids_of(Engine(model()).generate(embedded)), ids_of(Engine(model()).generate(by_ids))) << kind.dump();
  }
}

TEST(Engine, CancellingReturnsWhatThereIs) {
  for (const Json& kind : kinds()) {
    Engine engine(model());
    GenerateRequest request = request_of(prompt_of(8, 6), kind);
    request.config.max_new_tokens = 1000;
    request.config.eos_token_id = {};
    const RequestId id = engine.submit(request);
    for (int i = 0; i < 5; ++i) engine.step();
    engine.cancel(id);
    const GenerateResult result = engine.take(id);
    ASSERT_FALSE(result.sequences.empty());
    EXPECT_EQ(result.sequences[0].reason, FinishReason::cancelled) << kind.dump();
    EXPECT_GE(std::ssize(result.sequences[0].ids), 4) << kind.dump();
    EXPECT_EQ(engine.runner().cache().used_pages(), 0);
  }
}

TEST(Engine, CancellingBeforeTheFirstTokenAnswersWithNoTokens) {
  for (const Json& kind : kinds()) {
    Engine engine(model());
    const RequestId id = engine.submit(request_of(prompt_of(8, 6), kind));
    engine.cancel(id);
    const GenerateResult result = engine.take(id);
    ASSERT_EQ(std::ssize(result.sequences), kind.value("num_return_sequences", 1)) << kind.dump();
    for (const GeneratedSequence& sequence : result.sequences) {
      EXPECT_TRUE(sequence.ids.empty()) << kind.dump();
      EXPECT_EQ(sequence.reason, FinishReason::cancelled) << kind.dump();
    }
  }
}

// Two beams, of which one ends in the very step before the search is cancelled.
TEST(Engine, ACancelledBeamSearchKeepsTheReasonOfWhatWasFinished) {
  Engine engine(model());
  GenerateRequest request = request_of(
      prompt_of(8, 6), {{"max_new_tokens", 9}, {"num_beams", 2}, {"num_return_sequences", 2}, {"eos_token_id", 1}});
  request.constraint = std::make_shared<FunctionConstraint>([](TokenSpan, TokenSpan generated, auto& allowed) {
    if (generated.empty()) {
      allowed = {5, 6};
    } else {
      allowed = {generated[0] == 5 && generated.size() == 1 ? 1 : 7};
    }
  });
  const RequestId id = engine.submit(request);
  engine.step();
  engine.step();
  engine.cancel(id);
  const GenerateResult result = engine.take(id);
  EXPECT_EQ(ids_of(result), (std::vector<std::vector<int32_t>>{{5, 1}, {6, 7}}));
  EXPECT_EQ(result.sequences[0].reason, FinishReason::eos);
  EXPECT_EQ(result.sequences[1].reason, FinishReason::cancelled);
}

TEST(Engine, ACallbackSeesEveryTokenAndMayStop) {
  GenerateRequest request = request_of(prompt_of(9, 6), {{"max_new_tokens", 30}});
  std::vector<int32_t> seen;
  request.on_token = [&](const TokenEvent& event) {
    seen.push_back(event.id);
    return seen.size() < 7;
  };
  const GenerateResult result = Engine(model()).generate(request);
  EXPECT_EQ(result.sequences[0].ids, seen);
  EXPECT_EQ(seen.size(), 7u);
  EXPECT_EQ(result.sequences[0].reason, FinishReason::cancelled);
}

TEST(Engine, BadRequestsAreRefusedAndLeaveNothingBehind) {
  Engine engine(model());
  const std::vector<std::pair<std::vector<int32_t>, Json>> bad = {
      {{}, {{"max_new_tokens", 3}}},        {{96}, {{"max_new_tokens", 3}}},
      {{-1}, {{"max_new_tokens", 3}}},      {{5}, {{"max_new_tokens", 0}}},
      {{5, 6, 7}, {{"max_length", 3}}},     {{5}, {{"temperature", 0}, {"do_sample", true}}},
      {{5}, {{"num_return_sequences", 2}}}, {{5}, {{"num_beams", 3}, {"num_beam_groups", 2}}},
      {{5}, {{"bad_words_ids", {{96}}}}},   {{5}, {{"stop_strings", "x"}}},
      {{5}, {{"guidance_scale", 1.5}}}};
  for (const auto& [prompt, options] : bad) {
    std::vector<GenerateRequest> requests = {request_of({5, 6}, {{"max_new_tokens", 2}}), request_of(prompt, options)};
    EXPECT_THROW(engine.generate(requests), Error) << options.dump();
    EXPECT_EQ(engine.active(), 0);
  }
  EXPECT_THROW(request_of({5}, {{"num_beams", "four"}}), Error);
}

TEST(Engine, AFailingRequestDoesNotDisturbTheOthers) {
  Engine engine(model());
  GenerateRequest failing = request_of({5, 6}, {{"max_new_tokens", 9}});
  failing.constraint = std::make_shared<FunctionConstraint>([](TokenSpan, TokenSpan generated, auto& allowed) {
    if (generated.size() < 3) allowed = {7};
    if (generated.size() >= 3) allowed.clear();
  });
  const GenerateRequest good = request_of({5, 6}, {{"max_new_tokens", 9}});
  const RequestId a = engine.submit(failing), b = engine.submit(good);
  while (engine.active() > 0) engine.step();
  EXPECT_THROW(engine.take(a), Error);
  EXPECT_EQ(ids_of(engine.take(b)), ids_of(Engine(model()).generate(good)));
}

TEST(Engine, DetailsOfTokensAreTheModelsOwn) {
  GenerateRequest request = request_of(prompt_of(10, 8), {{"max_new_tokens", 6}, {"repetition_penalty", 1.5}});
  request.logits = request.scores = request.logprobs = true;
  request.top_logprobs = 3;
  for (int64_t beams : {1, 4}) {
    request.config.num_beams = beams;
    const GeneratedSequence best = Engine(model()).generate(request).sequences[0];
    const int64_t n = std::ssize(best.ids);
    ASSERT_EQ(best.logits.sizes(), at::IntArrayRef({n, 96}));
    ASSERT_EQ(best.scores.sizes(), at::IntArrayRef({n, 96}));
    const Tensor log_p = at::log_softmax(best.logits, -1);
    for (int64_t i = 0; i < n; ++i) {
      EXPECT_NEAR(best.logprobs[i], log_p[i][best.ids[i]].item<float>(), 1e-6);
      ASSERT_EQ(best.top_logprobs[i].size(), 3u);
      EXPECT_EQ(best.top_logprobs[i][0].id, log_p[i].argmax().item<int64_t>());
      if (beams == 1) {
        EXPECT_EQ(best.scores[i].argmax().item<int64_t>(), best.ids[i]);
      }
    }
    // The whole text in one pass gives the same logits: nothing was mixed up between beams.
    std::vector<int64_t> all(request.prompt.begin(), request.prompt.end());
    all.insert(all.end(), best.ids.begin(), best.ids.end());
    nn::Step step = nn::Step::packed(std::vector<int64_t>{std::ssize(all)});
    torch::NoGradGuard guard;
    const Tensor full = model().forward(at::tensor(all, at::kLong), step).slice(0, 7, 7 + n);
    EXPECT_LT((full - best.logits).abs().max().item<float>(), 1e-4);
  }
}

// --- sampling
// ---------------------------------------------------------------------------------------------------------

// P(chi-square with `degrees` degrees > statistic), Wilson-Hilferty.
double chi_square_tail(double statistic, double degrees) {
  const double z = (std::cbrt(statistic / degrees) - (1 - 2 / (9 * degrees))) / std::sqrt(2 / (9 * degrees));
  return 0.5 * std::erfc(z / std::sqrt(2.0));
}

// Joins rare outcomes, expected fewer than 5 times.
double p_value(const std::vector<double>& probabilities, const std::vector<int64_t>& counts) {
  const double n = static_cast<double>(std::accumulate(counts.begin(), counts.end(), int64_t{0}));
  double statistic = 0, rare_expected = 0, rare_count = 0, classes = -1;
  const auto add = [&](double expected, double count) {
    statistic += (count - expected) * (count - expected) / expected;
    ++classes;
  };
  for (size_t i = 0; i < counts.size(); ++i) {
    const double expected = probabilities[i] * n;
    if (expected >= 5) {
      add(expected, static_cast<double>(counts[i]));
    } else {
      rare_expected += expected;
      rare_count += static_cast<double>(counts[i]);
      if (expected == 0 && counts[i] > 0) return 0;
    }
  }
  if (rare_expected >= 1) add(rare_expected, rare_count);
  return chi_square_tail(statistic, classes);
}

// The exact distribution of token number `at` (0 or 1), from the processed scores of the paths before it.
std::vector<double> exact_second_token(const GenerateRequest& base) {
  std::vector<double> total(96, 0.0);
  GenerateRequest first = base;
  first.config.max_new_tokens = 1;
  first.scores = true;
  const Tensor p1 = at::softmax(Engine(model()).generate(first).sequences[0].scores[0], 0);
  for (int32_t id = 0; id < 96; ++id) {
    const double weight = p1[id].item<double>();
    if (weight == 0) continue;
    GenerateRequest second = first;
    second.prompt.push_back(id);
    const Tensor p2 = at::softmax(Engine(model()).generate(second).sequences[0].scores[0], 0).to(at::kDouble);
    for (int32_t next = 0; next < 96; ++next) total[next] += weight * p2.const_data_ptr<double>()[next];
  }
  return total;
}

std::vector<int64_t> count_second_tokens(Engine& engine, const GenerateRequest& base, int64_t runs) {
  std::vector<int64_t> counts(96, 0);
  std::vector<GenerateRequest> requests;
  for (int64_t i = 0; i < runs; ++i) {
    requests.push_back(base);
    requests.back().config.seed = 1000 + static_cast<uint64_t>(i);
  }
  for (const auto& result : engine.generate(std::move(requests))) ++counts[result.sequences[0].ids[1]];
  return counts;
}

GenerateRequest sampling_request(double temperature) {
  GenerateRequest request = request_of({9, 30, 41, 9, 30, 12, 9, 30},
                                       {{"max_new_tokens", 3}, {"do_sample", true}, {"top_k", 6}, {"top_p", 0.95}});
  request.config.temperature = temperature;
  return request;
}

TEST(Sampling, FollowsTheExactDistribution) {
  const GenerateRequest request = sampling_request(2.0);
  Engine engine(model());
  const double p = p_value(exact_second_token(request), count_second_tokens(engine, request, 4000));
  EXPECT_GT(p, 0.001);
}

TEST(Sampling, SpeculationWithADraftModelKeepsTheDistribution) {
  const GenerateRequest request = sampling_request(3.0);
  Engine engine(model(), {.draft = &model("mistral")});
  const double p = p_value(exact_second_token(request), count_second_tokens(engine, request, 3000));
  EXPECT_GT(p, 0.001);
}

TEST(Sampling, SpeculationByPromptLookupKeepsTheDistribution) {
  GenerateRequest request = sampling_request(3.0);
  request.config.top_k = 0;
  const std::vector<double> exact = exact_second_token(request);
  request.config.prompt_lookup_num_tokens = 2;
  Engine engine(model());
  EXPECT_GT(p_value(exact, count_second_tokens(engine, request, 4000)), 0.001);
}

TEST(Sampling, TheDistributionTestNoticesAWrongTemperature) {
  Engine engine(model());
  EXPECT_LT(
      p_value(exact_second_token(sampling_request(2.0)), count_second_tokens(engine, sampling_request(2.6), 4000)),
      1e-6);
}

// log p of the next token after `ids`, as beam sampling sees it: divided by the temperature, all but the k best at
// -inf.
std::vector<double> filtered_log_p(const std::vector<int32_t>& ids, double temperature, int64_t k) {
  nn::Step step = nn::Step::packed(std::vector<int64_t>{std::ssize(ids)});
  const torch::NoGradGuard guard;
  const Tensor all = model().forward(at::tensor(std::vector<int64_t>(ids.begin(), ids.end()), at::kLong), step);
  Tensor log_p = at::log_softmax(all[std::ssize(ids) - 1], 0) / temperature;
  log_p = log_p.masked_fill(log_p < std::get<0>(log_p.topk(k)).min(), -INFINITY).to(at::kDouble).contiguous();
  return {log_p.const_data_ptr<double>(), log_p.const_data_ptr<double>() + log_p.numel()};
}

// Beam sampling of two tokens with two beams and top_k 4. The first step draws the four possible tokens, of which the
// two best run on. The second draws from the softmax over both beams' sums, without replacement; its first two
// candidates end by length, and the better one is the answer.
std::map<std::vector<int32_t>, double> exact_beam_sampling(const std::vector<int32_t>& prompt, double temperature) {
  const std::vector<double> first = filtered_log_p(prompt, temperature, 4);
  std::vector<int32_t> order(first.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return first[a] > first[b]; });
  std::vector<std::vector<int32_t>> answers;
  std::vector<double> p;
  for (int32_t a : {order[0], order[1]}) {
    std::vector<int32_t> ids = prompt;
    ids.push_back(a);
    const std::vector<double> second = filtered_log_p(ids, temperature, 4);
    for (int32_t b = 0; b < std::ssize(second); ++b) {
      if (std::isinf(second[b])) continue;
      answers.push_back({a, b});
      p.push_back(std::exp(first[a] + second[b]));
    }
  }
  const double total = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& x : p) x /= total;
  std::map<std::vector<int32_t>, double> exact;
  for (size_t i = 0; i < p.size(); ++i) {
    for (size_t j = 0; j < p.size(); ++j) {  // i before j
      if (i != j) exact[answers[p[i] > p[j] ? i : j]] += p[i] * p[j] / (1 - p[i]);
    }
  }
  return exact;
}

double beam_sampling_p_value(double temperature, double exact_temperature) {
  GenerateRequest base = request_of({9, 30, 41, 9, 30, 12, 9, 30},
                                    {{"max_new_tokens", 2}, {"do_sample", true}, {"num_beams", 2}, {"top_k", 4}});
  base.config.temperature = temperature;
  const auto exact = exact_beam_sampling(base.prompt, exact_temperature);
  std::vector<GenerateRequest> requests(4000, base);
  for (size_t i = 0; i < requests.size(); ++i) requests[i].config.seed = 77 + i;
  std::map<std::vector<int32_t>, int64_t> counts;
  for (const auto& result : Engine(model()).generate(std::move(requests))) ++counts[result.sequences[0].ids];
  std::vector<double> probabilities;
  std::vector<int64_t> ordered;
  for (const auto& [answer, probability] : exact) {
    probabilities.push_back(probability);
    ordered.push_back(counts[answer]);
  }
  return std::accumulate(ordered.begin(), ordered.end(), int64_t{0}) == 4000 ? p_value(probabilities, ordered) : 0;
}

TEST(Sampling, BeamSamplingFollowsTheExactDistribution) {
  EXPECT_GT(beam_sampling_p_value(3.0, 3.0), 0.001);
  EXPECT_LT(beam_sampling_p_value(3.0, 4.0), 1e-6);  // the test does notice another distribution
}

TEST(Sampling, SeedsReproduceAndDiffer) {
  const Json options = {{"max_new_tokens", 20}, {"do_sample", true}, {"temperature", 2.0}, {"num_return_sequences", 4}};
  GenerateRequest request = request_of(prompt_of(11, 5), options);
  const auto first = ids_of(Engine(model()).generate(request));
  EXPECT_EQ(ids_of(Engine(model()).generate(request)), first);
  EXPECT_NE(first[0], first[1]);
  request.config.seed = 1;
  EXPECT_NE(ids_of(Engine(model()).generate(request)), first);
}

// --- speculation
// ------------------------------------------------------------------------------------------------------

TEST(Speculation, GreedyOutputIsThatOfTheModelAlone) {
  for (int32_t seed = 0; seed < 12; ++seed) {
    GenerateRequest request = request_of(
        prompt_of(seed, 4 + seed), {{"max_new_tokens", 25}, {"eos_token_id", {1, 2}}, {"repetition_penalty", 1.1}});
    const auto plain = ids_of(Engine(model()).generate(request));
    EXPECT_EQ(ids_of(Engine(model(), {.draft = &model("mistral")}).generate(request)), plain);
    request.config.prompt_lookup_num_tokens = 4;
    EXPECT_EQ(ids_of(Engine(model()).generate(request)), plain);
  }
}

TEST(Speculation, AModelThatDraftsForItselfIsAlwaysRight) {
  GenerateRequest request =
      request_of(prompt_of(3, 10),
                 {{"max_new_tokens", 30}, {"num_assistant_tokens", 5}, {"num_assistant_tokens_schedule", "constant"}});
  request.config.assistant_confidence_threshold = 0;
  const GenerateResult result = Engine(model(), {.draft = &model()}).generate(request);
  EXPECT_EQ(result.accepted_tokens, result.proposed_tokens);
  EXPECT_GE(result.accepted_tokens, 20);
  EXPECT_EQ(ids_of(result), ids_of(Engine(model()).generate(request)));
  request.config.num_assistant_tokens_schedule = "heuristic";  // such a draft costs what it saves
  EXPECT_EQ(Engine(model(), {.draft = &model()}).generate(request).proposed_tokens, 2);  // one try
}

}  // namespace
}  // namespace caravan::generate
