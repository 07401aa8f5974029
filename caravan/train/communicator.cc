#include "caravan/train/communicator.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <optional>

namespace caravan::train {
namespace {

class SingleProcess final : public Communicator {
 public:
  void start_sum(std::span<float>, int) override {}
  void start_broadcast(std::span<std::byte>, int) override {}
  void start_send(std::span<const std::byte>, int) override {}
  void start_receive(std::span<std::byte>, int) override {}
  void wait() override {}
  void sum(std::span<double>) override {}

 private:
  void close() override {}
};

std::span<std::byte> bytes_of(std::string& text) { return {reinterpret_cast<std::byte*>(text.data()), text.size()}; }

}  // namespace

std::unique_ptr<Communicator> single_process() { return std::make_unique<SingleProcess>(); }

bool any_of_all(Communicator& processes, bool mine) {
  double count = mine ? 1 : 0;
  processes.sum({&count, 1});
  return count > 0;
}

std::vector<std::string> gather(Communicator& processes, const std::string& mine) {
  const auto size = static_cast<size_t>(processes.size());
  std::vector<double> lengths(size, 0);
  lengths[static_cast<size_t>(processes.rank())] = static_cast<double>(mine.size());
  processes.sum(lengths);
  std::vector<std::string> all(size);
  for (size_t r = 0; r < size; ++r) {
    all[r] = static_cast<int>(r) == processes.rank() ? mine : std::string(static_cast<size_t>(lengths[r]), ' ');
    if (!all[r].empty()) processes.start_broadcast(bytes_of(all[r]), static_cast<int>(r));
  }
  processes.wait();
  return all;
}

std::string broadcast(Communicator& processes, std::string text, int root) {
  double length = processes.rank() == root ? static_cast<double>(text.size()) : 0;
  processes.sum({&length, 1});
  text.resize(static_cast<size_t>(length));
  if (!text.empty()) processes.start_broadcast(bytes_of(text), root);
  processes.wait();
  return text;
}

void together(Communicator& processes, const std::function<void()>& work) {
  std::optional<Error> mine;
  try {
    work();
  } catch (const Error& error) {
    mine = error;
  } catch (const std::exception& error) {
    if (processes.size() == 1) throw;
    mine = Error(ErrorCode::internal, error.what());
  }
  if (processes.size() == 1 && mine) throw Error(*mine);
  if (processes.size() == 1 || !any_of_all(processes, mine.has_value())) return;
  const std::string code = mine ? std::to_string(static_cast<int>(mine->code())) : "";
  const std::vector<std::string> codes = gather(processes, code);
  const auto first = std::find_if(codes.begin(), codes.end(), [](const std::string& c) { return !c.empty(); });
  const int rank = static_cast<int>(first - codes.begin());
  const std::string what = broadcast(processes, mine ? mine->what() : "", rank);
  fail_together(processes, {static_cast<ErrorCode>(std::stoi(*first)),
                            rank == 0 ? what : fmt::format("process {} of {}: {}", rank, processes.size(), what)});
}

void fail_together(Communicator& processes, const Error& error) {
  processes.finish();
  if (processes.rank() > 0) throw ReportedElsewhere{};
  throw Error(error);
}

int threads_per_process(Communicator& processes) {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  std::array<char, 256> host{};
  if (sched_getaffinity(0, sizeof cores, &cores) != 0 || gethostname(host.data(), host.size() - 1) != 0) return 1;
  const std::string mine =
      std::string(host.data()) + '\n' + std::string(reinterpret_cast<const char*>(&cores), sizeof cores);
  const std::vector<std::string> all = gather(processes, mine);
  const auto sharing = static_cast<int>(std::count(all.begin(), all.end(), mine));
  return std::max(1, CPU_COUNT(&cores) / sharing);
}

}  // namespace caravan::train
