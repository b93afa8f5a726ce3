// The table in docs/publish-states.md is the specification: every cell of it
// is compared with the code. [S-11] [S-12] [S-13]
#include "fs/publish/publish_state.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace ckptfs::fs {
namespace {

std::vector<std::string> Cells(const std::string& row) {
  std::vector<std::string> cells;
  std::stringstream in(row.substr(1));
  for (std::string cell; std::getline(in, cell, '|');) {
    const auto begin = cell.find_first_not_of(' ');
    const auto end = cell.find_last_not_of(' ');
    cells.push_back(
        begin == std::string::npos ? "" : cell.substr(begin, end - begin + 1));
  }
  return cells;
}

std::vector<std::vector<std::string>> DocumentedTable() {
  std::ifstream file(CKPTFS_SOURCE_DIR "/docs/publish-states.md");
  std::vector<std::vector<std::string>> rows;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("| ")) rows.push_back(Cells(line));
  }
  return rows;
}

TEST(PublishState, TheCodeIsTheDocumentedTable) {
  const auto rows = DocumentedTable();
  ASSERT_EQ(rows.size(), 1u + kPublishEventCount);
  for (int e = 0; e < kPublishEventCount; ++e) {
    const auto event = static_cast<PublishEvent>(e);
    const auto& row = rows[1 + e];
    ASSERT_EQ(row.size(), 1u + kPublishStateCount);
    EXPECT_EQ(row[0], PublishEventName(event));
    for (int s = 0; s < kPublishStateCount; ++s) {
      const auto state = static_cast<PublishState>(s);
      EXPECT_EQ(rows[0][1 + s], PublishStateName(state));
      const PublishTransition t = NextPublishState(state, event);
      EXPECT_EQ(row[1 + s], std::string(PublishStateName(t.next)) + ", " +
                                std::string(PublishActionName(t.action)))
          << PublishStateName(state) << " + " << PublishEventName(event);
    }
  }
}

// Properties that every change of the table must keep.
TEST(PublishState, OnlyAPublishEverMakesDirtyBytesClean) {
  for (int e = 0; e < kPublishEventCount; ++e) {
    const PublishTransition t =
        NextPublishState(PublishState::kDirty, static_cast<PublishEvent>(e));
    if (t.next == PublishState::kClean) {
      EXPECT_EQ(t.action, PublishAction::kDiscard);
    }
  }
}

TEST(PublishState, ADyingWriterNeverPublishes) {
  for (int s = 0; s < kPublishStateCount; ++s) {
    EXPECT_NE(NextPublishState(static_cast<PublishState>(s),
                               PublishEvent::kFlushDying)
                  .action,
              PublishAction::kPublish);
  }
}

TEST(PublishState, NothingLeavesGone) {
  for (int e = 0; e < kPublishEventCount; ++e) {
    EXPECT_EQ(
        NextPublishState(PublishState::kGone, static_cast<PublishEvent>(e))
            .next,
        PublishState::kGone);
  }
}

}  // namespace
}  // namespace ckptfs::fs
