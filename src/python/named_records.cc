#include "python/named_records.h"

#include <nanobind/stl/string.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace nb = nanobind;

namespace ckptfs::python {

std::vector<NamedRecord> NamedRecords(const nb::list& records) {
  std::vector<NamedRecord> named;
  for (const nb::handle item : records) {
    const auto record = nb::cast<nb::tuple>(item);
    std::span<const std::byte> bytes;
    if (nb::isinstance<nb::bytes>(record[1])) {
      const auto text = nb::cast<nb::bytes>(record[1]);
      bytes = {static_cast<const std::byte*>(text.data()), text.size()};
    } else {
      bytes = {reinterpret_cast<const std::byte*>(
                   nb::cast<std::uintptr_t>(record[1])),
               nb::cast<std::size_t>(record[2])};
    }
    named.push_back({nb::cast<std::string>(record[0]), bytes});
  }
  return named;
}

}  // namespace ckptfs::python
