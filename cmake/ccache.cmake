# Compiles through ccache where it is installed, so that a rebuilt, second or fresh clone costs seconds.
find_program(CARAVAN_CCACHE ccache)
if(CARAVAN_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # Sloppiness: a precompiled header is cacheable only when time stamps are not compared. The base folder makes paths
  # below it relative, so that clones in different places share entries.
  set(CMAKE_CXX_COMPILER_LAUNCHER
    ${CMAKE_COMMAND} -E env
    CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
    CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${CARAVAN_CCACHE})
endif()
