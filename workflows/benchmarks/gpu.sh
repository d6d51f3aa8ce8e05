#!/usr/bin/env bash
# Check and time everything that runs on a GPU, in one call of a few minutes: executions, dynamics
# and training (gpu.py), cost against size with boxes of water (scaling.py), and every network of
# the papers (qm9/speed.py); where SchNetPack can be imported, its dynamics beside those of eqcalc
# (dynamics_comparison.py). With arguments, which are those of gpu.py, only the first.
# Needs python3 with torch, ase, e3nn, numpy, scipy, h5py, safetensors, sympy, tqdm and vesin; what
# is missing can lie as wheels in the folder .whl, which is then installed beside.
set -euo pipefail
cd "$(dirname "$0")/../.."
if compgen -G ".whl/*.whl" > /dev/null; then
    site=$(mktemp -d)
    python3 -m pip install -q --no-index --no-deps --target "$site" .whl/*.whl
    export PYTHONPATH="$site${PYTHONPATH:+:$PYTHONPATH}"
fi
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
python3 workflows/benchmarks/gpu.py "$@"
if [ $# -eq 0 ]; then
    python3 workflows/benchmarks/scaling.py --seconds 0.3
    python3 workflows/qm9/speed.py data/qm9/subset.h5 --device cuda --output runs/gpu
    if python3 -c "import schnetpack.md" 2> /dev/null; then
        python3 workflows/benchmarks/dynamics_comparison.py --device cuda --replicas 8 \
            --beads 1 43 --repeats 3
    fi
fi
