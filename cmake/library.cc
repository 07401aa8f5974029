// libcaravan.so is made of the folders' archives; CMake wants one source of its own. See cmake/library.cmake.
