"""Thirty people press *Unlearn* at once: do all finish, how long do they wait, what stays?

Run it with ``python tests/benchmarks/bench_explorer.py [users]``. Threads stand for people: each
has a session, runs one method on the digits, sees the retrained network, and leaves. After a first
class that fills the caches, a second and a third show whether memory grows.
"""

import gc
import sys
import threading
import time

import psutil
import torch

from sklunlearn.explorer._sessions import Lab, Session

METHODS = ("BoundaryUnlearner", "NegGradUnlearner", "FineTuneUnlearner", "RandomLabelUnlearner")


def person(lab, i, waits, errors):
    session = Session(lab)
    began = time.perf_counter()
    job = session.start(METHODS[i % len(METHODS)])
    job.done.wait()
    waits[i] = time.perf_counter() - began
    if job.error is None:
        job = session.start_reference(job.result)
        job.done.wait()
    errors[i] = job.error
    session.close()


def lesson(lab, n_users):
    waits, errors = [None] * n_users, [None] * n_users
    threads = [
        threading.Thread(target=person, args=(lab, i, waits, errors)) for i in range(n_users)
    ]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.collect()
    memory = psutil.Process().memory_info().rss / 2**20
    n_finished = sum(error is None for error in errors)
    print(
        f"{n_finished} of {n_users} finished; slowest result after {max(waits):.1f} s, all done "
        f"after {time.perf_counter() - began:.1f} s; memory {memory:.0f} MiB",
        flush=True,
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    lab = Lab()
    for _ in range(3):
        lesson(lab, int(sys.argv[1]) if len(sys.argv) > 1 else 30)
