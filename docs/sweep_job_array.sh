#!/bin/bash
# A sweep as a SLURM job array of sixteen independent parts that share one folder:
#
#     sbatch docs/sweep_job_array.sh
#     python -m benchmarks report --results results/learning-rate    # tables, and which parts are missing
#
# A part that was killed goes on where it stopped: sbatch --array=3 docs/sweep_job_array.sh
#SBATCH --job-name=sweep
#SBATCH --array=1-16
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
#SBATCH --time=04:00:00
#SBATCH --requeue

set -euo pipefail
parts=16  # not SLURM_ARRAY_TASK_COUNT, which is smaller when only some parts are run again

python -m benchmarks sweep eventprop-yinyang \
    --over learning_rate=1e-4:1e-2:log8 --over hidden=50,100,200 --seeds 10 \
    --results results/learning-rate --shard "${SLURM_ARRAY_TASK_ID}/${parts}"
