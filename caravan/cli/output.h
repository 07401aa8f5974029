// Results on standard output, and nothing else there. Buffered; flush_output() after what a reader waits for.
//
//   print_json({{"text", text}});       // one line; invalid UTF-8 becomes U+FFFD
#pragma once

#include <string>
#include <string_view>

#include "caravan/base/json.h"

namespace caravan::cli {

// Thrown when the reader of standard output went away: the program ends without a word.
struct BrokenPipe {};

void print(std::string_view text);  // throws BrokenPipe, or Error where the disk is full ...
void print_json(const Json& json, int indent = -1);
void flush_output();

// A JSON string literal. Bytes that are not UTF-8 become U+FFFD.
void append_json_string(std::string& to, std::string_view text);

std::string human_bytes(uint64_t bytes);   // "134.5 MB"
std::string human_count(uint64_t count);   // "134.5 M"
std::string with_commas(uint64_t number);  // "134,515,008"

}  // namespace caravan::cli
