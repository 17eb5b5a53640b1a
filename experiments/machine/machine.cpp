// SPDX-License-Identifier: Apache-2.0
#include "machine/machine.hpp"

#include <fmt/format.h>
#include <malloc.h>
#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "millet/device/host_info.hpp"

namespace millet {

namespace {

// The first line, or nothing.
std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// "0-3,8" for the CPUs in a set.
std::string ranges(const cpu_set_t& set) {
  std::string text;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &set)) continue;
    int last = cpu;
    while (last + 1 < CPU_SETSIZE && CPU_ISSET(last + 1, &set)) ++last;
    text += fmt::format("{}{}", text.empty() ? "" : ",", cpu);
    if (last > cpu) text += fmt::format("-{}", last);
    cpu = last;
  }
  return text;
}

// The word in brackets of "always [madvise] never".
std::string chosen_word(const std::string& line) {
  const auto open = line.find('[');
  const auto close = line.find(']', open);
  return open == std::string::npos || close == std::string::npos ? line : line.substr(open + 1, close - open - 1);
}

std::string distribution() {
  std::ifstream file("/etc/os-release");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("PRETTY_NAME=")) continue;
    std::string name = line.substr(12);
    std::erase(name, '"');
    return name;
  }
  return "";
}

std::string container_kind() {
  if (const char* name = std::getenv("container"); name != nullptr) return name;
  std::error_code ignored;
  if (std::filesystem::exists("/.dockerenv", ignored)) return "docker";
  if (std::filesystem::exists("/run/.containerenv", ignored)) return "podman";
  if (std::getenv("KUBERNETES_SERVICE_HOST") != nullptr) return "kubernetes";
  return "";
}

bool cpu_has_hypervisor() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    if (line.starts_with("flags")) return line.find(" hypervisor") != std::string::npos;
  }
  return false;
}

// Bytes of a line "Name:   123 kB" of /proc/meminfo.
Index meminfo(const std::string& name) {
  std::ifstream file("/proc/meminfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(name + ":")) return std::strtoll(line.c_str() + name.size() + 1, nullptr, 10) * 1024;
  }
  return 0;
}

// What a number file of a control group allows; "max" and absence are 0.
Index control_group(const char* path) {
  const std::string line = first_line(path);
  return line.empty() || line == "max" ? 0 : std::strtoll(line.c_str(), nullptr, 10);
}

std::string fnv1a(const std::string& text) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return fmt::format("{:016x}", hash);
}

std::string host_name() {
  char name[256] = {};
  return gethostname(name, sizeof name - 1) == 0 ? name : "unknown-host";
}

}  // namespace

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
void keep_freed_memory() {
  // One heap that only grows: its untouched top is advised once, here, and everything is allocated from it.
  if (mallopt(M_MMAP_MAX, 0) == 0 || mallopt(M_TRIM_THRESHOLD, -1) == 0) return;
  const Index bytes = available_memory_bytes() / 5 * 4;
  void* const top = std::malloc(static_cast<std::size_t>(bytes));
  if (top == nullptr) return;
  advise_huge_pages(top, bytes);
  std::free(top);
}

namespace {
Index kept_bytes() {
  const std::string statm = first_line("/proc/self/statm");  // pages: virtual, resident, ...
  const auto space = statm.find(' ');
  if (space == std::string::npos) return 0;
  const Index resident = std::strtoll(statm.c_str() + space, nullptr, 10) * sysconf(_SC_PAGESIZE);
  return std::max<Index>(0, resident - static_cast<Index>(mallinfo2().uordblks));
}
}  // namespace
#else
void keep_freed_memory() {}

namespace {
Index kept_bytes() { return 0; }
}  // namespace
#endif

Index available_memory_bytes() {
  Index available = meminfo("MemAvailable");
  const Index limit = control_group("/sys/fs/cgroup/memory.max");
  if (limit > 0)
    available = std::min(available, std::max<Index>(0, limit - control_group("/sys/fs/cgroup/memory.current")));
  return available + kept_bytes();
}

Machine inspect_machine() {
  Machine machine;
  const DeviceInfo host = host_device_info(1, "");
  machine.cpu = host.name;
  machine.memory_bytes = host.memory_bytes;
  machine.last_level_cache_bytes = host.last_level_cache_bytes;
  machine.cores = static_cast<Index>(sysconf(_SC_NPROCESSORS_ONLN));
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    machine.affinity = ranges(set);
    machine.affinity_count = CPU_COUNT(&set);
  }
  machine.governor = first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
  utsname kernel{};
  const bool known = uname(&kernel) == 0;
  machine.os =
      distribution() + (known ? fmt::format(", {} {} {}", kernel.sysname, kernel.release, kernel.machine) : "");
  machine.huge_pages = chosen_word(first_line("/sys/kernel/mm/transparent_hugepage/enabled"));
  machine.container = container_kind();
  machine.virtual_machine = cpu_has_hypervisor();
  double load[1] = {};
  if (getloadavg(load, 1) == 1) machine.load = load[0];
  machine.available_bytes = available_memory_bytes();
  machine.host_hash = fnv1a(host_name() + first_line("/etc/machine-id") + machine.cpu);
  machine.subnormals = subnormals_are_honoured();
  return machine;
}

std::vector<std::string> doubts(const Machine& machine, Index threads) {
  std::vector<std::string> warnings;
  if (!machine.governor.empty() && machine.governor != "performance") {
    warnings.push_back(fmt::format("the CPU governor is '{}', not 'performance': clocks vary", machine.governor));
  }
  if (machine.load > 0.5) {
    warnings.push_back(
        fmt::format("the load average was {:.2f} at the start: other processes share the machine", machine.load));
  }
  if (machine.virtual_machine) {
    warnings.push_back(
        fmt::format("a virtual machine with {} CPUs: neighbours share its caches and memory", machine.cores));
  }
  if (threads > machine.affinity_count && machine.affinity_count > 0) {
    warnings.push_back(
        fmt::format("{} threads on {} CPUs ({}): they take turns", threads, machine.affinity_count, machine.affinity));
  }
  if (!machine.subnormals) {
    warnings.emplace_back(
        "subnormals are flushed to zero in this process: results near the underflow threshold are wrong");
  }
  return warnings;
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32] = {};
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

std::string default_results_folder() {
  std::string host = host_name();
  for (char& c : host) c = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '.' ? c : '_';
  return fmt::format("results/{}-{}", utc_now().substr(0, 10), host);
}

}  // namespace millet
