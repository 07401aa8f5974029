# caravan_folder(): one call builds the folder it is called from: a static library caravan_<folder> of its sources, one
# test binary <folder>_test of its *_test.cc files and, where there are any, one <folder>_bench of its *_bench.cc files
# (built by the target `benchmarks`). Names, kinds and dependencies come from cmake/layers.txt, so an arrow that is not
# drawn there cannot be linked. main.cc is left to whoever builds a program, *.isa.cc to the folder (one build a set).
set(CARAVAN_LAYERS_FILE ${CMAKE_CURRENT_LIST_DIR}/layers.txt)
set_property(DIRECTORY ${PROJECT_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CARAVAN_LAYERS_FILE})
add_custom_target(benchmarks)
add_custom_target(torch_free_tests)   # what `make test-asan` builds

function(caravan_read_layer folder out_kind out_deps)
  file(STRINGS ${CARAVAN_LAYERS_FILE} line REGEX "^${folder}[ \t]")
  if(NOT line)
    message(FATAL_ERROR "cmake/layers.txt has no line for the folder '${folder}'")
  endif()
  string(REGEX REPLACE "[ \t]+" ";" words "${line}")
  list(POP_FRONT words name kind)
  set(${out_kind} ${kind} PARENT_SCOPE)
  set(${out_deps} ${words} PARENT_SCOPE)
endfunction()

# A binary of one folder's test or benchmark files.
function(caravan_folder_program name kind)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBRARIES" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_LIBRARIES})
  # Relative, so that the compiler cache serves every clone: tests and benchmarks run in the source folder.
  target_compile_definitions(${name} PRIVATE CARAVAN_SOURCE_DIR=".")
  if(kind STREQUAL "torch")
    target_precompile_headers(${name} REUSE_FROM caravan_torch_pch)
  endif()
endfunction()

# caravan_folder([LIBRARIES target...] [TEST_LIBRARIES target...])
function(caravan_folder)
  cmake_parse_arguments(ARG "" "" "LIBRARIES;TEST_LIBRARIES" ${ARGN})
  get_filename_component(folder ${CMAKE_CURRENT_SOURCE_DIR} NAME)
  caravan_read_layer(${folder} kind deps)
  list(TRANSFORM deps PREPEND caravan_)

  file(GLOB sources CONFIGURE_DEPENDS *.cc)
  set(tests ${sources})
  set(benches ${sources})
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  list(FILTER benches INCLUDE REGEX "_bench\\.cc$")
  list(FILTER sources EXCLUDE REGEX "(_test|_bench|\\.isa|/main)\\.cc$")

  set(library caravan_${folder})
  add_library(${library} STATIC ${sources})
  set_target_properties(${library} PROPERTIES LINKER_LANGUAGE CXX)
  target_link_libraries(${library} PUBLIC caravan_options ${deps} ${ARG_LIBRARIES})
  if(kind STREQUAL "torch")
    target_link_libraries(${library} PUBLIC caravan_torch)
    target_precompile_headers(${library} REUSE_FROM caravan_torch_pch)
  endif()
  set_property(GLOBAL APPEND PROPERTY CARAVAN_FOLDERS ${folder})
  set_property(GLOBAL APPEND PROPERTY CARAVAN_LIBRARIES ${ARG_LIBRARIES})
  set_target_properties(${library} PROPERTIES CARAVAN_EXTERNAL "${ARG_LIBRARIES}")

  if(tests AND CARAVAN_BUILD_TESTS)
    caravan_folder_program(${folder}_test ${kind} SOURCES ${tests}
      LIBRARIES ${library} ${ARG_TEST_LIBRARIES} GTest::gtest GTest::gtest_main)
    if(kind STREQUAL "torch-free")
      add_dependencies(torch_free_tests ${folder}_test)
    endif()
    # PRE_TEST: the list of tests is read when ctest runs, in ctest's environment (sanitizer options).
    gtest_discover_tests(${folder}_test TEST_PREFIX ${folder}. DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 120
      WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}
      PROPERTIES TIMEOUT 600 LABELS ${kind})
  endif()
  if(benches AND benchmark_FOUND)
    caravan_folder_program(${folder}_bench ${kind} SOURCES ${benches} LIBRARIES ${library} benchmark::benchmark_main)
    set_target_properties(${folder}_bench PROPERTIES EXCLUDE_FROM_ALL ON)
    add_dependencies(benchmarks ${folder}_bench)
  endif()
endfunction()
