// SPDX-License-Identifier: Apache-2.0
// The grouped kernel that guesses the routing while the kernel that writes it is still running. Needs a GPU.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "millet/backends/registry.hpp"
#include "millet/dispatch/kernel_instance.hpp"
#include "operand_data.hpp"
#include "required_backends.hpp"

namespace millet {
namespace {

using conformance::Data;
using conformance::Random;

template <class K>
const K* find_kernel(std::span<const K> kernels, std::string_view id) {
  const auto found = std::find_if(kernels.begin(), kernels.end(), [&](const K& kernel) { return kernel.id == id; });
  return found == kernels.end() ? nullptr : &*found;
}

class HopperEarlyWeights : public testing::Test {
 protected:
  static constexpr Index experts = 6;
  static constexpr Index slots = 8;
  static constexpr Index block_m = 4;
  static constexpr Index blocks = 8;
  static constexpr Index n = 640;
  static constexpr Index k = 2048;
  static constexpr Index ints = blocks * block_m + blocks + 1;
  static constexpr int routings = 3;

  void SetUp() override {
    const auto found = find_backend("hopper");
    ASSERT_TRUE(found);
    backend_ = *found;
    if (const auto available = backend_->available(); !available) {
      ASSERT_FALSE(conformance::required_backends().contains("hopper")) << available.error().message;
      GTEST_SKIP() << available.error().message;
    }
    grouped_ = find_kernel(backend_->grouped_kernels, "hopper.grouped_gemm_wgmma_block_scale");
    dense_ = find_kernel(backend_->gemm_kernels, "hopper.gemm_wgmma_block_scale");
    ASSERT_TRUE(grouped_ != nullptr && dense_ != nullptr);
    auto stream = backend_->create_stream();
    ASSERT_TRUE(stream);
    stream_ = *stream;
    problem_ = *make_grouped_problem({.experts = experts,
                                      .slots = slots,
                                      .n = n,
                                      .k = k,
                                      .block_m = block_m,
                                      .padded_slots = blocks * block_m,
                                      .output = OutputType::f32});
    for (int i = 0; i < routings; ++i) {
      std::vector<std::int32_t> ids(slots);
      for (Index slot = 0; slot < slots; ++slot)
        ids[static_cast<std::size_t>(slot)] = static_cast<std::int32_t>(random_() % experts);
      Routing routing = *build_routing(ids, experts, block_m);
      routing.sorted_token_ids.resize(blocks * block_m, slots);
      routing.expert_ids.resize(blocks, 0);
      routings_.push_back(std::move(routing));
    }
    weights_ = pack_weights(*grouped_->weight_layout, matrices());
    values_ = upload(weights_.values);
    scales_ = upload(weights_.scales);
    const MxMatrix<> a = conformance::random_matrix(Data::gaussian, slots, k, random_);
    token_values_ = upload(a.values());
    token_scales_ = upload(a.scales());
    routing_ = *backend_->allocate(ints * 4);
    Index workspace_bytes = 0;
    for (int policy = 0; policy < grouped_->policy_count; ++policy)
      workspace_bytes = std::max(workspace_bytes, grouped_->workspace_bytes(problem_, policy));
    workspace_ = *backend_->allocate(workspace_bytes);
    for (const Routing& routing : routings_) writers_.push_back(writer(ints_of(routing)));
  }
  void TearDown() override { backend_->destroy_stream(stream_); }

  std::vector<MxMatrix<>> matrices() {
    std::vector<MxMatrix<>> all;
    for (Index i = 0; i < experts; ++i) all.push_back(conformance::random_matrix(Data::gaussian, n, k, random_));
    return all;
  }
  template <class T>
  DeviceBuffer upload(const std::vector<T>& from) {
    auto buffer = *backend_->allocate(static_cast<Index>(from.size() * sizeof(T)));
    EXPECT_TRUE(backend_->copy_to_device(buffer.data(), from.data(), buffer.bytes(), stream_));
    return buffer;
  }

  static std::vector<std::int32_t> ints_of(const Routing& routing) {
    std::vector<std::int32_t> all = routing.sorted_token_ids;
    all.insert(all.end(), routing.expert_ids.begin(), routing.expert_ids.end());
    all.push_back(routing.num_tokens_post_padded);
    return all;
  }

  /// A dense product whose C in f32 is the routing: as a number of bits, an integer i is i * 2^-149.
  struct Writer {
    DeviceBuffer a_values, a_scales, b_values, b_scales;
    Index value_count, scale_count;
  };
  Writer writer(const std::vector<std::int32_t>& integers) {
    MxMatrix<> a = conformance::random_matrix(Data::gaussian, 1, k, random_);
    MxMatrix<> b = conformance::random_matrix(Data::gaussian, ints, k, random_);
    std::fill(a.values().begin(), a.values().end(), E4M3{0});
    std::fill(b.values().begin(), b.values().end(), E4M3{0});
    std::fill(a.scales().begin(), a.scales().end(), E8M0{50});
    std::fill(b.scales().begin(), b.scales().end(), E8M0{254 - 149 - 50});
    a.values()[0] = E4M3::round(1.0F);
    for (Index i = 0; i < ints; ++i) {
      const auto value = static_cast<float>(integers[static_cast<std::size_t>(i)]);
      b.values()[static_cast<std::size_t>(i * k)] = E4M3::round(value);
      EXPECT_EQ(E4M3::round(value).value(), value);
    }
    const PackedWeights packed = pack_weights(*dense_->weight_layout, std::array{b});
    return {upload(a.values()),
            upload(a.scales()),
            upload(packed.values),
            upload(packed.scales),
            static_cast<Index>(packed.values.size()),
            static_cast<Index>(packed.scales.size())};
  }
  void write_routing(const Writer& w) {
    const GemmProblem p{.m = 1, .n = ints, .k = k, .output = OutputType::f32};
    const GemmOperandsRef x{
        {ActivationFormat::mx, w.a_values.data(), static_cast<const E8M0*>(w.a_scales.data()), k, k / 32},
        {dense_->weight_layout, static_cast<const E4M3*>(w.b_values.data()),
         static_cast<const E8M0*>(w.b_scales.data()), w.value_count, w.scale_count},
        {routing_.data(), ints}};
    const auto done = dense_->run(p, x, 0, {}, stream_);
    ASSERT_TRUE(done) << done.error().message;
  }
  void multiply(int policy, const DeviceBuffer& c) {
    auto* const ids = static_cast<const std::int32_t*>(routing_.data());
    const GroupedOperandsRef x{
        {ActivationFormat::mx, token_values_.data(), static_cast<const E8M0*>(token_scales_.data()), k, k / 32},
        {grouped_->weight_layout, static_cast<const E4M3*>(values_.data()), static_cast<const E8M0*>(scales_.data()),
         static_cast<Index>(weights_.values.size()), static_cast<Index>(weights_.scales.size())},
        {ids, ids + blocks * block_m, ids + blocks * block_m + blocks, nullptr},
        {c.data(), n}};
    const auto done = grouped_->run(problem_, x, policy, {workspace_.data(), workspace_.bytes()}, stream_);
    ASSERT_TRUE(done) << done.error().message;
  }
  std::vector<float> download(const DeviceBuffer& c) {
    std::vector<float> values(slots * n);
    EXPECT_TRUE(backend_->copy_to_host(values.data(), c.data(), c.bytes(), stream_));
    return values;
  }

  const Backend* backend_ = nullptr;
  const GroupedKernel* grouped_ = nullptr;
  const GemmKernel* dense_ = nullptr;
  Random random_{83};
  Stream stream_{};
  GroupedProblem problem_{};
  std::vector<Routing> routings_;
  PackedWeights weights_;
  DeviceBuffer values_, scales_, token_values_, token_scales_, routing_, workspace_;
  std::vector<Writer> writers_;
};

TEST_F(HopperEarlyWeights, FollowTheRoutingThatThePrecedingKernelWrites) {
  for (int policy = 0; policy < grouped_->policy_count; ++policy) {
    // Each routing by itself first, written by a copy, which nothing overtakes.
    std::vector<std::vector<float>> wanted;
    for (const Routing& routing : routings_) {
      const std::vector<std::int32_t> integers = ints_of(routing);
      ASSERT_TRUE(backend_->copy_to_device(routing_.data(), integers.data(), ints * 4, stream_));
      const DeviceBuffer c = *backend_->allocate(slots * n * 4);
      multiply(policy, c);
      wanted.push_back(download(c));
    }
    ASSERT_NE(wanted[0], wanted[1]);
    // Then one after the other, and each twice, so that guesses are wrong and right.
    constexpr int steps = 60;
    std::vector<DeviceBuffer> c;
    for (int step = 0; step < steps; ++step) c.push_back(*backend_->allocate(slots * n * 4));
    for (int step = 0; step < steps; step += 2) {
      write_routing(writers_[static_cast<std::size_t>(step / 2 % routings)]);
      multiply(policy, c[static_cast<std::size_t>(step)]);
      multiply(policy, c[static_cast<std::size_t>(step + 1)]);
    }
    for (int step = 0; step < steps; ++step) {
      const std::vector<float> got = download(c[static_cast<std::size_t>(step)]);
      EXPECT_EQ(std::memcmp(got.data(), wanted[static_cast<std::size_t>(step / 2 % routings)].data(),
                            got.size() * sizeof(float)),
                0)
          << grouped_->policy_name(policy) << ", step " << step;
    }
  }
}

}  // namespace
}  // namespace millet
