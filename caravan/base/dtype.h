// Element types of stored tensors: plain scalars and GGML's block-quantized types.
//
// A block type packs `block_size` consecutive elements of a row into `block_bytes` bytes; a scalar has block_size 1.
// Source of the block layouts: ggml's ggml-common.h (the GGUF format).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace caravan {

enum class DType : uint8_t {
  f64,
  f32,
  f16,
  bf16,
  i64,
  i32,
  i16,
  i8,
  u8,
  boolean,
  u16,
  u32,
  u64,
  f8_e4m3,
  f8_e5m2,
  q4_0,
  q4_1,
  q5_0,
  q5_1,
  q8_0,
  q2_k,
  q3_k,
  q4_k,
  q5_k,
  q6_k,
  iq4_nl,
  iq4_xs,
};

struct DTypeInfo {
  DType dtype;
  std::string_view name;  // "f32", "bf16", "q4_k" ...: what --dtype takes and `inspect` prints
  int64_t block_size;     // elements
  int64_t block_bytes;
};

const DTypeInfo& dtype_info(DType dtype);
inline std::string_view to_string(DType dtype) { return dtype_info(dtype).name; }
inline bool is_block_quantized(DType dtype) { return dtype_info(dtype).block_size > 1; }
bool is_floating_point(DType dtype);  // f64, f32, f16, bf16, f8 (not the block types)

// By name, case-insensitive; also "float32", "fp16", "bfloat16", "torch.float16" ... as config.json writes them.
std::optional<DType> find_dtype(std::string_view name);

// Bytes of a contiguous tensor; overflow-checked. The last dimension of a block type must be a multiple of its block.
int64_t tensor_bytes(DType dtype, std::span<const int64_t> shape, std::string_view where);

}  // namespace caravan
