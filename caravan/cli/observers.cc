#include "caravan/cli/observers.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/torch.h>

#include <algorithm>
#include <cctype>

#include "caravan/base/error.h"
#include "caravan/cli/output.h"

namespace caravan::cli {
namespace {

// "model.layers.12.mlp" -> "model.layers.*.mlp"
std::string folded(const std::string& path) {
  std::string out;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('.', begin), path.size());
    const std::string word = path.substr(begin, end - begin);
    const bool number =
        !word.empty() && std::all_of(word.begin(), word.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
    out += (begin > 0 ? "." : "") + (number ? "*" : word);
    begin = end + 1;
  }
  return out.empty() ? "(model)" : out;
}

}  // namespace

void Profiler::enter(const nn::Module& module) {
  Row& row = rows_[folded(module.path())];  // parents before children
  if (row.calls == 0 && row.order == 0) row.order = rows_.size();
  stack_.push_back({.start = Clock::now()});
}

void Profiler::leave(const nn::Module& module, const at::Tensor& output) {
  const Frame frame = stack_.back();
  stack_.pop_back();
  const double seconds = std::chrono::duration<double>(Clock::now() - frame.start).count();
  Row& row = rows_[folded(module.path())];
  row.calls += 1, row.seconds += seconds, row.children += frame.children;
  if (output.defined()) row.output_bytes += static_cast<int64_t>(output.nbytes());
  if (!stack_.empty()) stack_.back().children += seconds;
}

std::string Profiler::table() const {
  std::vector<std::pair<std::string, Row>> rows(rows_.begin(), rows_.end());
  std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.second.order < b.second.order; });
  double total = 0;
  for (const auto& [name, row] : rows) total += row.seconds - row.children;
  std::string out =
      fmt::format("{:<44}{:>7}{:>12}{:>12}{:>8}{:>12}\n", "module", "calls", "total ms", "own ms", "own %", "outputs");
  for (const auto& [name, row] : rows) {
    const double own = row.seconds - row.children;
    out += fmt::format("{:<44}{:>7}{:>12.3f}{:>12.3f}{:>8.1f}{:>12}\n", name, row.calls, row.seconds * 1e3, own * 1e3,
                       total > 0 ? 100 * own / total : 0.0, human_bytes(static_cast<uint64_t>(row.output_bytes)));
  }
  return out;
}

void FiniteCheck::leave(const nn::Module& module, const at::Tensor& output) {
  if (!output.defined() || !output.is_floating_point()) return;
  const int64_t bad = output.numel() - at::isfinite(output).sum().item<int64_t>();
  check(bad == 0, ErrorCode::invalid_argument, "{} ({}): {} of {} values of its output [{}] are not finite",
        module.path(), module.kind(), bad, output.numel(), fmt::join(output.sizes(), ", "));
}

Stopper::Stopper(std::shared_ptr<const std::atomic<bool>> flag) : flag_(std::move(flag)) {
  if (flag_ != nullptr) previous_ = nn::set_observer(this);
}

void Stopper::enter(const nn::Module&) { check(!flag_->load(), ErrorCode::cancelled, "interrupted"); }

void Stopper::disarm() {
  if (std::exchange(flag_, nullptr) != nullptr) nn::set_observer(previous_);
}

}  // namespace caravan::cli
