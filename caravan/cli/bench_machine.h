// What this machine can do at best, measured here: the scale that `caravan bench` grades a model's speed by.
#pragma once

#include <cstdint>

#include "caravan/base/dtype.h"
#include "caravan/base/json.h"

namespace caravan::cli {

// Bytes a second that all threads read together out of a buffer of this size: the best of some passes.
double read_bandwidth(uint64_t bytes);

// Operations a second of large products with weights of this type, each multiply-add counted as two: fp32 (also for
// f16, which becomes fp32) by the better of libtorch's GEMM and ours, bf16 by libtorch's, blocks by our integer product
// of packed Q8_0 weights.
double multiply_rate(DType dtype);

// {"threads", "instruction_set", "read_bandwidth": [{"bytes", "gb_per_second"}, ...], "multiply_rate": [{"type",
// "gflops"}, ...]}: bandwidth over footprints from a core's cache to main memory, and multiply_rate() of f32, bf16 and
// q8_0.
Json measure_machine();

}  // namespace caravan::cli
