# Every target builds .venv when it is missing or out of date; `make help` lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip
BENCHMARKS := $(sort $(wildcard tests/benchmarks/bench_*.py))

# Two test processes with one thread each: more threads only get in each other's way.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

.DEFAULT_GOAL := help
.NOTPARALLEL:  # pip must not run twice at once in .venv
.PHONY: help demo explorer test bench compare docs notebooks course lint clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.base  ## learn, forget and judge on a small data set
	$(BIN)/python -m sklunlearn

explorer: $(VENV)/.explorer  ## see forgetting happen, in the browser
	$(BIN)/python -m sklunlearn.explorer

test: $(VENV)/.test  ## run the tests and the examples in the docstrings
	$(ONE_THREAD) MPLBACKEND=Agg $(BIN)/python -m pytest -n 2

bench: $(VENV)/.test  ## run every benchmark in turn
	@for script in $(BENCHMARKS); do \
		echo "== $$script"; \
		$(ONE_THREAD) MPLBACKEND=Agg $(BIN)/python "$$script" || exit 1; \
	done

compare: $(VENV)/.test  ## compare all methods on digits and wine
	$(ONE_THREAD) $(BIN)/python tests/benchmarks/compare_methods.py

# -W: a warning is an error. Only pages that changed are built; `make clean` begins anew.
docs: $(VENV)/.docs  ## build the documentation site, docs/_build/html
	$(ONE_THREAD) MPLBACKEND=Agg $(BIN)/python -m sphinx -W --keep-going -q docs docs/_build/html
	@echo "docs/_build/html/index.html; or: $(BIN)/python -m http.server -d docs/_build/html"

notebooks: $(VENV)/.test  ## write the notebooks that the scripts in notebooks/scripts make
	$(BIN)/python notebooks/make_notebooks.py

course: $(VENV)/.course  ## open the course in the browser
	$(BIN)/jupyter lab notebooks

lint: $(VENV)/.dev  ## check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:  ## remove caches and outputs, but not .venv
	rm -rf build dist demo-output compare-output .pytest_cache .ruff_cache
	rm -rf docs/_build docs/auto_examples docs/api/generated docs/api/backreferences docs/api/unlearners.rst \
		docs/course docs/sg_execution_times.rst
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

# Stamps: what is installed in .venv.

# torch goes first and alone, so that the pinned build is the one that everything else finds.
$(VENV)/.base: pyproject.toml constraints.txt
	@echo "Setting up $(VENV) (the first time takes a few minutes)"
	@$(PIP) --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	@$(PIP) install -q -c constraints.txt torch
	@$(PIP) install -q -c constraints.txt -e .
	@touch $@

$(VENV)/.test: $(VENV)/.base
	@$(PIP) install -q -c constraints.txt -e ".[test]"
	@touch $@

$(VENV)/.explorer: $(VENV)/.base
	@$(PIP) install -q -c constraints.txt -e ".[explorer]"
	@touch $@

$(VENV)/.course: $(VENV)/.base
	@$(PIP) install -q -c constraints.txt -e ".[notebooks]"
	@touch $@

$(VENV)/.dev: $(VENV)/.test
	@$(PIP) install -q -c constraints.txt -e ".[dev]"
	@touch $@

$(VENV)/.docs: $(VENV)/.dev
	@$(PIP) install -q -c constraints.txt -e ".[docs]"
	@touch $@
