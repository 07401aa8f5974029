// Times recommending; benchmarks/recommend_vs_transformers.py runs it.
//
//   recommend_speed MODEL HISTORIES [--beams 50] [--count 50] [--dtype f32] [--threads 2] [--singles 200]
//
// MODEL is a recommender's checkpoint, HISTORIES a file with a JSON list of item numbers a line. One JSON object:
// users/s with all users together, milliseconds of users one at a time (median and 99th percentile).
#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <string>

#include "benchmarks/program.h"
#include "caravan/base/error.h"
#include "caravan/base/json.h"
#include "caravan/generate/recommender.h"

namespace caravan::generate {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

void run(int argc, char** argv) {
  const benchmarks::Arguments arguments(
      argc, argv, 2,
      "recommend_speed MODEL HISTORIES [--beams 50] [--count 50] [--dtype f32] [--threads 2] [--singles 200]");
  const int64_t beams = arguments.number("--beams", 50), count = arguments.number("--count", beams);
  const std::string &model_path = arguments.file(0), &file_path = arguments.file(1);
  ItemModel model = load_item_model(model_path, {.dtype = arguments.dtype()});
  std::vector<std::vector<int32_t>> histories;
  std::ifstream file(file_path);
  for (std::string line; std::getline(file, line);)
    histories.push_back(parse_json(line, file_path).get<std::vector<int32_t>>());
  check(!histories.empty(), ErrorCode::invalid_argument, "{}: no histories", file_path);
  std::vector<RecommendRequest> requests;
  for (const auto& history : histories) requests.push_back({.history = history, .exclude = {}});

  Recommender recommender(model, {.beams = beams});
  recommender.recommend(std::span(requests).first(std::min<size_t>(requests.size(), 64)), count);
  auto start = Clock::now();
  recommender.recommend(requests, count);
  const double together = seconds_since(start);
  std::vector<double> alone;
  for (int64_t i = 0; i < arguments.number("--singles", 200); ++i) {
    start = Clock::now();
    recommender.recommend(std::span(&requests[static_cast<size_t>(i) % requests.size()], 1), count);
    alone.push_back(1000 * seconds_since(start));
  }
  std::sort(alone.begin(), alone.end());
  const auto percentile = [&](double p) {
    return alone.empty() ? 0.0 : alone[static_cast<size_t>(p * static_cast<double>(alone.size() - 1))];
  };
  std::printf("{\"beams\": %d, \"users_per_second\": %.2f, \"p50_ms\": %.2f, \"p99_ms\": %.2f}\n",
              static_cast<int>(beams), static_cast<double>(requests.size()) / together, percentile(0.5),
              percentile(0.99));
}

}  // namespace
}  // namespace caravan::generate

int main(int argc, char** argv) { return caravan::benchmarks::exit_code(caravan::generate::run, argc, argv); }
