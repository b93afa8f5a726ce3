#include "python/objects.h"

#include <ckptfs/engine.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/engine/objects.h"
#include "python/run.h"

namespace nb = nanobind;

namespace ckptfs::python {

namespace {

// S3 says that keys are UTF-8, and not every server checks it: one key that is
// not must not hide the others of its folder.
nb::object Text(const std::string& bytes) {
  return nb::steal(PyUnicode_DecodeUTF8(
      bytes.data(), static_cast<Py_ssize_t>(bytes.size()), "surrogateescape"));
}

// (key, size, etag, seconds since 1970, storage class)
nb::tuple Facts(const ObjectInfo& info) {
  const std::chrono::duration<double> time =
      info.last_modified.time_since_epoch();
  return nb::make_tuple(Text(info.key), info.size, info.etag.value,
                        time.count(), info.storage_class);
}

// (objects, prefixes, token); the token is empty on the last page.
nb::tuple ListObjects(Engine& engine, std::string bucket, std::string prefix,
                      std::string delimiter, std::string token, int max_keys) {
  std::stop_source stop;
  ListRequest request;
  request.prefix = std::move(prefix);
  request.delimiter = std::move(delimiter);
  request.continuation_token = std::move(token);
  request.max_keys = max_keys;
  request.options.stop = stop.get_token();
  const ListResult page = Run<ListResult>(
      engine,
      Objects(engine.runtime()).ListPage(std::move(bucket), std::move(request)),
      stop);
  nb::list objects;
  for (const ObjectInfo& info : page.objects) objects.append(Facts(info));
  nb::list prefixes;
  for (const std::string& common : page.common_prefixes) {
    prefixes.append(Text(common));
  }
  return nb::make_tuple(
      objects, prefixes,
      page.truncated ? page.next_continuation_token : std::string());
}

// As in a listing, and (version id, content type, metadata).
nb::tuple HeadObject(Engine& engine, std::string bucket, std::string key) {
  std::stop_source stop;
  const ObjectInfo info = Run<ObjectInfo>(
      engine,
      Objects(engine.runtime())
          .Info(std::move(bucket), std::move(key), stop.get_token()),
      stop);
  nb::dict metadata;
  for (const auto& [name, value] : info.metadata) {
    metadata[Text(name)] = Text(value);
  }
  return nb::make_tuple(Facts(info), info.version_id, info.content_type,
                        metadata);
}

void CopyInBucket(Engine& engine, std::string bucket, std::string from,
                  std::string to) {
  Run<void>(engine,
            Objects(engine.runtime())
                .Copy(std::move(bucket), std::move(from), std::move(to)));
}

void DeleteObjects(Engine& engine, std::string bucket,
                   std::vector<std::string> keys) {
  std::stop_source stop;
  Run<void>(
      engine,
      Objects(engine.runtime())
          .RemoveAll(std::move(bucket), std::move(keys), stop.get_token()),
      stop);
}

}  // namespace

void BindObjects(nb::module_& module) {
  module.def("list_objects", &ListObjects, nb::arg("engine"), nb::arg("bucket"),
             nb::arg("prefix"), nb::arg("delimiter"), nb::arg("token"),
             nb::arg("max_keys"));
  module.def("head_object", &HeadObject, nb::arg("engine"), nb::arg("bucket"),
             nb::arg("key"));
  module.def("copy_object", &CopyInBucket, nb::arg("engine"), nb::arg("bucket"),
             nb::arg("source_key"), nb::arg("key"));
  module.def("delete_objects", &DeleteObjects, nb::arg("engine"),
             nb::arg("bucket"), nb::arg("keys"));
}

}  // namespace ckptfs::python
