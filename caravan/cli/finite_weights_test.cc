#include "caravan/cli/finite_weights.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "caravan/formats/memory_checkpoint.h"

namespace caravan::cli {
namespace {

template <class T>
std::vector<std::byte> bytes_of(const std::vector<T>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(T));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

// A vector of n ones with `value` at each of the places.
std::vector<std::byte> floats(size_t n, std::vector<size_t> places = {}, float value = NAN) {
  std::vector<float> values(n, 1.0f);
  for (const size_t place : places) values[place] = value;
  return bytes_of(values);
}

TEST(FiniteWeights, TheFirstTensorAndElementAreNamed) {
  formats::MemoryCheckpoint checkpoint("made");
  checkpoint.add({"ids", DType::i32, {1}}, bytes_of<int32_t>({0x7fc00000}));  // a NaN's bits, but no float
  checkpoint.add({"good", DType::f32, {100000}}, floats(100000));
  checkpoint.add({"bad", DType::f32, {100000}}, floats(100000, {99999, 70000, 4096}));
  checkpoint.add({"worse", DType::f32, {1}}, floats(1, {0}, INFINITY));
  EXPECT_EQ(find_not_finite(checkpoint), "tensor 'bad': element 4096 is nan");
  EXPECT_EQ(find_not_finite(checkpoint, checkpoint.tensors()[3]), "tensor 'worse': element 0 is inf");
  EXPECT_EQ(find_not_finite(checkpoint, checkpoint.tensors()[1]), std::nullopt);
}

TEST(FiniteWeights, EveryStoredTypeIsRead) {
  formats::MemoryCheckpoint checkpoint("made");
  checkpoint.add({"half", DType::f16, {3}}, bytes_of<uint16_t>({0x3c00, 0x7bff, 0xfc00}));
  checkpoint.add({"brain", DType::bf16, {2}}, bytes_of<uint16_t>({0x3f80, 0x7fc0}));
  checkpoint.add({"double", DType::f64, {2}}, bytes_of<double>({1.0, -INFINITY}));
  std::vector<uint16_t> block(17, 0x0101);  // q8_0: a half as scale, 32 numbers
  block[0] = 0x7c00;
  checkpoint.add({"blocks", DType::q8_0, {1, 32}}, bytes_of(block));
  checkpoint.add({"none", DType::f32, {0}}, {});
  EXPECT_EQ(find_not_finite(checkpoint, checkpoint.tensors()[0]), "tensor 'half': element 2 is -inf");
  EXPECT_EQ(find_not_finite(checkpoint, checkpoint.tensors()[1]), "tensor 'brain': element 1 is nan");
  EXPECT_EQ(find_not_finite(checkpoint, checkpoint.tensors()[2]), "tensor 'double': element 1 is -inf");
  EXPECT_EQ(find_not_finite(checkpoint, checkpoint.tensors()[3]), "tensor 'blocks': element 0 is inf");
  EXPECT_EQ(find_not_finite(checkpoint, checkpoint.tensors()[4]), std::nullopt);
}

}  // namespace
}  // namespace caravan::cli
