# The one library and its installation: libcaravan.so holds every folder's objects (but not the program's commands), and
# `find_package(caravan)` gives other projects the target caravan::caravan. libtorch is looked for again on their side.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

get_property(folders GLOBAL PROPERTY CARAVAN_FOLDERS)
get_property(libraries GLOBAL PROPERTY CARAVAN_LIBRARIES)
list(REMOVE_ITEM folders cli)
list(REMOVE_DUPLICATES libraries)
if(TARGET caravan_cli)
  get_target_property(program_only caravan_cli CARAVAN_EXTERNAL)
  list(REMOVE_ITEM libraries ${program_only})
endif()

add_library(caravan SHARED ${PROJECT_SOURCE_DIR}/cmake/library.cc)
add_library(caravan::caravan ALIAS caravan)
# The folders' archives as a whole: a folder may add objects to its archive that are no sources of its target.
set(archives "")
foreach(folder IN LISTS folders)
  list(APPEND archives $<TARGET_FILE:caravan_${folder}>)
  add_dependencies(caravan caravan_${folder})
endforeach()
set_target_properties(caravan PROPERTIES LINK_DEPENDS "${archives}")
if(NOT CARAVAN_SANITIZE)   # the sanitizers' run time is in the program
  target_link_options(caravan PRIVATE -Wl,-z,defs)
endif()
set_target_properties(caravan PROPERTIES
  LINKER_LANGUAGE CXX VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}
  LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib
  INSTALL_RPATH "$ORIGIN;${CARAVAN_TORCH_ROOT}/lib")
# Public: what the headers include. The other libraries are our own business.
target_link_libraries(caravan
  PUBLIC caravan_options $<BUILD_INTERFACE:caravan_torch> $<INSTALL_INTERFACE:caravan::torch> fmt::fmt-header-only
         nlohmann_json::nlohmann_json Threads::Threads
  PRIVATE -Wl,--whole-archive ${archives} -Wl,--no-whole-archive ${libraries})

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/caravan)
install(TARGETS caravan caravan_options EXPORT caravan)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/caravan DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  FILES_MATCHING PATTERN "*.h" PATTERN "cli" EXCLUDE)
install(EXPORT caravan NAMESPACE caravan:: FILE caravan-targets.cmake DESTINATION ${package})
configure_package_config_file(cmake/caravan-config.cmake.in caravan-config.cmake INSTALL_DESTINATION ${package})
write_basic_package_version_file(caravan-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/caravan-config.cmake ${PROJECT_BINARY_DIR}/caravan-config-version.cmake
              cmake/libtorch.cmake DESTINATION ${package})
