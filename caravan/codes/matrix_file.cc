#include "caravan/codes/matrix_file.h"

#include <torch/torch.h>

#include <cstring>
#include <regex>
#include <unordered_map>

#include "caravan/base/checked.h"
#include "caravan/base/error.h"
#include "caravan/base/lines.h"
#include "caravan/models/tensor_file.h"

namespace caravan::codes {
namespace {

struct NpyHeader {
  std::string dtype;  // "<f4"
  bool fortran = false;
  std::vector<int64_t> shape;
  size_t data = 0;  // offset of the first value
};

// The header is a Python literal: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
NpyHeader parse_header(std::string_view bytes, const std::string& path) {
  check_file(bytes.size() >= 10 && bytes.starts_with("\x93NUMPY"), FileFault::magic, path, "not a NumPy .npy file");
  const auto major = static_cast<unsigned char>(bytes[6]);
  check_file(major >= 1 && major <= 3, FileFault::version, path, "version {} of the .npy format; 1 to 3 are known",
             major);
  const size_t prefix = major == 1 ? 10 : 12;
  check_file(bytes.size() >= prefix, FileFault::truncated, path, "the header is cut off");
  uint64_t length = 0;
  for (size_t i = prefix; i-- > 8;) length = length << 8 | static_cast<unsigned char>(bytes[i]);
  check_file(length <= 10000, FileFault::limit, path, "a header of {} bytes", length);
  check_file(length <= bytes.size() - prefix, FileFault::truncated, path, "a header of {} bytes, {} are left", length,
             bytes.size() - prefix);
  const std::string text(bytes.substr(prefix, length));
  NpyHeader header{.data = prefix + length};
  std::smatch found;
  check_file(std::regex_search(text, found, std::regex(R"('descr'\s*:\s*'([^']{1,8})')")), FileFault::unsupported, path,
             "expected an array of plain numbers, the header says {}", text);
  header.dtype = found[1];
  check_file(std::regex_search(text, found, std::regex(R"('fortran_order'\s*:\s*(True|False))")), FileFault::layout,
             path, "no fortran_order in the header");
  header.fortran = found[1] == "True";
  check_file(std::regex_search(text, found, std::regex(R"('shape'\s*:\s*\(\s*(\d{1,12})\s*,\s*(\d{1,12})\s*,?\s*\))")),
             FileFault::layout, path, "expected a matrix [items, width], the header says {}", text);
  header.shape = {std::stoll(found[1]), std::stoll(found[2])};
  return header;
}

at::ScalarType npy_dtype(const std::string& name, const std::string& path) {
  static const std::unordered_map<std::string, at::ScalarType> kTypes = {
      {"<f2", at::kHalf}, {"<f4", at::kFloat}, {"<f8", at::kDouble}, {"|i1", at::kChar},   {"<i2", at::kShort},
      {"<i4", at::kInt},  {"<i8", at::kLong},  {"|u1", at::kByte},   {"<u2", at::kUInt16}, {"<u4", at::kUInt32}};
  const auto found = kTypes.find(name);
  check_file(found != kTypes.end(), FileFault::unsupported, path, "values of type '{}'; little-endian numbers are read",
             name);
  return found->second;
}

at::Tensor read_npy(const std::string& path) {
  const auto file = MappedFile::open(path);
  const std::string_view bytes(reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size());
  const NpyHeader header = parse_header(bytes, path);
  const at::ScalarType type = npy_dtype(header.dtype, path);
  const auto size = checked_mul<uint64_t>(checked_numel(header.shape, path), c10::elementSize(type), path);
  const size_t there = bytes.size() - header.data;
  check_file(size == there, size > there ? FileFault::truncated : FileFault::layout, path,
             "[{}, {}] values of type {} take {} bytes, {} are there{}", header.shape[0], header.shape[1], header.dtype,
             size, there, size > there ? "" : ": something stands behind the matrix");
  std::vector<int64_t> shape = header.shape;
  if (header.fortran) std::swap(shape[0], shape[1]);
  at::Tensor matrix = at::empty(shape, type);
  if (size > 0) std::memcpy(matrix.mutable_data_ptr(), bytes.data() + header.data, size);
  file->check();
  return header.fortran ? matrix.transpose(0, 1) : matrix;
}

at::Tensor read_safetensors(const std::string& path, const std::string& name) {
  at::Tensor found;
  std::string names;
  for (const auto& [key, tensor] : models::read_tensors(path)) {
    if (tensor.dim() != 2 || (!name.empty() && key != name)) continue;
    check(!found.defined(), ErrorCode::invalid_argument, "{}: several matrices ({}, {}); name one as FILE:{}", path,
          names, key, key);
    found = tensor;
    names = key;
  }
  check(found.defined(), ErrorCode::not_found, "{}: no matrix{} in it", path, name.empty() ? "" : " '" + name + "'");
  return found;
}

}  // namespace

at::Tensor read_matrix(const std::string& path, const std::string& tensor) {
  at::Tensor matrix = path.ends_with(".npy") ? read_npy(path) : read_safetensors(path, tensor);
  matrix = matrix.to(at::kFloat).contiguous();
  check_file(at::isfinite(matrix).all().item<bool>(), FileFault::range, path, "some values are not finite");
  return matrix;
}

std::vector<std::string> read_ids(const std::string& path) {
  std::vector<std::string> ids;
  std::unordered_map<std::string, size_t> seen;  // id -> line
  for (LineReader lines(path); lines.next();) {
    ids.emplace_back(lines.line());
    const auto [first, fresh] = seen.emplace(ids.back(), lines.number());
    check_file(fresh, FileFault::duplicate, lines.where(), "the id '{}' stands in line {} already", ids.back(),
               first->second);
  }
  return ids;
}

at::Tensor arrange_rows(const at::Tensor& matrix, const std::vector<std::string>& ids,
                        std::span<const std::string> wanted, const std::string& where) {
  check_file(static_cast<int64_t>(ids.size()) == matrix.size(0), FileFault::layout, where, "{} ids for {} rows",
             ids.size(), matrix.size(0));
  std::unordered_map<std::string_view, int64_t> row_of;
  for (size_t i = 0; i < ids.size(); ++i) {
    check_file(row_of.emplace(ids[i], i).second, FileFault::duplicate, where, "the id '{}' comes twice", ids[i]);
  }
  std::vector<int64_t> rows;
  for (const std::string& id : wanted) {
    const auto found = row_of.find(id);
    check(found != row_of.end(), ErrorCode::not_found, "{}: no row for the item '{}'", where, id);
    rows.push_back(found->second);
  }
  return matrix.index_select(0, at::tensor(rows, at::kLong));
}

}  // namespace caravan::codes
