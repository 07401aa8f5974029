# Finds libtorch and defines caravan_torch (an interface target) and caravan_torch_pch (the precompiled <torch/torch.h>).
# Order: a libtorch on CMAKE_PREFIX_PATH; the one that Python (CARAVAN_PYTHON, default python3) imports. Where torch's own
# CMake package refuses (a CUDA build without a CUDA toolkit), its libraries are linked directly.
set(CARAVAN_PYTHON "" CACHE FILEPATH "Python whose torch package is used when no libtorch is on CMAKE_PREFIX_PATH")
find_package(Threads REQUIRED)

find_path(CARAVAN_TORCH_INCLUDE torch/csrc/api/include/torch/torch.h PATH_SUFFIXES include)
if(NOT CARAVAN_TORCH_INCLUDE)
  set(python ${CARAVAN_PYTHON})
  if(NOT python)
    find_program(python NAMES python3 NO_CACHE)
  endif()
  # find_spec does not import the package: nothing of torch's Python part is loaded.
  execute_process(
    COMMAND ${python} -c "import importlib.util as u; s = u.find_spec('torch'); print(s.submodule_search_locations[0] if s else '')"
    OUTPUT_VARIABLE torch_dir OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(NOT torch_dir)
    message(FATAL_ERROR "libtorch was not found. Install it with 'python3 -m pip install torch==2.13.0' (or run 'make setup'), "
                        "or pass -DCMAKE_PREFIX_PATH=/path/to/libtorch.")
  endif()
  set(CARAVAN_TORCH_INCLUDE ${torch_dir}/include CACHE PATH "libtorch headers" FORCE)
endif()
get_filename_component(CARAVAN_TORCH_ROOT ${CARAVAN_TORCH_INCLUDE} DIRECTORY)

# Only the C++ libraries: never torch_python. The package's own CMake file pulls in CUDA and Kineto discovery, which a
# build against the CPU interface does not need, so the libraries are always linked by path: one code path everywhere.
set(lib ${CARAVAN_TORCH_ROOT}/lib)
foreach(name torch torch_cpu c10)
  if(NOT EXISTS ${lib}/lib${name}.so)
    message(FATAL_ERROR "${lib}/lib${name}.so is missing: the torch installation in ${CARAVAN_TORCH_ROOT} is incomplete.")
  endif()
endforeach()
set(torch_libraries ${lib}/libtorch_cpu.so ${lib}/libc10.so)
set(CARAVAN_TORCH_CUDA OFF)
if(EXISTS ${lib}/libtorch_cuda.so)   # registers the CUDA kernels when loaded; needs no toolkit to link
  set(CARAVAN_TORCH_CUDA ON)
endif()

file(STRINGS ${CARAVAN_TORCH_INCLUDE}/torch/headeronly/version.h version_lines REGEX "#define TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
if(NOT version_lines)
  file(STRINGS ${CARAVAN_TORCH_INCLUDE}/torch/csrc/api/include/torch/version.h version_lines REGEX "#define TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
endif()
string(REGEX MATCHALL "[0-9]+" version_numbers "${version_lines}")
list(JOIN version_numbers "." CARAVAN_TORCH_VERSION)
if(CARAVAN_TORCH_VERSION VERSION_LESS 2.11)
  message(FATAL_ERROR "libtorch ${CARAVAN_TORCH_VERSION} in ${CARAVAN_TORCH_ROOT} is too old: 2.11 or newer is needed.")
endif()
message(STATUS "libtorch ${CARAVAN_TORCH_VERSION} (CUDA: ${CARAVAN_TORCH_CUDA}) in ${CARAVAN_TORCH_ROOT}")

add_library(caravan_torch INTERFACE)
target_include_directories(caravan_torch SYSTEM INTERFACE
  $<BUILD_INTERFACE:${CARAVAN_TORCH_INCLUDE}> $<BUILD_INTERFACE:${CARAVAN_TORCH_INCLUDE}/torch/csrc/api/include>)
target_link_libraries(caravan_torch INTERFACE "$<BUILD_INTERFACE:${torch_libraries}>" Threads::Threads)
target_link_options(caravan_torch INTERFACE $<BUILD_INTERFACE:-Wl,-rpath,${lib}>)
if(CARAVAN_TORCH_CUDA)
  target_link_options(caravan_torch INTERFACE
    "$<BUILD_INTERFACE:-Wl,--push-state,--no-as-needed,${lib}/libtorch_cuda.so,--pop-state,--allow-shlib-undefined>")
endif()

file(WRITE ${CMAKE_BINARY_DIR}/torch_pch.cc "")
add_library(caravan_torch_pch STATIC ${CMAKE_BINARY_DIR}/torch_pch.cc)
set_target_properties(caravan_torch_pch PROPERTIES POSITION_INDEPENDENT_CODE ON)
target_link_libraries(caravan_torch_pch PUBLIC caravan_options caravan_torch)
target_precompile_headers(caravan_torch_pch PRIVATE <torch/torch.h>)
