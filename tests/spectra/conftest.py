# SPDX-License-Identifier: MIT
import numpy as np
import pytest

from eqcalc.spectra import infrared
from tests.spectra.oscillators import oscillator, vector


@pytest.fixture
def spectrum():
    x = vector(oscillator(1000.0, n_frames=3000, n_replicas=6))
    x = x * np.array([0.6, 0.8, 1.0, 1.2, 1.1, 0.9])[:, None, None]
    kw = {"interval": 1.0, "temperature": 300.0, "unit": "e*Å", "n_samples": 50}
    # with a warning and a history
    return infrared(x, method="Langevin", quantum_factor="standard", **kw) * 1.5
