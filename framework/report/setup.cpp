// SPDX-License-Identifier: Apache-2.0
#include "millet/report/setup.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>

namespace millet {

namespace {

auto setup_key(const Record& r) {
  const RecordCase& c = r.subject;
  return std::tie(c.operation, c.backend, c.execution_space, c.threads, c.protocol, c.activation, c.output,
                  c.scale_mode, r.env.device, r.env.architecture, r.run.host_hash, r.clock.source);
}

// The different texts that `text_of` gives for the records, in order of appearance, joined; "" if all are empty.
template <class TextOf>
std::string distinct(const Setup& setup, TextOf text_of) {
  std::vector<std::string> texts;
  for (const Record* record : setup.records) {
    std::string text = text_of(*record);
    if (!text.empty() && std::find(texts.begin(), texts.end(), text) == texts.end()) texts.push_back(std::move(text));
  }
  return fmt::format("{}", fmt::join(texts, "; "));
}

// "x" or "x to y" over the records' positive values; "" without one.
template <class ValueOf>
std::string range(const Setup& setup, ValueOf value_of) {
  double least = 0;
  double most = 0;
  for (const Record* record : setup.records) {
    const double value = value_of(*record);
    if (value <= 0) continue;
    least = least == 0 ? value : std::min(least, value);
    most = std::max(most, value);
  }
  if (most == 0) return "";
  const std::string low = fmt::format("{:.1f}", least);
  const std::string high = fmt::format("{:.1f}", most);
  return low == high ? low : low + " to " + high;
}

std::string joined(std::initializer_list<std::string> parts, std::string_view separator) {
  std::string text;
  for (const std::string& part : parts) {
    if (!part.empty()) text += (text.empty() ? "" : std::string(separator)) + part;
  }
  return text;
}

std::string labelled(std::string_view label, const std::string& text) {
  return text.empty() ? "" : fmt::format("{} {}", label, text);
}

std::string counts_by_evidence(const Setup& setup) {
  std::map<Evidence, int> counts;
  int wrong = 0;
  for (const Record* record : setup.records) {
    ++counts[record->evidence];
    if (record->wrong()) ++wrong;
  }
  std::string text;
  for (const auto& [evidence, count] : counts) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count,
                        evidence == Evidence::not_run ? "not run" : to_string(evidence));
  }
  return wrong == 0 ? text : fmt::format("{}; {} WRONG", text, wrong);
}

}  // namespace

std::vector<Setup> group_by_setup(std::span<const Record> records) {
  std::vector<Setup> setups;
  for (const Record& record : records) {
    const auto same_setup = [&](const Setup& s) { return setup_key(*s.records.front()) == setup_key(record); };
    const auto setup = std::find_if(setups.begin(), setups.end(), same_setup);
    if (setup == setups.end()) {
      setups.push_back({{&record}});
      continue;
    }
    const auto same_case = [&](const Record* r) { return r->case_id == record.case_id; };
    const auto earlier = std::find_if(setup->records.begin(), setup->records.end(), same_case);
    if (earlier == setup->records.end()) {
      setup->records.push_back(&record);
    } else if (record.evidence != Evidence::not_run || (*earlier)->evidence == Evidence::not_run) {
      *earlier = &record;
    }
  }
  return setups;
}

std::string setup_heading(const Setup& setup) {
  const Record& r = *setup.records.front();
  const std::string threads =
      r.subject.threads == 0 ? "" : fmt::format("{} thread{}", r.subject.threads, r.subject.threads == 1 ? "" : "s");
  return fmt::format("{} {} on {}", r.subject.backend, r.subject.operation,
                     joined({r.env.device, r.env.architecture, r.subject.execution_space, threads}, ", "));
}

std::vector<std::string> setup_facts(const Setup& setup) {
  const Record& first = *setup.records.front();
  std::vector<std::string> facts;
  facts.push_back(fmt::format(
      "protocol: {}",
      joined({first.subject.protocol, labelled("caches", distinct(setup, [](const Record& r) { return r.cache.mode; })),
              labelled("timer", first.clock.source)},
             ", ")));
  facts.push_back(fmt::format("operands: {} activations, {} output, scales {}, seed {}", first.subject.activation,
                              first.subject.output, first.subject.scale_mode,
                              distinct(setup, [](const Record& r) { return std::to_string(r.subject.seed); })));
  const std::string read = range(setup, [](const Record& r) { return r.roof.read_bytes_per_second * 1e-9; });
  const std::string fma = range(setup, [](const Record& r) { return r.roof.fma_flops_per_second * 1e-9; });
  facts.push_back(fmt::format("roofs of this machine: read {} GB/s, multiply-add {} GFLOP/s; source: {}",
                              read.empty() ? "unknown" : read, fma.empty() ? "unknown" : fma,
                              joined({distinct(setup, [](const Record& r) { return r.roof.source; })}, "")));
  facts.push_back("build: " + distinct(setup, [](const Record& r) {
                    return joined({r.build.git + (r.build.dirty ? " (dirty)" : ""), r.build.compiler, r.build.type,
                                   r.build.flags, labelled("sanitizer", r.build.sanitizer)},
                                  ", ");
                  }));
  facts.push_back("machine: " + distinct(setup, [](const Record& r) {
                    return joined({r.env.cpu == r.env.device ? "" : r.env.cpu,
                                   r.env.cores == 0 ? "" : fmt::format("{} cores", r.env.cores), r.env.runtime,
                                   r.env.os, labelled("affinity", r.env.affinity), labelled("governor", r.env.governor),
                                   labelled("huge pages", r.env.huge_pages)},
                                  ", ");
                  }));
  facts.push_back("evidence: " + counts_by_evidence(setup));
  std::vector<std::string> warnings;
  for (const Record* record : setup.records) {
    for (const std::string& warning : record->env.warnings) {
      if (std::find(warnings.begin(), warnings.end(), warning) == warnings.end()) warnings.push_back(warning);
    }
  }
  for (const std::string& warning : warnings) facts.push_back("warning: " + warning);
  return facts;
}

std::string shape_name(const RecordCase& c) {
  const std::string extents = fmt::format("K={} N={} M={}", c.k, c.n, c.m);
  if (c.operation != "grouped") return fmt::format("{} {}", c.label, extents);
  const std::string epilogue = c.epilogue ? *c.epilogue + " " : "";
  return fmt::format("{} {}E={} slots={} {}", c.label, epilogue, c.experts, c.slots, extents);
}

std::string format_us(double ns) {
  const double us = ns * 1e-3;
  return us < 100 ? fmt::format("{:.2f}", us) : us < 1000 ? fmt::format("{:.1f}", us) : fmt::format("{:.0f}", us);
}

std::string above_roof_text(const Record& r) {
  return r.cache.mode == "hot" ? "above the roof of streaming reads, as hot caches allow"
                               : "above the roof: wrong bytes or warm cache";
}

bool is_doubtful(const Record& r) {
  return r.wrong() || (r.timed() && (r.verify.mode == "none" || (r.roof.above_roof && r.cache.mode != "hot") ||
                                     r.cache.mode == "warm" || r.clock.throttled || r.evidence != Evidence::measured));
}

std::vector<std::string> remarks(const Record& r) {
  std::vector<std::string> remarks;
  if (r.wrong()) {
    remarks.push_back(fmt::format("wrong: {}", r.verify.verdict.empty() ? "the check failed" : r.verify.verdict));
  }
  if (r.timed()) {
    if (r.verify.mode == "none") remarks.push_back("the output was not checked");
    if (r.roof.above_roof) remarks.push_back(above_roof_text(r));
    if (r.cache.mode == "warm") remarks.push_back("warm: the weight copies do not pass twice the last-level cache");
    if (r.clock.throttled)
      remarks.push_back(fmt::format("the clock fell from {:.2f} to {:.2f} GHz", r.clock.before_ghz, r.clock.after_ghz));
    if (r.evidence != Evidence::measured) remarks.push_back(fmt::format("{}, not measured", to_string(r.evidence)));
  }
  if (!r.note.empty()) remarks.push_back(r.note);
  return remarks;
}

}  // namespace millet
