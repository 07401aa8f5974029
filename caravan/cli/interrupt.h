// Ctrl-C (and SIGTERM) as a flag, so that work stops at a good place and temporary files are removed. A second one ends
// the program at once, unless the program says that it listens to every one.
//
//   Interrupt interrupt;                                  // from here on Ctrl-C sets the flag
//   while (more()) { interrupt.check("converting"); ... }  // throws Error{cancelled}
#pragma once

#include <atomic>
#include <csignal>
#include <memory>
#include <string_view>

namespace caravan::cli {

class Interrupt {
 public:
  enum class Second { ends, counts };  // what the second Ctrl-C does while the first is not cleared: ends the program?

  explicit Interrupt(Second second = Second::ends);
  ~Interrupt();  // the previous handlers come back
  Interrupt(const Interrupt&) = delete;

  bool raised() const;
  bool terminated() const;  // by SIGTERM or SIGHUP; clear() does not forget this
  void clear();             // forgets it: the next Ctrl-C counts as the first
  void check(std::string_view doing) const;
  std::shared_ptr<const std::atomic<bool>> flag() const;  // for what polls it on other threads
  int wake_fd() const;  // readable from a signal until clear(), for poll(); -1 where there is none

 private:
  struct sigaction previous_int_ {
  }, previous_term_{}, previous_hup_{};
};

}  // namespace caravan::cli
