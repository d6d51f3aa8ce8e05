# SPDX-License-Identifier: MIT
"""``python -m eqcalc``."""

import sys

from eqcalc.cli import main

if __name__ == "__main__":
    sys.exit(main())
