// SPDX-License-Identifier: Apache-2.0
#include "baselines/baseline_names.hpp"

#include "baselines/host_baseline.hpp"
#include "run/backend_session.hpp"

namespace millet {

std::vector<std::string> baseline_names() {
  std::vector<std::string> names = host_baseline_names();
  names.emplace_back("reference");
  for (std::string& name : backend_names()) names.push_back(std::move(name));
  return names;
}

}  // namespace millet
