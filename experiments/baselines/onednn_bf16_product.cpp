// SPDX-License-Identifier: Apache-2.0
// The baseline onednn_bf16: oneDNN's matmul of bf16 operands with f32 results, on weights in the layout that oneDNN
// prefers. oneDNN chooses its code for the CPU at run time; describe() says which instruction set it found.
#if defined(_OPENMP)
#include <omp.h>
#endif

#include <cstdio>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>

#include "baselines/baseline_product.hpp"

namespace {

using dnnl::memory;

// The number of OpenMP threads that oneDNN uses while this lives.
class Threads {
 public:
#if defined(_OPENMP)
  explicit Threads(int wanted) : before_(omp_get_max_threads()) { omp_set_num_threads(wanted); }
  ~Threads() { omp_set_num_threads(before_); }
#else
  explicit Threads(int) {}
#endif
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
#if defined(_OPENMP)
  int before_;
#endif
};

struct Product {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  int threads = 1;
  memory::desc rows, weights, result;
  dnnl::matmul::primitive_desc description;
  dnnl::matmul primitive;
};

void* create(std::int64_t m, std::int64_t n, std::int64_t k, std::int64_t threads, char* why, std::size_t why_size) {
#if !defined(_OPENMP)
  if (threads > 1) {
    std::snprintf(why, why_size, "%lld threads wanted, but it was built without OpenMP",
                  static_cast<long long>(threads));
    return nullptr;
  }
#endif
  try {
    const Threads limit(static_cast<int>(threads));
    auto p = std::make_unique<Product>();
    p->threads = static_cast<int>(threads);
    p->rows = memory::desc({m, k}, memory::data_type::bf16, memory::format_tag::ab);
    p->weights = memory::desc({k, n}, memory::data_type::bf16, memory::format_tag::ba);  // B [n, k] as it comes
    p->result = memory::desc({m, n}, memory::data_type::f32, memory::format_tag::ab);
    const memory::desc any({k, n}, memory::data_type::bf16, memory::format_tag::any);
    p->description = {dnnl::matmul::desc(p->rows, any, p->result), p->engine};
    p->primitive = dnnl::matmul(p->description);
    return p.release();
  } catch (const std::exception& error) {
    std::snprintf(why, why_size, "oneDNN has no such product for this CPU: %s", error.what());
    return nullptr;
  }
}

int pack(void* product, const void* b, void* packed) {
  try {
    Product& p = *static_cast<Product*>(product);
    const Threads limit(p.threads);
    memory from(p.weights, p.engine, const_cast<void*>(b));
    memory to(p.description.weights_desc(), p.engine, packed);
    dnnl::reorder(from, to).execute(p.stream, from, to);
    p.stream.wait();
    return 0;
  } catch (const std::exception&) {
    return 1;
  }
}

int multiply(void* product, const void* a, const void* weights, float* c) {
  try {
    Product& p = *static_cast<Product*>(product);
    const Threads limit(p.threads);
    const memory rows(p.rows, p.engine, const_cast<void*>(a));
    const memory matrix(p.description.weights_desc(), p.engine, const_cast<void*>(weights));
    const memory result(p.result, p.engine, c);
    p.primitive.execute(p.stream, {{DNNL_ARG_SRC, rows}, {DNNL_ARG_WEIGHTS, matrix}, {DNNL_ARG_DST, result}});
    p.stream.wait();
    return 0;
  } catch (const std::exception&) {
    return 1;
  }
}

const char* isa_name(dnnl::cpu_isa isa) {
  switch (isa) {
    case dnnl::cpu_isa::sse41:
      return "sse41";
    case dnnl::cpu_isa::avx:
      return "avx";
    case dnnl::cpu_isa::avx2:
      return "avx2";
    case dnnl::cpu_isa::avx2_vnni:
      return "avx2_vnni";
    case dnnl::cpu_isa::avx512_core:
      return "avx512_core";
    case dnnl::cpu_isa::avx512_core_vnni:
      return "avx512_core_vnni";
    case dnnl::cpu_isa::avx512_core_bf16:
      return "avx512_core_bf16";
    case dnnl::cpu_isa::avx512_core_amx:
      return "avx512_core_amx";
    default:
      return "other";
  }
}

const char* describe() {
  static const std::string text = [] {
    const dnnl::version_t* const version = dnnl::version();
    return "oneDNN " + std::to_string(version->major) + "." + std::to_string(version->minor) + "." +
           std::to_string(version->patch) + " " + isa_name(dnnl::get_effective_cpu_isa());
  }();
  return text.c_str();
}

constexpr millet::BaselineProduct table{
    describe,
    2,
    create,
    [](void* product) { delete static_cast<Product*>(product); },
    [](const void* product) {
      return static_cast<std::int64_t>(static_cast<const Product*>(product)->description.weights_desc().get_size());
    },
    pack,
    multiply,
};

}  // namespace

extern "C" __attribute__((visibility("default"))) const millet::BaselineProduct* millet_baseline_product() {
  return &table;
}
