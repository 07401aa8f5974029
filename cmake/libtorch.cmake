# Finds libtorch without torch's own CMake package, which refuses a CUDA build where no CUDA toolkit is installed: the
# headers and the C++ libraries are taken by path, the same way on every machine. Never links or loads torch_python.
#
# caravan_find_libtorch() sets CARAVAN_TORCH_ROOT, CARAVAN_TORCH_VERSION and CARAVAN_TORCH_CUDA in the caller's scope.
# First match wins: the Python of CARAVAN_PYTHON; CMAKE_PREFIX_PATH or Torch_DIR (variables or environment); what an
# earlier configure of this build folder found; the torch that python3 imports; .venv/ of this repository; /opt/libtorch,
# /usr/local, /usr.
#
# `cmake -P cmake/libtorch.cmake` prints the folder that would be used, or fails (scripts/setup.sh asks this way), and the
# installed package uses the same file on the consumer's side.
cmake_policy(PUSH)
cmake_policy(VERSION 3.25)
set(CARAVAN_TORCH_MINIMUM 2.11)
set(CARAVAN_TORCH_PINNED 2.13.0)
get_filename_component(CARAVAN_TORCH_REPOSITORY ${CMAKE_CURRENT_LIST_DIR} DIRECTORY)

# The folder of the torch package that `python` would import, without importing it; empty where there is none.
function(caravan_torch_of_python python out)
  set(${out} "" PARENT_SCOPE)
  if(python)
    execute_process(
      COMMAND ${python} -c "import importlib.util as u; s = u.find_spec('torch'); print(s.submodule_search_locations[0] if s else '')"
      OUTPUT_VARIABLE folder OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE status)
    if(status EQUAL 0)
      set(${out} "${folder}" PARENT_SCOPE)
    endif()
  endif()
endfunction()

# Empty where `root` holds a libtorch that Caravan can be built against, else why not.
function(caravan_torch_problem root out_problem out_version)
  set(${out_version} "" PARENT_SCOPE)
  if(NOT EXISTS ${root}/include/torch/csrc/api/include/torch/torch.h)
    set(${out_problem} "no libtorch headers" PARENT_SCOPE)
    return()
  endif()
  set(numbers "")
  foreach(header torch/headeronly/version.h torch/csrc/api/include/torch/version.h)
    if(NOT numbers AND EXISTS ${root}/include/${header})
      file(STRINGS ${root}/include/${header} lines REGEX "#define TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
      string(REGEX MATCHALL "[0-9]+" numbers "${lines}")
    endif()
  endforeach()
  list(JOIN numbers "." version)
  set(${out_version} "${version}" PARENT_SCOPE)
  if(version VERSION_LESS CARAVAN_TORCH_MINIMUM)
    set(${out_problem} "version ${version} is too old, ${CARAVAN_TORCH_MINIMUM} or newer is needed" PARENT_SCOPE)
    return()
  endif()
  foreach(name torch_cpu c10)
    if(NOT EXISTS ${root}/lib/lib${name}.so)
      set(${out_problem} "lib/lib${name}.so is missing: the installation is incomplete" PARENT_SCOPE)
      return()
    endif()
  endforeach()
  # Distributions build every other dependency with libstdc++'s C++11 string; the two cannot be mixed.
  file(STRINGS ${root}/lib/libc10.so new_strings REGEX "__cxx11.*basic_string" LIMIT_COUNT 1)
  if(NOT new_strings)
    set(${out_problem} "it was built with the pre-C++11 ABI (_GLIBCXX_USE_CXX11_ABI=0); take the cxx11 ABI build" PARENT_SCOPE)
    return()
  endif()
  set(${out_problem} "" PARENT_SCOPE)
endfunction()

macro(caravan_find_libtorch)
  _caravan_find_libtorch()
  if(NOT CARAVAN_TORCH_ROOT)
    message(FATAL_ERROR "libtorch ${CARAVAN_TORCH_MINIMUM} or newer was not found.${_caravan_torch_refused}\n"
      "Run 'make setup', or 'python3 -m pip install torch==${CARAVAN_TORCH_PINNED}', or pass -DCMAKE_PREFIX_PATH=/path/to/libtorch.")
  endif()
endmacro()

macro(_caravan_try_torch root where)
  if(NOT CARAVAN_TORCH_ROOT AND NOT "${root}" STREQUAL "")
    caravan_torch_problem("${root}" problem version)
    if(NOT problem)
      set(CARAVAN_TORCH_ROOT "${root}")
      set(CARAVAN_TORCH_VERSION "${version}")
    elseif(version OR NOT "${where}" STREQUAL "prefix")
      string(APPEND refused "\n  ${root}: ${problem}")
    endif()
  endif()
endmacro()

function(_caravan_find_libtorch)
  set(CARAVAN_TORCH_ROOT "")
  set(refused "")
  caravan_torch_of_python("${CARAVAN_PYTHON}" root)
  _caravan_try_torch("${root}" python)

  string(REPLACE ":" ";" environment "$ENV{CMAKE_PREFIX_PATH};$ENV{Torch_DIR};$ENV{Torch_ROOT}")
  foreach(prefix IN LISTS CMAKE_PREFIX_PATH Torch_DIR Torch_ROOT environment)
    string(REGEX REPLACE "/+$" "" prefix "${prefix}")
    string(REGEX REPLACE "/share/cmake(/Torch)?$" "" prefix "${prefix}")   # torch.utils.cmake_prefix_path, Torch_DIR
    _caravan_try_torch("${prefix}" prefix)
  endforeach()

  _caravan_try_torch("${CARAVAN_TORCH_FOUND}" prefix)
  if(NOT CARAVAN_TORCH_ROOT)
    find_program(python3 NAMES python3 NO_CACHE)
    caravan_torch_of_python("${python3}" root)
    _caravan_try_torch("${root}" python)
  endif()
  if(NOT CARAVAN_TORCH_ROOT AND EXISTS ${CARAVAN_TORCH_REPOSITORY}/.venv/bin/python)
    caravan_torch_of_python(${CARAVAN_TORCH_REPOSITORY}/.venv/bin/python root)
    _caravan_try_torch("${root}" python)
  endif()
  foreach(root ${CARAVAN_TORCH_HINT} /opt/libtorch /usr/local /usr)
    _caravan_try_torch("${root}" prefix)
  endforeach()

  if(refused)
    message(STATUS "libtorch not used:${refused}")
  endif()
  set(_caravan_torch_refused "${refused}" PARENT_SCOPE)
  set(CARAVAN_TORCH_CUDA OFF PARENT_SCOPE)
  if(CARAVAN_TORCH_ROOT)
    get_filename_component(CARAVAN_TORCH_ROOT ${CARAVAN_TORCH_ROOT} REALPATH)
    if(EXISTS ${CARAVAN_TORCH_ROOT}/lib/libtorch_cuda.so)
      set(CARAVAN_TORCH_CUDA ON PARENT_SCOPE)
    endif()
  endif()
  set(CARAVAN_TORCH_ROOT "${CARAVAN_TORCH_ROOT}" PARENT_SCOPE)
  set(CARAVAN_TORCH_VERSION "${CARAVAN_TORCH_VERSION}" PARENT_SCOPE)
endfunction()

# caravan_add_torch_target(NAME): an interface target (imported where IMPORTED is given) with libtorch's headers and
# libraries (CMake derives the run path). libtorch_cuda is not linked: it is loaded when a CUDA device is asked for (docs/build.md).
function(caravan_add_torch_target name)
  add_library(${name} INTERFACE ${ARGN})
  set(include ${CARAVAN_TORCH_ROOT}/include)
  set(lib ${CARAVAN_TORCH_ROOT}/lib)
  target_include_directories(${name} SYSTEM INTERFACE ${include} ${include}/torch/csrc/api/include)
  target_link_libraries(${name} INTERFACE ${lib}/libtorch_cpu.so ${lib}/libc10.so)
endfunction()

if(CMAKE_SCRIPT_MODE_FILE AND CMAKE_SCRIPT_MODE_FILE STREQUAL CMAKE_CURRENT_LIST_FILE)
  caravan_find_libtorch()
  execute_process(COMMAND ${CMAKE_COMMAND} -E echo "${CARAVAN_TORCH_VERSION} ${CARAVAN_TORCH_ROOT}")
endif()
cmake_policy(POP)
