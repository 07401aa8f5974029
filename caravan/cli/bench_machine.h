// What this machine can do at best, measured here: the scale that `caravan bench` grades a model's speed by.
#pragma once

#include <cstdint>

#include "caravan/base/json.h"

namespace caravan::cli {

// Bytes a second that all threads read together out of a buffer of this size: the best of some passes.
double read_bandwidth(uint64_t bytes);

// {"threads", "instruction_set", "read_bandwidth": [{"bytes", "gb_per_second"}, ...], "multiply_rate": [{"type",
// "gflops"}, ...]}: bandwidth over footprints from a core's cache to main memory, and multiply-adds (counted as two) a
// second of large products: libtorch's GEMM in f32 and bf16, our integer product of packed Q8_0 weights.
Json measure_machine();

}  // namespace caravan::cli
