// InProcessRanks: several ranks in one process, for tests of what ranks do
// together. Each rank's calls come from wherever its operation runs.
#pragma once

#include <ckptfs/checkpoint/dcp/coordination.h>

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace ckptfs {

class InProcessRanks {
 public:
  explicit InProcessRanks(int world_size) {
    for (int rank = 0; rank < world_size; ++rank) {
      ranks_.push_back(std::make_unique<Rank>(*this, rank, world_size));
    }
  }

  Coordination& rank(int rank) {
    return *ranks_[static_cast<std::size_t>(rank)];
  }

 private:
  using Messages = std::vector<std::string>;

  // Answers nobody before all ranks have come.
  class Rank final : public Coordination {
   public:
    Rank(InProcessRanks& all, int rank, int world_size)
        : all_(all), rank_(rank), world_size_(world_size) {}
    int rank() const override { return rank_; }
    int world_size() const override { return world_size_; }

    Future<std::vector<std::string>> Gather(std::string bytes) override {
      return all_.Exchange<Messages>(
          rank_, calls_++, {std::move(bytes)},
          [](const std::vector<Messages>& given, std::size_t rank) {
            Messages all;
            for (const Messages& one : given) {
              if (rank == 0) all.push_back(one.at(0));
            }
            return all;
          });
    }
    Future<std::string> Scatter(std::vector<std::string> bytes) override {
      return all_.Exchange<std::string>(
          rank_, calls_++, std::move(bytes),
          [](const std::vector<Messages>& given, std::size_t rank) {
            return given[0].at(rank);
          });
    }
    Future<std::string> Broadcast(std::string bytes) override {
      return all_.Exchange<std::string>(
          rank_, calls_++, {std::move(bytes)},
          [](const std::vector<Messages>& given, std::size_t) {
            return given[0].at(0);
          });
    }

   private:
    InProcessRanks& all_;
    const int rank_;
    const int world_size_;
    std::size_t calls_ = 0;
  };

  // The n-th call of every rank.
  struct Round {
    std::vector<Messages> given;
    std::size_t came = 0;
    std::vector<UniqueFunction<void(const std::vector<Messages>&)>> answers;
  };

  template <typename T, typename F>
  Future<T> Exchange(int rank, std::size_t call, Messages messages, F own) {
    Promise<T> promise;
    Future<T> future = promise.GetFuture();
    std::shared_ptr<Round> complete;
    {
      const std::lock_guard lock(mu_);
      std::shared_ptr<Round>& round = rounds_[call];
      if (round == nullptr) {
        round = std::make_shared<Round>();
        round->given.resize(ranks_.size());
      }
      const auto at = static_cast<std::size_t>(rank);
      round->given[at] = std::move(messages);
      round->answers.emplace_back(
          [promise = std::move(promise), own,
           at](const std::vector<Messages>& given) mutable {
            promise.Set(own(given, at));
          });
      if (++round->came == ranks_.size()) {
        complete = std::move(round);
        rounds_.erase(call);
      }
    }
    if (complete != nullptr) {
      for (auto& answer : complete->answers) answer(complete->given);
    }
    return future;
  }

  std::vector<std::unique_ptr<Rank>> ranks_;
  std::mutex mu_;                                         // leaf
  std::map<std::size_t, std::shared_ptr<Round>> rounds_;  // guarded by mu_
};

}  // namespace ckptfs
