# The program: bin/caravan, its commands from caravan/cli linked to the shared library.
if(EXISTS ${PROJECT_SOURCE_DIR}/caravan/cli/main.cc)
  add_executable(caravan_program ${PROJECT_SOURCE_DIR}/caravan/cli/main.cc $<TARGET_OBJECTS:caravan_cli>)
  set_target_properties(caravan_program PROPERTIES OUTPUT_NAME caravan
    INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR};${CARAVAN_TORCH_ROOT}/lib")
  get_target_property(cli_libraries caravan_cli CARAVAN_EXTERNAL)
  target_link_libraries(caravan_program PRIVATE caravan)
  if(cli_libraries)
    target_link_libraries(caravan_program PRIVATE ${cli_libraries})
  endif()
  if(TARGET caravan_mpi)
    add_dependencies(caravan_program caravan_mpi)   # loaded by it under mpirun, and installed beside it
  endif()
  install(TARGETS caravan_program)
endif()
