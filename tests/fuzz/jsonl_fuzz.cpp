// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <string>
#include <string_view>

#include "millet/report/jsonl.hpp"

namespace {

using namespace millet;

/// Ends the process as a crash would, in release builds too, so that libFuzzer keeps the input.
void require(bool holds) {
  if (!holds) __builtin_trap();
}

void fuzz_line(std::string_view line) {
  const Expected<Record> record = parse_record(line);
  if (!record) {
    // A refusal must be a parse error of one printable line.
    require(record.error().code == ErrorCode::parse_error && !record.error().message.empty());
    for (const char c : record.error().message) require(c >= ' ' && c < 0x7F);
    return;
  }
  // Whatever is accepted can be written, and reads as the same record.
  const Expected<std::string> written = to_json_line(*record);
  require(written.has_value() && written->find('\n') == std::string::npos);
  const Expected<Record> again = parse_record(*written);
  require(again && *again == *record);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz_line({reinterpret_cast<const char*>(data), size});
  return 0;
}
