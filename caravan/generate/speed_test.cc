// Measures prefill and decoding of a real model: benchmarks/generate_vs_transformers.py runs this test by name.
//
//   CARAVAN_BENCH_MODEL=folder CARAVAN_BENCH_DTYPE=f32 generate_test --gtest_also_run_disabled_tests
//   --gtest_filter=Speed.*
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cstdlib>

#include "caravan/base/error.h"
#include "caravan/generate/engine.h"
#include "caravan/models/load.h"

namespace caravan::generate {
namespace {

TEST(Speed, DISABLED_PrefillAndDecode) {
  const char* path = std::getenv("CARAVAN_BENCH_MODEL");
  if (path == nullptr) GTEST_SKIP() << "CARAVAN_BENCH_MODEL names no model";
  const char* name = std::getenv("CARAVAN_BENCH_DTYPE");
  const DType dtype = find_dtype(name == nullptr ? "f32" : name).value();
  if (const char* threads = std::getenv("CARAVAN_BENCH_THREADS")) at::set_num_threads(std::atoi(threads));
  const auto model = models::load_causal_lm(path, {.dtype = models::to_scalar_type(dtype)});
  for (int64_t beams : {1, 4, 5}) {
    for (int64_t run = 0; run < 3; ++run) {
      GenerateRequest request;
      for (int32_t i = 0; i < 512; ++i) request.prompt.push_back(1000 + i * 37 % 20000);
      request.config.num_beams = beams;
      request.config.max_new_tokens = request.config.min_new_tokens = 128;
      const GenerateResult result = Engine(*model).generate(request);
      std::printf("{\"beams\": %ld, \"run\": %ld, \"prefill\": %.4f, \"decode\": %.4f}\n", static_cast<long>(beams),
                  static_cast<long>(run), result.prefill_seconds, result.decode_seconds);
      EXPECT_EQ(result.sequences[0].ids.size(), 128u);
    }
  }
}

}  // namespace
}  // namespace caravan::generate
