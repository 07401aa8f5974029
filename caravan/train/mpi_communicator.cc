// Communicator over MPI. One thread opens MPI, starts every operation and tests those in flight, so that reductions
// progress while the caller computes: Open MPI moves nothing between calls. It sleeps between tests instead of
// spinning: a spinning thread would take a core from the computation.
#include <dlfcn.h>
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <thread>

#include "caravan/train/communicator.h"
#include "caravan/train/mpi/module.h"

namespace caravan::train {
namespace {

constexpr const char* kModule = "libcaravan_mpi.so";

// Tests that yield before the thread begins to sleep, and how long it sleeps then.
constexpr int kYields = 200;
constexpr auto kSleep = std::chrono::microseconds(30);

class MpiCommunicator final : public Communicator {
 public:
  explicit MpiCommunicator(const CaravanMpiTable& mpi) : mpi_(mpi), thread_([this] { work(); }) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return opened_ || !error_.empty(); });
    if (error_.empty()) return;
    lock.unlock();
    stop(false);
    fail(ErrorCode::internal, "MPI could not be started: {}", error_);
  }
  ~MpiCommunicator() override { stop(false); }

  void start_sum(std::span<float> values, int root) override {
    add(kMpiSumFloat, values.data(), values.size(), 4, root);
  }
  void start_broadcast(std::span<std::byte> bytes, int root) override {
    add(kMpiBroadcast, bytes.data(), bytes.size(), 1, root);
  }
  void start_send(std::span<const std::byte> bytes, int to) override {
    add(kMpiSend, const_cast<std::byte*>(bytes.data()), bytes.size(), 1, to);  // MPI reads it only
  }
  void start_receive(std::span<std::byte> bytes, int from) override {
    add(kMpiReceive, bytes.data(), bytes.size(), 1, from);
  }
  void wait() override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return (queue_.empty() && flying_ == 0) || !error_.empty(); });
    check(error_.empty(), ErrorCode::internal, "talking to the other processes failed: {}", error_);
  }
  void sum(std::span<double> values) override {
    wait();
    add(kMpiSumDouble, values.data(), values.size(), 8, kAll);
    wait();
  }

 private:
  void close() override {
    wait();
    stop(true);
  }
  void add(CaravanMpiKind kind, void* data, size_t count, size_t width, int root) {
    const std::lock_guard lock(mutex_);
    for (size_t at = 0; at < count; at += kCaravanMpiMost) {
      queue_.push_back({kind, static_cast<std::byte*>(data) + at * width,
                        static_cast<int>(std::min<size_t>(count - at, kCaravanMpiMost)), root});
    }
    changed_.notify_all();
  }

  void stop(bool close) {
    if (!thread_.joinable()) return;
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      closes_ = close;
      changed_.notify_all();
    }
    thread_.join();
  }

  // --- the thread's ---
  void note(const char* error) {
    if (error == nullptr) return;
    const std::lock_guard lock(mutex_);
    if (error_.empty()) error_ = error;
    changed_.notify_all();
  }

  void work() {
    note(mpi_.open(&rank_, &size_));
    std::vector<void*> requests;
    int idle = 0;
    while (take(requests)) {
      if (poll(requests)) {
        idle = 0;
      } else if (++idle < kYields) {
        sched_yield();
      } else {
        std::this_thread::sleep_for(kSleep);
      }
    }
    if (closes_) note(mpi_.close());
  }

  // Starts what was queued; sleeps where there is nothing to do. False: it is time to stop.
  bool take(std::vector<void*>& requests) {
    std::vector<CaravanMpiOperation> fresh;
    {
      std::unique_lock lock(mutex_);
      if (!opened_) opened_ = true, changed_.notify_all();
      changed_.wait(lock, [&] { return stopping_ || !queue_.empty() || !requests.empty(); });
      if (stopping_ || !error_.empty()) {
        changed_.wait(lock, [&] { return stopping_; });
        return false;
      }
      fresh.swap(queue_);
      flying_ += fresh.size();
    }
    for (const CaravanMpiOperation& operation : fresh) note(mpi_.start(&operation, &requests.emplace_back()));
    return true;
  }

  // Whether anything came to its end.
  bool poll(std::vector<void*>& requests) {
    const size_t before = requests.size();
    std::erase_if(requests, [this](void*& request) {
      int done = 0;
      note(mpi_.test(&request, &done));
      return done != 0;
    });
    if (requests.size() == before) return false;
    const std::lock_guard lock(mutex_);
    flying_ -= before - requests.size();
    changed_.notify_all();
    return true;
  }

  const CaravanMpiTable& mpi_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<CaravanMpiOperation> queue_;
  size_t flying_ = 0;
  bool opened_ = false, stopping_ = false, closes_ = false;
  std::string error_;
  std::thread thread_;  // last: it uses the others
};

// Beside this library, or in lib/ beside the program's folder.
std::string module_path() {
  Dl_info self{};
  if (dladdr(reinterpret_cast<const void*>(&single_process), &self) == 0 || self.dli_fname == nullptr) return kModule;
  const std::filesystem::path folder = std::filesystem::absolute(self.dli_fname).parent_path();
  for (const std::filesystem::path& place : {folder / kModule, folder / "../lib" / kModule}) {
    std::error_code ignored;
    if (std::filesystem::exists(place, ignored)) return place.string();
  }
  return kModule;
}

int processes_started() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_SIZE", "PMI_SIZE"}) {
    if (const char* value = std::getenv(name)) return std::atoi(value);
  }
  return 1;
}

}  // namespace

std::unique_ptr<Communicator> open_communicator() {
  const int expected = processes_started();
  if (expected <= 1) return single_process();
  const std::string path = module_path();
  // Global: Open MPI's own plug-ins look for its symbols.
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (library == nullptr) {
    const char* reason = dlerror();
    fail(ErrorCode::unsupported,
         "this is one of {} processes, but Caravan was built without MPI ({}): install libopenmpi-dev, run cmake and "
         "build again, or start one process without mpirun",
         expected, reason != nullptr ? reason : path);
  }
  const auto table = reinterpret_cast<decltype(&caravan_mpi)>(dlsym(library, "caravan_mpi"));
  check(table != nullptr, ErrorCode::internal, "{} is not Caravan's MPI module", path);
  auto processes = std::make_unique<MpiCommunicator>(*table());
  check(processes->size() == expected, ErrorCode::unsupported,
        "the launcher started {} processes, but Open MPI sees {}: start them with Open MPI's mpirun", expected,
        processes->size());
  return processes;
}

}  // namespace caravan::train
