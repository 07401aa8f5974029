// Overflow-checked integer arithmetic for every number that comes from a file: no raw * or + on such a number.
//
//   size_t bytes = checked_mul<size_t>(rows, row_bytes, path);   // throws Error{corrupt_file, fault overflow}
#pragma once

#include <span>
#include <string_view>
#include <type_traits>

#include "caravan/base/error.h"

namespace caravan {

template <class T, class A, class B>
T checked_mul(A a, B b, std::string_view where) {
  static_assert(std::is_integral_v<T> && std::is_integral_v<A> && std::is_integral_v<B>);
  T result;
  if (__builtin_mul_overflow(a, b, &result)) fail_file(FileFault::overflow, where, "{} * {} overflows", a, b);
  return result;
}

template <class T, class A, class B>
T checked_add(A a, B b, std::string_view where) {
  static_assert(std::is_integral_v<T> && std::is_integral_v<A> && std::is_integral_v<B>);
  T result;
  if (__builtin_add_overflow(a, b, &result)) fail_file(FileFault::overflow, where, "{} + {} overflows", a, b);
  return result;
}

// The same value in another integer type, or an error.
template <class T, class A>
T checked_cast(A a, std::string_view where) {
  static_assert(std::is_integral_v<T> && std::is_integral_v<A>);
  return checked_add<T>(a, A{0}, where);
}

// The number of elements of a shape: 1 for rank 0, 0 where a dimension is 0; negative dimensions are an error.
inline int64_t checked_numel(std::span<const int64_t> shape, std::string_view where) {
  int64_t n = 1;
  for (int64_t d : shape) {
    check_file(d >= 0, FileFault::range, where, "negative dimension {}", d);
    n = checked_mul<int64_t>(n, d, where);
  }
  return n;
}

}  // namespace caravan
