# Each command sets up an environment of its own on its first run, from nothing but Python >= 3.11. It is in
# .make-venv, and no other environment is touched.
PYTHON ?= python3
VENV := .make-venv
BIN := $(VENV)/bin

.PHONY: demo test docs dist clean

demo: $(VENV)/installed
	$(BIN)/sb3-a2c-td compare CartPole-v1 --output demo_output

test: $(VENV)/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest

# the documentation as a site, in docs/_build/html
docs: $(VENV)/installed
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --builder html docs docs/_build/html

# builds the packages and installs them beside the lowest and the newest versions of what they require
dist: $(VENV)/installed
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	$(BIN)/pytest -n 0 -m dist tests/distribution

clean:
	rm -rf $(VENV) demo_output docs/_build dist

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
