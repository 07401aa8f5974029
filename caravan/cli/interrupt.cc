#include "caravan/cli/interrupt.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "caravan/base/error.h"

namespace caravan::cli {
namespace {

// What the signal handler writes: lock-free, never freed.
struct State {
  std::atomic<bool> raised{false}, terminated{false}, second_ends{true};
  int wake[2] = {-1, -1};  // a pipe: poll() sees a signal that came just before it
};
static_assert(std::atomic<bool>::is_always_lock_free);

State& state() {
  static State only;
  return only;
}

void on_signal(int signal) {
  State& s = state();
  const bool first = !s.raised.exchange(true);
  const bool ends = signal != SIGINT;  // SIGTERM, or the terminal is gone
  if (ends && s.terminated.exchange(true)) s.second_ends = true;
  if (first) {
    const int error = errno;
    if (ends) s.terminated = true;
    if (s.wake[1] >= 0) (void)!::write(s.wake[1], "", 1);
    errno = error;
  } else if (s.second_ends) {
    ::signal(signal, SIG_DFL);
    ::raise(signal);
  }
}

}  // namespace

Interrupt::Interrupt(Second second) {
  State& s = state();
  if (s.wake[0] < 0 && ::pipe2(s.wake, O_CLOEXEC | O_NONBLOCK) != 0) s.wake[0] = s.wake[1] = -1;
  clear();
  s.terminated = false;
  s.second_ends = second == Second::ends;
  struct sigaction action {};
  action.sa_handler = on_signal;  // no SA_RESTART: a read from the terminal returns, too
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, &previous_int_);
  sigaction(SIGTERM, &action, &previous_term_);
  sigaction(SIGHUP, &action, &previous_hup_);
  if (previous_hup_.sa_handler == SIG_IGN) sigaction(SIGHUP, &previous_hup_, nullptr);  // nohup
}

Interrupt::~Interrupt() {
  sigaction(SIGINT, &previous_int_, nullptr);
  sigaction(SIGTERM, &previous_term_, nullptr);
  sigaction(SIGHUP, &previous_hup_, nullptr);
}

bool Interrupt::raised() const { return state().raised; }
bool Interrupt::terminated() const { return state().terminated; }
int Interrupt::wake_fd() const { return state().wake[0]; }

void Interrupt::clear() {
  State& s = state();
  char drained[16];
  while (s.wake[0] >= 0 && ::read(s.wake[0], drained, sizeof drained) > 0) {
  }
  s.raised = false;
}

void Interrupt::check(std::string_view doing) const {
  caravan::check(!raised(), ErrorCode::cancelled, "interrupted while {}; nothing was left behind", doing);
}

std::shared_ptr<const std::atomic<bool>> Interrupt::flag() const {
  return {std::shared_ptr<void>(), &state().raised};  // owns nothing
}

}  // namespace caravan::cli
