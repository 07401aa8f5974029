// TOML as JSON, through toml++ (which stays inside toml.cc). Dates and times are refused: no setting has one.
//
//   Json config = parse_toml(read_file("run.toml"), "run.toml");
//   Json value = parse_toml_value("[0.9, 0.95]");       // a command line's value; what is no TOML is a string
#pragma once

#include <string>
#include <string_view>

#include "caravan/base/json.h"

namespace caravan::train {

Json parse_toml(std::string_view text, const std::string& where);  // corrupt_file with line and column
Json parse_toml_value(const std::string& text);

std::string toml_value(const Json& value);  // as TOML writes it: 1e-3, "text", [1, 2]

}  // namespace caravan::train
