// What the benchmark programs over models share: their arguments, and a main that prints what went wrong.
//
//   Arguments arguments(argc, argv, 1, "generate_speed MODEL [--dtype f32] [--threads 2] [--runs 3]");
//   load_causal_lm(arguments.file(0), {.dtype = arguments.dtype()});
//   const int64_t runs = arguments.number("--runs", 3);
//
// The line of usage is the list of options: one that it does not show is refused.
#pragma once

#include <torch/torch.h>

#include <charconv>
#include <cstdint>
#include <cstdio>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "caravan/base/allocator.h"
#include "caravan/base/dtype.h"
#include "caravan/base/error.h"
#include "caravan/models/load.h"

namespace caravan::benchmarks {

class Arguments {
 public:
  // Files, then options with a value each. Sets the threads that --threads asks for.
  Arguments(int argc, char** argv, int files, const std::string& usage) {
    const auto refuse_unless = [&](bool good) { check(good, ErrorCode::invalid_argument, "usage: {}", usage); };
    refuse_unless(argc > files && (argc - files) % 2 == 1);
    files_.assign(argv + 1, argv + 1 + files);
    for (int i = files + 1; i < argc; i += 2) {
      refuse_unless(std::string_view(argv[i]).starts_with("--") &&
                    usage.find(fmt::format("[{} ", argv[i])) != usage.npos);
      options_[argv[i]] = argv[i + 1];
    }
    if (const int64_t threads = number("--threads", 0); threads > 0) at::set_num_threads(static_cast<int>(threads));
  }

  const std::string& file(size_t i) const { return files_[i]; }
  bool has(const std::string& option) const { return options_.contains(option); }

  int64_t number(const std::string& option, int64_t otherwise) const {
    const auto found = options_.find(option);
    if (found == options_.end()) return otherwise;
    const std::string& text = found->second;
    int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    check(error == std::errc() && end == text.data() + text.size() && value >= 0 && value <= 1 << 20,
          ErrorCode::invalid_argument, "{}: a number is expected, got '{}'", option, text);
    return value;
  }

  at::ScalarType dtype() const {  // --dtype, f32 where it is not given
    const auto found = options_.find("--dtype");
    const auto dtype = find_dtype(found == options_.end() ? "f32" : found->second);
    check(dtype.has_value(), ErrorCode::invalid_argument, "--dtype {}: not known", found->second);
    return models::to_scalar_type(*dtype);
  }

 private:
  std::vector<std::string> files_;
  std::map<std::string, std::string> options_;
};

// The exit code of run(argc, argv).
template <class Run>
int exit_code(const Run& run, int argc, char** argv) {
  keep_freed_memory();  // as the program does
  try {
    run(argc, argv);
    return 0;
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}

}  // namespace caravan::benchmarks
