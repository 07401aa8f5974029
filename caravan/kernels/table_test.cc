// Each instruction set that this machine has runs its own build of the kernels: bodies against naive loops in double,
// at lengths 0 .. 2N + 1 around the vector width and odd alignments.
#include "caravan/kernels/table.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "caravan/kernels/available_tables.h"

namespace caravan::kernels {

namespace {

constexpr float kGuard = 77.0f;  // behind what may be written

class Kernels : public testing::TestWithParam<const Table*> {
 protected:
  std::vector<float> random(size_t n) {
    std::normal_distribution<float> normal;
    std::vector<float> values(n);
    for (float& x : values) x = normal(generator);
    return values;
  }
  std::mt19937 generator{11};
};

TEST_P(Kernels, RmsNormMatchesANaiveLoop) {
  for (int64_t n = 1; n <= 67; ++n) {
    for (size_t offset : {0, 1, 3}) {
      const auto x = random(n + offset), w = random(n + offset);
      std::vector<float> y(n);
      GetParam()->rms_norm_f32(x.data() + offset, w.data() + offset, y.data(), 1, n, 1e-5f);
      double sum = 0;
      for (int64_t i = 0; i < n; ++i) sum += double(x[i + offset]) * x[i + offset];
      for (int64_t i = 0; i < n; ++i) {
        ASSERT_NEAR(y[i], w[i + offset] * x[i + offset] / std::sqrt(sum / double(n) + 1e-5), 1e-5) << n;
      }
    }
  }
}

TEST_P(Kernels, SiluIsAccurateOverItsWholeRange) {
  for (float gate = -80.0f; gate < 80.0f; gate += 0.0371f) {
    const float up = 1.0f;
    float y;
    GetParam()->swiglu_f32(&gate, &up, &y, 1);
    const double expected = gate / (1 + std::exp(-static_cast<double>(gate)));
    ASSERT_NEAR(y, expected, 4e-7 * std::abs(expected)) << gate;
  }
}

// Widths below, at and between the vector's 16 and the slices' 64; one query to nine; pages shorter and longer than
// what is summed together, a window; the scores of one query are those of many.
TEST_P(Kernels, PagedAttentionMatchesANaiveLoop) {
  constexpr int64_t kFirst = 2, kLast = 16, kTokens = kLast - kFirst;
  for (const auto [width, page] : {std::pair<int64_t, int64_t>{1, 4},
                                   {10, 4},
                                   {16, 4},
                                   {33, 4},
                                   {64, 4},
                                   {80, 4},
                                   {131, 4},
                                   {64, 11},
                                   {64, 16},
                                   {80, 11}}) {
    for (const int64_t group : {1, 2, 3, 4, 6, 9}) {
      const auto queries = random(group * width), keys = random(4 * page * width), values = random(4 * page * width);
      const int order[] = {2, 0, 3, 1};
      const void *key_pages[4], *value_pages[4];
      for (int i = 0; i < 4; ++i) {
        key_pages[i] = keys.data() + order[i] * page * width;
        value_pages[i] = values.data() + order[i] * page * width;
      }
      const auto at = [&, width = width, page = page](const std::vector<float>& pages, int64_t token, int64_t i) {
        return double(pages[(order[token / page] * page + token % page) * width + i]);
      };
      std::vector<float> output(group * width + 1, kGuard), scores(group * kTokens), alone(width);
      const char line[200] = {};
      Ahead ahead{line, line + sizeof line};
      GetParam()->paged->attend_f32({queries.data(), output.data(), key_pages, value_pages, group, width, page, kFirst,
                                     kLast, 0.2f, scores.data(), &ahead});
      ASSERT_GE(ahead.at, ahead.end);  // asked for all of it
      const float* last = queries.data() + (group - 1) * width;
      GetParam()->paged->attend_f32(
          {last, alone.data(), key_pages, value_pages, 1, width, page, kFirst, kLast, 0.2f, scores.data()});
      for (int64_t i = 0; i < width; ++i) ASSERT_EQ(alone[i], output[(group - 1) * width + i]) << width << " " << group;
      for (int64_t g = 0; g < group; ++g) {
        std::vector<double> weights(kTokens), expected(width);
        double total = 0;
        for (int64_t t = 0; t < kTokens; ++t) {
          double score = 0;
          for (int64_t i = 0; i < width; ++i) score += queries[g * width + i] * at(keys, kFirst + t, i);
          total += weights[t] = std::exp(0.2f * score);
        }
        for (int64_t i = 0; i < width; ++i) {
          double sum = 0;
          for (int64_t t = 0; t < kTokens; ++t) sum += weights[t] / total * at(values, kFirst + t, i);
          ASSERT_NEAR(output[g * width + i], sum, 2e-6 * (1 + std::abs(sum))) << width << " " << group;
        }
      }
      ASSERT_EQ(output.back(), kGuard);
    }
  }
}

// Against the kernel for fp32 over the numbers that the rows keep; those lie as near to the given as the type allows.
TEST_P(Kernels, SmallerCachesAreReadAsTheNumbersTheyKeep) {
  struct Type {
    void (*attend)(const PagedHead&);
    void (*store)(const float*, void*, int64_t);
    bool is_int8;
  };
  const PagedTable& paged = *GetParam()->paged;
  constexpr int64_t kPage = 4, kTokens = 11, kGroup = 3;
  for (const Type& type :
       {Type{paged.attend_f32_bf16, paged.store_bf16, false}, Type{paged.attend_f32_i8, paged.store_i8, true}}) {
    for (const int64_t width : {1, 10, 16, 33, 64, 80}) {
      const int64_t row = type.is_int8 ? width + kPagedScaleBytes : 2 * width;
      auto keys = random(3 * kPage * width), values = random(3 * kPage * width);
      for (int64_t i = 0; i < width; ++i) values[width + i] = 0;  // a row without a scale
      std::vector<char> stored_keys(3 * kPage * row), stored_values(3 * kPage * row);
      for (auto [numbers, bytes] : {std::pair(&keys, &stored_keys), std::pair(&values, &stored_values)}) {
        for (int64_t t = 0; t < 3 * kPage; ++t) {
          float* x = numbers->data() + t * width;
          char* kept = bytes->data() + t * row;
          type.store(x, kept, width);
          float largest = 0, scale = 0;
          for (int64_t i = 0; i < width; ++i) largest = std::max(largest, std::abs(x[i]));
          if (type.is_int8) memcpy(&scale, kept + width, sizeof scale);
          for (int64_t i = 0; i < width; ++i) {
            uint32_t bits = 0;
            if (!type.is_int8) memcpy(reinterpret_cast<char*>(&bits) + 2, kept + 2 * i, 2);
            float value = static_cast<float>(static_cast<signed char>(kept[type.is_int8 ? i : 0])) * scale;
            if (!type.is_int8) memcpy(&value, &bits, sizeof value);
            ASSERT_NEAR(value, x[i], type.is_int8 ? largest / 253 : std::abs(x[i]) / 256);
            x[i] = value;
          }
        }
      }
      const auto queries = random(kGroup * width);
      std::vector<float> got(kGroup * width + 1, kGuard), wanted(kGroup * width), scores(kGroup * kTokens);
      const void *key_pages[3], *value_pages[3], *plain_keys[3], *plain_values[3];
      for (int64_t i = 0; i < 3; ++i) {
        key_pages[i] = stored_keys.data() + i * kPage * row, value_pages[i] = stored_values.data() + i * kPage * row;
        plain_keys[i] = keys.data() + i * kPage * width, plain_values[i] = values.data() + i * kPage * width;
      }
      type.attend(
          {queries.data(), got.data(), key_pages, value_pages, kGroup, width, kPage, 1, kTokens, 0.2f, scores.data()});
      paged.attend_f32({queries.data(), wanted.data(), plain_keys, plain_values, kGroup, width, kPage, 1, kTokens, 0.2f,
                        scores.data()});
      for (int64_t i = 0; i < kGroup * width; ++i) ASSERT_NEAR(got[i], wanted[i], 2e-6) << type.is_int8 << " " << width;
      ASSERT_EQ(got.back(), kGuard);
    }
  }
}

// A NaN must not come back as a number: the row's scale tells of it.
TEST_P(Kernels, AnInt8RowThatHoldsANaNIsReadAsNaNs) {
  for (const int64_t width : {1, 16, 33}) {
    for (const int64_t place : {int64_t{0}, width / 2, width - 1}) {
      auto x = random(width);
      x[place] = std::nanf("");
      std::vector<char> row(width + kPagedScaleBytes);
      GetParam()->paged->store_i8(x.data(), row.data(), width);
      float scale = 0;
      memcpy(&scale, row.data() + width, sizeof scale);
      EXPECT_TRUE(std::isnan(scale)) << width << " " << place;
    }
  }
}

TEST_P(Kernels, ArgmaxIsTheFirstOfTheLargest) {
  const float nan = std::nanf(""), infinity = std::numeric_limits<float>::infinity();
  for (const int64_t n : {1, 2, 15, 16, 17, 255, 256, 257, 1000}) {
    for (int64_t largest : {int64_t{0}, n / 2, n - 1}) {
      auto x = random(n);
      x[largest] = 50.0f;
      if (largest + 1 < n) x[n - 1] = 50.0f;  // an equal one behind it
      ASSERT_EQ(GetParam()->argmax(x.data(), n), largest);
      x[n / 3] = nan;
      ASSERT_EQ(GetParam()->argmax(x.data(), n), n / 3);
    }
    const std::vector<float> low(n, -infinity);
    ASSERT_EQ(GetParam()->argmax(low.data(), n), 0);
  }
}

TEST_P(Kernels, Bf16RoundsToNearestEvenAndKeepsNaN) {
  // gate 1000 passes `up` through silu(1000) = 1000 exactly; a NaN must stay one.
  const bf16 gate[] = {0x447a, 0x447a, 0x7fc0}, up[] = {0x3f80, 0x3f81, 0x3f80};
  bf16 y[3];
  GetParam()->swiglu_bf16(gate, up, y, 3);
  EXPECT_EQ(y[0], 0x447a);
  EXPECT_EQ(y[1], 0x447c);  // 1000 * 1.0078125 = 1007.8125, between 1004 and 1008
  EXPECT_TRUE((y[2] & 0x7f80) == 0x7f80 && (y[2] & 0x7f) != 0);
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, Kernels, testing::ValuesIn(available_tables()),
                         [](const auto& info) { return std::string(info.param->isa); });

TEST(Table, TheChosenOneIsAvailable) {
  bool found = false;
  for (const Table* t : available_tables()) found = found || t == &table();
  EXPECT_TRUE(found);
  const char* forced = getenv("CARAVAN_ISA");
  if (forced != nullptr && strcmp(forced, "portable") == 0) {
    EXPECT_STREQ(table().isa, "portable");
  }
}

}  // namespace
}  // namespace caravan::kernels
