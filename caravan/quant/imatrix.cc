// GGUF: tensors NAME.in_sum2 (sums of squares of the inputs) and NAME.counts. The older form: i32 entries; each an i32
// length and the name, i32 calls, i32 values and as many f32; then, in newer files, i32 calls of all, and an i32 length
// and the name of the text. NAME is GGUF's name of the weight.
// Source: llama.cpp's tools/imatrix.
#include "caravan/quant/imatrix.h"

#include <cmath>
#include <cstring>

#include "caravan/base/checked.h"
#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/formats/gguf.h"
#include "caravan/formats/gguf_names.h"

namespace caravan::quant {
namespace {

using Named = std::map<std::string, std::vector<float>>;  // by GGUF's name of the weight

std::vector<float> floats_of(const formats::GgufTensor& tensor, const std::string& path) {
  check_file(tensor.dtype == DType::f32, FileFault::type, path, "{} is {}, expected f32", tensor.name,
             to_string(tensor.dtype));
  std::vector<float> values(tensor.bytes.size() / sizeof(float));
  std::memcpy(values.data(), tensor.bytes.data(), values.size() * sizeof(float));
  return values;
}

Named read_gguf(const std::string& path) {
  constexpr std::string_view kSums = ".in_sum2";
  const auto file = formats::GgufFile::open(path);
  Named all;
  for (const formats::GgufTensor& t : file->tensors()) {
    if (!t.name.ends_with(kSums)) continue;
    all[std::string(t.name.substr(0, t.name.size() - kSums.size()))] = floats_of(t, path);
  }
  file->check();
  return all;
}

class DatReader {
 public:
  DatReader(std::string bytes, const std::string& path) : bytes_(std::move(bytes)), path_(path) {}

  int32_t number(int32_t least) {
    int32_t value = 0;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    check_file(value >= least, FileFault::range, path_, "a count of {}", value);
    return value;
  }
  bool at_end() const { return at_ == bytes_.size(); }
  std::string_view take(size_t n) {
    check_file(n <= bytes_.size() - at_, FileFault::truncated, path_, "{} bytes more are needed at {}", n, at_);
    at_ += n;
    return std::string_view(bytes_).substr(at_ - n, n);
  }

 private:
  std::string bytes_;
  const std::string& path_;
  size_t at_ = 0;
};

Named read_dat(std::string bytes, const std::string& path) {
  constexpr int32_t kMostEntries = 1 << 20;  // a text's first four characters are a larger number
  int32_t entries = 0;
  std::memcpy(&entries, bytes.data(), std::min(bytes.size(), sizeof entries));
  check_file(entries > 0 && entries <= kMostEntries, FileFault::magic, path,
             "this is no imatrix: expected llama-imatrix's GGUF, or its older .dat");
  DatReader in(std::move(bytes), path);
  Named all;
  in.take(sizeof entries);
  for (int32_t i = 0; i < entries; ++i) {
    const std::string name(in.take(static_cast<size_t>(in.number(1))));
    in.number(0);  // calls: a common factor of the values
    const auto n = static_cast<size_t>(in.number(1));
    const std::string_view raw = in.take(checked_mul<size_t>(n, sizeof(float), path));
    std::vector<float> values(n);
    std::memcpy(values.data(), raw.data(), raw.size());
    all[name] = std::move(values);
  }
  if (!in.at_end()) {
    in.number(0);
    in.take(static_cast<size_t>(in.number(0)));
  }
  check_file(in.at_end(), FileFault::layout, path, "there is more in it than its {} entries", entries);
  return all;
}

}  // namespace

Importances read_imatrix(const std::string& path, const formats::Checkpoint& model) {
  std::string bytes = read_file(path);
  const Named named = bytes.starts_with("GGUF") ? read_gguf(path) : read_dat(std::move(bytes), path);
  const std::string model_type = get_string(model.config(), "model_type", model.place_of("config.json"), std::string());
  const auto* architecture = formats::find_gguf_architecture_of_model_type(model_type);
  check(architecture != nullptr, ErrorCode::unsupported, "{}: a '{}' model has no names in GGUF", model.path(),
        model_type);
  Importances all;
  size_t fitting = 0;
  for (const auto& [name, values] : named) {
    const std::string full = formats::huggingface_tensor_name(*architecture, name).value_or("");
    const formats::TensorInfo* tensor = full.empty() ? nullptr : model.find(full);
    if (tensor == nullptr || tensor->shape.size() != 2) continue;
    check_file(std::ssize(values) == tensor->shape[1], FileFault::layout, path,
               "{}: {} values for a matrix of {} columns", name, values.size(), tensor->shape[1]);
    for (const float v : values) {
      check_file(std::isfinite(v) && v >= 0, FileFault::range, path, "{}: a sum of squares of {}", name, v);
    }
    ++fitting;
    std::vector<float> importance = above_zero(values);
    if (!importance.empty()) all.emplace(full.substr(0, full.rfind('.')), std::move(importance));
  }
  check(fitting > 0, ErrorCode::invalid_argument, "{}: nothing in it belongs to a tensor of {}", path, model.path());
  check(!all.empty(), ErrorCode::invalid_argument, "{}: all its sums are zero, which weighs no error: make it anew",
        path);
  return all;
}

}  // namespace caravan::quant
