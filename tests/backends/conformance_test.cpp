// SPDX-License-Identifier: Apache-2.0
#include "conformance.hpp"

#include <gtest/gtest.h>

#include <Kokkos_Core.hpp>

#include "millet/backends/registry.hpp"
#include "millet/dispatch/tuned_table.hpp"
#include "required_backends.hpp"

namespace millet::conformance {

namespace {

TEST(Backends, RequiredOnesAreRegisteredAndAvailable) {
  EXPECT_FALSE(registered_backends().empty());
  for (const std::string& name : required_backends()) {
    const auto backend = find_backend(name);
    ASSERT_TRUE(backend) << backend.error().message;
    const auto available = (*backend)->available();
    EXPECT_TRUE(available) << available.error().message;
  }
}

TEST(Backends, HaveUniqueNamesAndKernelIdsOfTheirOwn) {
  std::set<std::string_view> names;
  std::set<std::string_view> ids;
  const auto check_id = [&](const Backend& backend, std::string_view id) {
    EXPECT_TRUE(id.starts_with(std::string(backend.name) + ".")) << id;
    EXPECT_TRUE(ids.insert(id).second) << id << " is registered twice";
  };
  for (const Backend& backend : registered_backends()) {
    EXPECT_TRUE(names.insert(backend.name).second) << backend.name;
    EXPECT_FALSE(backend.gemm_kernels.empty() && backend.grouped_kernels.empty()) << backend.name << " has no kernels";
    for (const GemmKernel& kernel : backend.gemm_kernels) check_id(backend, kernel.id);
    for (const GroupedKernel& kernel : backend.grouped_kernels) check_id(backend, kernel.id);
  }
}

// Also of those that cannot run here: a row that dispatch would leave out in silence is a mistake of this project.
TEST(Backends, HaveTunedTablesWithoutABadRow) {
  for (const Backend& backend : registered_backends()) {
    if (backend.tuned_table.empty()) continue;
    const auto table = TunedTable::parse(backend.tuned_table, backend.name, backend, /*strict=*/true);
    ASSERT_TRUE(table) << table.error().message;
    EXPECT_FALSE(table->rows().empty()) << backend.name;
  }
}

/// One check of one kernel. A backend that cannot run here is skipped with its reason, unless it is required.
template <class P>
class CheckTest : public testing::Test {
 public:
  CheckTest(const Backend& backend, const KernelFor<P>& kernel, const Check<P>& check)
      : backend_(backend), kernel_(kernel), check_(check) {}

  void TestBody() override {
    if (const auto available = backend_.available(); !available) {
      ASSERT_FALSE(required_backends().contains(std::string(backend_.name))) << available.error().message;
      GTEST_SKIP() << available.error().message;
    }
    const Failures failures = check_.run(backend_, kernel_);
    for (std::size_t i = 0; i < std::min<std::size_t>(failures.size(), 5); ++i) ADD_FAILURE() << failures[i];
    if (failures.size() > 5) ADD_FAILURE() << "and " << failures.size() - 5 << " more";
  }

 private:
  const Backend& backend_;
  const KernelFor<P>& kernel_;
  const Check<P>& check_;
};

template <class P>
void register_checks(const Backend& backend, std::span<const KernelFor<P>> kernels, std::span<const Check<P>> checks) {
  for (const KernelFor<P>& kernel : kernels) {
    for (const Check<P>& check : checks) {
      // Two underscores for the dot, so that a filter can tell one backend from another whose name is longer.
      std::string suite = "Conformance_" + std::string(kernel.id);
      suite.replace(suite.find('.'), 1, "__");
      testing::RegisterTest(
          suite.c_str(), std::string(check.name).c_str(), nullptr, nullptr, __FILE__, __LINE__,
          [&backend, &kernel, &check]() -> testing::Test* { return new CheckTest<P>(backend, kernel, check); });
    }
  }
}

}  // namespace

}  // namespace millet::conformance

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const Kokkos::ScopeGuard kokkos(argc, argv);
  for (const millet::Backend& backend : millet::registered_backends()) {
    millet::conformance::register_checks(backend, backend.gemm_kernels, millet::conformance::gemm_checks());
    millet::conformance::register_checks(backend, backend.grouped_kernels, millet::conformance::grouped_checks());
  }
  const int result = RUN_ALL_TESTS();
  // Skipped checks are not passed ones: CTest is told apart from success that a backend could not run.
  constexpr int skipped = 77;
  return result == 0 && testing::UnitTest::GetInstance()->skipped_test_count() > 0 ? skipped : result;
}
