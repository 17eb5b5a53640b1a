// SPDX-License-Identifier: Apache-2.0
#include "weights/weight_cases.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "experiments/model_file.hpp"
#include "operands/workload.hpp"

namespace millet {
namespace {

using testing::IsSubstring;

WeightRequest request_for(const std::filesystem::path& file, std::string tensor = "") {
  WeightRequest request;
  request.file = file;
  request.tensor = std::move(tensor);
  return request;
}

std::vector<std::string> labels_of(const WeightCases& cases) {
  std::vector<std::string> labels;
  for (const ShapeCases& layer : cases.layers) labels.push_back(std::get<DenseShape>(layer.shape).label);
  return labels;
}

std::vector<std::string> skipped_names(const WeightCases& cases) {
  std::vector<std::string> names;
  for (const SkippedTensor& tensor : cases.skipped) names.push_back(tensor.name);
  return names;
}

/// The reason why `name` is skipped, or "".
std::string reason_for(const WeightCases& cases, const std::string& name) {
  for (const SkippedTensor& tensor : cases.skipped) {
    if (tensor.name == name) return tensor.reason;
  }
  return "";
}

template <class T>
std::string error_of(const Expected<T>& result, ErrorCode code) {
  if (result) {
    ADD_FAILURE() << "accepted";
    return "";
  }
  EXPECT_EQ(result.error().code, code) << result.error().message;
  EXPECT_TRUE(std::ranges::all_of(result.error().message, [](char c) { return c >= ' ' && c < 0x7F; }))
      << result.error().message;
  return result.error().message;
}

LoadedWeights load(const ShapeCases& layer, ScaleMode mode = ScaleMode::rceil) {
  auto weights = layer.weights.load(mode);
  EXPECT_TRUE(weights) << weights.error().message;
  return weights ? *std::move(weights) : LoadedWeights{};
}

std::string bytes_of_values(const MxMatrix<>& matrix) { return bytes_of(std::span(matrix.values())); }
std::string bytes_of_scales(const MxMatrix<>& matrix) { return bytes_of(std::span(matrix.scales())); }

ModelTensor mx_values(std::string name, Index n, Index k) {
  std::string bytes(static_cast<std::size_t>(n * k), '\0');
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 7 + 3);  // NaN codes among them
  return {std::move(name), "F8_E4M3", {n, k}, bytes};
}

ModelTensor mx_scales(std::string name, std::string dtype, Index n, Index blocks) {
  std::string bytes(static_cast<std::size_t>(n * blocks), '\0');
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(255 - 5 * i);  // 255, then finite
  return {std::move(name), std::move(dtype), {n, blocks}, bytes};
}

// --- What becomes a layer ---

TEST(WeightCases, FloatMatricesBecomeLayersSortedByName) {
  const ModelFolder folder;
  const auto file = folder.write("model.safetensors", {f32_tensor("z.weight", {3, 64}, eighths(192, 1)),
                                                       f32_tensor("a.weight", {2, 32}, eighths(64, 2))});
  WeightRequest request = request_for(file);
  request.m = {1, 5};
  const auto cases = cases_of_weights(request);
  ASSERT_TRUE(cases) << cases.error().message;
  EXPECT_EQ(labels_of(*cases), (std::vector<std::string>{"a.weight", "z.weight"}));
  EXPECT_TRUE(cases->skipped.empty());
  const ShapeCases& layer = cases->layers[1];
  const auto& shape = std::get<DenseShape>(layer.shape);
  EXPECT_EQ(shape.n, 3);
  EXPECT_EQ(shape.k, 64);
  EXPECT_EQ(shape.m, (std::vector<Index>{1, 5}));
  EXPECT_EQ(layer.preset, "model.safetensors");
  EXPECT_EQ(layer.selector, "--weights " + file.string());
  EXPECT_EQ(case_name(layer, 5), "z.weight/n3/k64/m5");
  EXPECT_FALSE(layer.weights.stored_mx);
  EXPECT_EQ(layer.weights.tags.at(weight_tag::tensor), "z.weight");
  EXPECT_EQ(layer.weights.tags.at(weight_tag::file), file.string());
  EXPECT_EQ(layer.weights.tags.at(weight_tag::type), "F32");
}

TEST(WeightCases, EveryFloatTypeIsQuantizedAlike) {
  const std::vector<float> values = eighths(4 * 96);
  std::vector<std::uint16_t> bf16, f16;
  for (const float value : values) {
    bf16.push_back(static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16));
    // A normal f16, or zero: the exponent's bias is 15 instead of 127.
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t magnitude = value == 0 ? 0 : ((bits & 0x7FFFFFFFU) >> 13) - ((127U - 15U) << 10);
    f16.push_back(static_cast<std::uint16_t>((bits >> 31) << 15 | magnitude));
  }
  const ModelFolder folder;
  const auto file =
      folder.write("m.safetensors", {f32_tensor("f32", {4, 96}, values),
                                     {"bf16", "BF16", {4, 96}, bytes_of(std::span<const std::uint16_t>(bf16))},
                                     {"f16", "F16", {4, 96}, bytes_of(std::span<const std::uint16_t>(f16))}});
  const auto cases = cases_of_weights(request_for(file));
  ASSERT_TRUE(cases) << cases.error().message;
  ASSERT_EQ(labels_of(*cases), (std::vector<std::string>{"bf16", "f16", "f32"}));
  for (const ScaleMode mode : scale_modes) {
    const auto wanted = quantize_mx(values, 4, 96, mode);
    ASSERT_TRUE(wanted);
    for (const ShapeCases& layer : cases->layers) {
      const LoadedWeights weights = load(layer, mode);
      const std::string context = std::string(to_string(mode)) + " " + case_name(layer, 1);
      EXPECT_EQ(bytes_of_values(weights.matrix), bytes_of_values(*wanted)) << context;
      EXPECT_EQ(bytes_of_scales(weights.matrix), bytes_of_scales(*wanted)) << context;
    }
  }
  EXPECT_EQ(cases->layers[0].weights.tags.at(weight_tag::type), "BF16");
  EXPECT_EQ(cases->layers[1].weights.tags.at(weight_tag::type), "F16");
}

TEST(WeightCases, ErrorsOfEveryModeStandInTheTagsWhateverModeIsWanted) {
  // One value of 480 in each block of twos: floor clips it to 448, the others take a scale of 2 and are exact.
  std::vector<float> values(2 * 64, 2.0F);
  for (std::size_t block = 0; block < values.size(); block += 32) values[block] = 480.0F;
  const ModelFolder folder;
  const auto file = folder.write("m.safetensors", {f32_tensor("w", {2, 64}, values)});
  const auto cases = cases_of_weights(request_for(file));
  ASSERT_TRUE(cases) << cases.error().message;
  for (const ScaleMode wanted : scale_modes) {
    const LoadedWeights weights = load(cases->layers[0], wanted);
    const double clipped = 32.0 / std::sqrt(480.0 * 480.0 + 31 * 4.0);
    EXPECT_NEAR(std::stod(weights.tags.at(weight_tag::relative_frobenius(ScaleMode::floor))), clipped, 1e-6);
    EXPECT_NEAR(std::stod(weights.tags.at(weight_tag::worst_block(ScaleMode::floor))), clipped, 1e-6);
    EXPECT_EQ(weights.tags.at(weight_tag::saturated(ScaleMode::floor)), "4");
    for (const ScaleMode mode : {ScaleMode::ceil, ScaleMode::rceil}) {
      EXPECT_EQ(weights.tags.at(weight_tag::relative_frobenius(mode)), "0");
      EXPECT_EQ(weights.tags.at(weight_tag::worst_block(mode)), "0");
      EXPECT_EQ(weights.tags.at(weight_tag::saturated(mode)), "0");
    }
    EXPECT_EQ(weights.tags.at(weight_tag::saturated(ScaleMode::even)), "4");
    EXPECT_FALSE(weights.tags.contains(weight_tag::nan_blocks));
  }
}

TEST(WeightCases, WorkloadTakesTheWantedModeAndTheTags) {
  std::vector<float> values(2 * 32, 2.0F);
  values[0] = 480.0F;
  const ModelFolder folder;
  const auto file = folder.write("m.safetensors", {f32_tensor("w", {2, 32}, values)});
  const auto cases = cases_of_weights(request_for(file));
  ASSERT_TRUE(cases) << cases.error().message;
  const ShapeCases& layer = cases->layers[0];
  for (const ScaleMode mode : scale_modes) {
    OperandOptions options;
    options.scale_mode = mode;
    const auto workload = DenseWorkload::make(std::get<DenseShape>(layer.shape), layer.weights, 3, options);
    ASSERT_TRUE(workload) << workload.error().message;
    EXPECT_EQ(bytes_of_scales(workload->weights()), bytes_of_scales(*quantize_mx(values, 2, 32, mode)))
        << to_string(mode);
    EXPECT_EQ(workload->tags(), load(layer, mode).tags);
  }
}

TEST(WeightCases, BlocksWithNanOrInfinityAreCounted) {
  std::vector<float> values(3 * 32, 1.0F);
  values[5] = std::numeric_limits<float>::quiet_NaN();
  values[70] = -std::numeric_limits<float>::infinity();
  const ModelFolder folder;
  const auto file = folder.write("m.safetensors", {f32_tensor("w", {3, 32}, values)});
  const auto cases = cases_of_weights(request_for(file));
  ASSERT_TRUE(cases) << cases.error().message;
  EXPECT_EQ(load(cases->layers[0]).tags.at(weight_tag::nan_blocks), "2");
}

TEST(WeightCases, MxPairsPassThroughBitForBit) {
  for (const std::string dtype : {"U8", "F8_E8M0"}) {
    const ModelFolder folder;
    const ModelTensor values = mx_values("x.weight", 3, 64);
    const ModelTensor scales = mx_scales("x.weight_scale", dtype, 3, 2);
    const auto file = folder.write("m.safetensors", {scales, values});
    const auto cases = cases_of_weights(request_for(file));
    ASSERT_TRUE(cases) << cases.error().message;
    ASSERT_EQ(labels_of(*cases), std::vector<std::string>{"x.weight"});
    EXPECT_TRUE(cases->skipped.empty());
    const ShapeCases& layer = cases->layers[0];
    EXPECT_TRUE(layer.weights.stored_mx);
    EXPECT_EQ(layer.weights.tags.at(weight_tag::type), "MX-FP8, " + dtype + " scales");
    for (const ScaleMode mode : scale_modes) {
      const LoadedWeights weights = load(layer, mode);
      EXPECT_EQ(weights.matrix.rows(), 3);
      EXPECT_EQ(weights.matrix.cols(), 64);
      EXPECT_EQ(bytes_of_values(weights.matrix), values.bytes);
      EXPECT_EQ(bytes_of_scales(weights.matrix), scales.bytes);
      EXPECT_TRUE(weights.tags.empty()) << "there is no original to compare with";
    }
  }
}

TEST(WeightCases, PairsWithOtherSuffixes) {
  const ModelFolder folder;
  const auto file = folder.write("m.safetensors", {mx_values("x.qw", 2, 32), mx_scales("x.s", "U8", 2, 1)});
  WeightRequest request = request_for(file);
  EXPECT_PRED_FORMAT2(IsSubstring, "does not end in '.weight'; say how it ends with --weight-suffix",
                      error_of(cases_of_weights(request), ErrorCode::unsupported));
  request.suffixes = {".qw", ".s"};
  const auto cases = cases_of_weights(request);
  ASSERT_TRUE(cases) << cases.error().message;
  EXPECT_EQ(labels_of(*cases), std::vector<std::string>{"x.qw"});
  EXPECT_EQ(cases->layers[0].selector, "--weights " + file.string() + " --weight-suffix=.qw --scale-suffix=.s");
}

// --- What is skipped ---

TEST(WeightCases, EveryTensorIsALayerOrSkippedWithAReason) {
  const ModelFolder folder;
  const std::string long_name(1001, 'n');
  const auto file = folder.write("m.safetensors", {f32_tensor("bias", {32}, eighths(32)),
                                                   f32_tensor("empty", {0, 32}, {}),
                                                   f32_tensor("good", {1, 32}, eighths(32)),
                                                   f32_tensor("k33", {2, 33}, eighths(66)),
                                                   f32_tensor("scalar", {}, {1.0F}),
                                                   f32_tensor("stack", {2, 2, 32}, eighths(128)),
                                                   {"ids", "I64", {1, 32}, std::string(256, 'x')},
                                                   mx_values("lone.weight", 2, 32),
                                                   mx_values("odd", 2, 32),
                                                   mx_values("scaled.weight", 2, 32),
                                                   f32_tensor("scaled.weight_scale", {2, 1}, {1, 1}),
                                                   mx_values("tail.weight", 2, 40),
                                                   mx_scales("tail.weight_scale", "U8", 2, 1),
                                                   f32_tensor(long_name, {1, 32}, eighths(32)),
                                                   {"zz.weight_scale", "U8", {2, 1}, "ab"}});
  const auto cases = cases_of_weights(request_for(file));
  ASSERT_TRUE(cases) << cases.error().message;
  EXPECT_EQ(labels_of(*cases), std::vector<std::string>{"good"});
  EXPECT_EQ(reason_for(*cases, "bias"), "1 dimension; a layer is a matrix [n, k]");
  EXPECT_EQ(reason_for(*cases, "scalar"), "0 dimensions; a layer is a matrix [n, k]");
  EXPECT_EQ(reason_for(*cases, "stack"), "3 dimensions; a layer is a matrix [n, k]");
  EXPECT_EQ(reason_for(*cases, "empty"), "it has no elements");
  EXPECT_EQ(reason_for(*cases, "k33"), "k=33 is no multiple of the 32-element scale block; zero-pad it to k=64");
  EXPECT_EQ(reason_for(*cases, "tail.weight"),
            "k=40 is no multiple of the 32-element scale block; zero-pad it to k=64");
  EXPECT_EQ(reason_for(*cases, "ids"), "I64 is not read; F32, F16, BF16 and MX-FP8 pairs are");
  EXPECT_EQ(
      reason_for(*cases, "lone.weight"),
      "F8_E4M3 without scales: there is no tensor 'lone.weight_scale'; say how its name ends with --scale-suffix");
  EXPECT_EQ(reason_for(*cases, "odd"),
            "F8_E4M3 whose name does not end in '.weight'; say how it ends with --weight-suffix");
  EXPECT_EQ(reason_for(*cases, "scaled.weight"),
            "its scales 'scaled.weight_scale' are F32; those of MX-FP8 are U8 or F8_E8M0");
  EXPECT_PRED_FORMAT2(IsSubstring, "k=1 is no multiple", reason_for(*cases, "scaled.weight_scale"));
  EXPECT_EQ(reason_for(*cases, "zz.weight_scale"), "U8 is not read; F32, F16, BF16 and MX-FP8 pairs are");
  EXPECT_PRED_FORMAT2(IsSubstring, "its name has 1001 bytes", reason_for(*cases, std::string(1000, 'n') + "..."));
  // 15 tensors: one layer, tail.weight_scale stands with its values, the others are skipped.
  EXPECT_EQ(cases->skipped.size(), 13U);
  EXPECT_TRUE(std::ranges::is_sorted(skipped_names(*cases)));
  EXPECT_EQ(cases->skipped.front().type, "F32");
  EXPECT_EQ(cases->skipped.front().shape, "[32]");
}

TEST(WeightCases, NothingButSkippedTensorsIsAnErrorWithTheFirstReason) {
  const ModelFolder folder;
  const auto file =
      folder.write("m.safetensors", {f32_tensor("a", {32}, eighths(32)), f32_tensor("b", {32}, eighths(32))});
  EXPECT_EQ(error_of(cases_of_weights(request_for(file)), ErrorCode::unsupported),
            file.string() +
                ": none of the 2 selected tensors is a layer; the first, 'a' F32 [32]: 1 dimension; a layer is a "
                "matrix [n, k]");
  const auto empty = folder.write("e.safetensors", std::vector<ModelTensor>{});
  EXPECT_PRED_FORMAT2(IsSubstring, "there are no tensors in it",
                      error_of(cases_of_weights(request_for(empty)), ErrorCode::unsupported));
  const auto pair =
      folder.write("p.safetensors", {mx_values("x.weight", 1, 32), mx_scales("x.weight_scale", "U8", 1, 1)});
  EXPECT_PRED_FORMAT2(IsSubstring, "select their values",
                      error_of(cases_of_weights(request_for(pair, "_scale$")), ErrorCode::unsupported));
}

// --- Selection ---

TEST(WeightCases, TensorExpressionSelectsLayersAndSkippedTensorsAlike) {
  const ModelFolder folder;
  const auto file = folder.write(
      "m.safetensors",
      {f32_tensor("layer.0.norm.weight", {32}, eighths(32)), f32_tensor("layer.0.q.weight", {1, 32}, eighths(32)),
       f32_tensor("layer.1.q.weight", {1, 32}, eighths(32)), f32_tensor("layer.10.q.weight", {1, 32}, eighths(32))});
  const auto cases = cases_of_weights(request_for(file, R"(layer\.0\..*weight)"));
  ASSERT_TRUE(cases) << cases.error().message;
  EXPECT_EQ(labels_of(*cases), std::vector<std::string>{"layer.0.q.weight"});
  EXPECT_EQ(skipped_names(*cases), std::vector<std::string>{"layer.0.norm.weight"});
}

TEST(WeightCases, ExpressionThatMatchesNothingNamesNearTensors) {
  const ModelFolder folder;
  const auto file = folder.write(
      "m.safetensors",
      {f32_tensor("embedding", {1, 32}, eighths(32)), f32_tensor("layer.0.q.weight", {1, 32}, eighths(32)),
       f32_tensor("layer.1.q.weight", {1, 32}, eighths(32)), f32_tensor("layer.1.v.weight", {1, 32}, eighths(32))});
  EXPECT_EQ(error_of(cases_of_weights(request_for(file, R"(^layr\.1\.q)")), ErrorCode::unknown_name),
            "--tensor: none of the 4 tensors of " + file.string() +
                " matches '^layr\\.1\\.q'; near are 'layer.1.q.weight', 'layer.0.q.weight', 'layer.1.v.weight'");
  // The part that resembles the expression may stand anywhere in a name.
  const auto nested = folder.write("n.safetensors", {f32_tensor("layout.z", {1, 32}, eighths(32)),
                                                     f32_tensor("model.of.many.blocks.layer.7", {1, 32}, eighths(32))});
  EXPECT_PRED_FORMAT2(IsSubstring, "near are 'model.of.many.blocks.layer.7', 'layout.z'",
                      error_of(cases_of_weights(request_for(nested, "layr.7")), ErrorCode::unknown_name));
  EXPECT_PRED_FORMAT2(IsSubstring, "--tensor: 'a(b' is no regular expression",
                      error_of(cases_of_weights(request_for(file, "a(b")), ErrorCode::invalid_argument));
}

TEST(WeightCases, LongNamesDoNotReachTheExpression) {
  // std::regex recurses for each character: a megabyte of them would end the program.
  const ModelFolder folder;
  const auto file = folder.write("m.safetensors", {f32_tensor("a", {1, 32}, eighths(32)),
                                                   f32_tensor(std::string(1 << 20, 'b'), {1, 32}, eighths(32))});
  const auto cases = cases_of_weights(request_for(file, "(a|b)*$"));
  ASSERT_TRUE(cases) << cases.error().message;
  EXPECT_EQ(labels_of(*cases), std::vector<std::string>{"a"});
}

TEST(WeightCases, NamesThatDoNotPrintAreEscaped) {
  const ModelFolder folder;
  const auto file = folder.write("m.safetensors", {f32_tensor("a\\u001b[2J\xC3\xA9", {1, 32}, eighths(32)),
                                                   f32_tensor("b\\n", {32}, eighths(32))});
  const auto cases = cases_of_weights(request_for(file));
  ASSERT_TRUE(cases) << cases.error().message;
  EXPECT_EQ(labels_of(*cases), std::vector<std::string>{"a\\x1b[2J\\xc3\\xa9"});
  EXPECT_EQ(skipped_names(*cases), std::vector<std::string>{"b\\x0a"});
}

// --- Bad input ---

TEST(WeightCases, WrongScaleShapeIsAnErrorWhereThePairIsSelected) {
  const ModelFolder folder;
  const auto file = folder.write(
      "m.safetensors",
      {mx_values("x.weight", 2, 64), mx_scales("x.weight_scale", "U8", 2, 1), f32_tensor("y", {1, 32}, eighths(32))});
  const std::string message = error_of(cases_of_weights(request_for(file)), ErrorCode::invalid_layout);
  EXPECT_PRED_FORMAT2(IsSubstring, "scales 'x.weight_scale' must be [2, 2] for values 'x.weight' [2, 64], got [2, 1]",
                      message);
  EXPECT_TRUE(cases_of_weights(request_for(file, "^y$")));
  // As many scales as there should be, in the wrong shape.
  const auto flat =
      folder.write("f.safetensors", {mx_values("x.weight", 2, 64), mx_scales("x.weight_scale", "U8", 4, 1)});
  EXPECT_PRED_FORMAT2(IsSubstring, "got [4, 1]",
                      error_of(cases_of_weights(request_for(flat)), ErrorCode::invalid_layout));
}

TEST(WeightCases, FilesThatCannotBeRead) {
  const ModelFolder folder;
  EXPECT_PRED_FORMAT2(IsSubstring, "cannot open: No such file",
                      error_of(cases_of_weights(request_for(folder.path() / "none")), ErrorCode::io_error));
  EXPECT_PRED_FORMAT2(IsSubstring, "not a regular file",
                      error_of(cases_of_weights(request_for(folder.path())), ErrorCode::io_error));
  EXPECT_PRED_FORMAT2(IsSubstring, "too few for the 8-byte header length",
                      error_of(cases_of_weights(request_for(folder.write("t", "abc"))), ErrorCode::parse_error));
  EXPECT_PRED_FORMAT2(IsSubstring, "the path is empty",
                      error_of(cases_of_weights(request_for("")), ErrorCode::invalid_argument));
}

// --- Fingerprints ---

TEST(WeightCases, FingerprintDependsOnNameTypeShapeAndEveryByte) {
  std::set<std::string> seen;
  const auto fingerprint_of = [](const std::vector<ModelTensor>& tensors) -> std::string {
    const ModelFolder folder;
    const auto cases = cases_of_weights(request_for(folder.write("m.safetensors", tensors)));
    EXPECT_TRUE(cases) << cases.error().message;
    return cases ? cases->layers[0].weights.fingerprint() : "";
  };
  const std::vector<float> values = eighths(64);
  const ModelTensor base = f32_tensor("w", {2, 32}, values);
  const std::string fingerprint = fingerprint_of({base});
  EXPECT_EQ(fingerprint.size(), 16U);
  EXPECT_EQ(fingerprint_of({base}), fingerprint) << "another copy of the file has the same weights";
  seen.insert(fingerprint);
  EXPECT_TRUE(seen.insert(fingerprint_of({f32_tensor("v", {2, 32}, values)})).second);
  EXPECT_TRUE(seen.insert(fingerprint_of({f32_tensor("w", {1, 64}, values)})).second);
  EXPECT_TRUE(seen.insert(fingerprint_of({{"w", "F16", {2, 64}, base.bytes}})).second);
  EXPECT_TRUE(seen.insert(fingerprint_of({{"w", "BF16", {2, 64}, base.bytes}})).second);
  for (std::size_t i = 0; i < base.bytes.size(); ++i) {
    ModelTensor changed = base;
    changed.bytes[i] = static_cast<char>(changed.bytes[i] ^ 1);
    EXPECT_TRUE(seen.insert(fingerprint_of({changed})).second) << "byte " << i;
  }
  const ModelTensor mx = mx_values("x.weight", 1, 32);
  EXPECT_TRUE(seen.insert(fingerprint_of({mx, {"x.weight_scale", "U8", {1, 1}, "a"}})).second);
  EXPECT_TRUE(seen.insert(fingerprint_of({mx, {"x.weight_scale", "U8", {1, 1}, "b"}})).second);
}

// --- Sharded models ---

TEST(WeightCases, PairMayBeDividedBetweenShards) {
  const ModelFolder folder;
  const ModelTensor values = mx_values("x.weight", 2, 64);
  const ModelTensor scales = mx_scales("x.weight_scale", "F8_E8M0", 2, 2);
  const ModelTensor stale{"x.weight_scale", "F8_E8M0", {2, 2}, "old!"};  // the index does not mean this one
  static_cast<void>(folder.write("1.safetensors", {f32_tensor("a", {1, 32}, eighths(32)), values, stale}));
  static_cast<void>(folder.write("2.safetensors", {scales, f32_tensor("z", {32}, eighths(32))}));
  const auto index =
      folder.write("model.safetensors.index.json", R"({"weight_map":{"a":"1.safetensors","x.weight":"1.safetensors",)"
                                                   R"("x.weight_scale":"2.safetensors","z":"2.safetensors"}})");
  const auto cases = cases_of_weights(request_for(index));
  ASSERT_TRUE(cases) << cases.error().message;
  EXPECT_EQ(labels_of(*cases), (std::vector<std::string>{"a", "x.weight"}));
  EXPECT_EQ(skipped_names(*cases), (std::vector<std::string>{"x.weight_scale", "z"}));
  const LoadedWeights weights = load(cases->layers[1]);
  EXPECT_EQ(bytes_of_values(weights.matrix), values.bytes);
  EXPECT_EQ(bytes_of_scales(weights.matrix), scales.bytes);
}

TEST(WeightCases, TensorsThatTheIndexDoesNotKnowAreSkipped) {
  const ModelFolder folder;
  static_cast<void>(
      folder.write("1.safetensors", {f32_tensor("a", {1, 32}, eighths(32, 1)), f32_tensor("b", {1, 32}, eighths(32))}));
  static_cast<void>(
      folder.write("2.safetensors", {f32_tensor("a", {1, 32}, eighths(32, 2)), f32_tensor("c", {1, 32}, eighths(32))}));
  const auto index =
      folder.write("i.json", R"({"weight_map":{"a":"2.safetensors","b":"1.safetensors","c":"2.safetensors"}})");
  const auto cases = cases_of_weights(request_for(index));
  ASSERT_TRUE(cases) << cases.error().message;
  EXPECT_EQ(labels_of(*cases), (std::vector<std::string>{"a", "b", "c"}));
  ASSERT_EQ(cases->skipped.size(), 1U);
  EXPECT_EQ(cases->skipped[0].reason,
            "the index does not name " + (folder.path() / "1.safetensors").string() + " for it");
  const auto wanted = quantize_mx(eighths(32, 2), 1, 32);
  EXPECT_EQ(bytes_of_values(load(cases->layers[0]).matrix), bytes_of_values(*wanted)) << "the other shard's 'a'";
}

TEST(WeightCases, IndexThatPromisesWhatIsNotThere) {
  const ModelFolder folder;
  static_cast<void>(folder.write("1.safetensors", {f32_tensor("a", {1, 32}, eighths(32))}));
  const auto absent_tensor = folder.write("t.json", R"({"weight_map":{"b":"1.safetensors"}})");
  EXPECT_PRED_FORMAT2(IsSubstring, "1.safetensors: no tensor 'b'",
                      error_of(cases_of_weights(request_for(absent_tensor)), ErrorCode::unknown_name));
  const auto absent_file = folder.write("f.json", R"({"weight_map":{"a":"3.safetensors"}})");
  EXPECT_PRED_FORMAT2(IsSubstring, "3.safetensors: cannot open",
                      error_of(cases_of_weights(request_for(absent_file)), ErrorCode::io_error));
  const auto outside = folder.write("o.json", R"({"weight_map":{"a":"../1.safetensors"}})");
  error_of(cases_of_weights(request_for(outside)), ErrorCode::parse_error);
}

}  // namespace
}  // namespace millet
