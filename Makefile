# Each command sets up an environment of its own on its first run, from nothing but Python >= 3.11. It is in
# .make-venv, and no other environment is touched.
PYTHON ?= python3
VENV := .make-venv
BIN := $(VENV)/bin

.PHONY: demo test docs clean

demo: $(VENV)/installed
	$(BIN)/python -m benchmarks.demo

test: $(VENV)/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest

docs: $(VENV)/installed
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --builder html docs docs/_build/html

clean:
	rm -rf $(VENV) demo_output docs/_build

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
