// Logging: one line per event, levels as in spdlog, which is used in log.cc
// alone. Never log credentials, signatures or presigned URLs.
#pragma once

#include <string>
#include <string_view>

#include <ckptfs/result.h>

namespace ckptfs {

enum class LogLevel { kDebug, kInfo, kWarning, kError, kOff };

// "debug", "info", "warning", "error", "off".
Result<LogLevel> ParseLogLevel(std::string_view name);

// Process-wide; call before threads start. `file` empty: stderr.
// kInvalidArgument if the file cannot be opened.
Result<void> InitLogging(LogLevel level, const std::string& file);

bool LogEnabled(LogLevel level);
void Log(LogLevel level, std::string_view message);  // thread-safe

inline void LogDebug(std::string_view m) { Log(LogLevel::kDebug, m); }
inline void LogInfo(std::string_view m) { Log(LogLevel::kInfo, m); }
inline void LogWarning(std::string_view m) { Log(LogLevel::kWarning, m); }
inline void LogError(std::string_view m) { Log(LogLevel::kError, m); }

}  // namespace ckptfs
