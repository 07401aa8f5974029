// The first five types against the `gguf` package, byte for byte (scripts/golden/quantize.py); the searched ones by
// their error: against plain rounding, and against the best that exhaustive search finds on small problems. Every
// instruction set must write the same bytes.
#include "caravan/kernels/quantize.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "caravan/kernels/available_tables.h"
#include "caravan/kernels/dequantize.h"

namespace caravan::kernels {
namespace {

struct Type {
  const char* name;
  int block, bytes;
  QuantizeKernel QuantizeTable::*quantize;
  DequantizeKernel dequantize;
  double bound;  // of the relative squared error on normal numbers
};

const std::vector<Type> kTypes = {
    {"q4_0", 32, 18, static_cast<QuantizeKernel QuantizeTable::*>(&QuantizeTable::q4_0), dequantize_q4_0, 9e-3},
    {"q4_1", 32, 20, static_cast<QuantizeKernel QuantizeTable::*>(&QuantizeTable::q4_1), dequantize_q4_1, 7e-3},
    {"q5_0", 32, 22, static_cast<QuantizeKernel QuantizeTable::*>(&QuantizeTable::q5_0), dequantize_q5_0, 2.2e-3},
    {"q5_1", 32, 24, static_cast<QuantizeKernel QuantizeTable::*>(&QuantizeTable::q5_1), dequantize_q5_1, 1.6e-3},
    {"q8_0", 32, 34, static_cast<QuantizeKernel QuantizeTable::*>(&QuantizeTable::q8_0), dequantize_q8_0, 3.5e-5},
    {"iq4_nl", 32, 18, static_cast<QuantizeKernel QuantizeTable::*>(&QuantizeTable::iq4_nl), dequantize_iq4_nl, 6.5e-3},
    {"q2_k", 256, 84, static_cast<QuantizeKernel QuantizeTable::*>(&QuantizeTable::q2_k), dequantize_q2_k, 7.5e-2},
    {"q3_k", 256, 110, static_cast<QuantizeKernel QuantizeTable::*>(&QuantizeTable::q3_k), dequantize_q3_k, 2.5e-2},
    {"q4_k", 256, 144, static_cast<QuantizeKernel QuantizeTable::*>(&QuantizeTable::q4_k), dequantize_q4_k, 6e-3},
    {"q5_k", 256, 176, static_cast<QuantizeKernel QuantizeTable::*>(&QuantizeTable::q5_k), dequantize_q5_k, 1.5e-3},
    {"q6_k", 256, 210, static_cast<QuantizeKernel QuantizeTable::*>(&QuantizeTable::q6_k), dequantize_q6_k, 4e-4},
    {"iq4_xs", 256, 136, static_cast<QuantizeKernel QuantizeTable::*>(&QuantizeTable::iq4_xs), dequantize_iq4_xs,
     6.7e-3},
};

std::vector<float> normal(int n, uint64_t seed, float size = 0.05f) {
  std::mt19937_64 engine(seed);
  std::normal_distribution<float> distribution(0, size);
  std::vector<float> values(static_cast<size_t>(n));
  for (float& v : values) v = distribution(engine);
  return values;
}

std::vector<std::byte> quantized(const Type& type, const std::vector<float>& x, const float* importance = nullptr,
                                 const QuantizeTable& table = quantize_table()) {
  std::vector<std::byte> blocks(x.size() / static_cast<size_t>(type.block) * static_cast<size_t>(type.bytes) + 1,
                                std::byte{0x5a});
  (table.*type.quantize)(x.data(), importance, blocks.data(), static_cast<int64_t>(x.size()));
  EXPECT_EQ(blocks.back(), std::byte{0x5a}) << type.name << " wrote past the end";
  blocks.pop_back();
  return blocks;
}

// sum w (x - y)^2 / sum w x^2
double relative_error(const Type& type, const std::vector<float>& x, const std::vector<std::byte>& blocks,
                      const std::vector<float>& w = {}) {
  std::vector<float> y(x.size());
  type.dequantize(blocks.data(), y.data(), static_cast<int64_t>(x.size()));
  double error = 0, size = 1e-300;
  for (size_t i = 0; i < x.size(); ++i) {
    const double weight = w.empty() ? 1.0 : static_cast<double>(w[i]),
                 d = static_cast<double>(x[i]) - static_cast<double>(y[i]);
    error += weight * d * d;
    size += weight * static_cast<double>(x[i]) * static_cast<double>(x[i]);
  }
  return error / size;
}

TEST(Quantize, EqualsTheReferenceByteForByte) {
  std::ifstream in(CARAVAN_SOURCE_DIR "/tests/golden/gguf/quantize.bin", std::ios::binary);
  struct Header {
    char name[16];
    uint32_t elements, bytes;
  } header;
  int found = 0;
  while (in.read(reinterpret_cast<char*>(&header), sizeof header)) {
    std::vector<float> x(header.elements);
    std::vector<std::byte> expected(header.bytes);
    in.read(reinterpret_cast<char*>(x.data()), header.elements * sizeof(float));
    in.read(reinterpret_cast<char*>(expected.data()), header.bytes);
    for (const Type& type : kTypes) {
      if (std::strncmp(type.name, header.name, sizeof header.name) != 0) continue;
      ++found;
      const std::vector<std::byte> blocks = quantized(type, x);
      ASSERT_EQ(blocks.size(), expected.size());
      for (size_t i = 0; i < blocks.size(); ++i) {
        ASSERT_EQ(blocks[i], expected[i]) << type.name << " block " << i / static_cast<size_t>(type.bytes) << " byte "
                                          << i % static_cast<size_t>(type.bytes);
      }
    }
  }
  EXPECT_EQ(found, 5);
}

TEST(Quantize, EveryInstructionSetWritesTheSameBytes) {
  const std::vector<float> x = normal(8192, 1), w = normal(8192, 2);
  std::vector<float> importance(w.size());
  for (size_t i = 0; i < w.size(); ++i) importance[i] = w[i] * w[i];
  for (const Type& type : kTypes) {
    for (const float* given : {static_cast<const float*>(nullptr), static_cast<const float*>(importance.data())}) {
      const std::vector<std::byte> portable = quantized(type, x, given, *find_quantize_table("portable"));
      for (const Table* table : available_tables()) {
        EXPECT_EQ(quantized(type, x, given, *find_quantize_table(table->isa)), portable)
            << type.name << " " << table->isa;
      }
    }
  }
  EXPECT_EQ(find_quantize_table("none"), nullptr);
}

TEST(Quantize, ErrorsOnNormalNumbersStayWithinTheirBounds) {
  const std::vector<float> x = normal(256 * 64, 3);
  for (const Type& type : kTypes) {
    const double error = relative_error(type, x, quantized(type, x));
    EXPECT_LT(error, type.bound) << type.name;
    EXPECT_GT(error, type.bound / 3) << type.name << ": the bound is loose";
  }
}

// Where a few columns count a hundred times as much, their error falls, and the weighted sum with it.
TEST(Quantize, ImportanceLowersTheWeightedError) {
  const std::vector<float> x = normal(256 * 32, 4);
  std::vector<float> importance(x.size(), 1.0f);
  for (size_t i = 0; i < importance.size(); i += 7) importance[i] = 100.0f;
  for (const Type& type : kTypes) {
    if (std::string(type.name) == "q8_0") continue;  // not searched
    const double without = relative_error(type, x, quantized(type, x), importance);
    const double with = relative_error(type, x, quantized(type, x, importance.data()), importance);
    EXPECT_LT(with, without) << type.name;
  }
}

// Block by block, whatever the numbers: where halves have few bits, of one number that towers over the rest, of numbers
// all alike.
TEST(Quantize, SearchIsNeverWorseThanTheReference) {
  const std::vector<float> noise = normal(32 * 64, 7, 1.0f);
  const std::vector<float> ones(noise.size(), 1.0f);
  std::vector<float> uneven = normal(32 * 64, 8, 1.0f);
  for (float& w : uneven) w = w * w;
  for (size_t t = 0; t < 4; ++t) {
    const Type& type = kTypes[t];
    for (const float size : {1e-7f, 1e-6f, 1e-5f, 1e-4f, 1e-3f, 0.05f, 100.0f}) {
      for (const int kind : {0, 1, 2, 3}) {
        std::vector<float> x = noise;
        for (size_t i = 0; i < x.size(); ++i) {
          if (kind == 1) x[i] = x[i] * x[i] * x[i];
          if (kind == 2) x[i] = i % 32 == 5 ? 1.0f : 0.01f * x[i];
          if (kind == 3) x[i] = 1.0f + 0.01f * x[i];
          x[i] *= size;
        }
        for (const std::vector<float>* w : {&ones, static_cast<const std::vector<float>*>(&uneven)}) {
          double sum = 0, reference = 0;
          for (size_t begin = 0; begin < x.size(); begin += 32) {
            const auto part = [&](const std::vector<float>& v) {
              return std::vector<float>(v.begin() + static_cast<std::ptrdiff_t>(begin),
                                        v.begin() + static_cast<std::ptrdiff_t>(begin) + 32);
            };
            const std::vector<float> values = part(x), weights = part(*w);
            const double plain = relative_error(type, values, quantized(type, values), weights);
            const double searched = relative_error(type, values, quantized(type, values, weights.data()), weights);
            ASSERT_LE(searched, plain * (1 + 1e-5) + 1e-12) << type.name << " " << size << " kind " << kind;
            sum += searched, reference += plain;
          }
          if (kind < 2 && size >= 1e-3f) EXPECT_LT(sum, 0.95 * reference) << type.name << " " << size;
        }
      }
    }
  }
}

// What the blocks can hold exactly comes back exactly.
TEST(Quantize, NumbersOnTheGridComeBackExactly) {
  for (const Type& type : kTypes) {
    std::vector<float> x = normal(type.block * 4, 5);
    const std::vector<std::byte> first = quantized(type, x);
    std::vector<float> grid(x.size());
    type.dequantize(first.data(), grid.data(), static_cast<int64_t>(x.size()));
    EXPECT_LT(relative_error(type, grid, quantized(type, grid)), type.bound / 20) << type.name;
  }
}

TEST(Quantize, ZerosConstantsTinyAndHugeNumbersStayFinite) {
  const float sizes[] = {0.0f, 1e-40f, 1e-30f, 1e-8f, 1.0f, 60000.0f};
  for (const Type& type : kTypes) {
    for (const float size : sizes) {
      for (const int kind : {0, 1, 2, 3}) {
        std::vector<float> x(static_cast<size_t>(type.block), size);
        for (size_t i = 0; i < x.size(); ++i) {
          if (kind == 1) x[i] = -size;
          if (kind == 2) x[i] = i == 3 ? size : 0.0f;
          if (kind == 3) x[i] = i % 2 == 0 ? size : -size;
        }
        const std::vector<std::byte> blocks = quantized(type, x);
        std::vector<float> y(x.size());
        type.dequantize(blocks.data(), y.data(), static_cast<int64_t>(y.size()));
        for (size_t i = 0; i < y.size(); ++i) {
          ASSERT_TRUE(std::isfinite(y[i])) << type.name << " " << size << " kind " << kind;
          const double allowed = std::string(type.name) == "q2_k" ? 0.35 : 0.15;
          ASSERT_LE(std::abs(y[i] - x[i]), allowed * static_cast<double>(size) + 1e-6)
              << type.name << " kind " << kind << " " << i;
        }
      }
    }
  }
}

// Numbers that are no numbers must not crash (the caller refuses them with their tensor's name).
TEST(Quantize, NansAndInfinitiesDoNotCrash) {
  for (const Type& type : kTypes) {
    std::vector<float> x = normal(type.block * 2, 6);
    x[1] = std::nanf(""), x[static_cast<size_t>(type.block)] = INFINITY,
    x[static_cast<size_t>(type.block) + 1] = -INFINITY;
    for (const Table* table : available_tables()) quantized(type, x, nullptr, *find_quantize_table(table->isa));
  }
}

}  // namespace
}  // namespace caravan::kernels
