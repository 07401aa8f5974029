# caravan_options: the compiler flags that every target shares.
add_library(caravan_options INTERFACE)
target_include_directories(caravan_options INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<INSTALL_INTERFACE:include>)
target_compile_features(caravan_options INTERFACE cxx_std_20)
# -fPIC everywhere, tests and programs included: a precompiled header serves only files compiled with the same setting.
target_compile_options(caravan_options INTERFACE $<BUILD_INTERFACE:-fPIC>)
# fmt inline: libtorch's headers bring an fmt of their own, and whichever a file finds first must need no library.
target_compile_definitions(caravan_options INTERFACE FMT_HEADER_ONLY=1)
set(warnings
    -Wall -Wextra -Wno-missing-field-initializers -Wno-unknown-pragmas
    -Wno-restrict)  # GCC 12: false alarms in std::string (bug 105651)
if(CARAVAN_WERROR)
  list(APPEND warnings -Werror)
endif()
target_compile_options(caravan_options INTERFACE $<BUILD_INTERFACE:${warnings}>)
if(CARAVAN_SANITIZE)
  set(sanitize -fsanitize=${CARAVAN_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_compile_options(caravan_options INTERFACE $<BUILD_INTERFACE:${sanitize}>)
  target_link_options(caravan_options INTERFACE $<BUILD_INTERFACE:${sanitize}>)
elseif(CMAKE_BUILD_TYPE STREQUAL "Release")
  # Bounds of standard containers stay checked where it costs nothing measurable: parsers run on untrusted files.
  target_compile_options(caravan_options INTERFACE $<BUILD_INTERFACE:-D_GLIBCXX_ASSERTIONS;-fstack-protector-strong>)
endif()
