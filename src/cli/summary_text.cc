#include "cli/summary_text.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "cli/printable.h"

namespace ckptfs::cli {

namespace {

using Json = nlohmann::json;

// A name beyond this shifts its own line, not the table.
constexpr std::size_t kMaxColumn = 60;

std::string_view KindName(FileSummary::Kind kind) {
  switch (kind) {
    case FileSummary::Kind::kTorchSave: return "torch.save";
    case FileSummary::Kind::kSafetensors: return "safetensors";
    case FileSummary::Kind::kDcp: return "dcp";
  }
  return "";
}

// "12345678 (11.8 MiB)"
std::string Bytes(std::uint64_t bytes) {
  constexpr std::array kUnits = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  std::string text = std::to_string(bytes);
  if (bytes < 1024) return text;
  double scaled = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  while (scaled >= 1024 && unit + 1 < kUnits.size()) {
    scaled /= 1024;
    ++unit;
  }
  char shown[48];
  std::snprintf(shown, sizeof shown, " (%.1f %s)", scaled, kUnits[unit]);
  return text + shown;
}

std::string ShapeText(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  }
  return text + "]";
}

std::uint64_t TensorBytes(const FileSummary& summary) {
  std::uint64_t sum = 0;
  for (const TensorSummary& tensor : summary.tensors) sum += tensor.bytes;
  return sum;
}

using Row = std::vector<std::string>;

// Columns of equal width, the last one as it is.
void AppendTable(const std::vector<Row>& rows, std::string& out) {
  std::vector<std::size_t> widths;
  for (const Row& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i + 1 < row.size(); ++i) {
      widths[i] = std::max(widths[i], std::min(row[i].size(), kMaxColumn));
    }
  }
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      out += row[i];
      if (i + 1 == row.size()) break;
      out.append(
          2 + (row[i].size() < widths[i] ? widths[i] - row[i].size() : 0), ' ');
    }
    out += '\n';
  }
}

std::string GlobalName(const Global& global) {
  return global.module + "." + global.name;
}

}  // namespace

std::string SummaryText(const FileSummary& summary) {
  std::vector<Row> facts = {
      {"file", Printable(summary.name)},
      {"kind", std::string(KindName(summary.kind))},
      {"bytes", Bytes(summary.file_bytes)},
  };
  for (const auto& [fact, value] : summary.format) {
    facts.push_back({fact, Printable(value)});
  }
  facts.push_back({"tensors", std::to_string(summary.tensors.size())});
  facts.push_back({"tensor bytes", Bytes(TensorBytes(summary))});
  facts.push_back({"stored bytes", Bytes(summary.stored_bytes)});
  std::string out;
  AppendTable(facts, out);
  if (!summary.others.empty()) {
    out += summary.kind == FileSummary::Kind::kSafetensors
               ? "\nmetadata\n"
               : "\nbeside tensors\n";
    std::vector<Row> rows;
    for (const auto& [key, value] : summary.others) {
      rows.push_back({"  " + Printable(key), Printable(value)});
    }
    AppendTable(rows, out);
  }
  if (!summary.tensors.empty()) {
    out += '\n';
    std::vector<Row> rows = {{"name", "dtype", "shape", "bytes"}};
    for (const TensorSummary& tensor : summary.tensors) {
      rows.push_back({Printable(tensor.name),
                      std::string(InfoOf(tensor.dtype).torch_name),
                      ShapeText(tensor.shape), std::to_string(tensor.bytes)});
    }
    AppendTable(rows, out);
  }
  if (!summary.unsafe_globals.empty()) {
    out +=
        "\nunsafe: refused by torch.load(weights_only=True), and run by "
        "weights_only=False\n";
    for (const Global& global : summary.unsafe_globals) {
      out += "  " + Printable(GlobalName(global)) + '\n';
    }
  }
  return out;
}

std::string SummaryJson(const FileSummary& summary) {
  Json json = {{"file", summary.name},
               {"kind", KindName(summary.kind)},
               {"file_bytes", summary.file_bytes},
               {"tensor_bytes", TensorBytes(summary)},
               {"stored_bytes", summary.stored_bytes},
               {"format", Json::object()},
               {"tensors", Json::array()},
               {"others", Json::array()},
               {"unsafe_globals", Json::array()}};
  for (const auto& [fact, value] : summary.format) {
    json["format"][fact] = value;
  }
  for (const TensorSummary& tensor : summary.tensors) {
    json["tensors"].push_back({{"name", tensor.name},
                               {"dtype", InfoOf(tensor.dtype).torch_name},
                               {"shape", tensor.shape},
                               {"bytes", tensor.bytes}});
  }
  for (const auto& [key, value] : summary.others) {
    json["others"].push_back({{"key", key}, {"value", value}});
  }
  for (const Global& global : summary.unsafe_globals) {
    json["unsafe_globals"].push_back(GlobalName(global));
  }
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string VerifyText(const VerifyReport& report) {
  const std::string name = Printable(report.name);
  std::string out;
  for (const Damage& damage : report.damages) {
    out += "damaged: " + name + ": record " + Printable(damage.record) +
           " at offset " + std::to_string(damage.offset) + ": " +
           Printable(damage.what) + '\n';
  }
  if (report.damage_count > report.damages.size()) {
    out += "and " +
           std::to_string(report.damage_count - report.damages.size()) +
           " more\n";
  }
  const std::string parts = std::to_string(report.parts);
  const std::string size = std::to_string(report.file_bytes) + " bytes";
  if (report.damage_count > 0) {
    return out + name + ": damaged: " + std::to_string(report.damage_count) +
           " problems in " + parts + " records\n";
  }
  if (report.checksums) {
    return out + name + ": whole: " + parts + " records, " + size +
           ", all checksums match\n";
  }
  return out + name + ": whole as far as can be told: the sizes of " + parts +
         " tensors match the " + size + " of the file; " +
         std::string(KindName(report.kind)) + " has no checksums\n";
}

}  // namespace ckptfs::cli
