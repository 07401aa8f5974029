#include "caravan/nn/observe.h"

#include <torch/torch.h>
#include <unistd.h>

#include <fstream>

#include "caravan/base/error.h"

namespace caravan::nn {
namespace {

// Resident memory of this process in bytes; 0 where the system does not tell.
int64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t total = 0, resident = 0;
  statm >> total >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

std::string name_of(const Module& module) {
  const std::string path = module.path();
  return fmt::format("{} ({})", path.empty() ? "the model" : path, module.kind());
}

}  // namespace

void FiniteCheck::leave(const Module& module, const Tensor& output) {
  if (!output.defined() || !output.is_floating_point()) return;
  const Tensor bad = at::isfinite(output).logical_not();
  if (!bad.any().item<bool>()) return;
  const Tensor first = bad.nonzero()[0];
  std::string where;
  for (int64_t i = 0; i < first.numel(); ++i) where += (i == 0 ? "" : ", ") + std::to_string(first[i].item<int64_t>());
  fail(ErrorCode::internal, "{}: the output has {} non-finite values of {}, the first at [{}]", name_of(module),
       bad.sum().item<int64_t>(), output.numel(), where);
}

void Profiler::enter(const Module& module) {
  if (index_.emplace(&module, rows_.size()).second) {
    rows_.push_back({.path = module.path(), .kind = std::string(module.kind())});
  }
  stack_.push_back({.start = std::chrono::steady_clock::now(), .resident = resident_bytes()});
}

void Profiler::leave(const Module& module, const Tensor& output) {
  const Frame frame = stack_.back();
  stack_.pop_back();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - frame.start).count();
  if (!stack_.empty()) stack_.back().inside += seconds;
  Row& row = rows_[index_.at(&module)];
  ++row.calls;
  row.seconds += seconds;
  row.own_seconds += seconds - frame.inside;
  row.output_bytes += output.defined() ? static_cast<int64_t>(output.nbytes()) : 0;
  row.resident_growth += std::max<int64_t>(0, resident_bytes() - frame.resident);
}

std::vector<Profiler::Row> Profiler::rows() const { return rows_; }

std::vector<Profiler::Row> Profiler::rows_by_kind() const {
  std::vector<Row> kinds;
  for (const Row& row : rows_) {
    auto it = std::find_if(kinds.begin(), kinds.end(), [&](const Row& k) { return k.kind == row.kind; });
    if (it == kinds.end()) it = kinds.insert(kinds.end(), {.kind = row.kind});
    it->calls += row.calls;
    it->seconds += row.seconds;
    it->own_seconds += row.own_seconds;
    it->output_bytes += row.output_bytes;
    it->resident_growth += row.resident_growth;
  }
  return kinds;
}

}  // namespace caravan::nn
