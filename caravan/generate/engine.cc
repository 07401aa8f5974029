// A step: admit waiting requests, collect every running request's tokens, call the model once, hand out the scores.
// Scheduling follows continuous batching (Yu et al. 2022, Orca) with chunked prefill (Agrawal et al. 2023).
#include "caravan/generate/engine.h"

#include <torch/torch.h>

#include <algorithm>
#include <chrono>

#include "caravan/base/error.h"
#include "caravan/items/prompt.h"
#include "caravan/models/multiplied.h"

namespace caravan::generate {

using Clock = std::chrono::steady_clock;

struct Engine::Job {
  Job(RequestId number, GenerateRequest request, int64_t vocab_size, int64_t positions)
      : id(number), task(std::move(request), vocab_size, positions) {}

  RequestId id;
  Task task;
  std::unique_ptr<Strategy> strategy;
  nn::CacheSequence prompt;  // during prefill
  bool prefilled = false;
  std::vector<Tensor> hidden;   // of the prompt's chunks, where the strategy wants them
  int64_t feeds = 0, rows = 0;  // of the step under way
  Clock::time_point started = Clock::now(), decoding = started;
  GenerateResult result;
  std::exception_ptr error;

  bool embedded() const { return task.request.prompt_embeddings.defined(); }
  std::span<const int32_t> ids() const { return task.request.prompt; }
  bool cancelled() const { return task.request.cancelled != nullptr && task.request.cancelled->load(); }
};

namespace {

int64_t max_positions(models::CausalLm& model) {
  return get_int(model.config(), "max_position_embeddings", model.where(), {}, INT64_MAX);
}

void check_draft(models::CausalLm& model, models::CausalLm* draft) {
  if (draft == nullptr) return;
  check(draft->backbone().vocab_size() == model.backbone().vocab_size(), ErrorCode::invalid_argument,
        "the draft model has {} tokens, the model {}: speculative decoding needs the same vocabulary",
        draft->backbone().vocab_size(), model.backbone().vocab_size());
}

}  // namespace

Engine::Engine(models::CausalLm& model, EngineOptions options)
    : options_(options),
      runner_(model, options.cache_dtype),
      both_directions_(items::read_prompt_format(model.config(), model.where()).prefix),
      prefixes_({.max_tokens = options.keep_prefix_tokens}) {
  check(options.prefill_chunk > 0 && options.max_step_tokens > 0 && options.max_running > 0,
        ErrorCode::invalid_argument, "engine limits must be positive");
  check_draft(model, options.draft);
  if (options.draft == nullptr) return;
  draft_runner_ = std::make_unique<ModelRunner>(*options.draft, options.cache_dtype);
  draft_ = {draft_runner_.get(), static_cast<double>(models::multiplied_bytes(*options.draft)) /
                                     static_cast<double>(models::multiplied_bytes(model))};
}

Engine::~Engine() = default;

RequestId Engine::submit(GenerateRequest request) {
  for (int32_t id : request.prompt) {
    check(id >= 0 && id < runner_.model().backbone().vocab_size(), ErrorCode::invalid_argument,
          "prompt token {} is outside the vocabulary of {} tokens", id, runner_.model().backbone().vocab_size());
  }
  const Tensor& embeddings = request.prompt_embeddings;
  check(!embeddings.defined() ||
            (embeddings.dim() == 2 && embeddings.size(1) == runner_.model().backbone().hidden_size()),
        ErrorCode::invalid_argument, "prompt_embeddings must be [tokens, {}]",
        runner_.model().backbone().hidden_size());
  auto job = std::make_unique<Job>(next_id_, std::move(request), runner_.vocab_size(), max_positions(runner_.model()));
  job->strategy = make_strategy(job->task, draft_);
  job->result.prompt_tokens = job->task.prompt_rows;
  waiting_.push_back(std::move(job));
  return next_id_++;
}

void Engine::admit() {
  while (!waiting_.empty() && std::ssize(running_) < options_.max_running) {
    running_.push_back(std::move(waiting_.front()));
    waiting_.erase(waiting_.begin());
    running_.back()->started = running_.back()->decoding = Clock::now();
  }
}

bool Engine::shareable(const Job& job) const {
  return !both_directions_ && !job.embedded() && !job.strategy->wants_prompt_hidden();
}

// True while an earlier request is about to compute a prefix of this prompt. Takes the prefix as soon as it is there.
bool Engine::waits_for_prefix(Job& job) {
  if (!shareable(job) || job.prompt.valid()) return false;
  const int64_t limit = std::ssize(job.ids()) - 1;  // the last token must run: its scores are needed
  int64_t coming = 0;
  for (const auto& other : running_) {
    if (other.get() == &job) break;
    if (!other->prefilled && shareable(*other)) {
      coming = std::max(coming, std::min(common_prefix(other->ids(), job.ids()), limit));
    }
  }
  PrefixCache::Match match = prefixes_.find(job.ids(), limit);
  if (coming > match.tokens && coming >= std::min(prefixes_.options().min_shared, limit)) return true;
  if (match.tokens > 0) {
    job.prompt = std::move(match.sequence);
    job.result.reused_tokens = match.tokens;
  }
  return false;
}

Feed Engine::next_chunk(Job& job, int64_t budget) {
  if (!job.prompt.valid()) job.prompt = runner_.cache().new_sequence();
  const int64_t from = job.prompt.length();
  const int64_t left = job.task.prompt_rows - from;
  const int64_t n = both_directions_ ? left : std::min({left, options_.prefill_chunk, budget});
  Feed feed{.cache = &job.prompt, .rows = n == left ? 1 : 0, .prefix = both_directions_ ? n : 0};
  feed.hidden = job.strategy->wants_prompt_hidden();
  if (job.embedded()) {
    feed.embeddings = job.task.request.prompt_embeddings.narrow(0, from, n);
  } else {
    feed.ids.assign(job.ids().begin() + from, job.ids().begin() + from + n);
  }
  return feed;
}

// The feeds of this step and, in the same order, the jobs that they belong to.
std::vector<Engine::Job*> Engine::plan(std::vector<Feed>& feeds) {
  std::vector<Job*> jobs;
  int64_t tokens = 0;
  const auto add = [&](Job& job, std::vector<Feed> more) {
    job.feeds = std::ssize(more);
    job.rows = 0;
    for (Feed& feed : more) {
      tokens += feed.tokens();
      job.rows += feed.rows;
      feeds.push_back(std::move(feed));
    }
    jobs.push_back(&job);
  };
  std::vector<Job*> broken;
  for (auto& job : running_) {
    if (!job->prefilled) continue;
    try {
      add(*job, job->strategy->feeds());
    } catch (...) {
      job->error = std::current_exception();
      broken.push_back(job.get());
    }
  }
  for (Job* job : broken) finish(*job, job->error);
  for (auto& job : running_) {
    if (job->prefilled || waits_for_prefix(*job)) continue;
    if (tokens >= options_.max_step_tokens && tokens > 0) break;
    std::vector<Feed> chunk;
    chunk.push_back(next_chunk(*job, options_.max_step_tokens - tokens));
    add(*job, std::move(chunk));
  }
  return jobs;
}

void Engine::deliver(Job& job, Outputs outputs) {
  if (!job.prefilled) {
    if (outputs.hidden.defined()) job.hidden.push_back(outputs.hidden);
    if (job.prompt.length() < job.task.prompt_rows) return;  // more chunks to come
    job.prefilled = true;
    job.decoding = Clock::now();
    const bool others_wait =
        std::any_of(running_.begin(), running_.end(), [](const auto& other) { return !other->prefilled; });
    if (shareable(job) && (others_wait || !waiting_.empty() || prefixes_.options().max_tokens > 0)) {
      prefixes_.insert({job.ids().begin(), job.ids().end()}, job.prompt.fork());
    }
    if (!job.hidden.empty()) outputs.hidden = at::cat(job.hidden);
    job.hidden.clear();
    job.strategy->begin(std::move(job.prompt));
  }
  job.strategy->consume(std::move(outputs));
}

void Engine::finish(Job& job, std::exception_ptr error) {
  const auto now = Clock::now();
  const auto seconds = [](auto from, auto to) { return std::chrono::duration<double>(to - from).count(); };
  job.result.prefill_seconds = seconds(job.started, job.prefilled ? job.decoding : now);
  job.result.decode_seconds = job.prefilled ? seconds(job.decoding, now) : 0;
  job.result.accepted_tokens = job.task.accepted;
  job.result.proposed_tokens = job.task.proposed;
  job.error = error;
  if (error == nullptr) {
    try {
      job.result.sequences = job.strategy->results();
    } catch (...) {
      job.error = std::current_exception();
    }
  }
  job.strategy.reset();  // returns its pages
  job.prompt = nn::CacheSequence();
  for (auto* list : {&running_, &waiting_}) {
    const auto at = std::find_if(list->begin(), list->end(), [&](const auto& other) { return other.get() == &job; });
    if (at == list->end()) continue;
    std::unique_ptr<Job> owned = std::move(*at);
    list->erase(at);
    done_[owned->id] = std::move(owned);
    break;
  }
  const bool shared =
      std::any_of(running_.begin(), running_.end(), [](const auto& other) { return !other->prefilled; });
  if (!shared && waiting_.empty()) prefixes_.shrink();
}

void Engine::drop_cancelled() {
  std::vector<Job*> gone;
  for (auto* list : {&running_, &waiting_}) {
    for (auto& job : *list) {
      if (job->cancelled()) gone.push_back(job.get());
    }
  }
  for (Job* job : gone) finish(*job);
}

bool Engine::step() {
  torch::InferenceMode guard;
  drop_cancelled();
  admit();
  std::vector<Feed> feeds;
  const std::vector<Job*> jobs = plan(feeds);
  if (jobs.empty()) return !running_.empty() || !waiting_.empty();
  Outputs all;
  try {
    all = runner_.run(feeds);
  } catch (...) {  // no telling whose fault it is
    for (Job* job : jobs) finish(*job, std::current_exception());
    return true;
  }
  int64_t row = 0, hidden_row = 0, feed = 0;
  for (Job* job : jobs) {
    int64_t hidden = 0;
    for (int64_t end = feed + job->feeds; feed < end; ++feed) hidden += feeds[feed].hidden ? feeds[feed].tokens() : 0;
    Outputs mine;
    if (job->rows > 0) mine.logits = all.logits.narrow(0, row, job->rows);
    if (hidden > 0) mine.hidden = all.hidden.narrow(0, hidden_row, hidden);
    row += job->rows;
    hidden_row += hidden;
    try {
      deliver(*job, std::move(mine));
      if (job->prefilled && job->strategy->done()) finish(*job);
    } catch (...) {
      finish(*job, std::current_exception());
    }
  }
  return true;
}

bool Engine::finished(RequestId id) const { return done_.contains(id); }

int64_t Engine::active() const { return std::ssize(running_) + std::ssize(waiting_); }

GenerateResult Engine::take(RequestId id) {
  const auto at = done_.find(id);
  check(at != done_.end(), ErrorCode::not_found, "request {} is unknown or not finished", id);
  const std::unique_ptr<Job> job = std::move(at->second);
  done_.erase(at);
  if (job->error) std::rethrow_exception(job->error);
  return std::move(job->result);
}

void Engine::cancel(RequestId id) {
  for (auto* list : {&running_, &waiting_}) {
    for (auto& job : *list) {
      if (job->id == id) return finish(*job);
    }
  }
}

std::vector<GenerateResult> Engine::generate(std::vector<GenerateRequest> requests) {
  std::vector<RequestId> ids;
  try {
    for (GenerateRequest& request : requests) ids.push_back(submit(std::move(request)));
  } catch (...) {  // one bad request refuses the call: the others must not stay behind
    for (RequestId id : ids) {
      cancel(id);
      done_.erase(id);
    }
    throw;
  }
  const auto pending = [&] { return !std::all_of(ids.begin(), ids.end(), [&](RequestId id) { return finished(id); }); };
  while (pending()) step();
  std::vector<GenerateResult> results;
  std::exception_ptr error;
  for (RequestId id : ids) {
    try {
      results.push_back(take(id));
    } catch (...) {
      error = std::current_exception();
    }
  }
  if (error) std::rethrow_exception(error);
  return results;
}

GenerateResult Engine::generate(GenerateRequest request) {
  std::vector<GenerateRequest> one;
  one.push_back(std::move(request));
  return std::move(generate(std::move(one)).front());
}

}  // namespace caravan::generate
