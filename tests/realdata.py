"""Real data sets that lie beside the project, where somebody has put them."""

import os
from pathlib import Path

FOLDER = Path(
    os.environ.get("SKLUNLEARN_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")
)


def find_data(name):
    """Path of a file of the data folder, or None where it is missing."""
    path = FOLDER / name
    return path if path.is_file() else None
