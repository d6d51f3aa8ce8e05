# SPDX-License-Identifier: MIT
"""JCAMP-DX written by eqcalc, read back by two other programs.

    python -m venv readers && readers/bin/pip install jcamp
    npm install --prefix readers jcampconverter
    python workflows/robustness/jcamp_readers.py readers --output jcamp_readers.json

Writes a spectrum on an even and one on an uneven grid, each with and without errors, as km/mol
and as Raman activity, and records for each reader and file the number of points and the largest
relative difference of abscissa and ordinate. eqcalc needs neither reader.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from eqcalc.spectra import Spectrum, write_spectrum

PYPI = """
import json, sys
from importlib.metadata import version
import jcamp
found = {"version": version("jcamp")}
for path in sys.argv[1:]:
    data = jcamp.readfile(path)
    found[path] = [list(map(float, data["x"])), list(map(float, data["y"]))]
print(json.dumps(found))
"""
NPM = """
const { convert } = require("jcampconverter");
const fs = require("fs");
const text = fs.readFileSync("node_modules/jcampconverter/package.json", "utf8");
const found = { version: JSON.parse(text).version };
for (const path of process.argv.slice(1)) {
  const spectra = convert(fs.readFileSync(path, "utf8")).flatten[0].spectra;
  const data = spectra.length ? spectra[0].data : { x: [], y: [] };
  found[path] = [Array.from(data.x), Array.from(data.y)];
}
console.log(JSON.stringify(found));
"""


def spectra() -> dict[str, Spectrum]:
    """Return the spectra that are written."""
    random = np.random.default_rng(1)
    grids = {"even": np.linspace(0.0, 4000.0, 2001), "uneven": np.sort(random.uniform(0, 4e3, 500))}
    kinds = {"infrared": ("km/mol per cm⁻¹", "IR intensity")}
    kinds["raman"] = ("Å⁴/amu per cm⁻¹", "Raman activity")
    found = {}
    for grid, x in grids.items():
        y = 123.4567890123456 * np.exp(-(((x - 1500.0) / 40.0) ** 2)) + 1e-7 * random.normal(
            size=len(x)
        )
        for kind, (unit, label) in kinds.items():
            for errors in (None, 0.01 * np.abs(y)):
                name = f"{kind}-{grid}{'' if errors is None else '-errors'}"
                found[name] = Spectrum(x, y, unit, label, standard_error=errors)
    return found


def run(command: list[str], code: str, paths: list[str], folder: Path) -> dict:
    """Return what a reader found in the files."""
    result = subprocess.run(
        [*command, code, *paths], capture_output=True, text=True, check=True, cwd=folder
    )
    return json.loads(result.stdout)


def main() -> int:
    """Write, read back, and record the differences; 1 if a reader differs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("readers", type=Path, help="folder with both readers")
    parser.add_argument("--output", type=Path, default=Path("jcamp_readers.json"))
    options = parser.parse_args()
    readers = options.readers.resolve()
    with tempfile.TemporaryDirectory() as folder:
        written = {
            str(write_spectrum(spectrum, Path(folder) / f"{name}.jdx")): spectrum
            for name, spectrum in spectra().items()
        }
        found = {
            "jcamp (PyPI)": run([str(readers / "bin/python"), "-c"], PYPI, list(written), readers),
            "jcampconverter (npm)": run(["node", "-e"], NPM, list(written), readers),
        }
        record, largest = {}, 0.0
        for reader, files in found.items():
            record[reader] = {"version": files["version"]}
            for path, spectrum in written.items():
                x, y = map(np.array, files[path])
                difference = None
                if len(x) == len(spectrum):
                    scale = np.abs(spectrum.values).max()
                    difference = float(
                        max(
                            np.abs(x - spectrum.wavenumber).max() / spectrum.wavenumber.max(),
                            np.abs(y - spectrum.values).max() / scale,
                        )
                    )
                largest = max(largest, np.inf if difference is None else difference)
                record[reader][Path(path).name] = {
                    "points": f"{len(x)} of {len(spectrum)}",
                    "largest_relative_difference": difference,
                }
    options.output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))
    return int(largest > 1e-12)


if __name__ == "__main__":
    sys.exit(main())
