// A user's own item vectors: a NumPy .npy file or a tensor of a safetensors file, one row an item.
//
//   Tensor x = read_matrix("vectors.npy");                                  // [N, D] fp32
//   Tensor x = read_matrix("vectors.safetensors");                          // its only two-dimensional tensor
//   Tensor x = arrange_rows(read_matrix(path), read_ids("ids.txt"), item_ids, path);
//
// .npy: versions 1 to 3, little-endian f2, f4, f8, i1 to i8, u1 to u8, C or Fortran order; pickled objects are refused.
#pragma once

#include <ATen/core/Tensor.h>

#include <span>
#include <string>
#include <vector>

namespace caravan::codes {

// Throws corrupt_file, unsupported (a dtype), invalid_argument (several tensors and no `tensor` to choose by).
at::Tensor read_matrix(const std::string& path, const std::string& tensor = {});

std::vector<std::string> read_ids(const std::string& path);  // one a line

// Rows in the order of `wanted`. Throws not_found where an item has no row, corrupt_file where ids and rows differ in
// number or an id comes twice.
at::Tensor arrange_rows(const at::Tensor& matrix, const std::vector<std::string>& ids,
                        std::span<const std::string> wanted, const std::string& where);

}  // namespace caravan::codes
