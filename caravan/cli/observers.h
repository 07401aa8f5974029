// What watches a model call from outside: time and memory per module, the first value that is not finite, Ctrl-C.
//
//   Profiler profiler;
//   { Observing on(&profiler); model(...); }
//   std::fputs(profiler.table().c_str(), stderr);
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "caravan/nn/module.h"

namespace caravan::cli {

// Installs an observer for its lifetime; nullptr installs none.
class Observing {
 public:
  explicit Observing(nn::Observer* observer) : previous_(nn::set_observer(observer)) {}
  ~Observing() { nn::set_observer(previous_); }
  Observing(const Observing&) = delete;

 private:
  nn::Observer* previous_;
};

// Time of each kind of module (with and without its children) and the size of its outputs. On a GPU the time is that of
// queueing the work, not of the work.
class Profiler final : public nn::Observer {
 public:
  void enter(const nn::Module& module) override;
  void leave(const nn::Module& module, const at::Tensor& output) override;
  std::string table() const;  // layers are added up: "model.layers.*.mlp"

 private:
  using Clock = std::chrono::steady_clock;
  struct Row {
    int64_t calls = 0, output_bytes = 0;
    double seconds = 0, children = 0;
    size_t order = 0;
  };
  struct Frame {
    Clock::time_point start;
    double children = 0;
  };
  std::map<std::string, Row> rows_;
  std::vector<Frame> stack_;
};

// Throws at the first output with NaN or infinity: module, shape, how many values.
class FiniteCheck final : public nn::Observer {
 public:
  void enter(const nn::Module&) override {}
  void leave(const nn::Module& module, const at::Tensor& output) override;
};

// Ends a model call between layers once the flag is set, by throwing Error{cancelled}; for long prompts. Watches from
// its construction on; without a flag it never does.
class Stopper final : public nn::Observer {
 public:
  explicit Stopper(std::shared_ptr<const std::atomic<bool>> flag);
  ~Stopper() override { disarm(); }
  Stopper(const Stopper&) = delete;
  void enter(const nn::Module& module) override;
  void leave(const nn::Module&, const at::Tensor&) override {}
  void disarm();  // goes away: layers that somebody watches are not fused

 private:
  std::shared_ptr<const std::atomic<bool>> flag_;
  nn::Observer* previous_ = nullptr;
};

}  // namespace caravan::cli
