#include "checkpoint/torch_file/torch_file_writer.h"

#include <algorithm>
#include <deque>
#include <unordered_map>
#include <utility>

#include "checkpoint/io/run_on.h"
#include "checkpoint/pickle/pickle_writer.h"
#include "checkpoint/zip/crc32.h"

namespace ckptfs {

namespace {

// Parts whose CRCs are computed ahead of the one that is handed over.
constexpr std::size_t kPartsAhead = 8;
constexpr std::size_t kSerializationIdBytes = 40;
constexpr char kSerializationId[] = ".data/serialization_id";

// Numbers storages in order of appearance, as torch.save does.
class Numbering final : public PickleStorages {
 public:
  std::string KeyOf(const std::shared_ptr<Storage>& storage) override {
    const auto [known, added] = keys_.emplace(storage.get(), order.size());
    if (added) order.push_back(storage);
    return std::to_string(known->second);
  }
  std::vector<std::shared_ptr<Storage>> order;

 private:
  std::unordered_map<const Storage*, std::size_t> keys_;
};

}  // namespace

std::span<const std::byte> TorchFileWriter::Content::bytes() const {
  if (text.empty()) return memory;
  return std::as_bytes(std::span(text));
}

// What the parts have in common, in their order.
struct TorchFileWriter::Assembly {
  std::vector<std::uint32_t> crcs;  // by record, of the bytes so far
  std::string id;
};

TorchFileWriter::TorchFileWriter(std::string archive, std::uint64_t alignment)
    : layout_(std::make_shared<ZipLayout>(std::move(archive), alignment)),
      contents_(std::make_shared<std::vector<Content>>()) {}

Result<TorchFileWriter> TorchFileWriter::Plan(const Value& value,
                                              std::string archive) {
  Numbering storages;
  CKPTFS_ASSIGN_OR_RETURN(std::string pickle, WritePickle(value, storages));
  TorchFileWriter writer(std::move(archive), 64);
  // In the order of torch.save (2.13).
  CKPTFS_RETURN_IF_ERROR(writer.AddText("data.pkl", std::move(pickle)));
  CKPTFS_RETURN_IF_ERROR(writer.AddText(".format_version", "1"));
  CKPTFS_RETURN_IF_ERROR(writer.AddText(".storage_alignment", "64"));
  CKPTFS_RETURN_IF_ERROR(writer.AddText("byteorder", "little"));
  for (std::size_t i = 0; i < storages.order.size(); ++i) {
    const std::shared_ptr<Storage>& storage = storages.order[i];
    if (storage->memory.size() != storage->bytes) {
      return Fail(ErrorCode::kInvalidArgument,
                  "storage " + std::to_string(i) + " of " +
                      std::to_string(storage->bytes) + " bytes is not loaded");
    }
    CKPTFS_RETURN_IF_ERROR(writer.Add("data/" + std::to_string(i),
                                      {storage, storage->memory, {}}));
  }
  CKPTFS_RETURN_IF_ERROR(writer.Finish());
  return writer;
}

Result<TorchFileWriter> TorchFileWriter::PlanRecords(
    std::vector<NamedRecord> records, std::shared_ptr<const void> owner,
    std::string archive, std::uint64_t alignment) {
  TorchFileWriter writer(std::move(archive), alignment);
  for (NamedRecord& record : records) {
    CKPTFS_RETURN_IF_ERROR(
        writer.Add(std::move(record.name), {owner, record.bytes, {}}));
  }
  CKPTFS_RETURN_IF_ERROR(writer.Finish());
  return writer;
}

Result<void> TorchFileWriter::Finish() {
  CKPTFS_RETURN_IF_ERROR(AddText("version", "3\n"));
  // Its digits depend on the CRCs; its size does not.
  CKPTFS_RETURN_IF_ERROR(
      AddText(kSerializationId, std::string(kSerializationIdBytes, '0')));
  CutIntoPieces();
  return {};
}

Result<void> TorchFileWriter::AddText(std::string name, std::string text) {
  return Add(std::move(name), {nullptr, {}, std::move(text)});
}

Result<void> TorchFileWriter::Add(std::string name, Content content) {
  CKPTFS_RETURN_IF_ERROR(layout_->Add(name, content.bytes().size()));
  contents_->push_back(std::move(content));
  names_.push_back(std::move(name));
  return {};
}

void TorchFileWriter::CutIntoPieces() {
  std::uint64_t at = 0;
  const auto add = [&](Piece::Kind kind, std::size_t record,
                       std::uint64_t bytes) {
    if (bytes > 0) pieces_.push_back({kind, record, at, bytes});
    at += bytes;
  };
  for (std::size_t i = 0; i < layout_->records().size(); ++i) {
    const ZipLayout::Record& record = layout_->records()[i];
    add(Piece::Kind::kHeader, i, record.header.size());
    add(Piece::Kind::kPayload, i, record.bytes);
    add(Piece::Kind::kDescriptor, i, layout_->Descriptor(i, 0).size());
  }
  add(Piece::Kind::kTail, 0, layout_->tail_bytes());
}

std::size_t TorchFileWriter::FirstPieceAt(std::uint64_t offset) const {
  const auto after = std::upper_bound(
      pieces_.begin(), pieces_.end(), offset,
      [](std::uint64_t at, const Piece& piece) { return at < piece.offset; });
  return static_cast<std::size_t>(after - pieces_.begin()) - 1;
}

// Of every payload piece within [begin, end), in order.
std::vector<std::uint32_t> TorchFileWriter::CrcsOf(
    const TorchFileWriter& writer, std::uint64_t begin, std::uint64_t end) {
  std::vector<std::uint32_t> crcs;
  for (std::size_t i = writer.FirstPieceAt(begin);
       i < writer.pieces_.size() && writer.pieces_[i].offset < end; ++i) {
    const Piece& piece = writer.pieces_[i];
    if (piece.kind != Piece::Kind::kPayload) continue;
    const std::uint64_t from = std::max(begin, piece.offset);
    const std::uint64_t to = std::min(end, piece.offset + piece.bytes);
    crcs.push_back(Crc32((*writer.contents_)[piece.record].bytes().subspan(
        from - piece.offset, to - from)));
  }
  return crcs;
}

Payload TorchFileWriter::Assemble(std::uint64_t begin, std::uint64_t end,
                                  const std::vector<std::uint32_t>& crcs,
                                  Assembly& assembly) {
  // What the part needs that is neither header nor record; a deque does not
  // move what it holds.
  struct Owner {
    std::shared_ptr<ZipLayout> layout;
    std::shared_ptr<std::vector<Content>> contents;
    std::deque<std::string> texts;
  };
  auto owner = std::make_shared<Owner>(layout_, contents_);
  Payload payload;
  std::size_t next_crc = 0;
  for (std::size_t i = FirstPieceAt(begin);
       i < pieces_.size() && pieces_[i].offset < end; ++i) {
    const Piece& piece = pieces_[i];
    const std::uint64_t from = std::max(begin, piece.offset) - piece.offset;
    const std::uint64_t to =
        std::min(end, piece.offset + piece.bytes) - piece.offset;
    std::span<const std::byte> bytes;
    switch (piece.kind) {
      case Piece::Kind::kHeader:
        bytes =
            std::as_bytes(std::span(layout_->records()[piece.record].header));
        break;
      case Piece::Kind::kPayload: {
        std::uint32_t& crc = assembly.crcs[piece.record];
        if (names_[piece.record] == kSerializationId) {
          if (assembly.id.empty()) {
            const std::size_t n = names_.size() - 1;  // without itself
            std::vector<std::uint64_t> sizes;
            for (const Content& c : *contents_)
              sizes.push_back(c.bytes().size());
            assembly.id = ZipSerializationId(std::span(names_).first(n),
                                             std::span(assembly.crcs).first(n),
                                             std::span(sizes).first(n));
            crc = Crc32(std::as_bytes(std::span(assembly.id)));
          }
          ++next_crc;
          owner->texts.push_back(assembly.id);
          bytes = std::as_bytes(std::span(owner->texts.back()));
          break;
        }
        bytes = (*contents_)[piece.record].bytes();
        crc = Crc32Combine(crc, crcs[next_crc++], to - from);
        break;
      }
      case Piece::Kind::kDescriptor:
        owner->texts.push_back(
            layout_->Descriptor(piece.record, assembly.crcs[piece.record]));
        bytes = std::as_bytes(std::span(owner->texts.back()));
        break;
      case Piece::Kind::kTail:
        owner->texts.push_back(layout_->Tail(assembly.crcs));
        bytes = std::as_bytes(std::span(owner->texts.back()));
        break;
    }
    payload.segments.push_back(bytes.subspan(from, to - from));
  }
  payload.owner = std::move(owner);
  return payload;
}

Task<Result<void>> TorchFileWriter::WriteTo(ByteSink& sink, Executor& pool,
                                            std::stop_token stop) {
  const std::uint64_t part_bytes = sink.part_bytes();
  const std::uint64_t total = file_bytes();
  // Shared with the pool, which may still be at work when this ends early.
  const auto plan = std::make_shared<const TorchFileWriter>(*this);
  std::deque<Future<std::vector<std::uint32_t>>> ahead;
  std::uint64_t asked = 0;
  Assembly assembly;
  assembly.crcs.resize(contents_->size());
  for (std::uint64_t begin = 0; begin < total; begin += part_bytes) {
    if (stop.stop_requested()) {
      co_return Fail(ErrorCode::kCancelled,
                     "save " + sink.name() + ": cancelled");
    }
    while (asked < total && ahead.size() < kPartsAhead) {
      const std::uint64_t from = asked;
      const std::uint64_t to = std::min(total, from + part_bytes);
      ahead.push_back(RunOn<std::vector<std::uint32_t>>(
          pool, [plan, from, to]() -> Result<std::vector<std::uint32_t>> {
            return CrcsOf(*plan, from, to);
          }));
      asked = to;
    }
    Future<std::vector<std::uint32_t>> next = std::move(ahead.front());
    ahead.pop_front();
    Result<std::vector<std::uint32_t>> crcs = co_await std::move(next);
    CKPTFS_CO_RETURN_IF_ERROR(crcs);
    const std::uint64_t end = std::min(total, begin + part_bytes);
    Payload part = Assemble(begin, end, *crcs, assembly);
    Result<void> wrote = co_await sink.Write(std::move(part));
    CKPTFS_CO_RETURN_IF_ERROR(wrote);
  }
  co_return Result<void>();
}

}  // namespace ckptfs
