// Python3Name: what a name of Python 2, which pickles of protocol 2 use for the
// standard library, is called in Python 3.
#pragma once

#include <ckptfs/checkpoint/value.h>

namespace ckptfs {

// Any other name comes back as it is. Source: NAME_MAPPING and IMPORT_MAPPING
// of CPython 3.11, Lib/_compat_pickle.py; the first goes before the second, as
// in Unpickler.find_class.
Global Python3Name(Global global);

}  // namespace ckptfs
