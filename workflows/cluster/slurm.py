# SPDX-License-Identifier: MIT
r"""Run a command of eqcalc on workers that are jobs of SLURM, one core each.

    python workflows/cluster/slurm.py --jobs 16 --memory 4GB --time 02:00:00 -- \
        eqcalc label ethanol.xyz ethanol.h5 --method dft --structures 500

The scheduler runs here, as on a login node, and ``--scheduler`` with its address is added to the
command. Jobs that end or are lost are replaced while it runs. The command's files must be in a
folder that the nodes share. Needs dask-jobqueue.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from dask_jobqueue import SLURMCluster


def main() -> int:
    """Start the jobs, run the command, and end them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=4, help="number of jobs, of one core each")
    parser.add_argument("--memory", default="2GB", help="of a job")
    parser.add_argument("--time", default="01:00:00", help="walltime of a job")
    parser.add_argument("--partition", help="of SLURM")
    parser.add_argument("--prologue", action="append", default=[], help="lines of the job script")
    parser.add_argument("command", nargs="+", help="after --")
    options = parser.parse_args()
    with SLURMCluster(
        cores=1,
        processes=1,
        memory=options.memory,
        walltime=options.time,
        queue=options.partition,
        job_script_prologue=options.prologue,
        scheduler_options={"dashboard_address": None},
    ) as cluster:
        cluster.adapt(minimum_jobs=options.jobs, maximum_jobs=options.jobs)
        command = [*options.command, "--scheduler", cluster.scheduler_address]
        print(" ".join(command), file=sys.stderr, flush=True)
        return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
