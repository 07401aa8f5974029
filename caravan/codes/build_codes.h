// From item vectors to item codes with all that belongs to them: `caravan items build` as a function.
//
//   BuiltCodes built = build_codes(vectors, popularity, {.method = "rq-kmeans", .collisions = "counter"});
//   items::write_codes(to_item_codes(built.table), "beauty/codes.json");
//
// Methods and ways to handle collisions are the lists kMethods and kCollisions in build_codes.cc, one line each.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "caravan/codes/collisions.h"
#include "caravan/codes/quality.h"
#include "caravan/codes/rq_vae.h"
#include "caravan/items/codes.h"

namespace caravan::codes {

struct BuildOptions {
  std::string method = "rq-kmeans", collisions = "counter";
  RqOptions rq;  // codebooks and seed are those of every method
  RqVaeOptions rq_vae;
  std::function<void(const std::string& stage, uint64_t done, uint64_t total)> progress;
};

struct BuiltCodes {
  CodeTable table;          // after collisions were handled
  ResidualCodes quantizer;  // what encodes, with its own codes
  Quality before, quality;  // of the quantizer's codes, of the table
  int64_t reassigned = 0;   // items whose tuple was changed
};

void check_names(const BuildOptions& options);  // of the method and of what is done to collisions: invalid_argument

// vectors [N, D]; popularity [N] or empty. Throws invalid_argument for unknown names and impossible sizes.
BuiltCodes build_codes(const Tensor& vectors, std::span<const int64_t> popularity, const BuildOptions& options);

items::ItemCodes to_item_codes(const CodeTable& table);
Json report_of(const BuiltCodes& built, const BuildOptions& options);
void write_codebooks(const ResidualCodes& codes, const std::string& path);

}  // namespace caravan::codes
