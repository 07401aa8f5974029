#include "caravan/quant/quantize.h"

#include "caravan/base/error.h"
#include "caravan/ops/dequantize.h"
#include "caravan/ops/quantize.h"
#include "caravan/ops/threads.h"

namespace caravan::quant {
namespace {

constexpr std::string_view kWeight = ".weight";

std::span<const float> importance_of(const QuantizeOptions& options, const formats::TensorInfo& tensor) {
  const auto it = options.importances.find(tensor.name.substr(0, tensor.name.size() - kWeight.size()));
  if (it == options.importances.end()) return {};
  check(std::ssize(it->second) == tensor.shape.back(), ErrorCode::invalid_argument,
        "the importances of '{}' are {} numbers, its rows have {}", tensor.name, it->second.size(),
        tensor.shape.back());
  return it->second;
}

formats::ConvertOptions convert_options(const formats::Checkpoint& from, const QuantizeOptions& options) {
  formats::ConvertOptions convert;
  convert.write = options.write;
  const TypeChooser choose(from, options.recipe);
  if (is_folder_recipe(options.recipe.recipe))
    convert.dequantized_dtype = choose.dense_dtype();  // what the config says
  convert.progress = options.progress;
  convert.warn = options.warn;
  convert.choose = choose;
  convert.dequantize = [](DType dtype, std::span<const std::byte> blocks, std::span<float> values) {
    constexpr int64_t kPiece = 4096;  // a whole number of blocks of every type
    const DTypeInfo& info = dtype_info(dtype);
    const int64_t n = std::ssize(values), pieces = (n + kPiece - 1) / kPiece;
    ops::parallel_pieces(pieces, 16, [&](int64_t begin, int64_t end) {
      const int64_t first = begin * kPiece, last = std::min(end * kPiece, n);
      ops::dequantize(dtype, blocks.data() + first / info.block_size * info.block_bytes, values.data() + first,
                      last - first);
    });
  };
  convert.quantize = [&options](const formats::TensorInfo& planned, std::span<float> values,
                                std::span<std::byte> blocks) {
    if (options.method && options.method(planned, values, blocks)) return;
    const int64_t columns = planned.shape.back();
    std::span<const float> importance = importance_of(options, planned);
    // Without importance q4_0 is ggml's reference, which is wanted of GGUF files. A folder's groups have nothing to be
    // equal to, and the least squared error is searched.
    std::vector<float> even;
    if (importance.empty() && is_folder_recipe(options.recipe.recipe)) {
      even.assign(static_cast<size_t>(columns), 1.0f);
      importance = even;
    }
    ops::quantize_rows({planned.dtype, std::ssize(values) / columns, columns}, values, importance, blocks.data());
  };
  return convert;
}

}  // namespace

formats::ConvertPlan plan_quantization(const formats::Checkpoint& from, const QuantizeOptions& options) {
  return formats::plan_conversion(from, convert_options(from, options));
}

void quantize_checkpoint(const formats::Checkpoint& from, const std::string& to, const QuantizeOptions& options) {
  formats::convert(from, to, convert_options(from, options));
}

}  // namespace caravan::quant
