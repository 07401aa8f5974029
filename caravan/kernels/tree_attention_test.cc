// Every instruction set's tree attention against naive loops in double: widths and lengths around the vector width,
// windows, grouped heads, tails, and rows that must not depend on their neighbours.
#include "caravan/kernels/tree_attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "caravan/kernels/available_tables.h"

namespace caravan::kernels {
namespace {

struct Case {
  int64_t tokens, rows, group, width, tail, window;
};

float rounded(float x, float) { return x; }
float rounded(float x, uint16_t) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  bits = (bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000;
  std::memcpy(&x, &bits, 4);
  return x;
}
void put(float x, float& to) { to = x; }
void put(float x, uint16_t& to) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  to = static_cast<uint16_t>(bits >> 16);
}
float get(float x) { return x; }
float get(uint16_t x) {
  const uint32_t bits = static_cast<uint32_t>(x) << 16;
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}

template <class T>
struct Problem {
  Case c;
  std::vector<T> queries, keys, values, tail_keys, tail_values;  // all tails of the rows one after another
  std::vector<int64_t> visible;

  Problem(const Case& made, uint32_t seed) : c(made) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    for (auto [list, n] : {std::pair(&queries, c.rows * c.group * c.width),
                           {&keys, c.tokens * c.width},
                           {&values, c.tokens * c.width},
                           {&tail_keys, c.rows * c.tail * c.width},
                           {&tail_values, c.rows * c.tail * c.width}}) {
      list->resize(static_cast<size_t>(n));
      for (T& x : *list) put(rounded(normal(random), T{}), x);
    }
    for (int64_t i = 0; i < c.rows; ++i) visible.push_back(c.tail > 0 ? c.tokens : 1 + i * c.tokens / c.rows);
  }

  std::vector<T> run(const TreeTable& table, int64_t first, int64_t rows) const {
    std::vector<float> packed_keys(c.width * tree_stride(c.tokens)), packed_values(c.tokens * tree_width(c.width)),
        scratch(tree_scratch(c.width, c.tail));
    std::vector<T> output(queries.size());
    std::vector<const void*> k, v;
    for (int64_t i = first * c.tail; i < (first + rows) * c.tail; ++i) {
      k.push_back(tail_keys.data() + i * c.width);
      v.push_back(tail_values.data() + i * c.width);
    }
    const int64_t stride = c.group * c.width;
    const TreeHead head{queries.data() + first * stride,
                        output.data() + first * stride,
                        stride,
                        rows,
                        c.group,
                        c.width,
                        packed_keys.data(),
                        packed_values.data(),
                        c.tokens,
                        visible.data() + first,
                        k.data(),
                        v.data(),
                        c.tail,
                        c.window,
                        0.3f,
                        scratch.data()};
    if constexpr (sizeof(T) == 4) {
      table.pack_f32(keys.data(), values.data(), c.tokens, c.width, c.width, packed_keys.data(), packed_values.data());
      table.attend_f32(head);
    } else {
      table.pack_bf16(keys.data(), values.data(), c.tokens, c.width, c.width, packed_keys.data(), packed_values.data());
      table.attend_bf16(head);
    }
    return output;
  }

  double expected(int64_t row, int64_t g, int64_t feature) const {
    const int64_t position = c.tail > 0 ? c.tokens + c.tail - 1 : visible[row] - 1;
    double sum = 0, blended = 0;
    for (int64_t j = 0; j <= position; ++j) {
      if (c.window > 0 && j <= position - c.window) continue;
      const bool prompt = j < c.tokens;
      const T* key = prompt ? &keys[j * c.width] : &tail_keys[(row * c.tail + j - c.tokens) * c.width];
      const T* value = prompt ? &values[j * c.width] : &tail_values[(row * c.tail + j - c.tokens) * c.width];
      double score = 0;
      for (int64_t d = 0; d < c.width; ++d)
        score += double(get(queries[(row * c.group + g) * c.width + d])) * get(key[d]);
      const double weight = std::exp(0.3 * score);
      sum += weight;
      blended += weight * get(value[feature]);
    }
    return blended / sum;
  }
};

class TreeAttention : public testing::TestWithParam<const Table*> {
 protected:
  template <class T>
  void compare(const Case& c, double tolerance) {
    const Problem<T> problem(c, static_cast<uint32_t>(c.tokens * 31 + c.width));
    const TreeTable& table = *tree_table(GetParam()->isa);
    const auto all = problem.run(table, 0, c.rows);
    for (int64_t row = 0; row < c.rows; ++row) {
      const auto alone = problem.run(table, row, 1);
      for (int64_t g = 0; g < c.group; ++g) {
        for (int64_t d = 0; d < c.width; ++d) {
          const auto at = static_cast<size_t>((row * c.group + g) * c.width + d);
          ASSERT_EQ(all[at], alone[at]) << "row " << row;
          ASSERT_NEAR(get(all[at]), problem.expected(row, g, d), tolerance)
              << c.tokens << " tokens, row " << row << ", width " << c.width << ", tail " << c.tail << ", window "
              << c.window;
        }
      }
    }
  }
};

TEST_P(TreeAttention, MatchesNaiveLoopsAndRowsStandAlone) {
  for (int64_t tokens : {1, 2, 15, 16, 17, 33, 64, 80, 131, 200}) {
    for (int64_t width : {1, 8, 16, 24, 64, 80}) {
      for (const Case& c :
           {Case{tokens, 7, 1, width, 0, 0}, Case{tokens, 5, 2, width, 3, 0}, Case{tokens, 6, 1, width, 2, 5},
            Case{tokens, 9, 3, width, 0, 4}, Case{tokens, 3, 1, width, 3, 2}}) {
        compare<float>(c, 2e-5);
        compare<uint16_t>(c, 2e-2);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, TreeAttention, testing::ValuesIn(available_tables()),
                         [](const auto& info) { return std::string(info.param->isa); });

}  // namespace
}  // namespace caravan::kernels
