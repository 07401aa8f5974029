#include "caravan/base/error.h"

namespace caravan {

std::string_view to_string(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_argument:
      return "invalid_argument";
    case ErrorCode::not_found:
      return "not_found";
    case ErrorCode::corrupt_file:
      return "corrupt_file";
    case ErrorCode::unsupported:
      return "unsupported";
    case ErrorCode::out_of_memory:
      return "out_of_memory";
    case ErrorCode::busy:
      return "busy";
    case ErrorCode::cancelled:
      return "cancelled";
    case ErrorCode::internal:
      return "internal";
  }
  return "unknown";
}

std::string_view to_string(FileFault fault) {
  switch (fault) {
    case FileFault::none:
      return "none";
    case FileFault::truncated:
      return "truncated";
    case FileFault::magic:
      return "magic";
    case FileFault::version:
      return "version";
    case FileFault::limit:
      return "limit";
    case FileFault::overflow:
      return "overflow";
    case FileFault::range:
      return "range";
    case FileFault::type:
      return "type";
    case FileFault::duplicate:
      return "duplicate";
    case FileFault::layout:
      return "layout";
    case FileFault::json:
      return "json";
    case FileFault::syntax:
      return "syntax";
    case FileFault::utf8:
      return "utf8";
    case FileFault::unsupported:
      return "unsupported";
    case FileFault::path:
      return "path";
    case FileFault::fuel:
      return "fuel";
    case FileFault::checksum:
      return "checksum";
    case FileFault::io:
      return "io";
  }
  return "unknown";
}

void throw_file_error(FileFault fault, std::string_view path, const std::string& message) {
  const ErrorCode code = fault == FileFault::unsupported ? ErrorCode::unsupported : ErrorCode::corrupt_file;
  throw Error(code, fmt::format("{}: [{}] {}", path, to_string(fault), message), fault);
}

}  // namespace caravan
