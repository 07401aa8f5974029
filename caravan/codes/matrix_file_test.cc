#include "caravan/codes/matrix_file.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/base/temporary_folder.h"
#include "caravan/models/tensor_file.h"

namespace caravan::codes {
namespace {

std::string npy(std::string header, const std::string& data, char major = 1) {
  header.resize((header.size() + 10 + 63) / 64 * 64 - 10 + 0, ' ');
  const auto n = header.size();
  std::string out = std::string("\x93NUMPY") + major + '\0';
  for (int i = 0; i < (major == 1 ? 2 : 4); ++i) out += static_cast<char>(n >> 8 * i & 0xFF);
  return out + header + data;
}

template <class T>
std::string bytes_of(std::vector<T> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

TEST(MatrixFile, ReadsNumpyInBothOrders) {
  const TemporaryFolder folder;
  const std::string data = bytes_of<float>({1, 2, 3, 4, 5, 6});
  write_file(folder / "c.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", data));
  write_file(folder / "f.npy", npy("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }", data, 2));
  write_file(folder / "d.npy",
             npy("{'descr': '<i8', 'fortran_order': False, 'shape': (3, 1), }", bytes_of<int64_t>({7, 8, 9})));
  EXPECT_TRUE(at::equal(read_matrix(folder / "c.npy"), at::tensor({1.f, 2.f, 3.f, 4.f, 5.f, 6.f}).view({2, 3})));
  EXPECT_TRUE(at::equal(read_matrix(folder / "f.npy"), at::tensor({1.f, 3.f, 5.f, 2.f, 4.f, 6.f}).view({2, 3})));
  EXPECT_TRUE(at::equal(read_matrix(folder / "d.npy"), at::tensor({7.f, 8.f, 9.f}).view({3, 1})));
}

TEST(MatrixFile, BrokenNumpyFilesAreRefused) {
  const TemporaryFolder folder;
  const std::string good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
  const std::string data = bytes_of<float>({1, 2, 3, 4, 5, 6});
  const std::vector<std::string> broken = {
      "",
      "NUMPY",
      std::string("\x93NUMPY\x01\x00\xff\xff", 10),
      npy(good, data.substr(4)),
      npy(good, data + "x"),
      npy(good, data, 9),
      npy("{'descr': '|O', 'fortran_order': False, 'shape': (2, 3), }", data),
      npy("{'descr': '>f4', 'fortran_order': False, 'shape': (2, 3), }", data),
      npy("{'descr': '<f4', 'fortran_order': False, 'shape': (6,), }", data),
      npy("{'descr': '<f4', 'fortran_order': False, 'shape': (999999999999, 999999999999), }", data),
      npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2, 3), }", data),
      npy(good, bytes_of<float>({1, 2, 3, 4, 5, std::numeric_limits<float>::infinity()}))};
  for (size_t i = 0; i < broken.size(); ++i) {
    write_file(folder / "x.npy", broken[i]);
    EXPECT_THROW(read_matrix(folder / "x.npy"), Error) << i;
  }
  EXPECT_THROW(read_matrix(folder / "absent.npy"), Error);
}

TEST(MatrixFile, SaysWhetherBytesAreMissingOrTooMany) {
  const TemporaryFolder folder;
  const std::string good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
  const std::string data = bytes_of<float>({1, 2, 3, 4, 5, 6});
  for (const auto& [bytes, fault] :
       {std::pair(data.substr(4), FileFault::truncated), std::pair(data + "x", FileFault::layout)}) {
    write_file(folder / "x.npy", npy(good, bytes));
    try {
      read_matrix(folder / "x.npy");
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), fault) << error.what();
    }
  }
}

TEST(MatrixFile, AnIdThatComesTwiceIsTheListsFault) {
  const TemporaryFolder folder;
  write_file(folder / "ids.txt", "a\r\nb\nc\n");
  EXPECT_EQ(read_ids(folder / "ids.txt"), (std::vector<std::string>{"a", "b", "c"}));
  write_file(folder / "ids.txt", "a\nb\na\n");
  try {
    read_ids(folder / "ids.txt");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("ids.txt:3: [duplicate] the id 'a' stands in line 1"), std::string::npos)
        << error.what();
  }
}

TEST(MatrixFile, ReadsTheOnlyMatrixOfSafetensors) {
  const TemporaryFolder folder;
  const at::Tensor m = at::arange(6, at::kFloat).view({3, 2});
  models::write_tensors(folder / "m.safetensors", {{"vectors", m}, {"scale", at::ones({1})}});
  EXPECT_TRUE(at::equal(read_matrix(folder / "m.safetensors"), m));
  models::write_tensors(folder / "two.safetensors", {{"a", m}, {"b", m * 2}});
  EXPECT_THROW(read_matrix(folder / "two.safetensors"), Error);
  EXPECT_TRUE(at::equal(read_matrix(folder / "two.safetensors", "b"), m * 2));
}

TEST(MatrixFile, RowsAreArrangedByTheirIds) {
  const at::Tensor m = at::arange(6, at::kFloat).view({3, 2});
  const std::vector<std::string> ids = {"x", "y", "z"}, wanted = {"z", "x"};
  EXPECT_TRUE(at::equal(arrange_rows(m, ids, wanted, "m"), at::tensor({4.f, 5.f, 0.f, 1.f}).view({2, 2})));
  EXPECT_THROW(arrange_rows(m, ids, std::vector<std::string>{"w"}, "m"), Error);
  EXPECT_THROW(arrange_rows(m, {"x", "y"}, wanted, "m"), Error);
  EXPECT_THROW(arrange_rows(m, {"x", "x", "z"}, wanted, "m"), Error);
}

}  // namespace
}  // namespace caravan::codes
