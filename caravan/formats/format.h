// The lists of formats: adding a reader or a writer is one line in checkpoint.cc or writer.cc plus an include.
//
//   bool looks_like_gguf(const Location& at) { return at.is_folder ? at.only(".gguf") != nullptr :
//   at.head.starts_with("GGUF"); } std::unique_ptr<Checkpoint> open_gguf(const Location& at);
//
// Recognition reads a file's first bytes or a folder's names, never more: a recognized file that is broken gets its
// format's own error from `open`.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "caravan/formats/checkpoint.h"
#include "caravan/formats/writer.h"

namespace caravan::formats {

// What the user named: a folder with the names in it, or a file with its first bytes.
struct Location {
  std::string path;
  bool is_folder = false;
  std::vector<std::string> names;  // folder: sorted
  std::string head;                // file: the first bytes, at most 4096

  static Location of(const std::string& path);             // not_found where there is neither
  bool has(std::string_view name) const;                   // the folder holds a file of this name
  const std::string* only(std::string_view ending) const;  // the one name with this ending; nullptr for 0 or 2+
  std::string in_folder(std::string_view name) const;      // path of a file beside or inside
};

struct ReaderFormat {
  std::string_view name;
  std::string_view extension;  // tried when no contents were recognized: an empty x.gguf is a broken GGUF; "" for none
  bool (*looks_like)(const Location&);
  std::unique_ptr<Checkpoint> (*open)(const Location&);
};

struct WriterFormat {
  std::string_view name;
  std::unique_ptr<CheckpointWriter> (*create)(const std::string& path, std::vector<TensorInfo> plan, const Json& config,
                                              const WriteOptions& options);
  bool holds_blocks = false;  // block-quantized tensors are stored as they are
  bool ties_heads = true;     // its readers know a head that is the embedding; false: lm_head.weight must be there
};

std::vector<std::string_view> reader_formats();  // their names

}  // namespace caravan::formats
