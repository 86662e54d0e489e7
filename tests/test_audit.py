import hashlib
import hmac
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from test_files import full_disk
from torch.utils.data import TensorDataset

from sklunlearn import NegGradUnlearner
from sklunlearn.audit import append_records, verify_records, was_forgotten
from sklunlearn.exceptions import AuditLogError

KILLS = int(os.environ.get("SKLUNLEARN_KILLS", "21"))
FAULTS = Path(__file__).parent / "faults" / "kill_writers.py"


@pytest.fixture
def log(tmp_path):
    return tmp_path / "requests.jsonl"


@pytest.fixture
def five(log):
    """A log of five lines: its path and the lines."""
    for i in range(5):
        append_records(log, {"requested_at": str(i), "n_forget": 1}, [[float(i)]], forget=[0])
    return log, log.read_bytes().splitlines(keepends=True)


@pytest.fixture
def unlearner(trained_net, X, y):
    return NegGradUnlearner(FrozenEstimator(trained_net), max_epochs=1, random_state=0).fit(X, y)


def entries_of(log):
    return [json.loads(line) for line in log.read_text().splitlines()]


# What is written


def test_each_request_is_written_once(unlearner, X, y, log):
    for rows in ([1, 2], [3]):
        unlearner.partial_unlearn(X, y, forget=rows)
        append_records(log, unlearner, X, forget=rows)
    with pytest.raises(ValueError, match="has the last record already"):
        append_records(log, unlearner, X, forget=[3])
    assert append_records(log, unlearner) == entries_of(log)[-1]["digest"]
    entries = entries_of(log)
    assert [entry["id"] for entry in entries] == [1, 2]
    assert [entry["record"] for entry in entries] == unlearner.records_
    assert [len(entry["rows"]["digests"]) for entry in entries] == [2, 1]


def test_the_chain_and_the_digests_by_hand(five):
    log, lines = five
    previous = "0" * 64
    for i, line in enumerate(lines):
        head, _, digest = line.decode().rstrip("\n").rpartition(', "digest": ')
        entry = json.loads(line)
        assert json.loads(digest.removesuffix("}")) == entry["digest"]
        assert hashlib.sha256(f"{head}}}".encode()).hexdigest() == entry["digest"]
        assert entry["previous"] == previous
        previous = entry["digest"]
        row = np.array([i], dtype="<f4").tobytes()
        expected = hmac.new(bytes.fromhex(entry["rows"]["salt"]), row, hashlib.sha256).hexdigest()
        assert entry["rows"]["digests"] == [expected]
    assert verify_records(log) == previous


def test_metrics(unlearner, X, y, log):
    unlearner.unlearn(X, y, forget=[0])
    metrics = {"before": {"accuracy": np.float32(0.5)}, "after": {"accuracy": 1}}
    append_records(log, unlearner, metrics=metrics)
    assert entries_of(log)[0]["metrics"] == {"before": {"accuracy": 0.5}, "after": {"accuracy": 1}}


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"X": [[0.0]]}, "only together"),
        ({"forget": [0]}, "only together"),
        ({"X": [[0.0], [1.0]], "forget": [0, 1]}, "marks 2 rows, but the last request .* 1:"),
        ({"X": [[0.0]], "forget": [1]}, "indices go from 0 to 0"),
        ({"X": [0.0], "forget": [0]}, r"for one row pass \[x\]"),
        ({"metrics": {"now": {}}}, '"before"'),
        ({"metrics": {"after": {"accuracy": np.nan}}}, "must be a finite number, got nan"),
        ({"metrics": {"after": {"accuracy": "high"}}}, "must be a finite number, got 'high'"),
    ],
)
def test_bad_input_adds_nothing(five, kwargs, message):
    log, lines = five
    with pytest.raises(ValueError, match=message):
        append_records(log, {"requested_at": "now", "n_forget": 1}, **kwargs)
    assert log.read_bytes() == b"".join(lines)


def test_only_records(unlearner, X, y, log):
    released = unlearner.unlearn(X, y, forget=[0]).release()
    for other in (released, 3, ["x"]):
        with pytest.raises(TypeError, match="must have `records_`"):
            append_records(log, other)
    with pytest.raises(TypeError, match="JSON"):
        append_records(log, {"rows": X})
    assert not log.exists()


# Was this row forgotten?


def test_rows_are_found_whatever_holds_them(unlearner, X, y, log):
    X = np.concatenate([X, [[-0.0, np.nan, 1e-40, 3.3]]]).astype("float32")
    append_records(log, {"requested_at": "1"}, X, forget=[4, 75])
    append_records(log, {"requested_at": "2"}, pd.DataFrame(X, columns=list("abcd")), forget=[4])
    dataset = TensorDataset(torch.from_numpy(X), torch.zeros(76))
    append_records(log, {"requested_at": "3"}, dataset, forget=[5])
    expected = [[1, 2], [3], [], [1]]
    rows = X[[4, 5, 6, 75]]
    rows[3, :2] = 0.0, -np.float32(np.nan)
    for held in (rows, rows.astype("float64"), torch.from_numpy(rows), rows.tolist()):
        assert was_forgotten(log, held) == expected
    assert was_forgotten(log, pd.DataFrame(rows)) == expected
    assert was_forgotten(log, X[4:6] + np.float32(1e-3)) == [[], []]
    halves = torch.from_numpy(X).bfloat16()
    append_records(log, {"requested_at": "4"}, halves, forget=[7])
    for held in (halves[[7]], halves[[7]].float().numpy().astype(">f8")):
        assert was_forgotten(log, held) == [[4]]


def test_images_and_texts(log):
    images = np.arange(24, dtype="float32").reshape(2, 3, 2, 2)
    append_records(log, {"requested_at": "1"}, images, forget=[1])
    append_records(log, {"requested_at": "2"}, ["a text", "another"], forget=[0])
    assert was_forgotten(log, images) == [[], [1]]
    assert was_forgotten(log, ["a text", "a txt"]) == [[2], []]


def test_the_same_row_has_another_digest_in_each_record(log):
    for i in range(2):
        append_records(log, {"requested_at": str(i)}, [[1.0]], forget=[0])
    one, other = (entry["rows"] for entry in entries_of(log))
    assert not set(one["digests"]) & set(other["digests"])
    assert len(bytes.fromhex(one["salt"])) == 16


def test_the_log_has_no_rows_and_nothing_of_their_places(unlearner, X, y, log):
    unlearner.unlearn(X, y, forget=[0, 10, 20, 30])
    append_records(log, unlearner, X, forget=[0, 10, 20, 30])
    (entry,) = entries_of(log)
    assert entry["rows"]["digests"] == sorted(entry["rows"]["digests"])
    assert "indices" not in entry["rows"]
    assert not re.search(r"5\.09|4\.90", log.read_text())


def test_records_without_digests_are_named(log, X):
    append_records(log, {"requested_at": "1"})
    append_records(log, {"requested_at": "2"}, X, forget=[0])
    with pytest.warns(UserWarning, match=r"The records \[1\] .* have no digests"):
        assert was_forgotten(log, X[:2]) == [[2], []]
    with pytest.raises(ValueError, match=r"\(4,\), expected \(n_samples, ...\)"):
        was_forgotten(log, X[0])


# A log that is not as it was


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a, b, c, d, e: [a, b.replace(b'"n_forget": 1', b'"n_forget": 2'), c, d, e],
         "line 2 was edited"),
        (lambda a, b, c, d, e: [a, b, c, d, e.replace(b"id", b"ID")], "line 5 was edited"),
        (lambda a, b, c, d, e: [a, b, d, e], "line 3, which has id 4 where 3 .* has id 3[^0-9]"),
        (lambda a, b, c, d, e: [b, c, d, e], "line 1, which has id 2 where 1 .* has id 1[^0-9]"),
        (lambda a, b, c, d, e: [a, c, b, d, e], "line 2, which has id 3 .*line 3, which has id 2"),
        (lambda a, b, c, d, e: [a, b, b, c, d, e], "^[^;]*line 3 repeats line 2[^;]*$"),
        (lambda a, b, c, d, e: [a, b, c, d, e, a], "line 6 repeats line 1"),
        (lambda a, b, c, d, e: [a, b, b"{}\n", c, d, e], "line 3 was edited"),
        (lambda a, b, c, d, e: [a, b, b"\n", c, d, e], "line 3 was edited"),
        (lambda a, b, c, d, e: [a, b, c, d, e[:-9]], "line 5 is incomplete"),
        (lambda a, b, c, d, e: [a, b, c, d, e, b'{"id"'], "line 6 is incomplete"),
    ],
)  # fmt: skip
def test_every_change_is_found_and_named(five, change, message):
    log, lines = five
    log.write_bytes(b"".join(change(*lines)))
    with pytest.raises(AuditLogError, match=message):
        verify_records(log)
    with pytest.raises(AuditLogError, match=message):
        was_forgotten(log, [[0.0]])


@pytest.mark.parametrize(
    "changes",
    [
        {"id": True},
        {"id": "5"},
        {"rows": {"salt": "not hexadecimal", "digests": []}},
        {"rows": {"salt": "00"}},
        {"rows": {"salt": "00", "digests": [[]]}},
        {"rows": 1},
        {"rows": None},
    ],
)
def test_a_line_that_append_records_never_makes_was_edited(changes, five):
    log, lines = five
    log.write_bytes(b"".join([*lines[:4], signed(lines[4], **changes)]))
    for look in (verify_records, lambda log: was_forgotten(log, [[0.0]])):
        with pytest.raises(AuditLogError, match="line 5 was edited"):
            look(log)


def test_a_forged_id_may_be_as_large_as_it_likes(five):
    log, lines = five
    log.write_bytes(b"".join([*lines[:2], signed(lines[3], id=10**15)]))
    with pytest.raises(AuditLogError, match=r"no whole line has id 3 to 999999999999999\."):
        verify_records(log)


def signed(line, **changes):
    """A line after changes, with a digest that is right."""
    body = {**json.loads(line), **changes}
    del body["digest"]
    digest = hashlib.sha256(json.dumps(body).encode()).hexdigest()
    return json.dumps({**body, "digest": digest}).encode() + b"\n"


def test_who_computes_digests_anew_must_write_all_that_follows(five):
    log, lines = five
    lines[2] = signed(lines[2], record={"n_forget": 7})
    log.write_bytes(b"".join(lines))
    with pytest.raises(AuditLogError, match="line 4, which has id 4"):
        verify_records(log)
    inserted = signed(lines[1], previous=json.loads(lines[1])["digest"], id=3)
    log.write_bytes(b"".join([*lines[:2], inserted, *lines[2:]]))
    with pytest.raises(AuditLogError, match="line 4, which has id 3 where 4"):
        verify_records(log)
    log.write_bytes(lines[0] + signed(lines[1], id=3))
    with pytest.raises(AuditLogError, match="line 2 has id 3, expected 2"):
        verify_records(log)


def test_lines_dropped_at_the_end_need_a_digest_that_was_kept(five):
    log, lines = five
    kept = verify_records(log)
    assert verify_records(log, last_digest=kept) == kept
    append_records(log, {"requested_at": "later"})
    assert verify_records(log, last_digest=kept) != kept, "what was added since is no fault"
    for n in range(5):
        log.write_bytes(b"".join(lines[:n]))
        verify_records(log)
        with pytest.raises(AuditLogError, match=f"its end was dropped.* has {n} lines"):
            verify_records(log, last_digest=kept)


def test_every_flipped_byte_is_found(five):
    log, lines = five
    content, rng = b"".join(lines), np.random.default_rng(0)
    for place in {*rng.integers(len(content), size=300).tolist(), len(content) - 1}:
        damaged = bytearray(content)
        damaged[place] ^= int(rng.integers(1, 256))
        log.write_bytes(damaged)
        with pytest.raises(AuditLogError):
            verify_records(log)


def test_nothing_is_added_to_a_log_that_was_changed(five):
    log, lines = five
    log.write_bytes(b"".join([lines[1], *lines[2:]]))
    before = log.read_bytes()
    with pytest.raises(AuditLogError, match="go on in a copy"):
        append_records(log, {"requested_at": "new"})
    assert log.read_bytes() == before


def test_a_log_that_is_missing_or_something_else(tmp_path):
    with pytest.raises(FileNotFoundError):
        verify_records(tmp_path / "missing")
    (tmp_path / "other").write_bytes(b"\x80\x04\x95\n\xff")
    with pytest.raises(AuditLogError, match=r"line 1 was edited.*line 2 is incomplete"):
        verify_records(tmp_path / "other")
    (tmp_path / "empty").touch()
    assert verify_records(tmp_path / "empty") == "0" * 64


# Crashes


def test_a_line_cut_anywhere_is_taken_away_by_the_next_append_which_notes_it(five):
    log, lines = five
    whole = b"".join(lines[:4])
    for length in range(1, len(lines[4]) - 1, 7):
        log.write_bytes(whole + lines[4][:length])
        with pytest.raises(AuditLogError, match="line 5 is incomplete"):
            verify_records(log)
        with pytest.warns(UserWarning, match=f"was cut short.* its {length} bytes"):
            digest = append_records(log, {"requested_at": "next"})
        assert verify_records(log) == digest
        assert log.read_bytes().startswith(whole)
        assert entries_of(log)[4]["dropped_bytes"] == length


def test_a_line_of_which_only_the_end_is_missing_is_kept(five):
    log, lines = five
    log.write_bytes(b"".join(lines).rstrip(b"\n"))
    append_records(log, {"requested_at": "next"})
    assert log.read_bytes().startswith(b"".join(lines))
    assert verify_records(log) == entries_of(log)[5]["digest"]


def test_what_was_returned_from_is_on_the_disk(log, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
    for i in range(2):
        append_records(log, {"requested_at": str(i)})
        assert log.stat().st_size in synced
    assert len(synced) == 3, "the file twice, its new folder once"


@pytest.mark.parametrize("room", [0, 1, 100])
def test_a_full_disk_leaves_the_log_as_it_was(five, room):
    log, lines = five
    content = b"".join(lines)
    with full_disk(len(content) + room), pytest.raises(OSError, match="File too large"):
        append_records(log, {"requested_at": "next"})
    assert log.read_bytes() == content


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_processes_leave_whole_files_and_those_that_write_at_once_one_chain(tmp_path):
    command = [sys.executable, FAULTS, tmp_path, str(KILLS)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    counts = json.loads(result.stdout)
    assert counts["kills"] == KILLS
    assert counts["in_atomic_write"] + counts["in_save_model"] > 0, "no kill met a write"
    assert counts["appended"] > 0
    assert counts["appended_at_once"] == 3 * 40
