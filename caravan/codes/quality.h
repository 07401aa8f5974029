// How good a set of item codes is, without training a model on it.
//
//   Quality q = measure_quality(table, {.vectors = vectors, .quantizer = &rq});
//   print(to_text(q));   dump_json(to_json(q));
//
// Per level: codes in use, perplexity of their distribution (exp of the entropy; the codebook's size where all codes
// are used equally), prefixes and the largest one. Collision rate = 1 - distinct tuples / items, as LC-Rec counts it.
// With vectors: how many of an item's 10 nearest neighbours (cosine) share its prefix, beside what chance gives; with
// the quantizer also the share of the variance that the levels leave unexplained, and recall@10 of the neighbours found
// through the sums of centroids.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "caravan/base/json.h"
#include "caravan/codes/collisions.h"

namespace caravan::codes {

struct LevelQuality {
  int64_t size = 0, used = 0;     // codes
  double perplexity = 0;          // of the level's codes alone
  int64_t prefixes = 0;           // distinct tuples of the codes up to this level
  int64_t largest_prefix = 0;     // items under the fullest of them
  double error = -1;              // |x - sum of centroids|^2 / |x - mean|^2; -1: not known
  double neighbours = -1;         // share of the 10 nearest neighbours under the same prefix
  double neighbours_chance = -1;  // the same for random items
};

struct Quality {
  int64_t items = 0, tuples = 0;
  double collision_rate = 0;
  int64_t colliding_items = 0, largest_bucket = 0;
  std::vector<int64_t> bucket_sizes;  // [s] = number of tuples that s items share
  std::vector<LevelQuality> levels;
  double neighbour_recall = -1;  // at 10, through the quantizer's sums
  int64_t neighbour_sample = 0;  // items that were asked for their neighbours
};

struct QualityInputs {
  Tensor vectors;                            // [N, D]; undefined: no neighbours
  const ResidualCodes* quantizer = nullptr;  // its levels may be fewer than the table's (a counter)
  int64_t neighbour_sample = 2000;           // items, spread evenly; 0: all
};

Quality measure_quality(const CodeTable& table, const QualityInputs& inputs = {});

std::string to_text(const Quality& quality);  // the table of levels, and the neighbours
Json to_json(const Quality& quality);

}  // namespace caravan::codes
