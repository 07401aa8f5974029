#include "caravan/data/bad_rows.h"

namespace caravan::data {

void BadRows::add(const Error& error) {
  const bool of_a_row = error.code() == ErrorCode::corrupt_file && error.fault() != FileFault::io &&
                        error.fault() != FileFault::truncated && error.fault() != FileFault::limit;
  if (!of_a_row) throw;
  if (!skip) {
    throw Error(error.code(), std::string(error.what()) + "; --skip-bad-rows leaves such rows out and counts them",
                error.fault());
  }
  ++count;
  if (first.size() < kKept) first.emplace_back(error.what());
}

}  // namespace caravan::data
