// Several processes against one, as threads of this test: the same weights, losses and checkpoints. The same over MPI:
// tests/cli/train_parallel.py.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <barrier>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <limits>
#include <map>
#include <mutex>
#include <thread>

#include "caravan/base/crc32c.h"
#include "caravan/base/error.h"
#include "caravan/base/temporary_folder.h"
#include "caravan/train/checkpoint.h"
#include "caravan/train/trainer.h"

namespace caravan::train {
namespace {

// What threads share that stand for processes. Every operation is done before start_...() returns.
struct Group {
  explicit Group(int size) : meeting(size), memory(static_cast<size_t>(size)) {}
  std::barrier<> meeting;
  std::vector<void*> memory;
  std::mutex mutex;
  std::condition_variable sent;
  std::map<std::pair<int, int>, std::deque<std::vector<std::byte>>> mail;  // by sender and receiver
};

class ThreadRank final : public Communicator {
 public:
  ThreadRank(Group& group, int rank) : group_(group) { rank_ = rank, size_ = static_cast<int>(group.memory.size()); }
  void start_sum(std::span<float> values, int root) override { sum_of<float>(values, root); }
  void sum(std::span<double> values) override { sum_of<double>(values, kAll); }
  void start_broadcast(std::span<std::byte> bytes, int root) override {
    meet(bytes.data(), [&] {
      for (void* other : group_.memory) {
        if (other != group_.memory[root]) std::memcpy(other, group_.memory[root], bytes.size());
      }
    });
  }
  void start_send(std::span<const std::byte> bytes, int to) override {
    const std::lock_guard lock(group_.mutex);
    group_.mail[{rank_, to}].emplace_back(bytes.begin(), bytes.end());
    group_.sent.notify_all();
  }
  void start_receive(std::span<std::byte> bytes, int from) override {
    std::unique_lock lock(group_.mutex);
    auto& box = group_.mail[{from, rank_}];
    group_.sent.wait(lock, [&] { return !box.empty(); });
    ASSERT_EQ(box.front().size(), bytes.size());
    std::memcpy(bytes.data(), box.front().data(), bytes.size());
    box.pop_front();
  }
  void wait() override {}

 private:
  void close() override {}
  void meet(void* mine, const std::function<void()>& work) {
    group_.memory[static_cast<size_t>(rank_)] = mine;
    group_.meeting.arrive_and_wait();
    if (rank_ == 0) work();
    group_.meeting.arrive_and_wait();
  }
  template <class T>
  void sum_of(std::span<T> values, int root) {
    meet(values.data(), [&] {
      for (size_t i = 0; i < values.size(); ++i) {
        T total = 0;
        for (void* part : group_.memory) total += static_cast<T*>(part)[i];
        for (size_t r = 0; r < group_.memory.size(); ++r) {  // who is not the root gets something useless
          const bool told = root == kAll || static_cast<int>(r) == root;
          static_cast<T*>(group_.memory[r])[i] = told ? total : std::numeric_limits<T>::quiet_NaN();
        }
      }
    });
  }
  Group& group_;
};

constexpr int64_t kVocabulary = 23;

std::unique_ptr<models::CausalLm> small_model() {
  auto model = std::make_unique<models::CausalLm>(Json{{"model_type", "llama"},
                                                       {"vocab_size", kVocabulary},
                                                       {"hidden_size", 32},
                                                       {"intermediate_size", 64},
                                                       {"num_hidden_layers", 2},
                                                       {"num_attention_heads", 2},
                                                       {"tie_word_embeddings", true},
                                                       {"rms_norm_eps", 1e-6}});
  nn::initialize(*model, {.std = 0.05, .seed = 3});
  return model;
}

// Lengths from 2 to 14; the first two tokens of each are not learned, so some teach nothing.
std::shared_ptr<TokenExamples> examples_of(int64_t count) {
  auto examples = std::make_shared<TokenExamples>();
  for (int64_t n = 0; n < count; ++n) {
    Example e;
    for (uint64_t i = 0; i < 2 + mix(7, static_cast<uint64_t>(n)) % 13; ++i)
      e.ids.push_back(static_cast<int32_t>(mix(static_cast<uint64_t>(n), i) % kVocabulary));
    e.learned.assign(e.ids.size(), 1);
    e.learned[0] = e.learned[1] = 0;
    examples->add(e);
  }
  return examples;
}

struct Setting {
  int processes = 1;
  int64_t accumulation = 1, steps = 4;
  std::string optimizer = "adamw", folder;
  bool shard = false, resume = false;
  int64_t stop_after = 0;
  Precision precision = Precision::fp32;
};

struct Result {
  Tensor values;
  std::vector<Json> rows;
};

// What process 0 has in the end; all of them have the same weights.
Result train(const Setting& s) {
  Group group(s.processes);
  std::vector<Result> results(static_cast<size_t>(s.processes));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < s.processes; ++rank) {
    threads.emplace_back([&, rank] {
      ThreadRank processes(group, rank);
      const auto model = small_model();
      const Objective& objective = find_objective("next_token");
      PackedBatches batches(examples_of(50), {.token_budget = 90, .seed = 4});
      TrainerOptions o{
          .folder = s.folder, .total_steps = s.steps, .accumulation = s.accumulation, .log_every = 1, .seed = 5};
      o.optimizer = s.optimizer;
      o.optimizer_options.lr = s.optimizer == "sgd" ? 0.5 : 3e-3;
      o.optimizer_options.momentum = s.optimizer == "sgd" ? 0.9 : 0;
      o.optimizer_options.eps = 1e-6;
      o.ema_decay = 0.9;
      o.store.precision = s.precision;
      o.processes = &processes;
      o.shard_optimizer = s.shard;
      int64_t steps = 0;
      TrainerHooks hooks{
          .evaluate =
              [&](models::Head& m) {
                return evaluate_objective(m, objective, examples_of(20), 40, "validation", &processes);
              },
          .interrupted = [&] { return rank == s.processes - 1 && s.stop_after > 0 && ++steps == s.stop_after; }};
      Trainer trainer(*model, objective, batches, o, hooks);
      EXPECT_EQ(s.resume && trainer.resume(), s.resume);
      EXPECT_EQ(trainer.run(), s.stop_after > 0 ? Outcome::interrupted : Outcome::finished);
      results[static_cast<size_t>(rank)] = {.values = trainer.store().values().clone(), .rows = trainer.metrics()};
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Result& other : results) EXPECT_TRUE(at::equal(other.values, results[0].values)) << "the processes differ";
  for (Json& row : results[0].rows) row.erase("timing");
  return results[0];
}

void expect_close(const Result& a, const Result& b, double tolerance) {
  EXPECT_LE((a.values - b.values).norm().item<double>(), tolerance * b.values.norm().item<double>());
  ASSERT_EQ(a.rows.size(), b.rows.size());
  for (size_t i = 0; i < a.rows.size(); ++i) {
    ASSERT_EQ(a.rows[i].size(), b.rows[i].size());
    for (const auto& [key, value] : b.rows[i].items())
      EXPECT_NEAR(a.rows[i].at(key).get<double>(), value.get<double>(), 5 * tolerance * std::abs(value.get<double>()))
          << key;
  }
}

TEST(Parallel, AnyNumberOfProcessesEqualsOne) {
  for (const std::string optimizer : {"sgd", "adamw", "muon", "adafactor"}) {
    for (const int64_t accumulation : {1, 3}) {
      const Result one = train({.accumulation = accumulation, .optimizer = optimizer});
      for (const int processes : {2, 3}) {
        SCOPED_TRACE(fmt::format("{} x{} in {} processes", optimizer, accumulation, processes));
        const Setting many{.processes = processes, .accumulation = accumulation, .optimizer = optimizer};
        // Muon orthogonalizes in bf16: a gradient's last bit moves its update by a part in 250.
        expect_close(train(many), one, optimizer == "muon" ? 1e-3 : 2e-6);
      }
    }
  }
}

TEST(Parallel, AShardedOptimizerGivesTheSameBits) {
  for (const std::string optimizer : {"sgd", "adamw", "muon", "adafactor"}) {
    for (const Precision precision : {Precision::fp32, Precision::bf16}) {
      Setting s{.processes = 3, .optimizer = optimizer, .precision = precision};
      const Result whole = train(s);
      s.shard = true;
      const Result sharded = train(s);
      EXPECT_TRUE(at::equal(whole.values, sharded.values)) << optimizer;
      EXPECT_EQ(Json(whole.rows).dump(), Json(sharded.rows).dump()) << optimizer;
    }
  }
}

LoadedCheckpoint newest(const std::string& folder) {
  return load_checkpoint(*newest_checkpoint(folder + "/checkpoints", [](const std::string&) {}));
}

TEST(Parallel, ResumesExactlyAndInAnyNumberOfProcesses) {
  for (const std::string optimizer : {"adamw", "muon", "sgd", "adafactor"}) {
    SCOPED_TRACE(optimizer);
    const TemporaryFolder folder;
    Setting s{.processes = 2, .steps = 6, .optimizer = optimizer, .folder = folder / "straight", .shard = true};
    const Result straight = train(s);
    s.folder = folder / "stopped";
    s.stop_after = 3;
    train(s);
    const LoadedCheckpoint saved = newest(s.folder);
    s.stop_after = 0;
    s.resume = true;
    const Result resumed = train(s);
    EXPECT_TRUE(at::equal(straight.values, resumed.values));
    EXPECT_EQ(Json(straight.rows).dump(), Json(resumed.rows).dump());
    EXPECT_EQ(crc32c_of_file((folder / "straight") + "/final/model.safetensors"),
              crc32c_of_file(s.folder + "/final/model.safetensors"));

    // The checkpoint holds all tensors that one process would have written.
    Setting one{.steps = 6, .optimizer = optimizer, .folder = folder / "one", .stop_after = 3};
    train(one);
    const LoadedCheckpoint complete = newest(one.folder);
    ASSERT_EQ(complete.tensors.size(), saved.tensors.size());
    for (const auto& [name, tensor] : complete.tensors)
      EXPECT_EQ(saved.tensors.at(name).sizes(), tensor.sizes()) << name;
    // Begun by one process, finished by three.
    one.stop_after = 0;
    one.resume = one.shard = true;
    one.processes = 3;
    expect_close(train(one), straight, optimizer == "muon" ? 1e-3 : 2e-6);
  }
}

TEST(Parallel, SumsStartWhileTheBackwardPassRuns) {
  Group group(2);
  std::vector<size_t> early(2), count(2);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < 2; ++rank) {
    threads.emplace_back([&, rank] {
      ThreadRank processes(group, rank);
      const auto model = small_model();
      ParameterStore store(*model, {});
      GradientBuckets buckets(store, processes, 4096);
      PackedBatches batches(examples_of(50), {.token_budget = 90});
      for (int step = 0; step < 3; ++step) {
        const Batch batch = batches.next();
        store.begin_window();
        buckets.begin(2);
        for (int pass = 0; pass < 2; ++pass) find_objective("next_token").loss(*model, batch, {}).backward();
        store.end_window();
        buckets.finish();
        EXPECT_EQ(step == 0, buckets.started_early() == 0);
      }
      early[static_cast<size_t>(rank)] = buckets.started_early();
      count[static_cast<size_t>(rank)] = buckets.count();
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(count[0], 3u);
  EXPECT_EQ(early, count);  // every weight gets a gradient: all start before the end
}

TEST(Parallel, SharesAreTheWholeWindowOnce) {
  std::vector<std::vector<Example>> window;
  int32_t token = 0;
  int64_t tokens = 0;
  for (const std::vector<size_t>& lengths : {std::vector<size_t>{9, 7, 4, 4, 2}, {5, 3}, {6}, {8, 8, 8, 1}}) {
    window.emplace_back();
    for (const size_t length : lengths) {
      window.back().push_back({.ids = std::vector<int32_t>(length, token++)});
      tokens += static_cast<int64_t>(length);
    }
  }
  for (const int size : {1, 2, 3, 5}) {
    std::map<int64_t, int64_t> seen;  // token -> how often
    for (int rank = 0; rank < size; ++rank) {
      const Window share = share_of(window, rank, size);
      EXPECT_EQ(share.tokens, tokens);
      EXPECT_EQ(share.targets, tokens - token);  // the first token of each has none
      for (const Batch& batch : share.batches) {
        for (int64_t i = 0; i < batch.tokens(); ++i) ++seen[batch.ids[i].item<int64_t>()];
      }
    }
    ASSERT_EQ(std::ssize(seen), token);
    int64_t total = 0;
    for (const auto& [id, times] : seen) total += times;
    EXPECT_EQ(total, tokens);
  }
}

TEST(Parallel, AFailureAnywhereEndsAllWithItsMessage) {
  Group group(3);
  std::vector<std::string> what(3);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < 3; ++rank) {
    threads.emplace_back([&, rank] {
      ThreadRank processes(group, rank);
      together(processes, [] {});
      try {
        together(processes, [&] { check(rank != 1, ErrorCode::corrupt_file, "the disk is gone"); });
        what[static_cast<size_t>(rank)] = "went on";
      } catch (const Error& error) {
        what[static_cast<size_t>(rank)] = error.what();
      } catch (const ReportedElsewhere&) {
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(what, (std::vector<std::string>{"process 1 of 3: the disk is gone", "", ""}));
}

TEST(Parallel, WithoutMpirunThereIsOneProcess) {
  const auto alone = open_communicator();
  EXPECT_EQ(alone->size(), 1);
  EXPECT_FALSE(any_of_all(*alone, false));
  EXPECT_EQ(broadcast(*alone, "text"), "text");
  EXPECT_EQ(gather(*alone, "mine"), std::vector<std::string>{"mine"});
  EXPECT_GE(threads_per_process(*alone), 1);
}

}  // namespace
}  // namespace caravan::train
