#include "caravan/base/allocator.h"

#include <stdlib.h>  // says whether this is glibc
#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace caravan {

// A pass over a prompt takes and frees the same megabytes layer after layer. Left alone, glibc gives them back to the
// system each time and gets them as pages of zeros again: a tenth of the time of a prompt of 512 (SmolLM2-135M), a
// seventh of that of recommending to 256 users.
void keep_freed_memory() {
#if defined(__GLIBC__)
  mallopt(M_MMAP_THRESHOLD, 32 << 20);  // larger pieces, as of a checkpoint that is being read, do go back
  mallopt(M_TRIM_THRESHOLD, 256 << 20);
#endif
}

}  // namespace caravan
