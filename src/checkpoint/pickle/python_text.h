// IsPythonText: whether bytes can be a `str`.
#pragma once

#include <string_view>

namespace ckptfs {

// UTF-8 without overlong forms and beyond U+10FFFF, but with the surrogates by
// themselves that a Python str may hold: what pickle decodes with the error
// handler "surrogatepass" (Lib/pickle.py, load_binunicode).
bool IsPythonText(std::string_view text);

}  // namespace ckptfs
