// SPDX-License-Identifier: Apache-2.0
#include "millet/report/comparison_table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "millet/report/page.hpp"
#include "millet/report/setup.hpp"

namespace millet {

namespace {

bool same_device(const Record& x, const Record& y) {
  return x.env.device == y.env.device && x.env.architecture == y.env.architecture;
}

// The record that counts of each case and device, in order of first appearance.
std::vector<const Record*> last_of_each(std::span<const Record> records) {
  std::vector<const Record*> last;
  for (const Record& record : records) {
    const auto earlier = std::find_if(last.begin(), last.end(), [&](const Record* r) {
      return r->case_id == record.case_id && same_device(*r, record);
    });
    if (earlier == last.end()) {
      last.push_back(&record);
    } else if (record.evidence != Evidence::not_run || (*earlier)->evidence == Evidence::not_run) {
      *earlier = &record;
    }
  }
  return last;
}

bool same_problem(const RecordCase& x, const RecordCase& y) {
  return x.operation == y.operation && x.m == y.m && x.n == y.n && x.k == y.k && x.experts == y.experts &&
         x.slots == y.slots && x.a_div == y.a_div && x.weighted == y.weighted && x.epilogue == y.epilogue;
}

// What tells two records of one problem apart, each as "name: 'mine' here, 'theirs' there".
std::vector<std::string> differences(const Record& mine, const Record& theirs) {
  std::vector<std::string> texts;
  const auto add = [&](const char* name, const std::string& here, const std::string& there) {
    if (here != there) texts.push_back(fmt::format("{} '{}' here, '{}' there", name, here, there));
  };
  const RecordCase& x = mine.subject;
  const RecordCase& y = theirs.subject;
  add("device", mine.env.device, theirs.env.device);
  add("architecture", mine.env.architecture, theirs.env.architecture);
  add("protocol", x.protocol, y.protocol);
  add("backend", x.backend, y.backend);
  add("kernel", x.kernel, y.kernel);
  add("policy", x.policy, y.policy);
  add("execution space", x.execution_space, y.execution_space);
  add("threads", std::to_string(x.threads), std::to_string(y.threads));
  add("activation", x.activation, y.activation);
  add("output", x.output, y.output);
  add("scale mode", x.scale_mode, y.scale_mode);
  add("weight layout", x.weight_layout, y.weight_layout);
  add("block_m", std::to_string(x.block_m), std::to_string(y.block_m));
  add("seed", std::to_string(x.seed), std::to_string(y.seed));
  add("weights", x.weights.value_or("random"), y.weights.value_or("random"));
  return texts;
}

// What a record answers, whatever kernel served it.
std::string question_of(const Record& record) {
  RecordCase subject = record.subject;
  subject.kernel.clear();
  subject.policy.clear();
  subject.weight_layout.clear();
  return fmt::format("{} {} {}", case_id(subject), record.env.device, record.env.architecture);
}

// Records that may be each other's partner: of one case, or of one question.
struct Pairing {
  std::map<const Record*, const Record*> partner;  // both ways
  std::set<const Record*> ambiguous;               // one of several answers to one question

  void join(const Record* x, const Record* y) {
    partner[x] = y;
    partner[y] = x;
  }
  [[nodiscard]] const Record* of(const Record* record) const {
    const auto found = partner.find(record);
    return found == partner.end() ? nullptr : found->second;
  }
};

Pairing pair_up(const std::vector<const Record*>& old_records, const std::vector<const Record*>& new_records) {
  Pairing pairing;
  for (const Record* old_record : old_records) {
    const auto found = std::find_if(new_records.begin(), new_records.end(), [&](const Record* other) {
      return other->case_id == old_record->case_id && same_device(*other, *old_record);
    });
    if (found != new_records.end()) pairing.join(old_record, *found);
  }
  struct Left {
    std::vector<const Record*> before;
    std::vector<const Record*> after;
  };
  std::map<std::string, Left> left;
  for (const Record* r : old_records) {
    if (pairing.of(r) == nullptr) left[question_of(*r)].before.push_back(r);
  }
  for (const Record* r : new_records) {
    if (pairing.of(r) == nullptr) left[question_of(*r)].after.push_back(r);
  }
  for (const auto& [question, records] : left) {
    if (records.before.size() == 1 && records.after.size() == 1) {
      pairing.join(records.before.front(), records.after.front());
    } else if (!records.before.empty() && !records.after.empty()) {
      pairing.ambiguous.insert(records.before.begin(), records.before.end());
      pairing.ambiguous.insert(records.after.begin(), records.after.end());
    }
  }
  return pairing;
}

// Why `record` has no partner among `others`, which hold no record of its case and device.
std::string why_unmatched(const Record& record, const std::vector<const Record*>& others) {
  std::optional<std::vector<std::string>> fewest;
  for (const Record* other : others) {
    if (!same_problem(record.subject, other->subject)) continue;
    auto texts = differences(record, *other);
    if (!fewest || texts.size() < fewest->size()) fewest = std::move(texts);
  }
  if (!fewest) return "the other run does not have this problem";
  return fmt::format("the other run has it with {}", fmt::join(*fewest, ", "));
}

// Why a record cannot be compared, or nothing.
std::string no_samples(const Record& r) {
  if (r.wrong()) return fmt::format("wrong: {}", r.verify.verdict.empty() ? "the check failed" : r.verify.verdict);
  if (!r.timed()) return r.note.empty() ? "it was not run" : fmt::format("it was not run: {}", r.note);
  if (r.evidence != Evidence::measured) return fmt::format("its time is {}, not measured", to_string(r.evidence));
  return r.result.samples_ns.empty() ? "its record keeps no samples to test" : "";
}

std::vector<std::string> notes_on(const Record& before, const Record& after, double least_effect) {
  std::vector<std::string> notes;
  const std::vector<std::string> old_remarks = remarks(before);
  const std::vector<std::string> new_remarks = remarks(after);
  const auto has = [](const std::vector<std::string>& texts, const std::string& text) {
    return std::find(texts.begin(), texts.end(), text) != texts.end();
  };
  for (const std::string& remark : old_remarks) {
    notes.push_back(fmt::format("{}: {}", has(new_remarks, remark) ? "before and after" : "before", remark));
  }
  for (const std::string& remark : new_remarks) {
    if (!has(old_remarks, remark)) notes.push_back("after: " + remark);
  }
  if (before.run.host_hash != after.run.host_hash) notes.emplace_back("two machines with one kind of device");
  for (const RecordBaseline& old_one : before.baselines) {
    for (const RecordBaseline& new_one : after.baselines) {
      if (old_one.name != new_one.name || old_one.n == 0 || new_one.n == 0) continue;
      const double ratio = new_one.median_ns / old_one.median_ns;
      if (ratio <= 1 + least_effect && ratio >= 1 / (1 + least_effect)) continue;
      notes.push_back(fmt::format("{}, timed in the same runs, took {:.2f} times as long: the machine may have changed",
                                  old_one.name, ratio));
    }
  }
  return notes;
}

std::string stamp(const std::vector<const Record*>& records) {
  std::vector<std::string> texts;
  for (const Record* r : records) {
    std::string text = fmt::format("{}{}, {}, {}; {} on {}, started {}", r->build.git, r->build.dirty ? " (dirty)" : "",
                                   r->build.compiler, r->build.type, r->subject.protocol, r->env.device, r->run.start);
    if (std::find(texts.begin(), texts.end(), text) == texts.end()) texts.push_back(std::move(text));
  }
  constexpr std::size_t most = 4;
  const std::size_t more = texts.size() > most ? texts.size() - most : 0;
  texts.resize(texts.size() - more);
  return fmt::format("{}{}", fmt::join(texts, "; "), more == 0 ? "" : fmt::format("; and {} more", more));
}

std::string p_text(double p) { return p < 0.0001 ? fmt::format("{:.0e}", p) : fmt::format("{:.4f}", p); }

// Kernel and policy of a pair: "cpu.gemv_strip", or what took whose place.
std::string kernel_text(const ComparedCase& c) {
  const RecordCase& x = c.before->subject;
  const RecordCase& y = c.after->subject;
  if (!c.replaced()) return y.kernel;
  if (x.kernel != y.kernel) return fmt::format("{} ({}) -> {} ({})", x.kernel, x.policy, y.kernel, y.policy);
  if (x.policy != y.policy) return fmt::format("{}: {} -> {}", y.kernel, x.policy, y.policy);
  return fmt::format("{}: weights {} -> {}", y.kernel, x.weight_layout, y.weight_layout);
}

std::string verdict_text(Change change) { return change == Change::slower ? "SLOWER" : std::string(to_string(change)); }

std::string replaced_text(const RunComparison& comparison) {
  const auto count = std::count_if(comparison.compared.begin(), comparison.compared.end(),
                                   [](const ComparedCase& c) { return c.replaced(); });
  return count == 0 ? "" : fmt::format(", {} of them now by another kernel or policy", count);
}

TextGrid csv_grid(const RunComparison& comparison) {
  TextGrid grid;
  grid.header = {
      "label",        "operation",    "m",           "n",        "k",        "experts",       "slots",
      "backend",      "kernel",       "policy",      "device",   "threads",  "protocol",      "verdict",
      "before_us",    "after_us",     "ratio",       "p_slower", "p_faster", "adjusted_p",    "before_blocks",
      "after_blocks", "before_build", "after_build", "notes",    "case_id",  "before_kernel", "before_policy"};
  const auto row = [&](const Record& r, const Record* earlier, std::vector<std::string> rest) {
    const RecordCase& c = r.subject;
    std::vector<std::string> cells{c.label,
                                   c.operation,
                                   std::to_string(c.m),
                                   std::to_string(c.n),
                                   std::to_string(c.k),
                                   std::to_string(c.experts),
                                   std::to_string(c.slots),
                                   c.backend,
                                   c.kernel,
                                   c.policy,
                                   r.env.device,
                                   std::to_string(c.threads),
                                   c.protocol};
    cells.insert(cells.end(), std::make_move_iterator(rest.begin()), std::make_move_iterator(rest.end()));
    cells.push_back(r.case_id);
    cells.push_back(earlier == nullptr ? "" : earlier->subject.kernel);
    cells.push_back(earlier == nullptr ? "" : earlier->subject.policy);
    grid.rows.push_back(std::move(cells));
  };
  const auto number = [](double value) { return fmt::format("{}", value); };
  for (const ComparedCase& c : comparison.compared) {
    row(*c.after, c.before,
        {std::string(to_string(c.times.change)), number(c.before->result.median_ns * 1e-3),
         number(c.after->result.median_ns * 1e-3), number(c.times.ratio), number(c.times.p_slower),
         number(c.times.p_faster), number(c.times.adjusted_p), std::to_string(c.times.old_blocks),
         std::to_string(c.times.new_blocks), c.before->build_id, c.after->build_id,
         fmt::format("{}", fmt::join(c.notes, "; "))});
  }
  for (const UnmatchedCase& u : comparison.unmatched) {
    const bool timed = u.record->timed();
    const std::string us = timed ? number(u.record->result.median_ns * 1e-3) : "";
    row(*u.record, u.in_before ? u.record : nullptr,
        {u.in_before ? "only before" : "only after", u.in_before ? us : "", u.in_before ? "" : us, "", "", "", "", "",
         "", u.in_before ? u.record->build_id : "", u.in_before ? "" : u.record->build_id, u.reason});
  }
  return grid;
}

}  // namespace

std::size_t RunComparison::count(Change change) const {
  return static_cast<std::size_t>(
      std::count_if(compared.begin(), compared.end(), [&](const ComparedCase& c) { return c.times.change == change; }));
}

RunComparison compare_runs(std::span<const Record> before, std::span<const Record> after,
                           const ComparisonOptions& options) {
  const std::vector<const Record*> old_records = last_of_each(before);
  const std::vector<const Record*> new_records = last_of_each(after);
  const Pairing pairing = pair_up(old_records, new_records);
  const auto why = [&](const Record* record, const std::vector<const Record*>& others) {
    const std::string reason = why_unmatched(*record, others);
    return pairing.ambiguous.contains(record) ? reason + "; several could have taken its place" : reason;
  };
  RunComparison comparison;
  for (const Record* old_record : old_records) {
    const Record* const new_record = pairing.of(old_record);
    if (new_record == nullptr) {
      comparison.unmatched.push_back({old_record, true, why(old_record, new_records)});
      continue;
    }
    const std::string old_obstacle = no_samples(*old_record);
    const std::string new_obstacle = no_samples(*new_record);
    if (!old_obstacle.empty()) comparison.unmatched.push_back({old_record, true, old_obstacle});
    if (!new_obstacle.empty()) comparison.unmatched.push_back({new_record, false, new_obstacle});
    if (!old_obstacle.empty() || !new_obstacle.empty()) continue;
    comparison.compared.push_back({old_record, new_record,
                                   compare_times(old_record->result.samples_ns, new_record->result.samples_ns, options),
                                   notes_on(*old_record, *new_record, options.least_effect)});
  }
  for (const Record* new_record : new_records) {
    if (pairing.of(new_record) == nullptr) {
      comparison.unmatched.push_back({new_record, false, why(new_record, old_records)});
    }
    if (new_record->wrong()) comparison.wrong.push_back(new_record);
  }
  std::vector<TimeComparison> times;
  for (const ComparedCase& c : comparison.compared) times.push_back(c.times);
  judge(times, options);
  for (std::size_t i = 0; i < times.size(); ++i) comparison.compared[i].times = times[i];
  return comparison;
}

std::string comparison_report(const RunComparison& comparison, const ComparisonOptions& options, ReportFormat format) {
  if (format == ReportFormat::csv) return to_csv(csv_grid(comparison));
  std::vector<const Record*> old_records;
  std::vector<const Record*> new_records;
  for (const ComparedCase& c : comparison.compared) {
    old_records.push_back(c.before);
    new_records.push_back(c.after);
  }
  for (const UnmatchedCase& u : comparison.unmatched) (u.in_before ? old_records : new_records).push_back(u.record);
  ReportPage page(format);
  page.heading("Comparison of two runs");
  page.lines(
      {"before: " + stamp(old_records), "after: " + stamp(new_records),
       fmt::format("{} cases compared{}: {} slower, {} faster, {} undecided, {} the same; {} records without a "
                   "partner; {} WRONG after",
                   comparison.compared.size(), replaced_text(comparison), comparison.count(Change::slower),
                   comparison.count(Change::faster), comparison.count(Change::undecided),
                   comparison.count(Change::same), comparison.unmatched.size(), comparison.wrong.size()),
       fmt::format("slower and faster: by more than {:.3g} %, in a Mann-Whitney test of block medians against that "
                   "effect; chance of any false flag among all cases {:.3g} % (Holm)",
                   100 * options.least_effect, 100 * options.alpha)});
  TextGrid grid;
  grid.header = {"case", "kernel", "before us", "after us", "after/before", "adjusted p", "blocks", "verdict"};
  grid.left_columns = 2;
  std::vector<std::string> notes;
  for (const ComparedCase& c : comparison.compared) {
    std::string mark;
    if (!c.notes.empty()) {
      notes.push_back(fmt::format("[{}] {}, {}: {}", notes.size() + 1, shape_name(c.after->subject),
                                  c.after->subject.kernel, fmt::join(c.notes, "; ")));
      mark = fmt::format(" [{}]", notes.size());
    }
    grid.rows.push_back({shape_name(c.after->subject), kernel_text(c), format_us(c.before->result.median_ns),
                         format_us(c.after->result.median_ns), fmt::format("{:.3f}", c.times.ratio),
                         p_text(c.times.adjusted_p), fmt::format("{} / {}", c.times.old_blocks, c.times.new_blocks),
                         verdict_text(c.times.change) + mark});
  }
  if (!grid.rows.empty()) page.table("Median time of a call; blocks: independent values of each series", grid);
  if (comparison.count(Change::undecided) > 0) {
    notes.emplace_back(
        "undecided: the medians differ, but the samples hold too few independent blocks to show it; run both with a "
        "larger --budget");
  }
  if (!notes.empty()) page.lines(notes);
  if (!comparison.unmatched.empty()) {
    TextGrid rest;
    rest.header = {"case", "kernel", "run", "why it is not compared"};
    rest.left_columns = 4;
    for (const UnmatchedCase& u : comparison.unmatched) {
      rest.rows.push_back(
          {shape_name(u.record->subject), u.record->subject.kernel, u.in_before ? "before" : "after", u.reason});
    }
    page.table("Not compared", rest);
  }
  return std::move(page).text();
}

}  // namespace millet
