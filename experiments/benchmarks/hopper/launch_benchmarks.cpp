// SPDX-License-Identifier: Apache-2.0
// What a call costs the host: the C++ entry against the driver's own launch of an empty kernel of the same geometry.
#include "benchmarks/hopper/launch_benchmarks.hpp"

#include <benchmark/benchmark.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "benchmarks/hopper/empty_kernel.hpp"
#include "benchmarks/stop.hpp"
#include "millet/backends/registry.hpp"
#include "millet/dispatch/kernel_instance.hpp"
#include "millet/dispatch/select.hpp"
#include "operands/generate.hpp"
#include "operands/workload.hpp"

namespace millet {
namespace {

using Clock = std::chrono::steady_clock;

// Calls between two waits: far fewer than the thousand or so that fit into a stream's queue, so that none waits.
constexpr int calls = 100;

Expected<void> checked(const char* what, cudaError_t error) {
  if (error == cudaSuccess) return {};
  return fail(ErrorCode::device_error, "{}: {}", what, cudaGetErrorString(error));
}

struct DestroyGraph {
  void operator()(CUgraph_st* graph) const noexcept { cudaGraphDestroy(graph); }
};
using Graph = std::unique_ptr<CUgraph_st, DestroyGraph>;

Expected<Graph> capture(const Launch& launch, int times, cudaStream_t stream) {
  if (auto begun = checked("capture", cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal)); !begun) {
    return fail(std::move(begun));
  }
  Expected<void> issued;
  for (int i = 0; i < times && issued; ++i) issued = launch(Stream{stream});
  cudaGraph_t graph = nullptr;
  auto ended = checked("capture", cudaStreamEndCapture(stream, &graph));
  Graph owned(graph);
  if (!issued) return fail(std::move(issued));
  if (!ended) return fail(std::move(ended));
  return owned;
}

Expected<std::vector<cudaGraphNode_t>> nodes_of(const Graph& graph) {
  std::size_t count = 0;
  if (auto got = checked("graph", cudaGraphGetNodes(graph.get(), nullptr, &count)); !got) return fail(std::move(got));
  std::vector<cudaGraphNode_t> nodes(count);
  if (auto got = checked("graph", cudaGraphGetNodes(graph.get(), nodes.data(), &count)); !got) {
    return fail(std::move(got));
  }
  return nodes;
}

/// The geometry of a launch, for the empty kernel.
struct Geometry {
  cudaLaunchConfig_t config{};
  cudaLaunchAttribute attributes[2]{};

  Geometry() = default;
  Geometry(const Geometry&) = delete;  // config points into it
};

/// Reads grid, block, shared memory and cluster off the recorded launch. A recorded early start is an edge and no
/// attribute of a node, so the caller says it.
Expected<void> read_geometry(const Launch& launch, bool early, cudaStream_t stream, Geometry& geometry) {
  auto graph = capture(launch, 1, stream);
  if (!graph) return fail(std::move(graph));
  const auto nodes = nodes_of(*graph);
  if (!nodes) return fail(nodes.error().code, "{}", nodes.error().message);
  if (nodes->size() != 1) return fail(ErrorCode::device_error, "a call is {} nodes; wanted 1", nodes->size());
  cudaKernelNodeParams launched{};
  cudaLaunchAttributeValue cluster{};
  for (auto got : {checked("node", cudaGraphKernelNodeGetParams(nodes->front(), &launched)),
                   checked("node", cudaGraphKernelNodeGetAttribute(nodes->front(), cudaLaunchAttributeClusterDimension,
                                                                   &cluster))}) {
    if (!got) return got;
  }
  cudaLaunchConfig_t& config = geometry.config;
  config.gridDim = launched.gridDim;
  config.blockDim = launched.blockDim;
  config.dynamicSmemBytes = launched.sharedMemBytes;
  config.stream = stream;
  config.attrs = geometry.attributes;
  if (early) {
    geometry.attributes[config.numAttrs].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    geometry.attributes[config.numAttrs++].val.programmaticStreamSerializationAllowed = 1;
  }
  const auto& dim = cluster.clusterDim;
  if (dim.x * dim.y * dim.z > 1) {
    geometry.attributes[config.numAttrs].id = cudaLaunchAttributeClusterDimension;
    geometry.attributes[config.numAttrs++].val = cluster;
  }
  return checked("shared memory", allow_shared_bytes_of_empty(static_cast<int>(config.dynamicSmemBytes)));
}

/// Microseconds a call, without waiting for the device.
template <class Call>
Expected<double> issue(const Call& call, cudaStream_t stream) {
  const auto start = Clock::now();
  for (int i = 0; i < calls; ++i) {
    if (auto done = call(); !done) return fail(std::move(done));
  }
  const double us = std::chrono::duration<double, std::micro>(Clock::now() - start).count() / calls;
  if (auto done = checked("synchronize", cudaStreamSynchronize(stream)); !done) return fail(std::move(done));
  return us;
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// Times both by turns; the benchmark's own time is the entry's.
template <class P>
Expected<void> compare_launches(benchmark::State& state, const Backend& backend, const HostOperands<P>& operands) {
  const auto device = backend.device_info();
  if (!device) return fail(device.error().code, "{}", device.error().message);
  const auto tuned = TunedTable::parse(backend.tuned_table, "tuned", backend, false);
  if (!tuned) return fail(tuned.error().code, "{}", tuned.error().message);
  SelectOptions options;
  options.tuned = &*tuned;
  const auto choice = select(backend, *device, operands.problem, options);
  if (!choice) return fail(choice.error().code, "{}", choice.error().message);
  auto instance = KernelInstance<P>::create(backend, *choice->kernel, choice->policy, operands);
  if (!instance) return fail(std::move(instance));
  auto created = backend.create_stream();
  if (!created) return fail(std::move(created));
  const std::unique_ptr<void, void (*)(void*)> owned(created->handle,
                                                     [](void* s) { cudaStreamDestroy(static_cast<cudaStream_t>(s)); });
  const auto stream = static_cast<cudaStream_t>(created->handle);
  const Launch entry = instance->launch(0);
  const std::string policy = choice->kernel->policy_name(choice->policy);

  Geometry geometry;
  const bool early = policy.find("early") != std::string::npos;
  if (auto read = read_geometry(entry, early, stream, geometry); !read) return read;
  // Replay costs the host nothing for a call: every node is a kernel.
  auto graph = capture(entry, calls, stream);
  if (!graph) return fail(std::move(graph));
  const auto nodes = nodes_of(*graph);
  if (!nodes) return fail(nodes.error().code, "{}", nodes.error().message);
  Index kernels = 0;
  for (const cudaGraphNode_t node : *nodes) {
    cudaGraphNodeType type{};
    if (auto got = checked("node", cudaGraphNodeGetType(node, &type)); !got) return got;
    kernels += type == cudaGraphNodeTypeKernel ? 1 : 0;
  }

  const auto through_entry = [&] { return entry(Stream{stream}); };
  const auto through_select = [&]() -> Expected<void> {
    const auto again = select(backend, *device, operands.problem, options);
    if (!again) return fail(again.error().code, "{}", again.error().message);
    benchmark::DoNotOptimize(again->kernel);
    return entry(Stream{stream});
  };
  const auto through_driver = [&] { return checked("empty kernel", launch_empty(geometry.config)); };
  std::vector<double> entry_us, select_us, driver_us;
  for ([[maybe_unused]] auto iteration : state) {
    const auto by_driver = issue(through_driver, stream);
    if (!by_driver) return fail(by_driver.error().code, "{}", by_driver.error().message);
    const auto by_entry = issue(through_entry, stream);
    if (!by_entry) return fail(by_entry.error().code, "{}", by_entry.error().message);
    const auto by_select = issue(through_select, stream);
    if (!by_select) return fail(by_select.error().code, "{}", by_select.error().message);
    driver_us.push_back(*by_driver);
    entry_us.push_back(*by_entry);
    select_us.push_back(*by_select);
    state.SetIterationTime(*by_entry * 1e-6);
  }
  state.counters["driver_us"] = median(driver_us);
  state.counters["entry_us"] = median(entry_us);
  state.counters["beyond_driver_us"] = median(entry_us) - median(driver_us);
  state.counters["with_select_us"] = median(select_us);
  state.counters["graph_nodes"] = static_cast<double>(nodes->size());
  state.counters["graph_kernels"] = static_cast<double>(kernels);
  state.SetLabel(std::string(choice->kernel->id) + ", " + policy);
  if (kernels != calls || static_cast<Index>(nodes->size()) != kernels) {
    return fail(ErrorCode::device_error, "{} calls are {} nodes of a graph, {} of them kernels", calls, nodes->size(),
                kernels);
  }
  return {};
}

Expected<const Backend*> hopper_backend() {
  auto backend = find_backend("hopper");
  if (!backend) return backend;
  if (auto available = (*backend)->available(); !available) return fail(std::move(available));
  return backend;
}

Expected<void> compare_dense(benchmark::State& state) {
  const auto backend = hopper_backend();
  if (!backend) return fail(backend.error().code, "{}", backend.error().message);
  DenseShape shape;
  shape.n = state.range(1);
  shape.k = state.range(2);
  const Index m = state.range(0);
  const auto workload = DenseWorkload::make(shape, {}, m, {});
  if (!workload) return fail(workload.error().code, "{}", workload.error().message);
  const auto problem = make_gemm_problem(m, shape.n, shape.k);
  if (!problem) return fail(problem.error().code, "{}", problem.error().message);
  return compare_launches<GemmProblem>(state, **backend, workload->operands(*problem));
}

Expected<void> compare_grouped(benchmark::State& state) {
  const auto backend = hopper_backend();
  if (!backend) return fail(backend.error().code, "{}", backend.error().message);
  MoeShape shape;
  shape.experts = 8;
  shape.n = state.range(1);
  shape.k = state.range(2);
  shape.top_k = 4;
  shape.a_div = 4;
  shape.block_m = 16;
  const OperandOptions options;
  const auto batch = route_tokens(shape, state.range(0), options);
  if (!batch) return fail(batch.error().code, "{}", batch.error().message);
  const auto pool = random_expert_pool(shape.experts, shape.n, shape.k, options.scale_mode, options.seed);
  const auto workload = GroupedWorkload::make(*batch, pool, options);
  if (!workload) return fail(workload.error().code, "{}", workload.error().message);
  return compare_launches<GroupedProblem>(state, **backend, workload->operands(*batch));
}

void launch_dense(benchmark::State& state) {
  if (auto done = compare_dense(state); !done) stop(state, done.error().message);
}
void launch_grouped(benchmark::State& state) {
  if (auto done = compare_grouped(state); !done) stop(state, done.error().message);
}
}  // namespace

void register_launch_benchmarks() {
  if (!hopper_backend()) return;
  const auto add = [](const char* name, void (*run)(benchmark::State&)) {
    return benchmark::RegisterBenchmark(name, run)->UseManualTime()->Unit(benchmark::kMicrosecond);
  };
  add("launch/dense", launch_dense)
      ->ArgNames({"m", "n", "k"})
      ->Args({1, 1536, 6144})
      ->Args({8, 1536, 6144})
      ->Args({1, 6144, 2048});
  add("launch/grouped", launch_grouped)->ArgNames({"tokens", "n", "k"})->Args({1, 1536, 6144});
}

}  // namespace millet
