#!/usr/bin/env bash
# One sweep as a Slurm job array, a shard of its cases for each task; every case is in exactly one shard.
#
# usage: sbatch --array=1-8 scripts/slurm_array.sh [options of "millet run"]
#   then: millet report results/<job id>/*/records.jsonl
# To run some of the tasks again: sbatch --array=3,5 --export=ALL,SHARDS=8,RESULTS=results/<job id> scripts/slurm_array.sh ...
#
# Environment: MILLET   the program (build/cpu/bin/millet)
#              RESULTS  folder for one folder of results a shard (results/<job id>)
#              SHARDS   number of shards (that of an array 1-n)
#SBATCH --job-name=millet
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --exclusive
#SBATCH --time=01:00:00
#SBATCH --output=millet-%A-%a.log
set -euo pipefail

: "${SLURM_ARRAY_TASK_ID:?is for Slurm to set: sbatch --array=1-8 scripts/slurm_array.sh}"
if [[ -z ${SHARDS:-} ]]; then
  if [[ $SLURM_ARRAY_TASK_MIN != 1 || $SLURM_ARRAY_TASK_MAX != "$SLURM_ARRAY_TASK_COUNT" ]]; then
    echo "slurm_array: the array is not 1-n; say how many shards the sweep has: --export=ALL,SHARDS=8" >&2
    exit 2
  fi
  SHARDS=$SLURM_ARRAY_TASK_COUNT
fi
out=${RESULTS:-results/$SLURM_ARRAY_JOB_ID}/shard-$SLURM_ARRAY_TASK_ID

# --resume: a task that Slurm starts again after a node failed goes on where it was.
exec "${MILLET:-build/cpu/bin/millet}" run "$@" --shard "$SLURM_ARRAY_TASK_ID/$SHARDS" --out "$out" --resume
