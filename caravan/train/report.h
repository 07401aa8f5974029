// report.html: the curves of a run as SVG, its results and its settings, in one file that needs nothing else.
//
//   write_file("run/report.html", make_report("run", read_metrics("run/metrics.jsonl"), config, plan));
#pragma once

#include <string>
#include <vector>

#include "caravan/base/json.h"

namespace caravan::train {

std::string make_report(const std::string& title, const std::vector<Json>& rows, const std::string& config,
                        const Json& plan);

}  // namespace caravan::train
