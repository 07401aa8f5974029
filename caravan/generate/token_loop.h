// The loop that greedy decoding and sampling share: every sequence takes one token a step. They differ in the Chooser.
#pragma once

#include "caravan/generate/random.h"
#include "caravan/generate/strategy.h"

namespace caravan::generate {

class Chooser {
 public:
  virtual ~Chooser() = default;
  virtual void see(const Tensor& scores) = 0;               // [R, V], processed
  virtual int32_t choose(int64_t row, Random& random) = 0;  // a token from row `row`
};

std::unique_ptr<Strategy> make_token_loop(Task& task, std::unique_ptr<Chooser> chooser);

}  // namespace caravan::generate
