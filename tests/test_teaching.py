"""The assignment of the course: its checks pass a solution and find what is wrong."""

import inspect
import os
import subprocess
import sys

import pytest
import solved_assignment
from pages import DOCS, run_page

FOLDER = DOCS / "teaching"
# What students get wrong: by the task, what stands in the solution and what stands there instead.
MISTAKES = {
    "walks back to the own class": (1, "x.detach() + step_size", "x.detach() - step_size"),
    "walks on after the crossing": (1, "(labels < 0) & (across", "(across"),
    "asks for the row's own class": (1, "others[arrived]", "logits.argmax(dim=1)[arrived]"),
    "does not add up over classes": (2, "-log_p.mean()", "-log_p.sum(dim=1).mean()"),
    "has no weight for retain rows": (2, "self.retain_weight * ", ""),
    "thinks there are always retain rows": (2, "if retain is not None:", "if True:"),
    "loses ties": (3, " + 0.5 * (member_losses == other_losses).mean()", ""),
    "takes a high loss for a member": (3, "member_losses < other", "member_losses > other"),
    "compares networks with themselves": (4, "in retrained[:i]]", "in retrained]"),
    "adds up over rows": (4, ".sum(axis=1).mean()", ".sum()"),
}
SOLUTION = inspect.getsource(solved_assignment)


@pytest.fixture(scope="module")
def checks():
    sys.path.insert(0, str(FOLDER))
    import check_assignment

    yield check_assignment
    sys.path.remove(str(FOLDER))


def failures(checks, path):
    """Names of the checks that an assignment fails, called as pytest calls them."""
    answer, failed = checks.load(path), []
    for name, check in vars(checks).items():
        if not name.startswith("test_"):
            continue
        marks = getattr(check, "pytestmark", [])
        values = [{"retain_weight": value} for value in marks[0].args[1]] if marks else [{}]
        for arguments in values:
            try:
                check(answer, **arguments)
            except Exception:
                failed.append(name)
    return failed


def test_the_solution_passes(checks):
    assert failures(checks, solved_assignment.__file__) == []


def test_every_blank_fails(checks):
    names = {name for name in vars(checks) if name.startswith("test_")}
    assert set(failures(checks, FOLDER / "assignment.py")) == names


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_typical_mistake_is_found_in_its_task(checks, mistake, tmp_path):
    task, right, wrong = MISTAKES[mistake]
    assert SOLUTION.count(right) == 1
    path = tmp_path / "assignment.py"
    path.write_text(SOLUTION.replace(right, wrong))
    failed = failures(checks, path)
    assert failed and all(name.startswith(f"test_{task}_") for name in failed)


def test_the_command_of_the_students():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "check_assignment.py"]
    environment = {**os.environ, "ASSIGNMENT": solved_assignment.__file__}
    run = subprocess.run(command, cwd=FOLDER, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout


def test_the_blanks_have_the_arguments_of_the_solution(checks):
    blank = checks.load(FOLDER / "assignment.py")
    for name in ("walk_across", "membership_auc", "gap_and_floor"):
        expected = inspect.signature(getattr(solved_assignment, name))
        assert inspect.signature(getattr(blank, name)) == expected


def test_the_answers_of_the_exam():
    names = {}
    run_page("teaching.md", names)
    answers = names["answers"]
    steps, point, label = answers[1]
    assert (steps, label) == (2, 2) and point == pytest.approx([0.488, 0.512], abs=5e-4)
    assert answers[3] == pytest.approx((0.8125, 0.041), abs=5e-4)
    assert answers[4] == pytest.approx(0.894, abs=5e-4)
    assert answers[5] == pytest.approx((0.156, 0.133, 3.36), abs=5e-3)
    assert answers[6][0] == pytest.approx([0.731, 0.269], abs=5e-4)
    assert answers[6][1] == pytest.approx(1.857, abs=5e-4)
    assert answers[8] == pytest.approx((0.383, 0.040), abs=5e-4)
    assert answers[9] == pytest.approx((4.385, 2.280, 11), abs=5e-4)
