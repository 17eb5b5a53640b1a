// SPDX-License-Identifier: Apache-2.0
#include "tune/tuned_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <optional>

namespace millet {

namespace {

constexpr std::string_view comment_start = "# tune: ";
constexpr int key_fields = 8;  // arch to groups

// The fields that make the key of a row, without blanks: rows that do not parse have one too.
std::string key_text(std::string_view line) {
  std::string key;
  int fields = 0;
  for (const char c : line) {
    if (c == ',' && ++fields == key_fields) return key;
    if (c != ' ' && c != '\t' && c != '\r') key += c;
  }
  return "";
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::size_t begin = 0;
  while (begin < text.size()) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

// One line, whatever is in `reason`.
std::string comment_of(std::string_view reason) {
  std::string text(reason);
  for (char& c : text) c = c == '\n' || c == '\r' ? ' ' : c;
  return std::string(comment_start) + text;
}

Expected<void> cannot_write(const std::filesystem::path& path, int reason) {
  return fail(ErrorCode::io_error, "{}: cannot be written: {}; give a writable place with --out", path.string(),
              std::strerror(reason));
}

}  // namespace

Expected<TunedFile> TunedFile::open(std::filesystem::path path, const Backend& backend, std::string_view about) {
  TunedFile file;
  file.path_ = std::move(path);
  std::error_code error;
  if (!std::filesystem::exists(file.path_, error)) {
    file.lines_ = {std::string(tuned_table_schema), fmt::format("# {}", about), std::string(tuned_table_header)};
    return file;
  }
  errno = 0;
  std::ifstream stream(file.path_, std::ios::binary);
  if (!stream || std::filesystem::is_directory(file.path_, error)) {
    return fail(ErrorCode::io_error, "{}: cannot be read: {}; give another file with --out", file.path_.string(),
                std::filesystem::is_directory(file.path_, error) ? "it is a folder" : std::strerror(errno));
  }
  const std::string text{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  if (text.empty()) {
    file.lines_ = {std::string(tuned_table_schema), fmt::format("# {}", about), std::string(tuned_table_header)};
    return file;
  }
  auto table = TunedTable::parse(text, file.path_.string(), backend);
  if (!table) return fail(std::move(table));
  file.rejected_ = table->rejected();
  file.lines_ = lines_of(text);
  return file;
}

void TunedFile::put(const TunedRow& row, std::string_view reason) {
  const std::string line = to_csv(row);
  const std::string key = key_text(line);
  std::vector<std::string> kept;
  std::optional<std::size_t> place;
  for (const std::string& old : lines_) {
    if (old.starts_with('#') || key_text(old) != key) {
      kept.push_back(old);
      continue;
    }
    if (!kept.empty() && kept.back().starts_with(comment_start)) kept.pop_back();
    if (!place) place = kept.size();
  }
  const auto at = kept.begin() + static_cast<std::ptrdiff_t>(place.value_or(kept.size()));
  kept.insert(at, {comment_of(reason), line});
  lines_ = std::move(kept);
}

Expected<void> TunedFile::save() const {
  if (path_.has_parent_path()) {
    std::error_code error;
    std::filesystem::create_directories(path_.parent_path(), error);
    if (error) return cannot_write(path_, error.value());
  }
  std::string text;
  for (const std::string& line : lines_) text += line + '\n';
  std::filesystem::path temporary = path_;
  temporary += ".new";
  const int file = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file < 0) return cannot_write(temporary, errno);
  std::size_t written = 0;
  while (written < text.size()) {
    const ssize_t count = ::write(file, text.data() + written, text.size() - written);
    if (count < 0) {
      const int reason = errno;
      ::close(file);
      ::unlink(temporary.c_str());
      return cannot_write(path_, reason);
    }
    written += static_cast<std::size_t>(count);
  }
  const bool flushed = ::fsync(file) == 0;
  const int reason = errno;
  if (::close(file) != 0 || !flushed || ::rename(temporary.c_str(), path_.c_str()) != 0) {
    const int last = flushed ? errno : reason;
    ::unlink(temporary.c_str());
    return cannot_write(path_, last);
  }
  return {};
}

}  // namespace millet
