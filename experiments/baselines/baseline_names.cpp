// SPDX-License-Identifier: Apache-2.0
#include "baselines/baseline_names.hpp"

#include "run/backend_session.hpp"

namespace millet {

std::vector<std::string> baseline_names() {
  std::vector<std::string> names{"eigen_f32", "reference"};
  for (std::string& name : backend_names()) names.push_back(std::move(name));
  return names;
}

}  // namespace millet
