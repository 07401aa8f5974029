// TF-IDF and truncated SVD against scikit-learn (scripts/golden/codes.py), co-occurrence against counting by hand.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/base/json.h"
#include "caravan/base/temporary_folder.h"
#include "caravan/codes/co_occurrence.h"
#include "caravan/codes/item_vectors.h"
#include "caravan/codes/tfidf.h"
#include "caravan/models/tensor_file.h"

namespace caravan::codes {
namespace {

Json golden() {
  const std::string path = CARAVAN_SOURCE_DIR "/tests/golden/codes/tfidf.json";
  return parse_json(read_file(path), path);
}

TfidfOptions options_of(const std::string& name) {
  if (name == "words") return {};
  if (name == "characters") return {.analyzer = Analyzer::characters, .min_ngram = 3, .max_ngram = 5};
  return {.max_ngram = 2, .min_documents = 2, .max_share = 0.5};
}

TEST(Tfidf, EqualsScikitLearn) {
  const Json file = golden();
  const auto texts = file["texts"].get<std::vector<std::string>>();
  for (const Json& want : file["cases"]) {
    const TfidfMatrix found = tfidf(texts, options_of(want["name"]));
    ASSERT_EQ(found.matrix.columns, want["columns"].get<int64_t>()) << want["name"];
    if (!want["terms"].is_null()) {
      EXPECT_EQ(found.terms, want["terms"].get<std::vector<std::string>>());
    }
    for (size_t row = 0; row < want["rows"].size(); ++row) {
      const Json& entries = want["rows"][row];
      const int64_t begin = found.matrix.starts[row];
      ASSERT_EQ(found.matrix.starts[row + 1] - begin, static_cast<int64_t>(entries.size()));
      for (size_t e = 0; e < entries.size(); ++e) {
        EXPECT_EQ(found.matrix.indices[begin + e], entries[e][0].get<int32_t>());
        EXPECT_NEAR(found.matrix.values[begin + e], entries[e][1].get<double>(), 1e-6);
      }
    }
  }
}

// CountVectorizer(...).build_analyzer() of scikit-learn 1.9.
TEST(Tfidf, CaseAndSpacesArePythons) {
  using Terms = std::vector<std::string>;
  EXPECT_EQ(analyze("ΟΔΟΣ ΣΊΣΥΦΟΣ. ΣΑΣ' x Ⅷ① ½५", {}), (Terms{"οδος", "σίσυφος", "σας", "ⅷ①", "½५"}));
  const TfidfOptions characters{.analyzer = Analyzer::characters, .min_ngram = 3, .max_ngram = 3};
  EXPECT_EQ(analyze("ab\x1c"
                    "cd\x1f"
                    "e",
                    characters),
            (Terms{" ab", "ab ", " cd", "cd ", " e "}));
}

TEST(TruncatedSvd, EqualsScikitLearnsExactOne) {
  const Json file = golden();
  const auto texts = file["texts"].get<std::vector<std::string>>();
  for (const Json& want : file["cases"]) {
    const auto singular = want["singular"].get<std::vector<double>>();
    const Svd svd =
        truncated_svd(tfidf(texts, options_of(want["name"])).matrix, {.rank = static_cast<int64_t>(singular.size())});
    for (size_t i = 0; i < singular.size(); ++i) {
      EXPECT_NEAR(svd.singular[i].item<double>(), singular[i], 1e-5) << want["name"] << " " << i;
    }
    const at::Tensor points = svd.left * svd.singular, gram = at::matmul(points, points.transpose(0, 1));
    for (int i = 0; i < 6; ++i) {
      for (int j = 0; j < 12; ++j) {
        EXPECT_NEAR(gram[i][j].item<double>(), want["gram"][i][j].get<double>(), 2e-5) << want["name"];
      }
    }
  }
}

TEST(TruncatedSvd, ARankAboveTheMatrixOwnIsLowered) {
  SparseMatrix a;
  a.columns = 2;
  for (int i = 0; i < 5; ++i) a.append_row({{0, 1.0f}, {1, static_cast<float>(i)}});
  const Svd svd = truncated_svd(a, {.rank = 64});
  EXPECT_EQ(svd.singular.size(0), 2);
  EXPECT_NEAR(svd.explained, 1.0, 1e-6);
}

TEST(TruncatedSvd, StopsBetweenTwoProducts) {
  SparseMatrix a;
  a.columns = 4;
  for (int i = 0; i < 9; ++i) a.append_row({{i % 4, 1.0f}, {(i + 1) % 4, static_cast<float>(i)}});
  int polls = 0;
  SvdOptions options{.rank = 2};
  options.poll = [&] { ++polls; };
  truncated_svd(a, options);
  EXPECT_GE(polls, 2 * options.power_iterations);
  options.poll = [&] {
    if (--polls == 0) fail(ErrorCode::cancelled, "stopped");
  };
  EXPECT_THROW(truncated_svd(a, options), Error);
}

// Noise of 1e-7 in these rows and columns became vectors of length 1.
TEST(TruncatedSvd, WhatTheMatrixDoesNotHoldIsZero) {
  SparseMatrix a;  // rank 3; every fourth row is empty, and the last two stand apart from all others
  a.columns = 40;
  Random random(5);
  for (int i = 0; i < 60; ++i) {
    const auto value = static_cast<float>(1 + random.uniform());
    a.append_row(i % 4 == 3 ? std::vector<std::pair<int32_t, float>>{}
                            : std::vector<std::pair<int32_t, float>>{{i % 2, value}, {2 + i % 2, value}});
  }
  for (int i = 0; i < 2; ++i) a.append_row({{39, 0.5f}});
  const Svd svd = truncated_svd(a, {.rank = 30});
  EXPECT_GT(svd.singular[2].item<double>(), 0.1);
  EXPECT_EQ(svd.singular.slice(0, 3).abs().max().item<double>(), 0);
  EXPECT_EQ((svd.left * svd.singular.sqrt()).slice(1, 3).abs().max().item<double>(), 0);
  const Tensor lengths = svd.left.norm(2, 1);  // [62]
  for (int i = 0; i < 60; ++i) EXPECT_EQ(lengths[i].item<double>() > 0.01, i % 4 != 3) << i;
  EXPECT_EQ(lengths.slice(0, 3, 60, 4).max().item<double>(), 0);
  EXPECT_GT(lengths[61].item<double>(), 0.5);
  const Svd narrow = truncated_svd(a, {.rank = 2});  // without the direction of the last two
  EXPECT_EQ(narrow.left.slice(0, 60).abs().max().item<double>(), 0);
}

TEST(TruncatedSvd, AnyNumberOfThreadsGivesTheSameBits) {
  Random random(3);
  SparseMatrix a;
  a.columns = 900;
  for (int i = 0; i < 3000; ++i) {
    std::vector<std::pair<int32_t, float>> row;
    for (int j = 0; j < 8; ++j) row.emplace_back(random.below(900), static_cast<float>(random.uniform()));
    a.append_row(row);
  }
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const Svd one = truncated_svd(a, {.rank = 20, .seed = 4});
  for (const int threads : {2, 3}) {
    at::set_num_threads(threads);
    const Svd several = truncated_svd(a, {.rank = 20, .seed = 4});
    EXPECT_TRUE(at::equal(one.left, several.left));
    EXPECT_TRUE(at::equal(one.right, several.right));
    EXPECT_TRUE(at::equal(one.singular, several.singular));
  }
  at::set_num_threads(before);
}

double entry(const SparseMatrix& m, int64_t row, int32_t column) {
  for (int64_t e = m.starts[row]; e < m.starts[row + 1]; ++e) {
    if (m.indices[e] == column) return m.values[e];
  }
  return 0;
}

TEST(CoOccurrence, CountsPairsInsideTheWindow) {
  const std::vector<std::vector<int32_t>> sequences = {{0, 1, 2, 0}, {1, 2}};
  const SparseMatrix m =
      co_occurrence(sequences, 4, {.window = 2, .by_distance = false, .weighting = Weighting::counts});
  EXPECT_EQ(entry(m, 0, 1), 2);  // at distances 1 and 2
  EXPECT_EQ(entry(m, 1, 2), 2);
  EXPECT_EQ(entry(m, 0, 2), 2);
  EXPECT_EQ(entry(m, 2, 0), 2);
  EXPECT_EQ(entry(m, 0, 0), 0);  // an item beside itself does not count, and it is 3 places away
  EXPECT_EQ(m.starts[4] - m.starts[3], 0);
  const SparseMatrix near = co_occurrence(sequences, 4, {.window = 2, .weighting = Weighting::counts});
  EXPECT_EQ(entry(near, 0, 1), 1.5);
}

TEST(CoOccurrence, CosineAndPpmiFollowTheirFormulas) {
  const std::vector<std::vector<int32_t>> sequences = {{0, 1}, {0, 1}, {0, 2}, {3, 2}};
  const CoOccurrenceOptions options{.window = 0, .by_distance = false, .weighting = Weighting::cosine};
  const SparseMatrix cosine = co_occurrence(sequences, 4, options);  // row sums: 3, 2, 2, 1
  EXPECT_NEAR(entry(cosine, 0, 1), 2 / std::sqrt(6.0), 1e-6);
  CoOccurrenceOptions ppmi = options;
  ppmi.weighting = Weighting::ppmi;
  const SparseMatrix m = co_occurrence(sequences, 4, ppmi);
  EXPECT_NEAR(entry(m, 0, 1), std::log(2.0 * 8 / (3 * 2)), 1e-6);
  EXPECT_NEAR(entry(m, 3, 2), std::log(1.0 * 8 / (1 * 2)), 1e-6);
}

// The squares of these are no floats: all rows became zero, and all items got one code.
TEST(ItemVectors, RowsOfAnySizeGetLengthOne) {
  const TemporaryFolder folder;
  const Tensor m = at::tensor({1.f, 2.f, -1.f, 0.f, 3.f, 0.25f}).view({3, 2});
  data::Dataset dataset;
  dataset.items = items::Catalogue({{.id = "a"}, {.id = "b"}, {.id = "c"}});
  const auto vectors_of = [&](const std::string& name, double scale) {
    models::write_tensors(folder / name, {{"m", m * scale}});
    return item_vectors(dataset, parse_blocks("file:" + (folder / name), ""), {}).vectors;
  };
  const Tensor usual = vectors_of("a.safetensors", 1);
  EXPECT_TRUE(at::allclose(usual.norm(2, 1), at::ones({3})));
  EXPECT_TRUE(at::allclose(vectors_of("b.safetensors", 1e19), usual));
  EXPECT_TRUE(at::allclose(vectors_of("c.safetensors", 1e38), usual));
  EXPECT_TRUE(at::allclose(vectors_of("d@e.safetensors", 1e-3), usual));  // a file's name may hold an @
}

// What stops the work inside of a kind is not taken for a fault of the texts.
TEST(ItemVectors, StopWhenAsked) {
  data::Dataset dataset;
  dataset.items = items::Catalogue({{.id = "a", .title = "one title"}, {.id = "b", .title = "one title"}});
  for (const char* kind : {"tfidf", "characters"}) {
    int polls = 0;
    VectorOptions options;
    options.progress = [&](std::string_view, uint64_t, uint64_t) {
      if (++polls == 2) fail(ErrorCode::cancelled, "stopped");
    };
    try {
      item_vectors(dataset, parse_blocks(kind, ""), options);
      FAIL() << kind;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::cancelled) << error.what();
    }
  }
}

// They had random unit vectors where the width is above the rank of the matrix.
TEST(ItemVectors, ItemsWithoutAWordOrANeighbourStayZero) {
  std::vector<items::Item> list;
  for (int i = 0; i < 40; ++i) {
    items::Item item{.id = std::to_string(i)};
    if (i % 4 != 0) item.title = i % 3 == 0 ? "red hair" : "blue nail";
    list.push_back(std::move(item));
  }
  data::Dataset dataset;
  dataset.items = items::Catalogue(list);
  for (int i = 0; i < 40; i += 4) dataset.add_user(std::to_string(i), std::vector<int32_t>{i + 1, i + 2});
  for (const char* kind : {"tfidf", "characters", "cooccurrence", "ppmi"}) {
    const ItemVectors made = item_vectors(dataset, parse_blocks(kind, ""), {.width = 32, .min_documents = 1});
    const bool text = kind[0] == 't' || kind[1] == 'h';
    EXPECT_EQ(made.report[0]["zero_rows"], text ? 10 : 20) << kind;
    const Tensor lengths = made.vectors.norm(2, 1);
    EXPECT_EQ(lengths.slice(0, 0, 40, 4).max().item<double>(), 0) << kind;
    EXPECT_NEAR(lengths.slice(0, 1, 40, 4).min().item<double>(), 1, 1e-5) << kind;
  }
}

TEST(ItemVectors, ListsOfKindsAndWeightsAreWhole) {
  for (const char* kinds : {"tfidf,", ",tfidf", "", "tfidf,,ppmi"})
    EXPECT_THROW(parse_blocks(kinds, ""), Error) << kinds;
  for (const char* weights : {"1,", "1", "1,2,3", "1,0", "1,nan", "1,1e19"})
    EXPECT_THROW(parse_blocks("tfidf,ppmi", weights), Error) << weights;
  EXPECT_EQ(parse_blocks("tfidf,ppmi", "1,0.5")[1].weight, 0.5);
}

TEST(CoOccurrence, AnItemOutsideTheCatalogueIsRefused) {
  EXPECT_THROW(co_occurrence(std::vector<std::vector<int32_t>>{{0, 4}}, 4), Error);
}

TEST(Tfidf, TextsWithoutWordsAreRefused) { EXPECT_THROW(tfidf(std::vector<std::string>{"a b", "!"}), Error); }

}  // namespace
}  // namespace caravan::codes
