// What readers of mapped files share: the config, the files, and the tensors with the place of each. `Place` is the
// format's own.
//
//   MappedTensors<Place> in_;
//   const size_t file = in_.files.size();
//   in_.add(tensor, Place{file, ...});
#pragma once

#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/formats/checkpoint.h"

namespace caravan::formats {

template <class Place>
struct MappedTensors {
  Json config;
  std::vector<std::shared_ptr<const MappedFile>> files;
  std::vector<TensorInfo> tensors;
  std::vector<Place> places;  // of tensors[i]

  void add(TensorInfo tensor, Place place) {
    tensors.push_back(std::move(tensor));
    places.push_back(std::move(place));
  }

  // A tensor of `owner`, which presents these, and where it lies.
  std::pair<const TensorInfo&, const Place&> at(const Checkpoint& owner, std::string_view name) const {
    const TensorInfo* tensor = owner.find(name);
    caravan::check(tensor != nullptr, ErrorCode::not_found, "{}: there is no tensor '{}'", owner.path(), name);
    return {*tensor, places[static_cast<size_t>(tensor - tensors.data())]};
  }

  void check() const {
    for (const auto& file : files) file->check();
  }
};

}  // namespace caravan::formats
