// Printable: names from files on terminals, where control characters would act.
#pragma once

#include <string>
#include <string_view>

namespace ckptfs::cli {

// Control characters (C0, DEL, C1, and those that turn the direction of text),
// backslashes and bytes that are no UTF-8 become \n, \t, \\ or \xNN; all else
// stays.
std::string Printable(std::string_view text);

}  // namespace ckptfs::cli
