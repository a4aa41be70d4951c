"""The public data sets, where a checkout has them: tests that need them skip where it has not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REAL_DATA = Path(
    os.environ.get("RESTEM_TEST_DATA", Path(__file__).parents[2] / "shared" / "data")
)

needs_real_data = pytest.mark.skipif(
    not REAL_DATA.is_dir(), reason="the public data sets are not here; set RESTEM_TEST_DATA"
)
