"""Errors at any line of the package leave models, files and logs as before or after the call."""

import json
import os
import subprocess
import sys
from pathlib import Path

FAULTS = Path(__file__).parent / "faults" / "interrupt_calls.py"
# For a longer look, SKLUNLEARN_KILLS=1000.
N_ERRORS = int(os.environ.get("SKLUNLEARN_KILLS", "36"))


def test_errors_at_random_lines():
    result = subprocess.run(
        [sys.executable, FAULTS, str(N_ERRORS)], capture_output=True, text=True, check=True
    )
    total = json.loads(result.stdout)
    assert total["problems"] == []
    assert sum(sum(counts.values()) for counts in total["counts"].values()) == N_ERRORS
