import os
import random
import select
import signal
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import numpy as np
import pytest
import torch

from sklunlearn import _seeding as seeding
from sklunlearn._seeding import RandomStream, draw_seed, isolated_random_state

# ruff: noqa: NPY002  (the global random state of NumPy is what is tested)


def draws():
    """One number from each global random state."""
    return random.random(), np.random.rand(), torch.rand(()).item()


def expected_draws(seed):
    """The same from generators that have nothing to do with the global states."""
    return (
        random.Random(seed).random(),
        np.random.RandomState(seed).rand(),
        torch.rand((), generator=torch.Generator().manual_seed(seed)).item(),
    )


@pytest.fixture
def global_states():
    """Check that a test leaves the global states as they were."""
    numpy_state = np.random.get_state()
    before = random.getstate(), numpy_state[1].copy(), numpy_state[2], torch.get_rng_state()
    yield
    numpy_state = np.random.get_state()
    assert random.getstate() == before[0]
    np.testing.assert_array_equal(numpy_state[1], before[1])
    assert numpy_state[2] == before[2]
    assert torch.equal(torch.get_rng_state(), before[3])


@pytest.mark.parametrize("seed", [0, 7, 2**31 - 2])
def test_draws_inside_are_those_of_the_seed(global_states, seed):
    with isolated_random_state(seed):
        assert draws() == expected_draws(seed)


def test_states_are_restored_after_an_exception(global_states):
    with pytest.raises(RuntimeError, match="stop"), isolated_random_state(0):
        draws()
        raise RuntimeError("stop")


def test_threads_take_turns(global_states):
    """Each draws what its seed says, however the other one hurries."""
    barrier, expected = Barrier(2), {seed: expected_draws(seed) for seed in (1, 2)}

    def draw(seed):
        barrier.wait()
        found = []
        for _ in range(50):
            with isolated_random_state(seed):
                time.sleep(0.0001)  # lets the other thread in, if anything does
                found.append(draws())
        return found

    with ThreadPoolExecutor(2) as pool:
        for seed, found in zip((1, 2), pool.map(draw, (1, 2)), strict=True):
            assert set(found) == {expected[seed]}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_process_forked_off_while_another_thread_draws():
    inside, done = Event(), Event()

    def hold():
        with isolated_random_state(0):
            inside.set()
            done.wait()

    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(hold)
        inside.wait()
        read, write = os.pipe()
        with warnings.catch_warnings(action="ignore"):  # of Python 3.12: there are threads
            child = os.fork()
        if not child:
            with isolated_random_state(1):
                os.write(write, repr(draws()).encode())
            os._exit(0)
        ready, _, _ = select.select([read], [], [], 20)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        done.set()
        held.result()
    assert ready and os.read(read, 1000).decode() == repr(expected_draws(1))
    os.close(read)
    os.close(write)


def test_what_is_drawn_once(global_states):
    calls = []

    def function():
        calls.append(1)
        return draws()

    expected = expected_draws(1)
    for seed in (1, 1):  # nothing is remembered without the context
        with isolated_random_state(seed):
            assert seeding.draw_once(pytest.fail, function) == expected
    assert len(calls) == 2
    with seeding.shared_draws():
        for key, seed in [("key", 1), ("key", 1), ("other", 1), ("key", 2)]:
            with isolated_random_state(seed):
                assert seeding.draw_once(lambda key=key: key, function) == expected_draws(seed)
                after = draws()
            with isolated_random_state(seed):
                draws()
                assert draws() == after, "the states are those of after the call"
    assert len(calls) == 2 + 3
    with seeding.shared_draws(), isolated_random_state(1):
        seeding.draw_once(lambda: "key", function)
    assert len(calls) == 2 + 4


def test_whether_anything_was_drawn():
    for draw in (random.random, np.random.rand, np.random.randn, lambda: torch.rand(())):
        before = seeding.global_states()
        assert seeding.global_states() == before
        draw()
        assert seeding.global_states() != before


def test_contexts_nest(global_states):
    with isolated_random_state(1):
        with isolated_random_state(2):
            assert draws() == expected_draws(2)
        assert draws() == expected_draws(1)


def test_without_a_seed_every_context_draws_anew(global_states):
    seen = set()
    for _ in range(3):
        with isolated_random_state(None):
            seen.update(draws())
    assert len(seen) == 9


@pytest.mark.parametrize("random_state", [None, 0, 3, np.int64(3)])
def test_seed_of_an_int_or_nothing_is_itself(random_state):
    assert draw_seed(random_state) == random_state


def test_seed_of_an_instance_advances_it():
    instance, other = np.random.RandomState(3), np.random.RandomState(3)
    seeds = [draw_seed(instance), draw_seed(instance)]
    assert seeds == other.randint(2**31 - 1, size=2).tolist()


def test_streams_take_turns_and_each_draws_as_if_it_were_alone(global_states):
    with isolated_random_state(5):
        streams = {seed: RandomStream(seed) for seed in (1, 2)}
        seen = {1: [], 2: []}
        for seed in (1, 2, 2, 1, 2, 1):
            with streams[seed]:
                seen[seed].append(draws())
        with RandomStream(None):  # of another seed each time
            assert draws() not in seen[1] + seen[2]
    for seed, drawn in seen.items():
        with isolated_random_state(seed):
            assert drawn == [draws() for _ in range(3)]
