// SPDX-License-Identifier: Apache-2.0
#include "weights/safetensors.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <memory>
#include <type_traits>

namespace millet {
namespace {

using testing::IsSubstring;

/// A file image: the 8-byte little-endian length, the header, the data.
std::vector<std::byte> image_of(std::string_view header, std::string_view data = "") {
  std::vector<std::byte> image;
  for (int byte = 0; byte < 8; ++byte) image.push_back(static_cast<std::byte>(header.size() >> (8 * byte)));
  for (const char c : header) image.push_back(static_cast<std::byte>(c));
  for (const char c : data) image.push_back(static_cast<std::byte>(c));
  return image;
}

std::vector<std::byte> image_with_length(std::uint64_t length, std::string_view rest) {
  std::vector<std::byte> image = image_of(rest);
  std::memcpy(image.data(), &length, sizeof length);
  return image;
}

/// The message with which parse() refuses `image`; fails the test when it accepts, when the code is not parse_error, or
/// when the message is not one line that begins with the origin.
std::string refusal(std::span<const std::byte> image, SafetensorsLimits limits = {}) {
  const Expected<SafetensorsFile> file = SafetensorsFile::parse(image, "m.safetensors", limits);
  if (file) {
    ADD_FAILURE() << "accepted";
    return "";
  }
  EXPECT_EQ(file.error().code, ErrorCode::parse_error);
  EXPECT_TRUE(file.error().message.starts_with("m.safetensors: ")) << file.error().message;
  EXPECT_TRUE(std::ranges::all_of(file.error().message, [](char c) { return c >= ' ' && c < 0x7F; }))
      << file.error().message;
  return file.error().message;
}

std::string refusal(std::string_view header, std::string_view data = "", SafetensorsLimits limits = {}) {
  return refusal(image_of(header, data), limits);
}

/// The message with which the index is refused, with the same conditions.
std::string index_refusal(std::string_view text, SafetensorsLimits limits = {}) {
  const Expected<std::vector<ShardedTensor>> tensors = parse_safetensors_index(text, "m.index.json", limits);
  if (tensors) {
    ADD_FAILURE() << "accepted";
    return "";
  }
  EXPECT_EQ(tensors.error().code, ErrorCode::parse_error);
  EXPECT_TRUE(tensors.error().message.starts_with("m.index.json: ")) << tensors.error().message;
  EXPECT_TRUE(std::ranges::all_of(tensors.error().message, [](char c) { return c >= ' ' && c < 0x7F; }))
      << tensors.error().message;
  return tensors.error().message;
}

/// A file of its own in the temporary folder, removed at the end.
class TemporaryFile {
 public:
  explicit TemporaryFile(std::span<const std::byte> content) {
    std::string name = testing::TempDir() + "millet_safetensors_XXXXXX";
    const int descriptor = ::mkstemp(name.data());
    if (descriptor < 0) ADD_FAILURE() << "cannot create " << name;
    ::close(descriptor);
    path_ = name;
    std::ofstream(path_, std::ios::binary)
        .write(reinterpret_cast<const char*>(content.data()), static_cast<std::streamsize>(content.size()));
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() { std::filesystem::remove(path_); }

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

constexpr std::string_view two_tensors = R"({"__metadata__":{"format":"pt"},)"
                                         R"("b":{"dtype":"U8","shape":[2,1],"data_offsets":[4,6]},)"
                                         R"("a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}})";

// --- What is accepted ---

static_assert(!std::is_copy_constructible_v<SafetensorsFile> && std::is_nothrow_move_constructible_v<SafetensorsFile>);

TEST(Safetensors, ReadsTensorsSortedByName) {
  const std::vector<std::byte> image = image_of(two_tensors, "\x01\x02\x03\x04yz");
  const Expected<SafetensorsFile> file = SafetensorsFile::parse(image, "m.safetensors");
  ASSERT_TRUE(file) << file.error().message;
  ASSERT_EQ(file->tensors().size(), 2U);

  const TensorInfo& a = file->tensors()[0];
  EXPECT_EQ(a.name, "a");
  EXPECT_EQ(a.dtype, Dtype::f32);
  EXPECT_TRUE(a.shape.empty());
  EXPECT_EQ(a.begin, 0U);
  EXPECT_EQ(a.end, 4U);

  const TensorInfo& b = file->tensors()[1];
  EXPECT_EQ(b.name, "b");
  EXPECT_EQ(b.dtype, Dtype::u8);
  EXPECT_EQ(b.shape, (std::vector<Index>{2, 1}));
  const std::span<const std::byte> bytes = file->bytes(b);
  ASSERT_EQ(bytes.size(), 2U);
  EXPECT_EQ(bytes[0], std::byte{'y'});
  EXPECT_EQ(bytes[1], std::byte{'z'});
}

TEST(Safetensors, AcceptsEmptyTensorsAndPaddedHeader) {
  const std::vector<std::byte> image = image_of(R"({"e":{"dtype":"F32","shape":[0,7],"data_offsets":[1,1]},)"
                                                R"("f":{"dtype":"F32","shape":[3,0],"data_offsets":[0,0]},)"
                                                R"("x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}   )",
                                                "x");
  const Expected<SafetensorsFile> file = SafetensorsFile::parse(image, "m.safetensors");
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->tensors().size(), 3U);
  const Expected<std::vector<float>> empty = file->read_as_float(file->tensors()[0]);
  ASSERT_TRUE(empty);
  EXPECT_TRUE(empty->empty());
}

TEST(Safetensors, AcceptsFileWithoutTensors) {
  const std::vector<std::byte> image = image_of("{}");
  const Expected<SafetensorsFile> file = SafetensorsFile::parse(image, "m.safetensors");
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_TRUE(file->tensors().empty());
  EXPECT_PRED_FORMAT2(IsSubstring, "the file has no tensors", file->find("a").error().message);
}

TEST(Safetensors, KnowsEveryDtypeAndItsSize) {
  const std::vector<std::pair<std::string, std::uint64_t>> sizes = {
      {"F64", 8}, {"F32", 4}, {"F16", 2}, {"BF16", 2}, {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"F8_E8M0", 1}, {"I64", 8},
      {"I32", 4}, {"I16", 2}, {"I8", 1},  {"U64", 8},  {"U32", 4},     {"U16", 2},     {"U8", 1},      {"BOOL", 1}};
  for (const auto& [name, size] : sizes) {
    const std::vector<std::byte> image =
        image_of(fmt::format(R"({{"w":{{"dtype":"{}","shape":[3],"data_offsets":[0,{}]}}}})", name, 3 * size),
                 std::string(3 * size, 'x'));
    const Expected<SafetensorsFile> file = SafetensorsFile::parse(image, "m.safetensors");
    ASSERT_TRUE(file) << file.error().message;
    EXPECT_EQ(to_string(file->tensors()[0].dtype), name);
    EXPECT_EQ(size_in_bytes(file->tensors()[0].dtype), size);
  }
}

TEST(Safetensors, FindNamesTheFileAndItsRangeOfNames) {
  const std::vector<std::byte> image = image_of(two_tensors, "123456");
  const Expected<SafetensorsFile> file = SafetensorsFile::parse(image, "m.safetensors");
  ASSERT_TRUE(file);
  const Expected<const TensorInfo*> b = file->find("b");
  ASSERT_TRUE(b);
  EXPECT_EQ(*b, &file->tensors()[1]);
  for (const std::string_view absent : {"", "aa", "c"}) {
    const Expected<const TensorInfo*> found = file->find(absent);
    ASSERT_FALSE(found) << absent;
    EXPECT_EQ(found.error().code, ErrorCode::unknown_name);
    EXPECT_EQ(found.error().message,
              fmt::format("m.safetensors: no tensor '{}'; the file has 2, from 'a' to 'b'", absent));
  }
}

TEST(Safetensors, OpensAndOutlivesMove) {
  const TemporaryFile temporary(image_of(two_tensors, "123456"));
  Expected<SafetensorsFile> opened = SafetensorsFile::open(temporary.path());
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_EQ(opened->origin(), temporary.path().string());
  const SafetensorsFile file = std::move(*opened);
  opened = fail(ErrorCode::io_error, "gone");
  const Expected<const TensorInfo*> b = file.find("b");
  ASSERT_TRUE(b);
  EXPECT_EQ(file.bytes(**b)[1], std::byte{'6'});
}

TEST(Safetensors, MovedFromMappingIsEmpty) {
  const TemporaryFile temporary(image_of("{}"));
  Expected<MappedFile> mapped = MappedFile::open(temporary.path());
  ASSERT_TRUE(mapped) << mapped.error().message;
  ASSERT_EQ(mapped->bytes().size(), 10U);
  const MappedFile owner = std::move(*mapped);
  EXPECT_EQ(owner.bytes().size(), 10U);
  EXPECT_TRUE(mapped->bytes().empty());
}

/// Lines of /proc/self/maps that name `path`.
int mappings_of(const std::filesystem::path& path) {
  std::ifstream maps("/proc/self/maps");
  int found = 0;
  for (std::string line; std::getline(maps, line);) found += line.ends_with(path.string());
  return found;
}

std::ptrdiff_t open_descriptors() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator());
}

TEST(Safetensors, ReleasesItsMappingAndDescriptor) {
  const TemporaryFile temporary(image_of(two_tensors, "123456"));
  const std::ptrdiff_t descriptors = open_descriptors();
  {
    const Expected<SafetensorsFile> file = SafetensorsFile::open(temporary.path());
    ASSERT_TRUE(file) << file.error().message;
    EXPECT_EQ(mappings_of(temporary.path()), 1);
    EXPECT_EQ(open_descriptors(), descriptors);
  }
  EXPECT_EQ(mappings_of(temporary.path()), 0);
}

// --- What the operating system refuses ---

TEST(Safetensors, OpenReportsMissingFile) {
  const Expected<SafetensorsFile> file = SafetensorsFile::open("/nonexistent/m.safetensors");
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code, ErrorCode::io_error);
  EXPECT_EQ(file.error().message, "/nonexistent/m.safetensors: cannot open: No such file or directory");
}

TEST(Safetensors, OpenRefusesDirectory) {
  const Expected<SafetensorsFile> file = SafetensorsFile::open(testing::TempDir());
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code, ErrorCode::io_error);
  EXPECT_PRED_FORMAT2(IsSubstring, "not a regular file", file.error().message);
}

TEST(Safetensors, OpenRefusesFifoWithoutWaiting) {
  const TemporaryFile placeholder({});
  std::filesystem::remove(placeholder.path());
  ASSERT_EQ(::mkfifo(placeholder.path().c_str(), 0600), 0);
  const Expected<SafetensorsFile> file = SafetensorsFile::open(placeholder.path());
  ASSERT_FALSE(file);
  EXPECT_PRED_FORMAT2(IsSubstring, "not a regular file", file.error().message);
}

TEST(Safetensors, OpenRefusesEmptyFile) {
  const TemporaryFile temporary({});
  const Expected<SafetensorsFile> file = SafetensorsFile::open(temporary.path());
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code, ErrorCode::parse_error);
  EXPECT_PRED_FORMAT2(IsSubstring, "0 bytes are too few", file.error().message);
}

// --- The header's length ---

TEST(Safetensors, RefusesFileShorterThanLengthPrefix) {
  const std::vector<std::byte> image(7, std::byte{0});
  EXPECT_EQ(refusal(image), "m.safetensors: 7 bytes are too few for the 8-byte header length; the file is truncated");
}

TEST(Safetensors, RefusesHeaderLengthPastTheFile) {
  const std::vector<std::byte> image = image_with_length(999'999'999'999, std::string(1016, '{'));
  EXPECT_EQ(refusal(image),
            "m.safetensors: header length 999999999999 exceeds the file (1024 bytes); the file is truncated or not "
            "safetensors");
}

TEST(Safetensors, RefusesHeaderLengthOneByteTooLong) {
  EXPECT_PRED_FORMAT2(IsSubstring, "header length 3 exceeds the file (10 bytes)", refusal(image_with_length(3, "{}")));
}

TEST(Safetensors, RefusesHeaderLengthThatWraps) {
  for (const std::uint64_t length : {~std::uint64_t{0}, ~std::uint64_t{0} - 7, ~std::uint64_t{0} - 5}) {
    EXPECT_PRED_FORMAT2(IsSubstring, fmt::format("header length {} exceeds the file", length),
                        refusal(image_with_length(length, "{}")));
  }
}

TEST(Safetensors, RefusesHeaderLengthBelowTwo) {
  EXPECT_PRED_FORMAT2(IsSubstring, "header length 0 is too short", refusal(image_with_length(0, "{}")));
  EXPECT_PRED_FORMAT2(IsSubstring, "header length 1 is too short", refusal(image_with_length(1, "{}")));
}

TEST(Safetensors, RefusesHeaderLengthAboveTheLimit) {
  EXPECT_PRED_FORMAT2(IsSubstring, "header length 4 exceeds the limit of 3; raise SafetensorsLimits::max_header_bytes",
                      refusal("{  }", "", {.max_header_bytes = 3}));
  const std::vector<std::byte> image = image_of("{  }");
  EXPECT_TRUE(SafetensorsFile::parse(image, "m.safetensors", {.max_header_bytes = 4}));
  EXPECT_EQ(SafetensorsLimits{}.max_header_bytes, 100'000'000U);
}

// --- The header as JSON ---

TEST(Safetensors, RefusesHeaderThatDoesNotBeginWithBrace) {
  EXPECT_PRED_FORMAT2(IsSubstring, "header begins with ' ' instead of '{'", refusal(" {}"));
  EXPECT_PRED_FORMAT2(IsSubstring, "header begins with '[' instead of '{'", refusal("[]"));
  EXPECT_PRED_FORMAT2(IsSubstring, "header begins with '\\xef' instead of '{'", refusal("\xEF\xBB\xBF{}"));
}

TEST(Safetensors, RefusesInvalidJson) {
  EXPECT_PRED_FORMAT2(IsSubstring, "header: not valid JSON at byte 2 (near '{x')", refusal("{x}"));
  EXPECT_PRED_FORMAT2(IsSubstring, "not valid JSON at byte 4", refusal("{} {}"));
  EXPECT_PRED_FORMAT2(IsSubstring, "not valid JSON", refusal("{}}"));
  EXPECT_PRED_FORMAT2(IsSubstring, "not valid JSON", refusal("{{"));
  EXPECT_PRED_FORMAT2(IsSubstring, "not valid JSON", refusal(R"({/* comment */})"));
}

TEST(Safetensors, RefusesInvalidUtf8) {
  EXPECT_PRED_FORMAT2(IsSubstring, "not valid JSON at byte", refusal("{\"\xC0\xAF\":{}}"));
  EXPECT_PRED_FORMAT2(IsSubstring, "not valid JSON at byte", refusal(R"({"\ud800":{}})"));
}

TEST(Safetensors, RefusesBytesHiddenBehindNul) {
  using namespace std::string_view_literals;
  EXPECT_PRED_FORMAT2(IsSubstring, "NUL byte at byte 2 of the JSON text; pad it with spaces",
                      refusal("{}\0anything"sv));
}

TEST(Safetensors, RefusesNestingBelowAShape) {
  EXPECT_PRED_FORMAT2(IsSubstring, "tensor 'w': nested deeper than 3 levels",
                      refusal(R"({"w":{"dtype":"U8","shape":[)" + std::string(1'000'000, '[')));
}

TEST(Safetensors, RefusesDuplicateTensorName) {
  EXPECT_PRED_FORMAT2(IsSubstring, "header: key 'w' appears twice",
                      refusal(R"({"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                              R"("w":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
                              "xy"));
}

TEST(Safetensors, RefusesDuplicateTensorNameSpelledWithEscapes) {
  EXPECT_PRED_FORMAT2(IsSubstring, "header: key 'w' appears twice",
                      refusal(R"({"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                              R"("\u0077":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
                              "xy"));
}

TEST(Safetensors, RefusesDuplicateKeyInsideATensor) {
  EXPECT_PRED_FORMAT2(IsSubstring, "tensor 'w': key 'shape' appears twice",
                      refusal(R"({"w":{"dtype":"U8","shape":[1],"shape":[1],"data_offsets":[0,1]}})", "x"));
}

TEST(Safetensors, RefusesDuplicateMetadata) {
  EXPECT_PRED_FORMAT2(IsSubstring, "header: key '__metadata__' appears twice",
                      refusal(R"({"__metadata__":{},"__metadata__":{}})"));
  EXPECT_PRED_FORMAT2(IsSubstring, "__metadata__: key 'a' appears twice",
                      refusal(R"({"__metadata__":{"a":"1","a":"2"}})"));
}

TEST(Safetensors, RefusesMetadataThatIsNotText) {
  for (const std::string_view value : {"1", "-1", "1.5", "true", "null", "{}", "[]"}) {
    EXPECT_PRED_FORMAT2(IsSubstring, "__metadata__: values must be strings, found ",
                        refusal(fmt::format(R"({{"__metadata__":{{"a":{}}}}})", value)));
  }
  for (const std::string_view value : {"1", "\"text\"", "null", "[]"}) {
    EXPECT_PRED_FORMAT2(IsSubstring, "header: entry '__metadata__' must be an object, found ",
                        refusal(fmt::format(R"({{"__metadata__":{}}})", value)));
  }
}

// --- The entry of one tensor ---

TEST(Safetensors, RefusesEntryThatIsNotAnObject) {
  EXPECT_PRED_FORMAT2(IsSubstring, "header: entry 'w' must be an object, found 7", refusal(R"({"w":7})"));
  EXPECT_PRED_FORMAT2(IsSubstring, "header: entry 'w' must be an object, found an array", refusal(R"({"w":[]})"));
}

TEST(Safetensors, RefusesUnknownKey) {
  EXPECT_PRED_FORMAT2(IsSubstring, "tensor 'w': unknown key 'strides'; only dtype, shape and data_offsets are defined",
                      refusal(R"({"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"strides":[1]}})", "x"));
}

TEST(Safetensors, RefusesMissingKey) {
  EXPECT_PRED_FORMAT2(IsSubstring, "tensor 'w': dtype is missing",
                      refusal(R"({"w":{"shape":[1],"data_offsets":[0,1]}})", "x"));
  EXPECT_PRED_FORMAT2(IsSubstring, "tensor 'w': shape is missing",
                      refusal(R"({"w":{"dtype":"U8","data_offsets":[0,1]}})", "x"));
  EXPECT_PRED_FORMAT2(IsSubstring, "tensor 'w': data_offsets is missing",
                      refusal(R"({"w":{"dtype":"U8","shape":[1]}})", "x"));
}

TEST(Safetensors, MissingKeyIsNotTakenFromThePreviousTensor) {
  const std::string previous = R"({"v":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"w":)";
  EXPECT_PRED_FORMAT2(IsSubstring, "tensor 'w': dtype is missing",
                      refusal(previous + R"({"shape":[0],"data_offsets":[0,0]}})"));
  EXPECT_PRED_FORMAT2(IsSubstring, "tensor 'w': shape is missing",
                      refusal(previous + R"({"dtype":"U8","data_offsets":[0,0]}})"));
  EXPECT_PRED_FORMAT2(IsSubstring, "tensor 'w': data_offsets is missing",
                      refusal(previous + R"({"dtype":"U8","shape":[0]}})"));
}

TEST(Safetensors, RefusesUnknownDtype) {
  EXPECT_PRED_FORMAT2(IsSubstring, "tensor 'w': unknown dtype 'F8_E4M3FNUZ'; known are F64 F32 F16 BF16 F8_E4M3 ",
                      refusal(R"({"w":{"dtype":"F8_E4M3FNUZ","shape":[1],"data_offsets":[0,1]}})", "x"));
  EXPECT_PRED_FORMAT2(IsSubstring, "unknown dtype 'u8'",
                      refusal(R"({"w":{"dtype":"u8","shape":[1],"data_offsets":[0,1]}})", "x"));
}

TEST(Safetensors, RefusesValueOfTheWrongType) {
  EXPECT_PRED_FORMAT2(IsSubstring, "tensor 'w': dtype must be a string, found 8", refusal(R"({"w":{"dtype":8}})"));
  EXPECT_PRED_FORMAT2(IsSubstring, "tensor 'w': dtype must be a string, found an object",
                      refusal(R"({"w":{"dtype":{}}})"));
  EXPECT_PRED_FORMAT2(IsSubstring, "tensor 'w': dtype must be a string, found an array",
                      refusal(R"({"w":{"dtype":["U8"]}})"));
  EXPECT_PRED_FORMAT2(IsSubstring, "tensor 'w': shape must be an array, found a string",
                      refusal(R"({"w":{"shape":"U8"}})"));
  EXPECT_PRED_FORMAT2(IsSubstring, "tensor 'w': data_offsets must be an array, found an object",
                      refusal(R"({"w":{"data_offsets":{}}})"));
}

TEST(Safetensors, RefusesDimensionThatIsNoCount) {
  for (const std::string_view value : {"-1", "-0", "1.0", "1e2", "true", "null", "36893488147419103232"}) {
    EXPECT_PRED_FORMAT2(
        IsSubstring, fmt::format("tensor 'w': shape must hold non-negative integers, found {}", value),
        refusal(fmt::format(R"({{"w":{{"dtype":"U8","shape":[{}],"data_offsets":[0,1]}}}})", value), "x"));
  }
  EXPECT_PRED_FORMAT2(IsSubstring, "shape must hold non-negative integers, found a string",
                      refusal(R"({"w":{"dtype":"U8","shape":["1"],"data_offsets":[0,1]}})", "x"));
}

TEST(Safetensors, RefusesDimensionAboveTheSignedRange) {
  EXPECT_PRED_FORMAT2(IsSubstring, "dimension 9223372036854775808 does not fit a signed 64-bit index",
                      refusal(R"({"w":{"dtype":"U8","shape":[9223372036854775808,0],"data_offsets":[0,0]}})"));
}

TEST(Safetensors, RefusesTooManyDimensions) {
  const std::string_view header = R"({"w":{"dtype":"U8","shape":[1,1,1,1],"data_offsets":[0,1]}})";
  EXPECT_PRED_FORMAT2(IsSubstring, "tensor 'w': more than 3 dimensions; raise SafetensorsLimits::max_rank",
                      refusal(header, "x", {.max_rank = 3}));
  const std::vector<std::byte> image = image_of(header, "x");
  EXPECT_TRUE(SafetensorsFile::parse(image, "m.safetensors", {.max_rank = 4}));
}

TEST(Safetensors, RefusesShapeWhoseProductOverflows) {
  // 2^32 * 2^32 wraps to 0, which would agree with [0, 0].
  EXPECT_PRED_FORMAT2(IsSubstring,
                      "shape [4294967296, 4294967296] of U8 has more bytes than a signed 64-bit index counts",
                      refusal(R"({"w":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}})"));
}

TEST(Safetensors, RefusesShapeWhoseBytesOverflow) {
  // 2^62 elements fit, 2^64 bytes wrap to 0.
  EXPECT_PRED_FORMAT2(IsSubstring, "shape [4611686018427387904] of F32 has more bytes",
                      refusal(R"({"w":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]}})"));
}

TEST(Safetensors, RefusesOverflowNextToAZeroDimension) {
  for (const std::string_view shape : {"0,4294967296,4294967296", "4294967296,4294967296,0"}) {
    EXPECT_PRED_FORMAT2(IsSubstring, "has more bytes than a signed 64-bit index counts",
                        refusal(fmt::format(R"({{"w":{{"dtype":"U8","shape":[{}],"data_offsets":[0,0]}}}})", shape)));
  }
}

TEST(Safetensors, RefusesOffsetsThatAreNotAPair) {
  EXPECT_PRED_FORMAT2(IsSubstring, "data_offsets must be [begin, end], found 0 numbers",
                      refusal(R"({"w":{"dtype":"U8","shape":[0],"data_offsets":[]}})"));
  EXPECT_PRED_FORMAT2(IsSubstring, "data_offsets must be [begin, end], found 1 numbers",
                      refusal(R"({"w":{"dtype":"U8","shape":[0],"data_offsets":[0]}})"));
  EXPECT_PRED_FORMAT2(IsSubstring, "data_offsets must be [begin, end], found a third number 9",
                      refusal(R"({"w":{"dtype":"U8","shape":[0],"data_offsets":[0,0,9]}})"));
}

TEST(Safetensors, RefusesOffsetThatIsNoCount) {
  EXPECT_PRED_FORMAT2(IsSubstring, "data_offsets must hold non-negative integers, found -1",
                      refusal(R"({"w":{"dtype":"U8","shape":[1],"data_offsets":[-1,0]}})"));
  EXPECT_PRED_FORMAT2(IsSubstring, "data_offsets must hold non-negative integers, found 18446744073709551616",
                      refusal(R"({"w":{"dtype":"U8","shape":[1],"data_offsets":[18446744073709551616,1]}})"));
}

TEST(Safetensors, RefusesOffsetsThatEndBeforeTheyBegin) {
  // end - begin wraps to 1, the size of the tensor.
  EXPECT_PRED_FORMAT2(IsSubstring, "tensor 'w': data_offsets [18446744073709551615, 0] end before they begin",
                      refusal(R"({"w":{"dtype":"U8","shape":[1],"data_offsets":[18446744073709551615,0]}})", "x"));
}

TEST(Safetensors, RefusesOffsetsPastTheData) {
  EXPECT_PRED_FORMAT2(IsSubstring, "tensor 'w': data_offsets [0, 4] pass the end of the data (3 bytes)",
                      refusal(R"({"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", "xyz"));
}

TEST(Safetensors, RefusesOffsetsThatDisagreeWithTheShape) {
  EXPECT_PRED_FORMAT2(IsSubstring, "tensor 'w': shape [2, 3] of F16 needs 12 bytes, data_offsets [0, 6] hold 6",
                      refusal(R"({"w":{"dtype":"F16","shape":[2,3],"data_offsets":[0,6]}})", "123456"));
}

// --- All tensors together ---

TEST(Safetensors, RefusesOverlap) {
  EXPECT_PRED_FORMAT2(IsSubstring, "tensor 'v': data_offsets [1, 3] overlap the tensor that ends at 2",
                      refusal(R"({"v":{"dtype":"U8","shape":[2],"data_offsets":[1,3]},)"
                              R"("w":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})",
                              "xyz"));
}

TEST(Safetensors, RefusesTheSameRangeTwice) {
  EXPECT_PRED_FORMAT2(IsSubstring, "data_offsets [0, 2] overlap the tensor that ends at 2",
                      refusal(R"({"v":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                              R"("w":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})",
                              "xy"));
}

TEST(Safetensors, RefusesEmptyTensorInsideAnother) {
  EXPECT_PRED_FORMAT2(IsSubstring, "tensor 'e': data_offsets [1, 1] overlap the tensor that ends at 2",
                      refusal(R"({"e":{"dtype":"U8","shape":[0],"data_offsets":[1,1]},)"
                              R"("w":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})",
                              "xy"));
}

TEST(Safetensors, RefusesGap) {
  EXPECT_PRED_FORMAT2(IsSubstring, "tensor 'w': no tensor owns the 2 bytes of data before its begin at 3",
                      refusal(R"({"v":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                              R"("w":{"dtype":"U8","shape":[1],"data_offsets":[3,4]}})",
                              "wxyz"));
}

TEST(Safetensors, RefusesTrailingGarbage) {
  EXPECT_PRED_FORMAT2(IsSubstring, "2 bytes of trailing garbage after the last tensor, which ends at 1 of 3",
                      refusal(R"({"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", "xyz"));
  EXPECT_PRED_FORMAT2(IsSubstring, "1 bytes of trailing garbage", refusal("{}", "x"));
}

TEST(Safetensors, MessagesStayOneShortLineWhateverTheNames) {
  // refusal() itself checks that a message is printable.
  const std::string message = refusal(R"({"a\nb\u0007\u00e9\u0000":7})");
  EXPECT_PRED_FORMAT2(IsSubstring, R"(entry 'a\x0ab\x07\xc3\xa9\x00' must be)", message);
  EXPECT_LT(refusal("{\"" + std::string(100'000, 'n') + "\":7}").size(), 200U);
  EXPECT_LT(refusal("{\"" + std::string(100'000, 'n')).size(), 200U);
  EXPECT_LT(refusal("{\"w\":" + std::string(300, '9') + "}").size(), 200U);
}

// --- Properties over many files ---

/// Reads everything that an accepted file offers, from a heap copy without slack, so that a sanitizer sees each byte
/// that is read past the end. Returns whether the file was accepted.
bool accepts_and_reads(std::span<const std::byte> image) {
  const std::unique_ptr<std::byte[]> copy(new std::byte[image.size()]);
  std::ranges::copy(image, copy.get());
  const Expected<SafetensorsFile> file = SafetensorsFile::parse({copy.get(), image.size()}, "m.safetensors");
  if (!file) {
    EXPECT_FALSE(file.error().message.empty());
    return false;
  }
  for (const TensorInfo& tensor : file->tensors()) {
    const std::span<const std::byte> bytes = file->bytes(tensor);
    EXPECT_GE(bytes.data(), copy.get());
    EXPECT_LE(bytes.data() + bytes.size(), copy.get() + image.size());
    const Expected<std::vector<float>> values = file->read_as_float(tensor);
    if (values) {
      EXPECT_EQ(values->size() * size_in_bytes(tensor.dtype), bytes.size());
    }
  }
  return true;
}

constexpr std::string_view mixed_header =
    R"({"__metadata__":{"format":"pt"},"h":{"dtype":"BF16","shape":[2,1],"data_offsets":[4,8]},)"
    R"("w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}} )";

TEST(Safetensors, RefusesEveryProperPrefix) {
  const std::vector<std::byte> image = image_of(mixed_header, "12345678");
  ASSERT_TRUE(accepts_and_reads(image));
  for (std::size_t size = 0; size < image.size(); ++size) {
    EXPECT_FALSE(accepts_and_reads(std::span(image).first(size))) << "first " << size << " bytes accepted";
  }
}

TEST(Safetensors, SurvivesEveryChangeOfOneByte) {
  const std::vector<std::byte> image = image_of(mixed_header, "12345678");
  const std::size_t data_begin = image.size() - 8;
  int accepted_headers = 0;
  for (std::size_t at = 0; at < image.size(); ++at) {
    for (int value = 0; value < 256; ++value) {
      std::vector<std::byte> changed = image;
      changed[at] = static_cast<std::byte>(value);
      const bool accepted = accepts_and_reads(changed);
      if (at >= data_begin) {
        EXPECT_TRUE(accepted) << "data byte " << at;
      }
      if (at < 8 && changed != image) {
        EXPECT_FALSE(accepted) << "length byte " << at << " = " << value;
      }
      accepted_headers += accepted && at < data_begin && changed != image;
    }
  }
  EXPECT_GT(accepted_headers, 0) << "renamed tensors are valid";
}

// --- Conversion to float ---

/// Reads `data` as a tensor of `dtype`, at an odd address.
std::vector<float> floats_of(std::string_view dtype, std::size_t count, std::string_view data) {
  std::string header =
      fmt::format(R"({{"w":{{"dtype":"{}","shape":[{}],"data_offsets":[0,{}]}}}})", dtype, count, data.size());
  if (header.size() % 2 == 0) header += ' ';  // the 8-byte prefix is even, the allocation aligned
  const std::vector<std::byte> image = image_of(header, data);
  const Expected<SafetensorsFile> file = SafetensorsFile::parse(image, "m.safetensors");
  if (!file) {
    ADD_FAILURE() << file.error().message;
    return {};
  }
  EXPECT_EQ(std::bit_cast<std::uintptr_t>(file->bytes(file->tensors()[0]).data()) % 2, 1U);
  const Expected<std::vector<float>> values = file->read_as_float(file->tensors()[0]);
  EXPECT_TRUE(values) << values.error().message;
  return values.value_or(std::vector<float>{});
}

/// All 65536 codes of a 16-bit type, little-endian.
std::string all_codes() {
  std::string data;
  for (int code = 0; code < 65536; ++code) {
    data += static_cast<char>(code & 0xFF);
    data += static_cast<char>(code >> 8);
  }
  return data;
}

/// The value of a float with `mantissa_bits` after one sign and the exponent, from its definition.
double value_by_definition(int code, int mantissa_bits, int bias) {
  const int exponent = (code & 0x7FFF) >> mantissa_bits;
  const int mantissa = code & ((1 << mantissa_bits) - 1);
  const double significand = exponent == 0 ? mantissa : mantissa + (1 << mantissa_bits);
  const double magnitude = std::ldexp(significand, std::max(exponent, 1) - bias - mantissa_bits);
  return (code & 0x8000) != 0 ? -magnitude : magnitude;
}

void expect_every_code_exact(std::string_view dtype, int mantissa_bits, int bias) {
  const std::vector<float> values = floats_of(dtype, 65536, all_codes());
  ASSERT_EQ(values.size(), 65536U);
  const int largest_exponent = 0x7FFF >> mantissa_bits;
  for (int code = 0; code < 65536; ++code) {
    const float value = values[static_cast<std::size_t>(code)];
    const int mantissa = code & ((1 << mantissa_bits) - 1);
    ASSERT_EQ(std::signbit(value), (code & 0x8000) != 0) << code;
    if ((code & 0x7FFF) >> mantissa_bits < largest_exponent) {
      ASSERT_EQ(static_cast<double>(value), value_by_definition(code, mantissa_bits, bias)) << code;
    } else if (mantissa == 0) {
      ASSERT_TRUE(std::isinf(value)) << code;
    } else {
      ASSERT_TRUE(std::isnan(value)) << code;
      ASSERT_EQ(std::bit_cast<std::uint32_t>(value) & 0x7FFFFF, static_cast<std::uint32_t>(mantissa)
                                                                    << (23 - mantissa_bits))
          << code;
    }
  }
}

TEST(SafetensorsFloat, EveryF16IsExact) { expect_every_code_exact("F16", 10, 15); }
TEST(SafetensorsFloat, EveryBf16IsExact) { expect_every_code_exact("BF16", 7, 127); }

TEST(SafetensorsFloat, F32KeepsItsBits) {
  const std::vector<std::uint32_t> bits = {0x00000000, 0x80000000, 0x00000001, 0x3F800000, 0x7F800000,
                                           0xFF800000, 0x7FC12345, 0x7F812345, 0x7F7FFFFF};
  std::string data(bits.size() * 4, '\0');
  std::memcpy(data.data(), bits.data(), data.size());
  const std::vector<float> values = floats_of("F32", bits.size(), data);
  ASSERT_EQ(values.size(), bits.size());
  EXPECT_EQ(std::memcmp(values.data(), bits.data(), data.size()), 0);
}

TEST(SafetensorsFloat, RefusesOtherDtypes) {
  const std::vector<std::byte> image = image_of(R"({"w":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}})", "x");
  const Expected<SafetensorsFile> file = SafetensorsFile::parse(image, "m.safetensors");
  ASSERT_TRUE(file);
  const Expected<std::vector<float>> values = file->read_as_float(file->tensors()[0]);
  ASSERT_FALSE(values);
  EXPECT_EQ(values.error().code, ErrorCode::unsupported);
  EXPECT_EQ(values.error().message, "m.safetensors: tensor 'w' is F8_E4M3; only F32, F16 and BF16 are read as float");
}

TEST(SafetensorsFloat, RefusesTensorOfAnotherFile) {
  const std::vector<std::byte> image = image_of(two_tensors, "123456");
  const Expected<SafetensorsFile> file = SafetensorsFile::parse(image, "m.safetensors");
  ASSERT_TRUE(file);
  for (const auto& [begin, end] : {std::pair{0U, 8U}, std::pair{4U, 0U}, std::pair{0U, 3U}}) {
    const Expected<std::vector<float>> values = file->read_as_float({"w", Dtype::f32, {1}, begin, end});
    ASSERT_FALSE(values) << begin << ' ' << end;
    EXPECT_EQ(values.error().code, ErrorCode::invalid_argument);
    EXPECT_PRED_FORMAT2(IsSubstring, "is not of this file; take it from find()", values.error().message);
  }
}

// --- MX-FP8 pairs ---

struct Entry {
  std::string name, dtype;
  std::vector<Index> shape;
};

/// A file of one-byte (or F32) tensors one behind the other, all bytes zero.
std::vector<std::byte> image_of(const std::vector<Entry>& entries) {
  std::string header = "{";
  Index end = 0;
  for (const Entry& entry : entries) {
    const Index begin = end;
    Index size = entry.dtype == "F32" ? 4 : 1;
    for (const Index extent : entry.shape) size *= extent;
    end += size;
    header += fmt::format(R"({}"{}":{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})", header == "{" ? "" : ",",
                          entry.name, entry.dtype, fmt::join(entry.shape, ","), begin, end);
  }
  return image_of(header + "}", std::string(static_cast<std::size_t>(end), '\0'));
}

Expected<std::vector<MxPair>> pairs_of(const std::vector<Entry>& entries, const MxPairSuffixes& suffixes = {}) {
  const std::vector<std::byte> image = image_of(entries);
  const Expected<SafetensorsFile> file = SafetensorsFile::parse(image, "m.safetensors");
  if (!file) {
    ADD_FAILURE() << file.error().message;
    return std::vector<MxPair>{};
  }
  return find_mx_pairs(*file, suffixes);
}

/// The message with which find_mx_pairs() refuses; fails the test when it accepts or the code is not invalid_layout.
std::string pairs_refusal(const std::vector<Entry>& entries) {
  const Expected<std::vector<MxPair>> pairs = pairs_of(entries);
  if (pairs) {
    ADD_FAILURE() << "accepted";
    return "";
  }
  EXPECT_EQ(pairs.error().code, ErrorCode::invalid_layout);
  return pairs.error().message;
}

TEST(SafetensorsMxPairs, FindsPairsWithEitherScaleDtypeSortedByName) {
  const Expected<std::vector<MxPair>> pairs = pairs_of({{"a.b.weight", "F8_E4M3", {3, 64}},
                                                        {"a.b.weight_scale", "U8", {3, 2}},
                                                        {"a.weight", "F8_E4M3", {2, 32}},
                                                        {"a.weight_scale", "F8_E8M0", {2, 1}}});
  ASSERT_TRUE(pairs) << pairs.error().message;
  ASSERT_EQ(pairs->size(), 2U);
  const MxPair& first = pairs->at(0);
  EXPECT_EQ(first.name, "a");
  EXPECT_EQ(first.n, 2);
  EXPECT_EQ(first.k, 32);
  EXPECT_EQ(first.values.name, "a.weight");
  EXPECT_EQ(first.scales.name, "a.weight_scale");
  EXPECT_EQ(first.scales.dtype, Dtype::f8_e8m0);
  const MxPair& second = pairs->at(1);
  EXPECT_EQ(second.name, "a.b");
  EXPECT_EQ(second.n, 3);
  EXPECT_EQ(second.k, 64);
  EXPECT_EQ(second.scales.shape, (std::vector<Index>{3, 2}));
}

TEST(SafetensorsMxPairs, LeavesOtherFormatsOut) {
  const Expected<std::vector<MxPair>> pairs = pairs_of({{"alone.weight", "F8_E4M3", {2, 32}},
                                                        {"float.weight", "F32", {2, 32}},
                                                        {"float.weight_scale", "U8", {2, 1}},
                                                        {"fp4.weight", "U8", {2, 32}},
                                                        {"fp4.weight_scale", "F8_E8M0", {2, 2}},
                                                        {"other.values", "F8_E4M3", {2, 32}},
                                                        {"per_tensor.weight", "F8_E4M3", {2, 32}},
                                                        {"per_tensor.weight_scale", "F32", {1}}});
  ASSERT_TRUE(pairs) << pairs.error().message;
  EXPECT_TRUE(pairs->empty());
}

TEST(SafetensorsMxPairs, TakesSuffixesFromTheCaller) {
  const Expected<std::vector<MxPair>> pairs =
      pairs_of({{"w_q", "F8_E4M3", {2, 32}}, {"w_s", "U8", {2, 1}}}, {.values = "_q", .scales = "_s"});
  ASSERT_TRUE(pairs) << pairs.error().message;
  ASSERT_EQ(pairs->size(), 1U);
  EXPECT_EQ(pairs->at(0).name, "w");
}

TEST(SafetensorsMxPairs, RefusesKThatIsNoMultipleOfTheBlock) {
  EXPECT_EQ(pairs_refusal({{"w.weight", "F8_E4M3", {2, 100}}, {"w.weight_scale", "U8", {2, 3}}}),
            "m.safetensors: MX-FP8 tensor 'w.weight' [2, 100]: k must be a multiple of the 32-element scale block, got "
            "k=100; zero-pad it to k=128");
}

TEST(SafetensorsMxPairs, RefusesScalesOfAnotherShape) {
  EXPECT_EQ(
      pairs_refusal({{"w.weight", "F8_E4M3", {2, 64}}, {"w.weight_scale", "U8", {2, 1}}}),
      "m.safetensors: scales 'w.weight_scale' must be [2, 2] for values 'w.weight' [2, 64], got [2, 1]; store one "
      "scale per row and 32 consecutive k, row-major");
  // The transposed, flat and swizzled forms have the right number of bytes and the wrong meaning.
  for (const std::vector<Index>& shape : {std::vector<Index>{2, 4}, {8}, {4, 2, 1}}) {
    EXPECT_PRED_FORMAT2(IsSubstring, "must be [4, 2] for values 'w.weight' [4, 64], got [",
                        pairs_refusal({{"w.weight", "F8_E4M3", {4, 64}}, {"w.weight_scale", "U8", shape}}));
  }
}

TEST(SafetensorsMxPairs, RefusesValuesThatAreNoMatrix) {
  for (const std::vector<Index>& shape : {std::vector<Index>{64}, {2, 2, 32}, {0, 32}, {2, 0}}) {
    EXPECT_PRED_FORMAT2(IsSubstring,
                        fmt::format("MX-FP8 tensor 'w.weight' must be a matrix [n, k] with extents of at least 1, got "
                                    "[{}]; store stacked matrices as one tensor each",
                                    fmt::join(shape, ", ")),
                        pairs_refusal({{"w.weight", "F8_E4M3", shape}, {"w.weight_scale", "U8", {2, 1}}}));
  }
}

// --- The index of a sharded checkpoint ---

TEST(SafetensorsIndex, ReadsTensorsSortedByName) {
  const Expected<std::vector<ShardedTensor>> tensors =
      parse_safetensors_index(R"({"metadata":{"total_size":12,"nested":{"a":[1,null]}},)"
                              R"("weight_map":{"b":"model-00002-of-00002.safetensors","a":"..x.safetensors"}})",
                              "m.index.json");
  ASSERT_TRUE(tensors) << tensors.error().message;
  ASSERT_EQ(tensors->size(), 2U);
  EXPECT_EQ(tensors->at(0).name, "a");
  EXPECT_EQ(tensors->at(0).file, "..x.safetensors");
  EXPECT_EQ(tensors->at(1).name, "b");
  EXPECT_EQ(tensors->at(1).file, "model-00002-of-00002.safetensors");
}

TEST(SafetensorsIndex, AcceptsMetadataAfterTheWeightMap) {
  const Expected<std::vector<ShardedTensor>> tensors = parse_safetensors_index(
      R"({"weight_map":{"a":"x.safetensors"},"metadata":{"total_size":1,"list":["../y"]}})", "m.index.json");
  ASSERT_TRUE(tensors) << tensors.error().message;
  EXPECT_EQ(tensors->size(), 1U);
}

TEST(SafetensorsIndex, ReadsFromAFile) {
  constexpr std::string_view text = R"({"weight_map":{"a":"s.safetensors"}})";
  const TemporaryFile temporary(std::as_bytes(std::span(text)));
  const Expected<std::vector<ShardedTensor>> tensors = read_safetensors_index(temporary.path());
  ASSERT_TRUE(tensors) << tensors.error().message;
  ASSERT_EQ(tensors->size(), 1U);
  EXPECT_EQ(tensors->at(0).file, "s.safetensors");

  const Expected<std::vector<ShardedTensor>> missing = read_safetensors_index("/nonexistent/m.index.json");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::io_error);
}

TEST(SafetensorsIndex, RefusesShardOutsideItsFolder) {
  for (const std::string_view shard :
       {"/etc/passwd", "..", ".", "../m.safetensors", "a/../../m.safetensors", "", R"(..\\m.safetensors)",
        "sub/m.safetensors", R"(m\u0000.safetensors)", R"(m\n.safetensors)"}) {
    EXPECT_PRED_FORMAT2(IsSubstring, "' must be a plain file name beside the index, without folders or '..'",
                        index_refusal(fmt::format(R"({{"weight_map":{{"a":"{}"}}}})", shard)));
  }
  EXPECT_PRED_FORMAT2(IsSubstring, "weight_map: tensor 'a': shard '/etc/passwd'",
                      index_refusal(R"({"weight_map":{"a":"/etc/passwd"}})"));
}

TEST(SafetensorsIndex, RefusesShardThatIsNotText) {
  for (const std::string_view shard : {"1", "-1", "null", "{}", "[]", "0.5"}) {
    EXPECT_PRED_FORMAT2(IsSubstring, "weight_map: tensor 'a': shard must be a string, found ",
                        index_refusal(fmt::format(R"({{"weight_map":{{"a":{}}}}})", shard)));
  }
}

TEST(SafetensorsIndex, RefusesDuplicateTensor) {
  EXPECT_PRED_FORMAT2(IsSubstring, "weight_map: key 'a' appears twice",
                      index_refusal(R"({"weight_map":{"a":"x","a":"y"}})"));
  EXPECT_PRED_FORMAT2(IsSubstring, "index: key 'weight_map' appears twice",
                      index_refusal(R"({"weight_map":{"a":"x"},"weight_map":{"b":"y"}})"));
}

TEST(SafetensorsIndex, RefusesOtherDocuments) {
  EXPECT_PRED_FORMAT2(IsSubstring, "weight_map is missing", index_refusal(R"({"metadata":{}})"));
  EXPECT_PRED_FORMAT2(IsSubstring, "weight_map is missing", index_refusal(R"({"metadata":{"weight_map":{}}})"));
  EXPECT_PRED_FORMAT2(IsSubstring, "weight_map must be an object, found an array",
                      index_refusal(R"({"weight_map":[]})"));
  EXPECT_PRED_FORMAT2(IsSubstring, "weight_map must be an object, found a string",
                      index_refusal(R"({"weight_map":"x"})"));
  EXPECT_PRED_FORMAT2(IsSubstring, "unknown key 'weights'; only metadata and weight_map are defined",
                      index_refusal(R"({"weights":{}})"));
  EXPECT_PRED_FORMAT2(IsSubstring, "index: must be a JSON object, found an array", index_refusal("[]"));
  EXPECT_PRED_FORMAT2(IsSubstring, "index: must be a JSON object, found 1", index_refusal("1"));
  EXPECT_PRED_FORMAT2(IsSubstring, "not valid JSON at byte 1", index_refusal(""));
}

TEST(SafetensorsIndex, RefusesDeepNesting) {
  EXPECT_PRED_FORMAT2(IsSubstring, "index: nested deeper than 8 levels",
                      index_refusal(R"({"metadata":)" + std::string(1'000'000, '[')));
}

TEST(SafetensorsIndex, RefusesTextAboveTheLimit) {
  EXPECT_PRED_FORMAT2(IsSubstring, "17 bytes exceed the limit of 16; raise SafetensorsLimits::max_header_bytes",
                      index_refusal(R"({"weight_map":{}})", {.max_header_bytes = 16}));
  EXPECT_TRUE(parse_safetensors_index(R"({"weight_map":{}})", "m.index.json", {.max_header_bytes = 17}));
}

}  // namespace
}  // namespace millet
