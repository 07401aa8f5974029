// Times recommending; benchmarks/recommend_vs_transformers.py runs it.
//
//   recommend_speed MODEL HISTORIES [--beams 50] [--count 50] [--dtype f32] [--threads 2] [--singles 200]
//
// MODEL is a recommender's checkpoint, HISTORIES a file with a JSON list of item numbers a line. One JSON object:
// users/s with all users together, milliseconds of users one at a time (median and 99th percentile).
#include <torch/torch.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include "caravan/base/allocator.h"
#include "caravan/base/error.h"
#include "caravan/base/json.h"
#include "caravan/generate/recommender.h"

namespace caravan::generate {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

struct Options {
  std::string dtype = "f32";
  int64_t beams = 50, count = 0, singles = 200;
};

Options read_options(int argc, char** argv) {
  Options options;
  for (int i = 3; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    if (name == "--dtype") options.dtype = argv[i + 1];
    if (name == "--threads") at::set_num_threads(std::atoi(argv[i + 1]));
    if (name == "--beams") options.beams = std::atoi(argv[i + 1]);
    if (name == "--count") options.count = std::atoi(argv[i + 1]);
    if (name == "--singles") options.singles = std::atoi(argv[i + 1]);
  }
  if (options.count == 0) options.count = options.beams;
  return options;
}

int run(int argc, char** argv) {
  check(argc > 2, ErrorCode::invalid_argument,
        "usage: recommend_speed MODEL HISTORIES [--beams 50] [--count 50] [--dtype f32] [--threads 2] [--singles 200]");
  const Options options = read_options(argc, argv);
  const auto dtype = find_dtype(options.dtype);
  check(dtype.has_value(), ErrorCode::invalid_argument, "--dtype {}: not known", options.dtype);
  ItemModel model = load_item_model(argv[1], {.dtype = models::to_scalar_type(*dtype)});
  std::vector<std::vector<int32_t>> histories;
  std::ifstream file(argv[2]);
  for (std::string line; std::getline(file, line);)
    histories.push_back(parse_json(line, argv[2]).get<std::vector<int32_t>>());
  check(!histories.empty(), ErrorCode::invalid_argument, "{}: no histories", argv[2]);
  std::vector<RecommendRequest> requests;
  for (const auto& history : histories) requests.push_back({.history = history, .exclude = {}});

  Recommender recommender(model, {.beams = options.beams});
  recommender.recommend(std::span(requests).first(std::min<size_t>(requests.size(), 64)), options.count);
  auto start = Clock::now();
  recommender.recommend(requests, options.count);
  const double together = seconds_since(start);
  std::vector<double> alone;
  for (int64_t i = 0; i < options.singles; ++i) {
    start = Clock::now();
    recommender.recommend(std::span(&requests[static_cast<size_t>(i) % requests.size()], 1), options.count);
    alone.push_back(1000 * seconds_since(start));
  }
  std::sort(alone.begin(), alone.end());
  const auto percentile = [&](double p) {
    return alone.empty() ? 0.0 : alone[static_cast<size_t>(p * static_cast<double>(alone.size() - 1))];
  };
  std::printf("{\"beams\": %d, \"users_per_second\": %.2f, \"p50_ms\": %.2f, \"p99_ms\": %.2f}\n",
              static_cast<int>(options.beams), static_cast<double>(requests.size()) / together, percentile(0.5),
              percentile(0.99));
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
