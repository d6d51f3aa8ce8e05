#!/usr/bin/env bash
# Check and time everything that runs on a GPU, in one call of a few minutes: executions, dynamics
# and training (gpu.py), cost against size with boxes of water (scaling.py), every network of
# the papers (qm9/speed.py), compiled programs (gpu.py again, as it takes minutes); where SchNetPack
# can be imported, its dynamics beside those of eqcalc (dynamics_comparison.py). What fails is told
# at the end, after one table of what was aimed at, and the rest goes on. With arguments, which are
# those of gpu.py, only the first.
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
if [ $# -gt 0 ]; then
    exec python3 workflows/benchmarks/gpu.py "$@"
fi

output=${OUT:-runs/gpu}
mkdir -p "$output"
rm -f "$output"/gpu-*.json "$output"/{scaling,schnetpack}.json
failed=()
run() {
    echo "== $*"
    "$@" || failed+=("$*")
}
gpu=(python3 workflows/benchmarks/gpu.py --output "$output")
run timeout 160 "${gpu[@]}" --only \
    executions trajectories steps model dynamics arithmetic training kernels
run timeout 60 python3 workflows/benchmarks/scaling.py --seconds 0.3 \
    --json "$output/scaling.json"
run timeout 40 python3 workflows/qm9/speed.py data/qm9/subset.h5 --device cuda --output "$output"
if python3 -c "import schnetpack.md" 2> /dev/null; then
    run timeout 70 python3 workflows/benchmarks/dynamics_comparison.py --device cuda \
        --replicas 8 --beads 1 43 --repeats 3 --json "$output/schnetpack.json"
fi
run timeout 150 "${gpu[@]}" --only compiled
echo
python3 workflows/benchmarks/gpu_summary.py "$output"
if [ ${#failed[@]} -gt 0 ]; then
    printf 'FAILED: %s\n' "${failed[@]}"
    exit 1
fi
