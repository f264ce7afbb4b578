# Each command needs Python >= 3.11 only. It creates the virtual environment that it uses on its first run.
PYTHON ?= python3
CONSTRAINTS ?= constraints.txt
VENV := .make-venv
DEMO_VENV := .demo-venv
BIN := $(VENV)/bin

.PHONY: demo test test-fast test-slow test-all lint words docs dist clean

demo: $(DEMO_VENV)/installed
	$(DEMO_VENV)/bin/sb3-a2c-td compare CartPole-v1 --timesteps 40000 --output demo_output

# must pass before each commit; takes about 7 minutes on 2 cores
test: lint test-fast

# the same and the slow tests; about 20 minutes
test-all: test test-slow

test-fast: $(VENV)/installed
	$(BIN)/pytest -m "not slow and not dist" --durations=25

# property-based tests run again, on more examples
test-slow: export HYPOTHESIS_PROFILE = thorough
test-slow: $(VENV)/installed
	$(BIN)/pytest -m "(slow or hypothesis) and not dist" --durations=25

lint: $(VENV)/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(MAKE) --no-print-directory words

# git grep exits with 1 if no line matches
words:
	@grep -v '^#' .ci/forbidden-words.txt | git grep --untracked -nIE -f - -- . \
		':!.ci/forbidden-words.txt' ':!benchmarks/results' ':!tests/data'; \
	test $$? -eq 1 || { echo 'Forbidden words: .ci/forbidden-words.txt names the words to use instead.'; exit 1; }

# the documentation as a site, in docs/_build/html
docs: $(VENV)/installed
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --builder html docs docs/_build/html

# builds the packages and installs them with the lowest and the newest versions of what they require
dist: $(VENV)/installed
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	$(BIN)/pytest -n 0 -m dist tests/distribution

# what benchmarks/gpu.sh installs on a machine that has PyTorch for CUDA and the usual packages, but no network
gpu_wheels: $(VENV)/installed
	rm -rf $@ $@.part
	$(BIN)/python -m pip download --quiet --no-deps --only-binary=:all: --constraint $(CONSTRAINTS) --dest $@.part \
		stable-baselines3 sb3-contrib gymnasium farama-notifications
	mv $@.part $@

clean:
	rm -rf $(VENV) $(DEMO_VENV) demo_output docs/_build docs/api/generated dist gpu_wheels* lowest.txt newest.txt

$(VENV)/installed: EXTRA := dev
$(DEMO_VENV)/installed: EXTRA := cli,fast,plots
$(VENV)/installed $(DEMO_VENV)/installed: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --quiet --no-compile --constraint $(CONSTRAINTS) --editable '.[$(EXTRA)]'
	touch $@

# other versions of the requirements: make test-slow EXTRA=test CONSTRAINTS=lowest.txt
lowest.txt: pyproject.toml
	sed -n '/^dependencies/,/^]/ s/.*"\(.*\)>=\([^,"]*\).*/\1==\2/p' $< > $@

newest.txt:
	touch $@
