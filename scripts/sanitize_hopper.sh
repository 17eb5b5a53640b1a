#!/usr/bin/env bash
# Runs compute-sanitizer over a part of the conformance suite of every hopper kernel, on a GPU.
#
# usage: scripts/sanitize_hopper.sh [--program FILE] [--tools LIST] [--checks LIST] [--kernels REGEX] [--limit SECONDS] [--logs DIR]
#   --program  test_conformance of a build; default: that of build/ci, else of build/hopper
#   --tools    of memcheck,racecheck,initcheck,synccheck (default: all four)
#   --checks   of the conformance suite; default: scales at both ends, NaN, all activation formats, odd routings, workspace
#   --kernels  only kernels whose suite's name matches
#   --limit    seconds that one tool may take for one kernel (default 600)
#   --logs     folder for what the tools say; default: a temporary one
#
# Fails when compute-sanitizer is missing, a tool finds something, a test fails, and when a kernel has no test that ran:
# a check that could not run is not a passed one. Exit codes: 0 clean, 1 not clean, 2 usage, 5 no tool, program or GPU.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tools=memcheck,racecheck,initcheck,synccheck
checks=PropagatesNan,CombinesExtremeScales,QuantizesActivationsLikeTheFramework,LeavesItsWorkspaceUsable,FollowsUnevenRouting,SkipsBadIds
kernels=.
limit=600
program=
logs=

stop() {
  echo "sanitize_hopper: $2" >&2
  exit "$1"
}

while (($# > 0)); do
  (($# > 1)) || stop 2 "$1 needs a value; usage: see the head of this script"
  case $1 in
    --program) program=$2 ;;
    --tools) tools=$2 ;;
    --checks) checks=$2 ;;
    --kernels) kernels=$2 ;;
    --limit) limit=$2 ;;
    --logs) logs=$2 ;;
    *) stop 2 "unknown option $1; usage: see the head of this script" ;;
  esac
  shift 2
done
for tool in ${tools//,/ }; do
  [[ $tool =~ ^(memcheck|racecheck|initcheck|synccheck)$ ]] || stop 2 "no tool '$tool'; there are memcheck, racecheck, initcheck, synccheck"
done

sanitizer=$(command -v compute-sanitizer || true)
[[ -n $sanitizer || ! -x /usr/local/cuda/bin/compute-sanitizer ]] || sanitizer=/usr/local/cuda/bin/compute-sanitizer
[[ -n $sanitizer ]] || stop 5 "compute-sanitizer is not installed; it comes with the CUDA toolkit (Debian and Ubuntu: cuda-sanitizer-13-0)"
if [[ -z $program ]]; then
  for program in build/ci/tests/backends/test_conformance build/hopper/tests/backends/test_conformance; do
    [[ ! -x $program ]] || break
  done
fi
[[ -x $program ]] || stop 5 "$program does not exist; build it with MILLET_ENABLE_HOPPER=ON, or name it with --program"
logs=${logs:-$(mktemp -d)}
mkdir -p "$logs"

# Suites are called Conformance_hopper__<kernel>, and their tests stand below them, indented.
listed=$("$program" --gtest_list_tests --gtest_filter='Conformance_hopper__*')
mapfile -t suites < <(sed -n 's/^\(Conformance_hopper__[A-Za-z0-9_]*\)\.$/\1/p' <<<"$listed" | grep -E -- "$kernels" || true)
((${#suites[@]} > 0)) || stop 2 "no kernel of hopper matches '$kernels' in $program"

failures=0
complain() {
  echo "FAILED  $1" >&2
  failures=$((failures + 1))
}

for suite in "${suites[@]}"; do
  mine=$(awk -v suite="$suite." '/^[^ ]/ { inside = $0 == suite } inside && /^ / { print $1 }' <<<"$listed")
  filter=
  for check in ${checks//,/ }; do
    grep -qx "$check" <<<"$mine" && filter+=${filter:+:}$suite.$check
  done
  if [[ -z $filter ]]; then
    complain "$suite: it has none of the checks $checks"
    continue
  fi
  wanted=$(tr ':' '\n' <<<"$filter" | wc -l)
  # The tools at once: each is a process of its own, and most of its time is the host's.
  for tool in ${tools//,/ }; do
    (
      set +e
      start=$SECONDS
      MILLET_REQUIRE_BACKENDS=hopper timeout --kill-after=10 "$limit" \
        "$sanitizer" --tool "$tool" --error-exitcode 99 --print-limit 20 "$program" --gtest_filter="$filter" \
        >"$logs/$suite.$tool.log" 2>&1
      echo "$? $((SECONDS - start))" >"$logs/$suite.$tool.status"
    ) &
  done
  wait
  for tool in ${tools//,/ }; do
    read -r code seconds <"$logs/$suite.$tool.status"
    log=$logs/$suite.$tool.log
    passed=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) tests\{0,1\}\..*/\1/p' "$log")
    case $code in
      0) if [[ ${passed:-0} -eq $wanted ]] && grep -q 'ERROR SUMMARY: 0 errors\|RACECHECK SUMMARY: 0 hazards' "$log"; then
           echo "clean   $suite $tool: $wanted checks, $seconds s"
         else
           complain "$suite $tool: ${passed:-0} of $wanted checks passed and no clean summary; see $log"
         fi ;;
      99) complain "$suite $tool: it found something; see $log" ;;
      124 | 137) complain "$suite $tool: not done within $limit s; see $log" ;;
      *) complain "$suite $tool: exit code $code; see $log" ;;
    esac
  done
done
((failures == 0)) || stop 1 "$failures of the runs were not clean; logs are in $logs"
echo "sanitize_hopper: ${#suites[@]} kernels clean under ${tools//,/, }"
