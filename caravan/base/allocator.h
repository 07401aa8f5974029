// The settings of malloc for programs that run models.
#pragma once

namespace caravan {

// To be called once, at the beginning of main().
void keep_freed_memory();

}  // namespace caravan
