// Reads Flax checkpoints: flax_model.msgpack (or shards with flax_model.msgpack.index.json), as
// flax.serialization.to_bytes writes them: nested maps of names down to arrays.
//
//   auto checkpoint = open_flax(Location::of("folder"));
//
// Source: google/flax, flax/serialization.py. An array is an extension of type 1 (a numpy scalar: type 3) that holds
// the tuple (shape, dtype name, bytes); arrays above 1 GiB are maps with the key __msgpack_chunked_array__. Of a saved
// train state the parameters are read; optimizer state and plain numbers are left out.
#pragma once

#include <memory>

#include "caravan/formats/format.h"

namespace caravan::formats {

bool looks_like_flax(const Location& at);
std::unique_ptr<Checkpoint> open_flax(const Location& at);

}  // namespace caravan::formats
