// torch_file_copy IN OUT: reads a torch.save file, with every class allowed,
// and writes its values to another one. For the tests that compare with Python.
#include <cstdio>
#include <memory>

#include "checkpoint/io/file_sink.h"
#include "checkpoint/io/file_source.h"
#include "checkpoint/torch_file/torch_file_reader.h"
#include "checkpoint/torch_file/torch_file_writer.h"
#include "common/executors.h"
#include "unit/checkpoint/await.h"

namespace ckptfs {
namespace {

Result<void> Copy(const std::string& from, const std::string& to) {
  ThreadPool strand("strand", 1);
  ThreadPool pool("pool", 2);
  TorchFileReadOptions options;
  options.weights_only = false;
  CKPTFS_ASSIGN_OR_RETURN(
      std::unique_ptr<TorchFileReader> reader,
      Await(strand, TorchFileReader::Open(
                        std::make_unique<FileSource>(from, strand, pool),
                        strand, pool, options, {})));
  std::vector<TorchFileReader::Want> wants;
  for (const TorchFileReader::Record& record : reader->records()) {
    auto memory = std::make_shared<std::string>(record.storage->bytes, '\0');
    record.storage->memory = std::as_writable_bytes(std::span(*memory));
    record.storage->owner = memory;
    wants.push_back(
        {&record, 0, record.storage->bytes, record.storage->memory});
  }
  CKPTFS_RETURN_IF_ERROR(
      Await(strand, reader->Read(std::move(wants), nullptr, pool, {})));
  CKPTFS_ASSIGN_OR_RETURN(
      TorchFileWriter writer,
      TorchFileWriter::Plan(reader->value(), ZipArchiveName(to)));
  CKPTFS_ASSIGN_OR_RETURN(
      std::unique_ptr<FileSink> sink,
      Await(strand, FileSink::Create(to, writer.file_bytes(), pool)));
  CKPTFS_RETURN_IF_ERROR(Await(strand, writer.WriteTo(*sink, pool)));
  return Await(strand, sink->Commit({}));
}

}  // namespace
}  // namespace ckptfs

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s IN OUT\n", argv[0]);
    return 2;
  }
  const ckptfs::Result<void> done = ckptfs::Copy(argv[1], argv[2]);
  if (done.has_value()) return 0;
  std::fprintf(stderr, "%s\n", done.error().ToString().c_str());
  return 1;
}
