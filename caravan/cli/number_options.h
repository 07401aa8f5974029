// What an option's value may be, said where the option is declared, and options that go with others.
//
//   app.add_option("--levels", options.levels, "codes an item has")->check(whole(1, 64));
//   check_companions(app, method == "rq-vae", {"--epochs", "--lr"}, "--method rq-vae");     // after parsing
//
// CLI11 takes an empty value for 0, and its Range lets NaN pass: these do not.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string_view>

#include "caravan/cli/command.h"

namespace caravan::cli {

constexpr int64_t kMany = 2'147'483'647;  // more of anything is a mistake

CLI::Validator whole(int64_t least, int64_t most = kMany);
CLI::Validator real(double least, double most);        // finite, both ends included
CLI::Validator real_above(double bound, double most);  // bound itself is not allowed
CLI::Validator filled();                               // any text that is not empty

// Throws invalid_argument where one of the options was given and `met` is false: it would be ignored.
void check_companions(const CLI::App& app, bool met, std::initializer_list<const char*> options,
                      std::string_view needs);

}  // namespace caravan::cli
