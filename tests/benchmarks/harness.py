"""Paired timings that benchmarks share, and a file of results that can be compared."""

import json
import os
import platform
import sys
import time

import numpy as np
import sklearn
import skorch
import torch

import sklunlearn

__all__ = ["Results", "add_arguments", "clocked", "interleaved", "runs_within"]


def clocked(function):
    """Wall-clock and process time of a call."""
    began = time.perf_counter(), time.process_time()
    function()
    return np.subtract((time.perf_counter(), time.process_time()), began)


def interleaved(functions, n_runs, warm_up=True):
    """Times of shape (n_runs, n_functions, 2), the order being turned round after each run."""
    times = np.empty((n_runs + warm_up, len(functions), 2))
    for i, run in enumerate(times):
        for j in range(len(functions))[:: 1 if i % 2 else -1]:
            run[j] = clocked(functions[j])
    return times[1:] if warm_up else times


def runs_within(seconds, functions, most):
    """How many runs of all functions fit in some time, odd, from 3 to `most`; runs each once."""
    once = sum(clocked(function)[0] for function in functions)
    n_runs = max(3, min(most, int(seconds / max(once, 1e-9))))
    return n_runs - (n_runs % 2 == 0)


def add_arguments(parser):
    """Options that every benchmark with results has."""
    parser.add_argument("--json", metavar="FILE", help="write the results to this file")
    parser.add_argument("--quick", action="store_true", help="the smallest sizes, few runs")


class Results:
    """Prints a line for each measurement and keeps it for a file.

    Times are those of the process, which other programs disturb little. A ratio is the median of
    the ratios of paired runs, ours by theirs: below 1, ours is faster.
    """

    def __init__(self, sides):
        self.sides, self.rows = sides, []
        heads = "".join(f"{side + ', ms':>17}{'ratio':>8}" for side in sides)
        print(f"{'what':28}{'network':12}{'rows':>8}{'runs':>6}{'ours, ms':>12}{heads}")

    def measure(self, name, network, n_rows, functions, *, seconds, most):
        """Time functions by the name of their side, "ours" among them, in turn."""
        n_runs = runs_within(seconds, functions.values(), most)
        times = interleaved(list(functions.values()), n_runs, warm_up=False)[..., 1]
        # A clock that did not move: below what can be measured.
        times = np.maximum(times, 1e-7)
        of = dict(zip(functions, times.T, strict=True))
        medians = {side: float(np.median(own)) for side, own in of.items()}
        ratios = {s: float(np.median(of["ours"] / own)) for s, own in of.items() if s != "ours"}
        row = {"name": name, "network": network, "rows": n_rows, "runs": n_runs}
        self.rows.append({**row, "seconds": medians, "ratio": ratios})
        cells = "".join(
            f"{medians[side] * 1e3:17.2f}{ratios[side]:8.2f}"
            if side in medians
            else f"{'-':>17}{'-':>8}"
            for side in self.sides
        )
        start = f"{name:28}{network:12}{n_rows or '-':>8}{n_runs:6}"
        print(f"{start}{medians['ours'] * 1e3:12.2f}{cells}", flush=True)

    def write(self, path):
        """Write a JSON file, with what the numbers depend on; None: do nothing."""
        if path is None:
            return
        about = {
            "command": " ".join(["python", *sys.argv]),
            "python": platform.python_version(),
            "sklunlearn": sklunlearn.__version__,
            "torch": str(torch.__version__),
            "skorch": skorch.__version__,
            "scikit-learn": sklearn.__version__,
            "numpy": np.__version__,
            "threads": torch.get_num_threads(),
            "cores": os.cpu_count(),
            "load": os.getloadavg(),
        }
        with open(path, "w") as file:
            json.dump({"about": about, "results": self.rows}, file, indent=1)
