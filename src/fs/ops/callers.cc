// Who is behind a request, and what a FLUSH of theirs means.
#include <utility>

#include "common/log.h"
#include "fs/ops/file_system_impl.h"

namespace ckptfs::fs {

Task<ProcessGroup> FileSystem::Impl::WhoIs(Caller caller) {
  if (caller.tid == 0) {
    if (!std::exchange(invisible_seen, true)) {
      LogWarning(
          "a program in another PID namespace uses this mount: its children "
          "and its death by a signal cannot be told from its closes, so a "
          "close in the middle of a save " +
          std::string(context.options.invisible_writers ==
                              InvisibleWriters::kClose
                          ? "publishes what was written so far"
                          : "publishes nothing before the last one") +
          "; share the PID namespace with it, or see --invisible-writers");
    }
    co_return ProcessGroup::Invisible();
  }
  Result<ProcessGroup> group = co_await context.oracle.GroupOf(caller.tid);
  co_return group ? *group : ProcessGroup{};
}

std::optional<ProcessGroup> FileSystem::Impl::KnownThread(
    const Handle& handle, const Caller& caller) const {
  if (caller.tid == 0) {
    if (!invisible_seen) return std::nullopt;
    return ProcessGroup::Invisible();
  }
  const auto known = handle.threads.find(caller.tid);
  if (known == handle.threads.end() ||
      context.clock.Now() - known->second.asked > Handle::kThreadMemory) {
    return std::nullopt;
  }
  return known->second.group;
}

void FileSystem::Impl::Remember(Handle& handle, const Caller& caller,
                                const ProcessGroup& group) {
  if (caller.tid == 0) return;
  // A program that writes from ever new threads must not make this grow.
  if (handle.threads.size() >= 1024) handle.threads.clear();
  handle.threads[caller.tid] = {context.clock.Now(), group};
}

PublishEvent FileSystem::Impl::MeaningOf(const Handle& handle,
                                         const FlushWitness& witness) {
  const FileContent& content = handle.file->content;
  const ProcessGroup& who = witness.group;
  const bool opened = handle.groups.MayInclude(who);
  const bool wrote = content.writers().MayInclude(who);
  // What a dying group wrote and others published is published.
  const bool tears = wrote || content.mapped_writes();
  if (!opened && !wrote) return PublishEvent::kFlushStranger;
  // Pages come from nobody that is known: whoever opened the file for writing
  // may have written them.
  const bool through_this =
      handle.wrote_epoch == content.epoch() || content.mapped_writes();
  if (!wrote && !(opened && through_this)) return PublishEvent::kFlushShared;
  if (witness.dying_by_signal) {
    return tears ? PublishEvent::kFlushDying : PublishEvent::kFlushShared;
  }
  if (witness.has_other_writable_descriptor) return PublishEvent::kFlushShared;
  if (who.kind == ProcessGroup::Kind::kInvisible &&
      context.options.invisible_writers == InvisibleWriters::kFsyncRename) {
    return PublishEvent::kFlushShared;
  }
  return PublishEvent::kFlushClose;
}

bool FileSystem::Impl::HasVoucher(const File& file) const {
  if (!file.content.writers().empty()) return true;
  for (const auto& [id, handle] : handles) {
    if (handle->file.get() != &file || handle->groups.empty()) continue;
    if (handle->wrote_epoch == file.content.epoch() ||
        file.content.mapped_writes()) {
      return true;
    }
  }
  return false;
}

void FileSystem::Impl::GroupDied(File& file, const ProcessGroup& group) {
  publisher.Died(file, group);
  for (const auto& [id, handle] : handles) {
    if (handle->file.get() == &file) handle->groups.Remove(group);
  }
}

Task<bool> FileSystem::Impl::WriterLives(std::shared_ptr<File> file) {
  // The mutex is held: nobody adds to them.
  std::vector<ProcessGroup> writers(file->content.writers().begin(),
                                    file->content.writers().end());
  for (const ProcessGroup& writer : writers) {
    if (!writer.known()) co_return true;
    Result<GroupFate> fate = co_await context.oracle.FateOf(writer);
    if (!fate || *fate == GroupFate::kLiving) co_return true;
  }
  co_return false;
}

}  // namespace ckptfs::fs
