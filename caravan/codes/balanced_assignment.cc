#include "caravan/codes/balanced_assignment.h"

#include <torch/torch.h>

#include <deque>
#include <queue>

#include "caravan/base/error.h"

namespace caravan::codes {
namespace {

struct Bid {
  double amount;  // the price at which the row would rather go elsewhere
  int32_t row;
  // The lowest bid is the first to go; among equals the later row.
  bool operator<(const Bid& other) const { return amount != other.amount ? amount > other.amount : row < other.row; }
};

class Auction {
 public:
  Auction(const at::Tensor& costs, int64_t capacity, double raise)
      : costs_(costs.const_data_ptr<float>()),
        columns_(costs.size(1)),
        capacity_(capacity),
        raise_(raise),
        price_(costs.size(1), 0.0),
        held_(costs.size(1)),
        column_of_(costs.size(0), -1) {
    for (int64_t row = 0; row < costs.size(0); ++row) waiting_.push_back(static_cast<int32_t>(row));
  }

  std::vector<int32_t> run(const Poll& poll) {
    constexpr int64_t kBids = 4096;  // between two calls
    for (int64_t bids = 0; !waiting_.empty(); ++bids) {
      if (poll && bids % kBids == 0) poll();
      const int32_t row = waiting_.front();
      waiting_.pop_front();
      bid(row);
    }
    return std::move(column_of_);
  }

 private:
  // The best column gets the highest price that keeps it no worse than the second best, plus the raise.
  void bid(int32_t row) {
    const float* cost = costs_ + row * columns_;
    double best = std::numeric_limits<double>::infinity(), second = best;
    int32_t at = 0;
    for (int32_t k = 0; k < columns_; ++k) {
      const double value = cost[k] + price_[k];
      if (value < best) {
        second = best;
        best = value;
        at = k;
      } else if (value < second) {
        second = value;
      }
    }
    const double margin = columns_ > 1 ? second - best : 0.0;
    auto& column = held_[at];
    column.push({price_[at] + margin + raise_, row});
    column_of_[row] = at;
    if (static_cast<int64_t>(column.size()) <= capacity_) return;
    const int32_t loser = column.top().row;
    column_of_[loser] = -1;
    waiting_.push_back(loser);
    column.pop();
    price_[at] = std::max(price_[at], column.top().amount);
  }

  const float* costs_;
  int64_t columns_, capacity_;
  double raise_;
  std::vector<double> price_;
  std::vector<std::priority_queue<Bid>> held_;
  std::vector<int32_t> column_of_;
  std::deque<int32_t> waiting_;
};

}  // namespace

std::vector<int32_t> balanced_assignment(const at::Tensor& costs, const AssignmentOptions& options) {
  const int64_t rows = costs.size(0), columns = costs.size(1);
  check(columns > 0 && options.capacity > 0 && (rows + options.capacity - 1) / options.capacity <= columns,
        ErrorCode::invalid_argument, "{} rows do not fit into {} columns of capacity {}", rows, columns,
        options.capacity);
  if (rows == 0) return {};
  const at::Tensor dense = costs.to(at::kFloat).contiguous();
  const double range = (dense.max() - dense.min()).item<double>();
  const double raise = std::max(range * options.tolerance, 1e-12);
  return Auction(dense, options.capacity, raise).run(options.poll);
}

}  // namespace caravan::codes
