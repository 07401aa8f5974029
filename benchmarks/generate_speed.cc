// Times prefill and decoding of a real model; benchmarks/generate_vs_transformers.py runs it.
//
//   generate_speed MODEL [--dtype f32] [--threads 2] [--prompt 512] [--new 128] [--runs 3] [--beams 4]
//
// One JSON object a run: 512 tokens in, 128 out; without --beams with 1, 4 and 5.
#include <torch/torch.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "caravan/base/allocator.h"
#include "caravan/base/error.h"
#include "caravan/generate/engine.h"
#include "caravan/models/load.h"

namespace caravan::generate {
namespace {

struct Sizes {
  int prompt = 512, new_tokens = 128, runs = 3;
};

void measure(models::CausalLm& model, int64_t beams, const Sizes& sizes, int run) {
  GenerateRequest request;
  for (int32_t i = 0; i < sizes.prompt; ++i) request.prompt.push_back(1000 + i * 37 % 20000);
  request.config.num_beams = beams;
  request.config.max_new_tokens = request.config.min_new_tokens = sizes.new_tokens;
  const GenerateResult result = Engine(model).generate(request);
  std::printf("{\"beams\": %d, \"run\": %d, \"tokens\": %zu, \"prefill\": %.4f, \"decode\": %.4f}\n",
              static_cast<int>(beams), run, result.sequences[0].ids.size(), result.prefill_seconds,
              result.decode_seconds);
}

int run(int argc, char** argv) {
  std::string dtype = "f32";
  Sizes sizes;
  std::vector<int64_t> widths = {1, 4, 5};
  for (int i = 2; i + 1 < argc; i += 2) {
    const std::string option = argv[i];
    if (option == "--dtype") dtype = argv[i + 1];
    if (option == "--threads") at::set_num_threads(std::atoi(argv[i + 1]));
    if (option == "--prompt") sizes.prompt = std::atoi(argv[i + 1]);
    if (option == "--new") sizes.new_tokens = std::atoi(argv[i + 1]);
    if (option == "--runs") sizes.runs = std::atoi(argv[i + 1]);
    if (option == "--beams") widths = {std::atoi(argv[i + 1])};
  }
  const auto found = find_dtype(dtype);
  check(argc > 1 && found.has_value(), ErrorCode::invalid_argument,
        "usage: generate_speed MODEL [--dtype f32] [--threads 2] [--prompt 512] [--new 128] [--runs 3] [--beams 4]");
  const auto model = models::load_causal_lm(argv[1], {.dtype = models::to_scalar_type(*found)});
  for (int64_t beams : widths) {
    for (int i = 0; i < sizes.runs; ++i) measure(*model, beams, sizes, i);
  }
  return 0;
}

}  // namespace
}  // namespace caravan::generate

int main(int argc, char** argv) {
  caravan::keep_freed_memory();  // as the program does
  try {
    return caravan::generate::run(argc, argv);
  } catch (const caravan::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
