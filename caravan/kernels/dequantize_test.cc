// Every storage type against the `gguf` Python package (scripts/golden/dequantize.py), from even and odd addresses.
#include "caravan/kernels/dequantize.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <map>
#include <string>
#include <vector>

namespace caravan::kernels {
namespace {

struct Golden {
  std::string name;
  std::vector<std::byte> blocks;
  std::vector<float> floats;
};

std::vector<Golden> read_goldens() {
  std::ifstream in(CARAVAN_SOURCE_DIR "/tests/golden/gguf/dequantize.bin", std::ios::binary);
  std::vector<Golden> goldens;
  struct Header {
    char name[16];
    uint32_t elements, bytes;
  } header;
  while (in.read(reinterpret_cast<char*>(&header), sizeof header)) {
    Golden g{std::string(header.name, strnlen(header.name, 16)), std::vector<std::byte>(header.bytes),
             std::vector<float>(header.elements)};
    in.read(reinterpret_cast<char*>(g.blocks.data()), header.bytes);
    in.read(reinterpret_cast<char*>(g.floats.data()), header.elements * sizeof(float));
    goldens.push_back(std::move(g));
  }
  return goldens;
}

const std::map<std::string, DequantizeKernel> kKernels = {
    {"f16", dequantize_f16},   {"bf16", dequantize_bf16},     {"q4_0", dequantize_q4_0}, {"q4_1", dequantize_q4_1},
    {"q5_0", dequantize_q5_0}, {"q5_1", dequantize_q5_1},     {"q8_0", dequantize_q8_0}, {"iq4_nl", dequantize_iq4_nl},
    {"q2_k", dequantize_q2_k}, {"q3_k", dequantize_q3_k},     {"q4_k", dequantize_q4_k}, {"q5_k", dequantize_q5_k},
    {"q6_k", dequantize_q6_k}, {"iq4_xs", dequantize_iq4_xs},
};

// IEEE 754 leaves the payload of a computed NaN to the machine: any NaN equals any other.
bool same(float a, float b) { return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b) || (a != a && b != b); }

TEST(Dequantize, EqualsTheReferenceToTheLastBit) {
  const std::vector<Golden> goldens = read_goldens();
  ASSERT_EQ(goldens.size(), kKernels.size());
  for (const Golden& g : goldens) {
    for (size_t shift : {0, 1, 2, 3}) {
      std::vector<std::byte> moved(g.blocks.size() + shift);
      std::memcpy(moved.data() + shift, g.blocks.data(), g.blocks.size());
      std::vector<float> out(g.floats.size() + 1, 12345.0f);
      kKernels.at(g.name)(moved.data() + shift, out.data(), static_cast<int64_t>(g.floats.size()));
      for (size_t i = 0; i < g.floats.size(); ++i) {
        ASSERT_TRUE(same(out[i], g.floats[i])) << g.name << " element " << i << ": " << out[i] << " " << g.floats[i];
      }
      EXPECT_EQ(out.back(), 12345.0f) << g.name << " wrote past the end";
    }
  }
}

TEST(Dequantize, WritesNothingForAnEmptyRow) {
  for (const auto& [name, kernel] : kKernels) {
    float untouched = 7.0f;
    kernel(nullptr, &untouched, 0);
    EXPECT_EQ(untouched, 7.0f) << name;
  }
}

// All 65536 halves against the definition (-1)^s * 2^(e-15) * 1.f, computed in double.
TEST(Dequantize, HalvesFollowTheirDefinition) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    float value;
    dequantize_f16(reinterpret_cast<const std::byte*>(&half), &value, 1);
    const int exponent = half >> 10 & 31, fraction = half & 1023;
    double expected = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
    if (exponent == 31) {
      expected = fraction == 0 ? std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
    }
    ASSERT_TRUE(same(value, static_cast<float>(half & 0x8000 ? -expected : expected))) << bits;
  }
}

}  // namespace
}  // namespace caravan::kernels
