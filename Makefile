# Everything stays in this checkout: programs in .venv, the tests' Kafka in .services, the embedded log in .cutover.
.PHONY: demo test lint bench chaos clean

# The newest Python that the dependencies are built for; give another with `make PYTHON=… demo`.
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3 python; do \
	command -v $$python >/dev/null \
	&& $$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo $$python; break; }; done)
ARGS ?=
# Tests wait for servers more than they work: more of them at once than there are processors. Each has servers of its own.
WORKERS ?= 3
# The tests start hundreds of processes: each module is compiled once, not in every one of them.
unexport PYTHONDONTWRITEBYTECODE

demo: .venv/.demo
	.venv/bin/cutover demo $(ARGS)

test: .venv/.test
	.venv/bin/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

lint: .venv/.test
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

bench: .venv/.bench
	.venv/bin/python -m bench $(ARGS)

# About ten minutes of random faults, at least 200 of them; ARGS="--seed 7 --seconds 60 --log kafka" for others.
chaos: .venv/.test
	.venv/bin/python -m tests.chaos $(ARGS)

clean:
	rm -rf .venv .services .cutover build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer with venv is needed (apt-get install python3-venv)" >&2; exit 2; }
	$(PYTHON) -m venv .venv

.venv/.demo: pyproject.toml | .venv/bin/python
	.venv/bin/pip install --quiet --disable-pip-version-check --editable '.[demo]'
	@touch $@

.venv/.test: pyproject.toml | .venv/bin/python
	.venv/bin/pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@ .venv/.demo

.venv/.bench: pyproject.toml | .venv/bin/python
	.venv/bin/pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@ .venv/.test .venv/.demo
