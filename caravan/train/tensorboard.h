// TensorBoard event files: scalars, written as TFRecords of Event protocol buffers (tensorflow/core/util/event.proto).
//
//   EventFile events("run/tensorboard", now);
//   events.scalar("loss", 2.5, step, now);
#pragma once

#include <string>
#include <string_view>

#include "caravan/train/metrics_log.h"

namespace caravan::train {

class EventFile {
 public:
  // events.out.tfevents.TIME.caravan in the folder; older ones of ours there are removed.
  EventFile(const std::string& folder, double wall_time);
  void scalar(std::string_view tag, double value, int64_t step, double wall_time);  // stored as fp32

 private:
  void write(std::string_view event);
  AppendFile file_;
};

void remove_events(const std::string& folder);  // our event files there

// What a metrics row holds, as scalars: every number in it but the step, "timing" included.
void add_scalars(EventFile& events, const Json& row, double wall_time);

}  // namespace caravan::train
