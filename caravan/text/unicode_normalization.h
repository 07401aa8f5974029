// Unicode normalization forms with the record of which character came from which.
//
//   std::vector<Change> changes;
//   if (normalize_unicode(text, NormalForm::nfc, changes)) aligned.transform(changes);
//
// Source: UAX 15; decompositions from utf8proc, restricted to the Unicode version (9.0) that Hugging Face tokenizers
// uses.
#pragma once

#include <string_view>
#include <vector>

#include "caravan/text/pieces.h"

namespace caravan::text {

enum class NormalForm { nfc, nfd, nfkc, nfkd };

// False where the text is in that form already: `changes` is then left alone.
bool normalize_unicode(std::string_view text, NormalForm form, std::vector<Change>& changes);

}  // namespace caravan::text
