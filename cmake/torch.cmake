# libtorch for the folders of kind "torch" in layers.txt: caravan_torch (an interface target) and caravan_torch_pch (the
# precompiled header that they share).
set(CARAVAN_PYTHON "" CACHE FILEPATH "Python whose torch package is used, before CMAKE_PREFIX_PATH is looked at")
find_package(Threads REQUIRED)
include(libtorch)
caravan_find_libtorch()
# Remembered, so that a reconfigure by ninja finds the same one without the caller's environment.
set(CARAVAN_TORCH_FOUND ${CARAVAN_TORCH_ROOT} CACHE INTERNAL "libtorch of the last configure")
message(STATUS "libtorch ${CARAVAN_TORCH_VERSION} (CUDA build: ${CARAVAN_TORCH_CUDA}) in ${CARAVAN_TORCH_ROOT}")

caravan_add_torch_target(caravan_torch)
# Ahead of libtorch's own torch/torch.h, which the slim one stands for.
target_include_directories(caravan_torch SYSTEM BEFORE INTERFACE ${PROJECT_SOURCE_DIR}/cmake/slim)
target_link_libraries(caravan_torch INTERFACE Threads::Threads)

add_library(caravan_torch_pch STATIC ${PROJECT_SOURCE_DIR}/cmake/torch_pch.cc)
target_link_libraries(caravan_torch_pch PUBLIC caravan_options caravan_torch)
target_precompile_headers(caravan_torch_pch PRIVATE <torch/torch.h>)
