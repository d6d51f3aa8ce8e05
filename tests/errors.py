# SPDX-License-Identifier: MIT
"""Errors checked by their attributes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from eqcalc.validation import InvalidInputError


@contextmanager
def refused(
    kind: type[InvalidInputError] = InvalidInputError, **attributes: Any
) -> Iterator[pytest.ExceptionInfo[InvalidInputError]]:
    """Expect an error of this kind with these attributes."""
    with pytest.raises(kind) as caught:
        yield caught
    found = {name: getattr(caught.value, name) for name in attributes}
    assert found == attributes
