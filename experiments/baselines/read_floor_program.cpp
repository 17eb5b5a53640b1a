// SPDX-License-Identifier: Apache-2.0
// The baselines floor and floor_early: a program as docs/baseline-programs.md describes.
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "baselines/read_floor.hpp"
#include "millet/measure/measurement.hpp"

namespace {

using Json = nlohmann::json;

class Program {
 public:
  Json answer(const Json& request) {
    const std::string what = request.at("request");
    if (what == "hello") return hello(request);
    if (what == "prepare") return prepare(request);
    if (what == "sample") return {{"seconds", floor_->seconds(ids_.at(request.at("id")))}};
    if (what == "release") {
      floor_->release();
      return Json::object();
    }
    return {{"error", "no request '" + what + "'"}};
  }

 private:
  Json hello(const Json& request) {
    for (const std::string name : request.at("baselines")) {
      if (name != "floor" && name != "floor_early") return {{"error", "no baseline '" + name + "' in this program"}};
    }
    floor_ = std::make_unique<millet::ReadFloor>();
    return {{"protocol", 1}, {"device", floor_->device()}};
  }

  Json prepare(const Json& request) {
    const bool cold = request.at("protocol") == millet::to_string(millet::Protocol::cold_graph);
    const std::int64_t cache = request.at("last_level_cache_bytes");
    millet::ReadRequest read;
    read.bytes = request.at("touched_weight_bytes");
    if (read.bytes < millet::read_granule) return {{"declined", "fewer than 16 KiB of weights"}};
    if (cold && read.bytes <= 2 * cache) read.copies = static_cast<int>(millet::copies_for_cold(cache, read.bytes));
    read.launches = request.at("launches_per_sample");
    read.early = request.at("baseline") == "floor_early";
    read.graph = cold;
    // Launches that overlap read the same places within a short time, so the second finds them in the cache.
    if (read.early && cold && read.copies == 1)
      return {{"declined", "overlapping launches need two copies of the weights"}};
    const millet::FastestRead fastest = floor_->prepare(read);
    ids_[request.at("id")] = fastest.id;
    return {{"title", read.early ? "read floor, early launches" : "read floor"},
            {"role", "floor"},
            {"detail", fastest.launch},
            {"copies", read.copies},
            {"footprint_bytes", read.copies * read.bytes}};
  }

  std::unique_ptr<millet::ReadFloor> floor_;
  std::map<int, int> ids_;  // the driver's to the floor's
};

}  // namespace

int main() {
  Program program;
  for (std::string line; std::getline(std::cin, line);) {
    Json answer;
    try {
      answer = program.answer(Json::parse(line));
    } catch (const std::exception& error) {
      answer = {{"error", error.what()}};
    }
    std::cout << answer.dump() << std::endl;
  }
}
