// Observers of layer calls: a check that stops at the first non-finite activation, and a profile of time and memory.
//
//   nn::Profiler profiler;
//   { nn::ScopedObserver watch(profiler); model.forward(ids, step); }
//   for (const auto& row : profiler.rows()) ...         // kind or path, calls, seconds, bytes
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "caravan/nn/module.h"

namespace caravan::nn {

class ScopedObserver {
 public:
  explicit ScopedObserver(Observer& observer) : previous_(set_observer(&observer)) {}
  ~ScopedObserver() { set_observer(previous_); }
  ScopedObserver(const ScopedObserver&) = delete;
  ScopedObserver& operator=(const ScopedObserver&) = delete;

 private:
  Observer* previous_;
};

// Throws internal: "model.layers.3.mlp (GatedMlp): the output has 5 non-finite values of 1024, the first at ...". The
// innermost layer reports first, so the named one is where the trouble began.
class FiniteCheck final : public Observer {
 public:
  void enter(const Module&) override {}
  void leave(const Module& module, const Tensor& output) override;
};

// Where the time goes. Times of a layer include those of the layers inside it; `own_seconds` leaves them out.
class Profiler final : public Observer {
 public:
  struct Row {
    std::string path, kind;
    int64_t calls = 0;
    double seconds = 0, own_seconds = 0;
    int64_t output_bytes = 0;     // of all calls together
    int64_t resident_growth = 0;  // bytes that the process's resident memory grew by inside its calls
  };

  void enter(const Module& module) override;
  void leave(const Module& module, const Tensor& output) override;

  std::vector<Row> rows() const;  // one a module path, in order of the first call
  std::vector<Row> rows_by_kind() const;

 private:
  struct Frame {
    std::chrono::steady_clock::time_point start;
    double inside = 0;
    int64_t resident = 0;
  };
  std::vector<Frame> stack_;
  std::vector<Row> rows_;
  std::map<const Module*, size_t> index_;
};

}  // namespace caravan::nn
