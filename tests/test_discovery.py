"""Which methods there are."""

import pkgutil
import re
from pathlib import Path

import pytest
from registry import ALL

from sklunlearn import (
    BoundaryUnlearner,
    ComposedUnlearner,
    RetrainUnlearner,
    all_unlearners,
    unlearners,
)
from sklunlearn.base import BaseUnlearner
from sklunlearn.gradient import GradientUnlearner


class RowsOnly(BoundaryUnlearner):
    request_types = ("rows",)


@pytest.fixture
def offered(monkeypatch):
    """Have the package offer these names and nothing else."""

    def offer(**named):
        for name, item in named.items():
            monkeypatch.setattr(unlearners, name, item, raising=False)
        monkeypatch.setattr(unlearners, "__all__", list(named))

    return offer


def test_every_method_is_in_the_registry_of_the_tests_and_every_row_of_it_is_offered():
    methods = [type(row) for row in ALL if type(row) is not ComposedUnlearner]
    assert all_unlearners() == sorted((method.__name__, method) for method in methods)


def test_every_file_of_the_folder_is_offered():
    files = {module.name for module in pkgutil.iter_modules(unlearners.__path__)}
    assert {method.__module__.rpartition(".")[2] for _, method in all_unlearners()} == files


def test_every_method_has_a_section_in_the_user_guide():
    guide = Path(__file__).resolve().parents[1] / "docs" / "user_guide.md"
    headings = set(re.findall(r"^### (\w+Unlearner)$", guide.read_text(), flags=re.MULTILINE))
    assert headings == {name for name, _ in all_unlearners()}


def test_every_method_is_made_for_something():
    for name, method in all_unlearners():
        assert isinstance(method.request_types, tuple), name
        assert method.request_types, name
        assert set(method.request_types) <= {"class", "rows"}, name


def test_sorted_by_name(offered):
    offered(RetrainUnlearner=RetrainUnlearner, BoundaryUnlearner=BoundaryUnlearner)
    assert [name for name, _ in all_unlearners()] == ["BoundaryUnlearner", "RetrainUnlearner"]


def test_only_what_is_an_unlearner_and_can_be_used(offered):
    offered(
        BaseUnlearner=BaseUnlearner,
        GradientUnlearner=GradientUnlearner,
        RetrainUnlearner=RetrainUnlearner,
        helper=len,
        instance=RetrainUnlearner(),
        other=dict,
    )
    assert all_unlearners() == [("RetrainUnlearner", RetrainUnlearner)]


def test_kind_of_request(offered):
    offered(RetrainUnlearner=RetrainUnlearner, RowsOnly=RowsOnly)
    assert [name for name, _ in all_unlearners("class")] == ["RetrainUnlearner"]
    assert [name for name, _ in all_unlearners("rows")] == ["RetrainUnlearner", "RowsOnly"]
    assert all_unlearners(None) == all_unlearners("rows")


@pytest.mark.parametrize("request_type", ["classes", "", 3, ("class", "rows")])
def test_unknown_kind_of_request(request_type):
    with pytest.raises(ValueError) as error:
        all_unlearners(request_type)
    for word in ("request_type", "'class'", "'rows'", "None", repr(request_type)):
        assert word in str(error.value)
