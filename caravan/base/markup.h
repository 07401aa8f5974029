// Text inside HTML, SVG and XML.
//
//   "<b>" + escape_markup(title) + "</b>"
#pragma once

#include <string>
#include <string_view>

namespace caravan {

// & < > " ' as entities, numeric where markupsafe.escape writes them so; everything else stays.
std::string escape_markup(std::string_view text);

}  // namespace caravan
