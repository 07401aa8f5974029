// A page about a set of item codes, in one file without scripts or links: the numbers, every level's use of its codes,
// a sunburst of the first two levels, the items as points in the plane of their two main components, and what lies
// under the largest codes.
//
//   write_file("codes_report.html", report_page(table, quality, vectors, catalogue));
#pragma once

#include <string>

#include "caravan/codes/quality.h"
#include "caravan/items/catalogue.h"

namespace caravan::codes {

// vectors [N, D] may be undefined: no map of the items then.
std::string report_page(const CodeTable& table, const Quality& quality, const Tensor& vectors,
                        const items::Catalogue& catalogue);

}  // namespace caravan::codes
