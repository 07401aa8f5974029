#include "caravan/cli/interrupt.h"

#include <unistd.h>

#include "caravan/base/error.h"

namespace caravan::cli {
namespace {

// Written by the signal handler: lock-free, never freed.
std::atomic<bool>& raised_flag() {
  static std::atomic<bool> flag{false};
  static_assert(std::atomic<bool>::is_always_lock_free);
  return flag;
}

std::atomic<bool>& terminated_flag() {
  static std::atomic<bool> flag{false};
  return flag;
}

void on_signal(int signal) {
  if (signal == SIGTERM) terminated_flag() = true;
  if (!raised_flag().exchange(true)) return;
  ::signal(signal, SIG_DFL);  // the second one
  ::raise(signal);
}

}  // namespace

Interrupt::Interrupt() {
  raised_flag() = terminated_flag() = false;  // both exist before a handler runs
  struct sigaction action {};
  action.sa_handler = on_signal;  // no SA_RESTART: a read from the terminal returns, too
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, &previous_int_);
  sigaction(SIGTERM, &action, &previous_term_);
}

Interrupt::~Interrupt() {
  sigaction(SIGINT, &previous_int_, nullptr);
  sigaction(SIGTERM, &previous_term_, nullptr);
}

bool Interrupt::raised() const { return raised_flag(); }
bool Interrupt::terminated() const { return terminated_flag(); }
void Interrupt::clear() { raised_flag() = false; }

void Interrupt::check(std::string_view doing) const {
  caravan::check(!raised(), ErrorCode::cancelled, "interrupted while {}; nothing was left behind", doing);
}

std::shared_ptr<const std::atomic<bool>> Interrupt::flag() const {
  return {std::shared_ptr<void>(), &raised_flag()};  // owns nothing
}

}  // namespace caravan::cli
