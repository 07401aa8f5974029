// Vectors of a dataset's items: text, co-occurrence, a user's matrix, or a weighted concatenation of these.
//
//   std::vector<VectorBlock> blocks = parse_blocks("tfidf,cooccurrence", "1,0.5");
//   Tensor x = item_vectors(dataset, blocks, {.width = 128, .seed = 1});        // [N, D]
//
//   tfidf           TF-IDF over words of the item's text -> truncated SVD, U S
//   characters      the same over character 3- to 5-grams inside words
//   cooccurrence    co-counts in the train parts of the sequences, cosine-normalized -> SVD, U sqrt(S)
//   ppmi            the same by positive pointwise mutual information
//   bert:FOLDER     a sentence encoder of the BERT family over the item's text (text_encoder.h)
//   file:PATH       a .npy or safetensors matrix in the order of items.jsonl; file:PATH@IDS with a list of ids
//
// Every block's rows are scaled to length 1 (items without a word or a neighbour stay zero) and then by its weight, so
// a weight is the share that a block has in cosines and distances.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "caravan/codes/linear_algebra.h"
#include "caravan/data/dataset.h"

namespace caravan::codes {

struct VectorBlock {
  std::string kind;      // "tfidf", ...
  std::string argument;  // behind the colon
  double weight = 1.0;
};

struct VectorOptions {
  int64_t width = 128;  // of each decomposed block
  int64_t window = 5;   // of co-occurrence; 0: whole sequences
  int64_t min_documents = 2;
  uint64_t seed = 0;
  std::function<void(std::string_view what, uint64_t done, uint64_t total)> progress;
};

// Lists separated by commas; no weights: all 1. Throws invalid_argument, naming the kinds there are.
std::vector<VectorBlock> parse_blocks(std::string_view kinds, std::string_view weights);

struct ItemVectors {
  Tensor vectors;  // [N, D]
  Json report;     // a list: kind, weight, width, explained (share of the matrix that the SVD keeps), zero_rows
};

ItemVectors item_vectors(const data::Dataset& dataset, const std::vector<VectorBlock>& blocks,
                         const VectorOptions& options);

}  // namespace caravan::codes
