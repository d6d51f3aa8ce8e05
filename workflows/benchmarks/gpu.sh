#!/usr/bin/env bash
# Check and time everything that runs on a GPU, in one call of a few minutes.
# Needs python3 with torch, ase, numpy, scipy, h5py, safetensors and tqdm; what is
# missing can lie as wheels in the folder .whl, which is then installed beside.
set -euo pipefail
cd "$(dirname "$0")/../.."
if compgen -G ".whl/*.whl" > /dev/null; then
    site=$(mktemp -d)
    python3 -m pip install -q --no-index --no-deps --target "$site" .whl/*.whl
    export PYTHONPATH="$site${PYTHONPATH:+:$PYTHONPATH}"
fi
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
python3 workflows/benchmarks/gpu.py "$@"
