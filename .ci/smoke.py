# SPDX-License-Identifier: MIT
"""What an installed wheel must do in an empty folder: its own check, a spectrum, the README."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import eqcalc

installed = Path(sys.argv[1]).resolve()
assert Path(eqcalc.__file__).resolve().is_relative_to(installed), eqcalc.__file__
# its kernels are in it: nothing is compiled
with tempfile.TemporaryDirectory() as cache:
    environment = {**os.environ, "EQCALC_CACHE": cache, "PATH": ""}
    doctor = [sys.executable, "-m", "eqcalc", "doctor"]
    said = subprocess.run(doctor, check=True, env=environment, capture_output=True, text=True)
    print(said.stdout)
    assert not list(Path(cache).glob("kernels-*"))
    fused = next(line for line in said.stdout.splitlines() if line.startswith("fused"))
    assert "cannot be used" not in fused, fused

# an oscillator at 1000 cm⁻¹: its band is where it belongs
period = 33.3564  # fs
times = np.arange(8192) * 0.5
phases = np.random.default_rng(1).uniform(0.0, 2.0 * np.pi, 16)
dipole = np.zeros((16, len(times), 3))
dipole[:, :, 0] = 0.1 * np.cos(2.0 * np.pi * times / period + phases[:, None])
spectrum = eqcalc.infrared(
    dipole, interval=0.5, temperature=300.0, unit="e*Å", method="NVE", resolution=20.0
)
peak = spectrum.wavenumber[int(np.argmax(spectrum.values))]
assert abs(peak - 1000.0) < 5.0, peak
print(f"installed wheel of eqcalc {eqcalc.__version__}: band at {peak:.0f} cm⁻¹")

# the examples of the README find all they need in it
readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
names: dict[str, object] = {}
for code in re.findall(r"^```python\n(.*?)^```", readme, re.DOTALL | re.MULTILINE):
    exec(compile(code, "README.md", "exec"), names)
