// Times prefill and decoding of a real model; benchmarks/generate_vs_transformers.py runs it.
//
//   generate_speed MODEL [--dtype f32] [--threads 2] [--prompt 512] [--new 128] [--runs 3] [--beams 4]
//
// One JSON object a run: 512 tokens in, 128 out; without --beams with 1, 4 and 5.
#include <torch/torch.h>

#include <cstdio>
#include <vector>

#include "benchmarks/program.h"
#include "caravan/generate/engine.h"
#include "caravan/models/load.h"

namespace caravan::generate {
namespace {

struct Sizes {
  int64_t prompt, new_tokens;
};

void measure(models::CausalLm& model, int64_t beams, const Sizes& sizes, int64_t run) {
  GenerateRequest request;
  for (int32_t i = 0; i < sizes.prompt; ++i) request.prompt.push_back(1000 + i * 37 % 20000);
  request.config.num_beams = beams;
  request.config.max_new_tokens = request.config.min_new_tokens = sizes.new_tokens;
  const GenerateResult result = Engine(model).generate(request);
  std::printf("{\"beams\": %d, \"run\": %d, \"tokens\": %zu, \"prefill\": %.4f, \"decode\": %.4f}\n",
              static_cast<int>(beams), static_cast<int>(run), result.sequences[0].ids.size(), result.prefill_seconds,
              result.decode_seconds);
}

void run(int argc, char** argv) {
  const benchmarks::Arguments arguments(
      argc, argv, 1,
      "generate_speed MODEL [--dtype f32] [--threads 2] [--prompt 512] [--new 128] [--runs 3] [--beams 4]");
  const Sizes sizes{.prompt = arguments.number("--prompt", 512), .new_tokens = arguments.number("--new", 128)};
  std::vector<int64_t> widths = {1, 4, 5};
  if (arguments.has("--beams")) widths = {arguments.number("--beams", 1)};
  const auto model = models::load_causal_lm(arguments.file(0), {.dtype = arguments.dtype()});
  for (const int64_t beams : widths) {
    for (int64_t i = 0; i < arguments.number("--runs", 3); ++i) measure(*model, beams, sizes, i);
  }
}

}  // namespace
}  // namespace caravan::generate

int main(int argc, char** argv) { return caravan::benchmarks::exit_code(caravan::generate::run, argc, argv); }
