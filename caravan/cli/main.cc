// The program: runs a command line and turns what it throws into a message on stderr and an exit code. The codes are
// those of sysexits.h where it has a fitting one, and live here only.
#include <fcntl.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "caravan/base/allocator.h"
#include "caravan/base/error.h"
#include "caravan/base/utf8.h"
#include "caravan/cli/command.h"
#include "caravan/cli/log.h"
#include "caravan/cli/output.h"
#include "caravan/kernels/instruction_sets.h"

namespace {

using caravan::ErrorCode;

int exit_code(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_argument:
      return 64;
    case ErrorCode::corrupt_file:
      return 65;
    case ErrorCode::not_found:
      return 66;
    case ErrorCode::unsupported:
      return 69;
    case ErrorCode::internal:
      return 70;
    case ErrorCode::out_of_memory:
      return 71;
    case ErrorCode::busy:
      return 75;
    case ErrorCode::cancelled:
      return 130;
  }
  return 70;
}

constexpr int kInputOutput = 74;

// The system's faults are no bugs: a full disk, a broken device, an output that is closed.
int exit_code(const caravan::Error& error) {
  const bool is_system = error.code() == ErrorCode::internal && error.fault() == caravan::FileFault::io;
  return is_system ? kInputOutput : exit_code(error.code());
}

void print_error(const std::string& message) {
  std::fflush(stdout);  // results printed so far come before the error on a terminal
  std::string line = "caravan: " + message;
  while (!line.empty() && line.back() == '\n') line.pop_back();
  // What was given may be no text, or be cut inside a character.
  for (size_t bad; (bad = caravan::find_invalid_utf8(line)) != std::string::npos;) line.replace(bad, 1, "\uFFFD");
  std::fprintf(stderr, "%s\n", line.c_str());
}

int report(ErrorCode code, const std::string& message) {
  print_error(message);
  return exit_code(code);
}

// libtorch's messages carry a C++ stack trace after the first line.
int report_foreign(const std::exception& error) {
  const std::string what = error.what();
  const std::string line = what.substr(0, what.find('\n'));
  const bool memory = std::ranges::any_of(std::array{"not enough memory", "out of memory", "can't allocate memory"},
                                          [&](const char* said) { return what.find(said) != std::string::npos; });
  if (memory)
    return report(ErrorCode::out_of_memory, "out of memory; a smaller model, --dtype or batch needs less: " + line);
  return report(ErrorCode::internal, line + " (this is a bug in Caravan; -v shows more)");
}

void check_instruction_set() {
  const char* forced = std::getenv("CARAVAN_ISA");
  if (forced == nullptr || *forced == 0) return;
  const auto& known = caravan::kernels::kInstructionSets;
  caravan::check(std::ranges::find(known, std::string_view(forced)) != std::end(known), ErrorCode::invalid_argument,
                 "CARAVAN_ISA: expected one of {}; got '{}'", fmt::join(known, ", "), forced);
}

int run(std::vector<std::string> arguments) {
  constexpr int kBrokenPipe = 128 + SIGPIPE;  // what a shell reports for a program that SIGPIPE ended
  try {
    check_instruction_set();
    caravan::cli::run_command_line(std::move(arguments));
    caravan::cli::flush_output();
    return 0;
  } catch (const caravan::Error& error) {
    print_error(error.what());
    return exit_code(error);
  } catch (const caravan::cli::BrokenPipe&) {
    return kBrokenPipe;
  } catch (const std::bad_alloc&) {
    return report(ErrorCode::out_of_memory, "out of memory: a smaller model, --dtype or batch needs less");
  } catch (const std::filesystem::filesystem_error& error) {
    print_error(error.path1().string() + ": " + error.code().message());
    return kInputOutput;
  } catch (const std::exception& error) {
    caravan::cli::log_detail("{}", error.what());
    return report_foreign(error);
  } catch (...) {
    return report(ErrorCode::internal, "unknown exception (this is a bug in Caravan)");
  }
}

// A closed standard descriptor would be given to the next file that is opened, and results printed into that file.
// The stand-ins fail as the closed ones would: they cannot be read from or written to.
void reserve_standard_descriptors() {
  for (int fd = 0; fd <= 2; ++fd) {
    if (::fcntl(fd, F_GETFD) == -1) ::open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);  // takes the lowest free one
  }
}

}  // namespace

int main(int argc, char** argv) {
  reserve_standard_descriptors();
  caravan::keep_freed_memory();
  // A closed pipe is seen by print(), a file beyond the size limit (ulimit -f) by the writer: temporary files are
  // removed.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  return run(std::vector<std::string>(argv + 1, argv + argc));
}
