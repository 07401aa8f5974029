// Where no token can follow: every strategy says so, instead of giving a banned token or no answer.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <numeric>

#include "caravan/base/error.h"
#include "caravan/generate/engine.h"
#include "caravan/models/load.h"

namespace caravan::generate {
namespace {

std::unique_ptr<models::CausalLm> load() {
  return models::load_causal_lm(CARAVAN_SOURCE_DIR "/tests/golden/generate/llama",
                                {.dtype = at::kFloat, .keep_mapped = false});
}

const std::vector<Json>& strategies() {
  static const std::vector<Json> list = {{{"max_new_tokens", 4}},
                                         {{"num_beams", 3}},
                                         {{"num_beams", 3}, {"do_sample", true}},
                                         {{"num_beams", 4}, {"num_beam_groups", 2}, {"diversity_penalty", 0.5}},
                                         {{"do_sample", true}},
                                         {{"penalty_alpha", 0.5}, {"top_k", 4}},
                                         {{"prompt_lookup_num_tokens", 3}}};
  return list;
}

void expect_refusal(models::CausalLm& model, const Json& options, const char* reason) {
  GenerateRequest request{.prompt = {5, 6, 7, 5, 6}};
  request.config.update(options, "test");
  try {
    Engine(model).generate(request);
    ADD_FAILURE() << "no error: " << options.dump();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
    EXPECT_NE(std::string(error.what()).find(reason), std::string::npos) << options.dump() << ": " << error.what();
  }
}

TEST(DeadEnd, BanningEveryTokenIsAnErrorOfEveryStrategy) {
  const auto model = load();
  std::vector<int32_t> all(static_cast<size_t>(model->backbone().vocab_size()));
  std::iota(all.begin(), all.end(), 0);
  for (Json options : strategies()) {
    options["suppress_tokens"] = all;
    expect_refusal(*model, options, "ban");
  }
}

TEST(DeadEnd, ScoresThatAreNoNumbersAreAnErrorOfEveryStrategy) {
  const auto model = load();
  for (const auto& p : model->named_parameters()) p.parameter->value.fill_(NAN);
  for (const Json& options : strategies()) expect_refusal(*model, options, "remove_invalid_values");
}

TEST(DeadEnd, BeamsThatAreFinishedAreStillTheAnswer) {
  const auto model = load();
  std::vector<int32_t> all(static_cast<size_t>(model->backbone().vocab_size()));
  std::iota(all.begin(), all.end(), 0);
  GenerateRequest request{.prompt = {5, 6, 7}};
  // Only eos may follow, and only one beam can start with it: the others have nothing left.
  request.config.update({{"num_beams", 2}, {"eos_token_id", 2}, {"forced_bos_token_id", nullptr}}, "test");
  std::erase(all, 2);
  request.config.suppress_tokens = all;
  const GenerateResult result = Engine(*model).generate(request);
  EXPECT_EQ(result.sequences.at(0).ids, std::vector<int32_t>{2});
}

TEST(DeadEnd, APullTowardsEosStaysAFiniteNumber) {
  const auto model = load();
  GenerateRequest request{.prompt = {5, 6, 7}};
  request.config.update({{"num_beams", 3}, {"eos_token_id", 2}, {"exponential_decay_length_penalty", {0, 1e29}}},
                        "test");
  EXPECT_TRUE(std::isfinite(Engine(*model).generate(request).sequences.at(0).score));
}

}  // namespace
}  // namespace caravan::generate
