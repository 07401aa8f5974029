// fp32 inputs meet weights as they are stored, dense or packed, whatever their number: threads share out the rows, a
// task being 16 rows of one weight. What must be differentiated in a weight is gemm.h's, and bf16 inputs but few are
// libtorch's GEMM.
#include "caravan/ops/linear.h"

#include <sys/mman.h>
#include <torch/torch.h>

#include <algorithm>
#include <cstdlib>

#include "caravan/base/error.h"
#include "caravan/kernels/table.h"
#include "caravan/ops/dequantize.h"
#include "caravan/ops/gemm.h"
#include "caravan/ops/row_product.h"
#include "caravan/ops/threads.h"

namespace caravan::ops {
namespace {

using kernels::PackedType;

constexpr int64_t kTaskRows = kernels::kTileRows;

// Rows [begin, end) of a block-quantized weight as fp32.
Tensor dequantize_rows(const Weight& weight, int64_t begin, int64_t end) {
  const DTypeInfo& info = dtype_info(weight.dtype);
  const int64_t row_bytes = weight.columns / info.block_size * info.block_bytes;
  Tensor rows = at::empty({end - begin, weight.columns}, at::kFloat);
  const auto* from = static_cast<const std::byte*>(weight.value.const_data_ptr()) + begin * row_bytes;
  auto* to = rows.mutable_data_ptr<float>();
  parallel_pieces(end - begin, 64, [&](int64_t first, int64_t last) {
    dequantize(weight.dtype, from + first * row_bytes, to + first * weight.columns, (last - first) * weight.columns);
  });
  return rows;
}

const PackedType& type_of(DType dtype) {
  const PackedType* type = packed_type(dtype);
  check(type != nullptr, ErrorCode::unsupported, "{} weights cannot be multiplied", to_string(dtype));
  return *type;
}

// The inputs in the forms that are wanted, made by the calling thread for few and by all for many. The memory is this
// thread's and is kept: a token makes some hundred of them.
RowInputs prepared_inputs(const Tensor& x, int64_t columns, const InputForms& forms) {
  thread_local RowInputBuffer buffer;
  const RowInputs inputs = buffer.inputs(x.const_data_ptr<float>(), x.numel() / columns, columns, forms);
  parallel_rows(inputs.m, columns, [&](int64_t first, int64_t last) { RowInputBuffer::fill(inputs, first, last); });
  return inputs;
}

// What one parallel pass multiplies: all weights with the same m inputs.
struct Part {
  const Weight* weight;
  Tensor y;  // [m, rows]
  RowProduct product;
};

void multiply_tasks(const Part& part, const Tensor& x, const RowInputs& inputs, int64_t first, int64_t last) {
  if (x.scalar_type() == at::kFloat) {
    part.product.run(inputs, part.y.mutable_data_ptr<float>(), part.weight->rows, first, last);
  } else {
    const int64_t rows = part.weight->rows;
    kernels::table().gemv_bf16(bf16_data(part.weight->value), bf16_data(x), mutable_bf16_data(part.y),
                               first * kTaskRows, std::min(rows, last * kTaskRows), inputs.columns, inputs.m, rows);
  }
}

// Tasks are numbered through all parts; a thread takes a run of them.
void multiply_all(const std::vector<Part>& parts, const Tensor& x, const RowInputs& inputs) {
  int64_t tasks = 0;
  for (const Part& part : parts) tasks += part.product.tasks();
  parallel_tasks(tasks, kTaskRows * inputs.columns * inputs.m, [&](int64_t begin, int64_t end) {
    for (const Part& part : parts) {
      const int64_t count = part.product.tasks();
      const int64_t first = std::max<int64_t>(0, begin), last = std::min(end, count);
      if (first < last) multiply_tasks(part, x, inputs, first, last);
      begin -= count;
      end -= count;
    }
  });
}

std::vector<int64_t> output_sizes(const Tensor& x, const Weight& weight) {
  auto sizes = x.sizes().vec();
  sizes.back() = weight.rows;
  return sizes;
}

constexpr int64_t kFewForTiles = 32;  // more bf16 inputs are for libtorch's GEMM where the machine has AMX

// Whether our kernels multiply these, all in one pass.
bool is_ours(const Tensor& x, const Weight& weight) {
  if (!x.device().is_cpu() || x.numel() == 0) return false;
  const int64_t m = x.numel() / weight.columns;
  if (x.scalar_type() == at::kFloat) {
    const RowProduct product(weight);
    return product && !(m > kFewForTiles && product.wants().halves && kernels::has_bf16_tiles());
  }
  constexpr int64_t kRows = 2;  // more are better off in libtorch's GEMM
  return x.scalar_type() == at::kBFloat16 && weight.value.scalar_type() == at::kBFloat16 && m <= kRows &&
         weight.value.device().is_cpu() && weight.value.is_contiguous();
}

std::vector<Tensor> multiply_ours(const Tensor& input, std::span<const Weight> weights) {
  const Tensor x = input.contiguous();
  const int64_t columns = weights[0].columns;
  std::vector<Part> parts;
  InputForms forms;
  for (const Weight& weight : weights) {
    parts.push_back({&weight, at::empty(output_sizes(x, weight), x.options()), RowProduct(weight)});
    forms = forms | parts.back().product.wants();
  }
  const bool wide = x.scalar_type() == at::kFloat;
  multiply_all(parts, x,
               wide ? prepared_inputs(x, columns, forms) : RowInputs{.m = x.numel() / columns, .columns = columns});
  std::vector<Tensor> outputs;
  for (Part& part : parts) outputs.push_back(std::move(part.y));
  return outputs;
}

// Many inputs and a frozen bf16 weight where libtorch's GEMM has tiles for them (AMX).
Tensor multiply_bf16(const Tensor& x, const Weight& weight) {
  return at::linear(x.to(at::kBFloat16), weight.value).to(at::kFloat);
}

Tensor multiply_frozen(const Tensor& x, const Weight& weight) {
  if (x.numel() == 0) return at::zeros(output_sizes(x, weight), x.options());
  return is_ours(x, weight) ? std::move(multiply_ours(x, {&weight, 1})[0]) : multiply_bf16(x, weight);
}

// A frozen weight in the file's numbers: forward from its packed form, the input's gradient g W slab by slab through
// dense rows: never a whole dense copy.
struct PackedLinearFunction : torch::autograd::Function<PackedLinearFunction> {
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& x, const Weight& weight) {
    context->save_for_backward({weight.value});
    context->saved_data["dtype"] = static_cast<int64_t>(weight.dtype);
    context->saved_data["rows"] = weight.rows;
    context->saved_data["columns"] = weight.columns;
    return multiply_frozen(x, weight);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const Tensor value = context->get_saved_variables()[0];
    const Weight weight{.value = value,
                        .dtype = static_cast<DType>(context->saved_data["dtype"].toInt()),
                        .rows = context->saved_data["rows"].toInt(),
                        .columns = context->saved_data["columns"].toInt()};
    const Tensor g = gradients[0].reshape({-1, weight.rows});
    Tensor dx = at::zeros({g.size(0), weight.columns}, g.options());
    constexpr int64_t kSlabElements = 1 << 18;  // 1 MiB: stays in a core's second-level cache
    const int64_t slab = std::max<int64_t>(kTaskRows, kSlabElements / weight.columns);
    for (int64_t begin = 0; begin < weight.rows; begin += slab) {
      const int64_t end = std::min(weight.rows, begin + slab);
      add_product_nn(dx, g.slice(1, begin, end), dequantize_rows(weight, begin, end));
    }
    auto sizes = gradients[0].sizes().vec();
    sizes.back() = weight.columns;
    return {dx.view(sizes), Tensor()};
  }
};

// The smallest and the largest id.
std::pair<int64_t, int64_t> range_of(const Tensor& ids) {
  if (!ids.device().is_cpu() || ids.scalar_type() != at::kLong || !ids.is_contiguous())
    return {ids.min().item<int64_t>(), ids.max().item<int64_t>()};
  const auto* p = ids.const_data_ptr<int64_t>();
  const auto [low, high] = std::minmax_element(p, p + ids.numel());  // of one id: no two ops of libtorch's
  return {*low, *high};
}

}  // namespace

Tensor Arena::take(int64_t bytes) {
  constexpr int64_t kHugePage = int64_t{2} << 20, kBlock = 16 * kHugePage;
  const int64_t size = (bytes + 63) / 64 * 64;
  if (!block_.defined() || block_.numel() - used_ < size) {
    const int64_t whole = (std::max(size, kBlock) + kHugePage - 1) / kHugePage * kHugePage;
    void* memory = std::aligned_alloc(kHugePage, static_cast<size_t>(whole));
    check(memory != nullptr, ErrorCode::out_of_memory, "no memory for {} bytes of weights", whole);
    madvise(memory, static_cast<size_t>(whole), MADV_HUGEPAGE);  // a wish: without it the pages are small
    block_ = at::from_blob(
        memory, {whole}, [](void* p) { std::free(p); }, at::kByte);
    used_ = 0;
  }
  const Tensor piece = block_.narrow(0, used_, bytes);
  used_ += size;
  return piece;
}

int64_t packed_bytes(const Weight& weight) {
  return kernels::packed_bytes(type_of(weight.dtype), weight.rows, weight.columns);
}

Tensor pack(const Weight& weight, Arena* arena) {
  const PackedType& type = type_of(weight.dtype);
  const int64_t bytes = packed_bytes(weight);
  const Tensor tiles = arena != nullptr ? arena->take(bytes) : at::empty({bytes}, at::kByte);
  const auto* blocks = static_cast<const uint8_t*>(weight.value.const_data_ptr());
  auto* to = tiles.mutable_data_ptr<uint8_t>();
  parallel_rows(kernels::tile_count(weight.rows), kTaskRows * weight.columns, [&](int64_t begin, int64_t end) {
    kernels::pack_tiles(type, blocks, to, {weight.rows, weight.columns, begin, end});
  });
  return tiles;
}

Tensor dense(const Weight& weight, at::ScalarType dtype) {
  if (!is_block_quantized(weight.dtype)) return weight.value.to(dtype);
  return dequantize_rows(weight, 0, weight.rows).to(dtype);
}

Tensor linear(const Tensor& x, const Weight& weight, const Tensor& bias) {
  check(weight.value.defined(), ErrorCode::internal,
        "linear: the weight has no values; load or initialize the model first");
  check(x.size(-1) == weight.columns, ErrorCode::invalid_argument, "linear: {} input features, the weight has {}",
        x.size(-1), weight.columns);
  const bool frozen = weight.packed.defined() && x.device().is_cpu() && x.scalar_type() == at::kFloat;
  if (needs_gradient({x, frozen ? Tensor() : weight.value, bias})) {
    if (frozen) {
      const Tensor y = PackedLinearFunction::apply(x, weight);
      return bias.defined() ? y + bias : y;
    }
  } else if (frozen || is_ours(x, weight)) {
    Tensor y = frozen ? multiply_frozen(x, weight) : std::move(multiply_ours(x, {&weight, 1})[0]);
    return bias.defined() ? y.add_(bias) : y;
  }
  const Tensor w = runs_in_fp32(weight.dtype, weight.packed) ? dense(weight, x.scalar_type()) : weight.value;
  return dense_linear(x, w, bias);
}

std::vector<Tensor> linears(const Tensor& x, std::span<const Weight> weights, std::span<const Tensor> biases) {
  bool together = true;
  for (size_t i = 0; i < weights.size(); ++i) {
    const bool frozen = weights[i].packed.defined();
    together = together && weights[i].value.defined() && x.size(-1) == weights[i].columns && is_ours(x, weights[i]) &&
               !needs_gradient({x, frozen ? Tensor() : weights[i].value, biases[i]});
  }
  std::vector<Tensor> outputs;
  if (together) {
    outputs = multiply_ours(x, weights);
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (biases[i].defined()) outputs[i].add_(biases[i]);
    }
  } else {
    for (size_t i = 0; i < weights.size(); ++i) outputs.push_back(linear(x, weights[i], biases[i]));
  }
  return outputs;
}

Tensor embedding(const Tensor& ids, const Weight& weight, int64_t padding_index) {
  check(weight.value.defined(), ErrorCode::internal,
        "embedding: the weight has no values; load or initialize the model first");
  if (ids.numel() > 0) {
    const auto [low, high] = range_of(ids);
    check(low >= 0 && high < weight.rows, ErrorCode::invalid_argument, "token id {} is outside the vocabulary of {}",
          low < 0 ? low : high, weight.rows);
  }
  if (!is_block_quantized(weight.dtype)) {
    const Tensor rows = at::embedding(weight.value, ids, padding_index);
    return weight.packed.defined() ? rows.to(at::kFloat) : rows;
  }
  const Tensor flat = ids.reshape({-1}).to(at::kCPU).contiguous();
  Tensor rows = at::empty({flat.numel(), weight.columns}, at::kFloat);
  const DTypeInfo& info = dtype_info(weight.dtype);
  const int64_t row_bytes = weight.columns / info.block_size * info.block_bytes;
  const auto* blocks = static_cast<const std::byte*>(weight.value.const_data_ptr());
  parallel_rows(flat.numel(), weight.columns, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      dequantize(weight.dtype, blocks + flat.const_data_ptr<int64_t>()[i] * row_bytes,
                 rows.mutable_data_ptr<float>() + i * weight.columns, weight.columns);
    }
  });
  auto sizes = ids.sizes().vec();
  sizes.push_back(weight.columns);
  return rows.view(sizes);
}

}  // namespace caravan::ops
