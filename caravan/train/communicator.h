// Talk between the processes of one run: what data parallel training needs, and no more.
//
//   auto processes = open_communicator();                // one process, or those that mpirun started
//   processes->start_sum(gradients);                     // goes on beside the caller's work
//   processes->wait();                                   // everything that was started is done
//   processes->finish();                                 // at the end of a run that went well
//
// All processes make the same calls in the same order. Sums are the same bits in every process and every time. MPI is
// in a module of its own (mpi/module.h), loaded only where mpirun started the program.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "caravan/base/error.h"

namespace caravan::train {

class Communicator {
 public:
  static constexpr int kAll = -1;

  virtual ~Communicator() = default;  // without finish(): mpirun ends the other processes when this one ends
  int rank() const { return rank_; }
  int size() const { return size_; }

  // Started here, done after wait(); the memory must stay until then. Sums are made in place.
  virtual void start_sum(std::span<float> values, int root = kAll) = 0;  // elsewhere than at the root values are lost
  virtual void start_broadcast(std::span<std::byte> bytes, int root) = 0;
  virtual void start_send(std::span<const std::byte> bytes, int to) = 0;
  virtual void start_receive(std::span<std::byte> bytes, int from) = 0;
  virtual void wait() = 0;

  virtual void sum(std::span<double> values) = 0;  // at once
  void finish() {
    if (!finished_) close();
    finished_ = true;
  }
  bool finished() const { return finished_; }

 protected:
  virtual void close() = 0;  // everywhere at the same time
  int rank_ = 0, size_ = 1;
  bool finished_ = false;
};

std::unique_ptr<Communicator> single_process();
// mpirun's processes where there are several. Throws unsupported where this build has no MPI.
std::unique_ptr<Communicator> open_communicator();

// --- made of those ---------------------------------------------------------------------------------------------------

bool any_of_all(Communicator& processes, bool mine);
std::string broadcast(Communicator& processes, std::string text, int root = 0);
std::vector<std::string> gather(Communicator& processes, const std::string& mine);  // in every process

// Runs `work` everywhere. Where it fails in any process the run ends: see fail_together.
void together(Communicator& processes, const std::function<void()>& work);

// For what all processes know: process 0 throws the error, the others this. finish() comes first.
struct ReportedElsewhere {};
[[noreturn]] void fail_together(Communicator& processes, const Error& error);

// Threads for this process: its cores, divided by the processes that have the same ones.
int threads_per_process(Communicator& processes);

}  // namespace caravan::train
