#include "caravan/codes/build_codes.h"

#include <torch/torch.h>

#include "caravan/base/error.h"
#include "caravan/models/tensor_file.h"

namespace caravan::codes {
namespace {

using Progress = std::function<void(uint64_t done, uint64_t total)>;

ResidualCodes by_kmeans(const Tensor& x, const BuildOptions& options, const Progress& progress) {
  RqOptions rq = options.rq;
  const auto iterations =
      static_cast<uint64_t>(rq.kmeans.max_iterations) * static_cast<uint64_t>(std::max(1, rq.kmeans.restarts));
  uint64_t done = 0;
  rq.kmeans.poll = [&] { progress(done, rq.codebooks.size() * iterations); };
  rq.progress = [&](int64_t level, int iteration, double) {
    done = static_cast<uint64_t>(level) * iterations + std::min<uint64_t>(static_cast<uint64_t>(iteration), iterations);
    rq.kmeans.poll();
  };
  return rq_kmeans(x, rq);
}

ResidualCodes by_vae(const Tensor& x, const BuildOptions& options, const Progress& progress) {
  RqVaeOptions vae = options.rq_vae;
  vae.codebooks = options.rq.codebooks;
  vae.seed = options.rq.seed;
  uint64_t done = 0;
  vae.poll = [&] { progress(done, static_cast<uint64_t>(vae.epochs)); };
  vae.progress = [&](const RqVaeProgress& at) {
    done = static_cast<uint64_t>(at.epoch);
    vae.poll();
  };
  return train_rq_vae(x, vae).codes;
}

int64_t with_counter(CodeTable& table, const ResidualCodes&, std::span<const int64_t> popularity, const Poll&) {
  append_counter(table, popularity);
  return 0;
}
int64_t with_reassignment(CodeTable& table, const ResidualCodes& rq, std::span<const int64_t>, const Poll& poll) {
  return reassign(table, rq, poll);
}
int64_t with_sinkhorn(CodeTable& table, const ResidualCodes& rq, std::span<const int64_t>, const Poll& poll) {
  return sinkhorn_reassign(table, rq, {.poll = poll});
}
int64_t allowed(CodeTable&, const ResidualCodes&, std::span<const int64_t>, const Poll&) { return 0; }

struct Method {
  std::string_view name;
  ResidualCodes (*learn)(const Tensor&, const BuildOptions&, const Progress&);
};
constexpr Method kMethods[] = {{"rq-kmeans", by_kmeans}, {"rq-vae", by_vae}};

struct CollisionRule {
  std::string_view name;
  int64_t (*apply)(CodeTable&, const ResidualCodes&, std::span<const int64_t> popularity, const Poll&);
};
constexpr CollisionRule kCollisions[] = {
    {"counter", with_counter}, {"reassign", with_reassignment}, {"sinkhorn", with_sinkhorn}, {"allow", allowed}};

template <class Entries>
const auto& find_entry(const Entries& entries, std::string_view name, std::string_view what) {
  std::string known;
  for (const auto& entry : entries) {
    if (entry.name == name) return entry;
    known += (known.empty() ? "" : ", ") + std::string(entry.name);
  }
  fail(ErrorCode::invalid_argument, "unknown {} '{}'; there are {}", what, name, known);
}

}  // namespace

void check_names(const BuildOptions& options) {
  find_entry(kMethods, options.method, "method");
  find_entry(kCollisions, options.collisions, "way to handle collisions");
}

BuiltCodes build_codes(const Tensor& vectors, std::span<const int64_t> popularity, const BuildOptions& options) {
  const Method& method = find_entry(kMethods, options.method, "method");
  const CollisionRule& rule = find_entry(kCollisions, options.collisions, "way to handle collisions");
  const torch::NoGradGuard no_grad;
  const auto stage = [&](const std::string& name) {
    return [&options, name](uint64_t done, uint64_t total) {
      if (options.progress) options.progress(name, done, total);
    };
  };
  BuiltCodes built;
  built.quantizer = method.learn(vectors, options, stage(options.method));
  built.table = {.sizes = options.rq.codebooks, .codes = built.quantizer.codes};
  const Poll measuring = [&] { stage("measuring")(0, 1); };
  measuring();
  built.before = measure_quality(built.table, {.vectors = vectors, .quantizer = &built.quantizer});
  built.reassigned = rule.apply(built.table, built.quantizer, popularity, measuring);
  built.quality = measure_quality(built.table, {.vectors = vectors, .quantizer = &built.quantizer});
  return built;
}

items::ItemCodes to_item_codes(const CodeTable& table) {
  items::ItemCodes codes(std::vector<int32_t>(table.sizes.begin(), table.sizes.end()));
  std::vector<int32_t> tuple(table.levels());
  for (int64_t item = 0; item < table.items(); ++item) {
    for (int64_t level = 0; level < table.levels(); ++level) tuple[level] = table.codes[level][item];
    codes.add(tuple);
  }
  return codes;
}

Json report_of(const BuiltCodes& built, const BuildOptions& options) {
  return {
      {"method", options.method},       {"codebooks", options.rq.codebooks},    {"collisions", options.collisions},
      {"seed", options.rq.seed},        {"reassigned_items", built.reassigned}, {"quantizer", to_json(built.before)},
      {"codes", to_json(built.quality)}};
}

void write_codebooks(const ResidualCodes& codes, const std::string& path) {
  const ResidualQuantizer& quantizer = codes.quantizer;
  std::vector<std::pair<std::string, Tensor>> tensors = codes.network;
  if (quantizer.projection.mean.defined()) tensors.emplace_back("projection.mean", quantizer.projection.mean);
  if (quantizer.projection.matrix.defined()) tensors.emplace_back("projection.matrix", quantizer.projection.matrix);
  for (size_t l = 0; l < quantizer.codebooks.size(); ++l) {
    tensors.emplace_back(fmt::format("codebooks.{}", l), quantizer.codebooks[l].contiguous());
  }
  models::write_tensors(path, tensors);
}

}  // namespace caravan::codes
