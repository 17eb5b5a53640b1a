#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes docs/results/<device>.md from records of one GPU.

usage: scripts/gpu_results.py docs/results/h200 > docs/results/h200.md

The folder holds records of `millet run`, a file a run, all from one sitting on one machine: cold-<preset>.jsonl with the baselines
that were timed by turns with the kernels, and hot-<preset>.jsonl with --protocol hot. The page says by which command each was made.
Beside the folder may lie <device>.svg, the picture that `millet roofline <records> --svg` made in the same sitting.
"""
import json
import math
import pathlib
import sys

PRESETS = {  # in the order of the page
    "seed-dense": "The seed's dense cells",
    "seed-moe": "The seed's expert layers",
    "tp": "Dense layers at every tensor-parallel degree",
    "m3": "Further layers of a deployed model",
    "m3-fused": "Expert layers with their epilogues",
}


def read(path):
    """The last measured record of each case, in the order of their first."""
    records = {}
    for line in path.read_text().splitlines():
        record = json.loads(line)
        if record["evidence"] == "measured" or record["case_id"] not in records:
            records[record["case_id"]] = record
    return list(records.values())


def timed(record):
    return record["evidence"] == "measured" and record["result"]["n"] > 0 and record["verify"]["correct"]


def geomean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def us(record):
    return record["result"]["median_ns"] / 1e3


def spread_percent(record):
    result = record["result"]
    return 100 * (result["ci95_hi_ns"] - result["ci95_lo_ns"]) / 2 / result["median_ns"]


def baseline(record, name):
    return next((b for b in record["baselines"] if b["name"] == name), None)


def row_key(case):
    """What tells the rows of a table apart, and its text."""
    if case["operation"] == "dense":
        return case["label"], case["tp"], case["k"], case["n"]
    return (case["label"] + (" " + case["epilogue"] if case.get("epilogue") else "") + (", weighted" if case["weighted"] else ""),
            case["experts"], case["slots"] // case["m"], case["a_div"], case["block_m"], case["k"], case["n"])


ROW_HEADS = {"dense": ("layer", "TP", "K", "N"), "grouped": ("layer", "experts", "slots a token", "a_div", "block", "K", "N")}


class Cells:
    """Records of one operation as rows of shapes and columns of m."""

    def __init__(self, records):
        self.heads = ROW_HEADS[records[0]["case"]["operation"]]
        self.rows, self.cells = [], {}
        for record in records:
            key = row_key(record["case"])
            if key not in self.rows:
                self.rows.append(key)
            self.cells[key, record["case"]["m"]] = record
        self.columns = sorted({m for _, m in self.cells})
        # A column that is constant over the table goes without saying.
        self.shown = [i for i in range(len(self.heads)) if i == 0 or len({row[i] for row in self.rows}) > 1 or self.heads[i] in "KN"]

    def _head(self, last):
        heads = [self.heads[i] for i in self.shown] + [f"M={m}" for m in self.columns] + last
        return f"| {' | '.join(heads)} |\n|---|" + "---:|" * (len(heads) - 1)

    def _row(self, row, cells):
        return f"| {' | '.join([str(row[i]) for i in self.shown] + cells)} |"

    def texts(self, title, text):
        """A table of text(record)."""
        print(f"\n{title}\n\n{self._head([])}")
        for row in self.rows:
            cells = [self.cells.get((row, m)) for m in self.columns]
            print(self._row(row, [text(record) if record else "" for record in cells]))

    def numbers(self, title, number):
        """A table of number(record) with geometric means; None where there is none. Says nothing where all are."""
        values = {key: number(record) if timed(record) else None for key, record in self.cells.items()}
        if not any(values.values()):
            return
        means = len(self.rows) > 1
        print(f"\n{title}\n\n{self._head(['geomean'])}")
        for row in self.rows:
            mine = [values.get((row, m)) for m in self.columns]
            print(self._row(row, [self._cell(row, m, values) for m in self.columns] + [self._mean(mine)]))
        if means:
            columns = [self._mean([values.get((row, m)) for row in self.rows]) for m in self.columns]
            print(self._row(("geomean",) + ("",) * len(self.heads), columns + [self._mean(values.values())]))

    def _cell(self, row, m, values):
        if values.get((row, m)):
            return f"{values[row, m]:.2f}"
        record = self.cells.get((row, m))
        return "" if record is None else "none" if timed(record) else "wrong" if record["verify"]["mode"] != "none" else "not run"

    @staticmethod
    def _mean(values):
        values = [v for v in values if v]
        return f"{geomean(values):.2f}" if values else ""

    def records(self):
        return self.cells.values()


def baselines_of(records):
    """Names by role, in order of appearance."""
    names = {}
    for record in records:
        for b in record["baselines"]:
            names.setdefault(b["role"], {})[b["name"]] = None
    return {role: list(found) for role, found in names.items()}


def floor_us(record, name):
    """None without one, and for launches that cannot have read from memory: a layer of experts is too large for more than one copy, so
    launches that overlap read the same bytes, and the cache serves the second."""
    floor = baseline(record, name)
    least_us = us(record) * record["roof"]["pct_of_read"] / 100
    return floor["median_ns"] / 1e3 if floor and floor["median_ns"] / 1e3 > 0.9 * least_us else None


def floor_tables(cells, name):
    cells.numbers(f"Time of {name}, in microseconds: the least of some hundred launches that only read the weights' bytes (none where that was "
                  "faster than memory by more than a tenth):", lambda r: floor_us(r, name))
    cells.numbers(f"Time over {name}:", lambda r: us(r) / floor_us(r, name) if floor_us(r, name) else None)


def cold_tables(cells, published):
    records = list(cells.records())
    spread = sorted(spread_percent(r) for r in records if timed(r))
    samples = [r["result"]["n"] for r in records if timed(r)]
    if not spread:
        print("\nNothing was timed.")
        return
    cells.numbers(f"Median microseconds of {min(samples)} to {max(samples)} samples; 95 % confidence +-{spread[len(spread) // 2]:.1f} % "
                  f"in the middle, +-{spread[-1]:.1f} % at worst:", us)
    cells.numbers("% of the measured read rate, scales counted:", lambda r: r["roof"]["pct_of_read"])
    cells.numbers("Time over the least time that the read and matrix rates allow, without any launch:",
                  lambda r: us(r) * 1e3 / r["roof"]["lower_bound_ns"])
    names = baselines_of(records)
    for name in names.get("floor", []):
        floor_tables(cells, name)
    for name in names.get("performance", []):
        cells.numbers(f"Speedup over {name}:",
                      lambda r, name=name: baseline(r, name)["median_ns"] / us(r) / 1e3 if baseline(r, name) else None)
    if published:
        cells.numbers("Published speedup of the seed's kernels over stock Triton on an MI355X (ROCm/aiter #3783; not measured here):",
                      lambda r: r["published"]["speedup"] if r.get("published") else None)
    choices(cells, names)


def choices(cells, names):
    """Which kernel and policy, and which tiles the best of Triton's had: long, so folded away."""
    print("\n<details><summary>Kernel, policy and spread of each cell, and what baselines chose</summary>")
    cells.texts("Kernel (without backend) and policy:",
                lambda r: f"{r['case']['kernel'].partition('.')[2]}: {r['case']['policy']} ({r['case']['chosen']})" if timed(r) else r["note"])
    cells.numbers("Half of the 95 % confidence interval of the median, in % of it:", spread_percent)
    cells.numbers("Median absolute deviation of the samples, in % of the median:", lambda r: 100 * r["result"]["mad_ns"] / r["result"]["median_ns"])
    for role in ("performance", "floor"):
        for name in names.get(role, []):
            if any((baseline(r, name) or {}).get("detail") for r in cells.records()):
                cells.texts(f"{name}:", lambda r, name=name: (baseline(r, name) or {}).get("detail", ""))
    print("\n</details>")


def notes(records):
    """Why a baseline has no time, each reason once."""
    reasons = {}
    for record in records:
        for note in filter(None, record["note"].split("; no baseline ")):
            reasons.setdefault(note.removeprefix("no baseline "), []).append(record["case"]["label"])
    interesting = [(note, cases) for note, cases in reasons.items() if "in memory" not in note]
    if interesting:
        print("\nNotes of the records:\n")
        for note, cases in interesting:
            print(f"- {note} ({len(cases)} cells)")


def command_of(records):
    return list(dict.fromkeys(r["run"]["command_line"] for r in records))


def section(path, title, hot):
    records = read(path)
    print(f"\n## {title}, {'hot caches and eager launches' if hot else 'cold weights, replayed as a graph'}\n")
    for command in command_of(records):
        print(f"    {command}")
    for operation in ROW_HEADS:
        mine = [r for r in records if r["case"]["operation"] == operation]
        if not mine:
            continue
        cells = Cells(mine)
        if hot:
            cells.numbers("Median microseconds by the seed's protocol, host cost included:", us)
        else:
            cold_tables(cells, published=any(r.get("published") for r in mine))
    notes(records)


def main():
    folder = pathlib.Path(sys.argv[1])
    files = {(mode, preset): folder / f"{mode}-{preset}.jsonl" for preset in PRESETS for mode in ("cold", "hot")}
    files = {key: path for key, path in files.items() if path.exists()}
    if not files:
        sys.exit(f"gpu_results: no cold-<preset>.jsonl or hot-<preset>.jsonl in {folder}")
    records = [record for path in files.values() for record in read(path)]
    first = next((record for record in records if timed(record)), records[0])
    builds = sorted({r["build"]["git"] + (" (modified)" if r["build"]["dirty"] else "") for r in records})
    rates = [r["roof"]["read_bytes_per_second"] / 1e12 for r in records]
    matrix = [r["roof"]["fma_flops_per_second"] / 1e12 for r in records]
    late = sum(1 for r in records if not timed(r))
    print(f"# {first['env']['device']}\n\nGenerated by `scripts/gpu_results.py {folder}` from the records in that folder; every time was measured "
          "there, baselines by turns with the kernels in the same run.\n")
    print(f"{first['env']['runtime']}; {first['env']['cpu']}, {first['env']['os']}. Build {', '.join(builds)}. Read rate "
          f"{min(rates):.2f} to {max(rates):.2f} TB/s, matrix rate {min(matrix):.0f} to {max(matrix):.0f} TFLOP/s, measured in each run "
          f"({first['roof']['source'].removeprefix('measured in this run: ')}). {first['case']['output']} output, e4m3 activations with e8m0 scales. "
          f"{len(records)} cells, {late} of them without a time. The read floor is what less than the work takes: launches that only read; a kernel "
          "whose weights come early may begin before the one before has ended, so less than 1 is possible against the floor of one launch after the other.")
    picture = folder.resolve().with_suffix(".svg")
    if picture.exists():
        print(f"\n![Roofline of all cells]({picture.name})")
    for (mode, preset), path in files.items():
        section(path, PRESETS[preset], mode == "hot")


if __name__ == "__main__":
    main()
