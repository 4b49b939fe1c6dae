# The project's commands. Needs make and Python 3.11 or newer with venv; everything else goes into $(VENV).
#   make run [CONFIG=FILE]     the registry, on port 5000 of this machine unless the configuration says otherwise
#   make test [ARGS=...]       the test suite, JOBS files at a time; ARGS go to pytest; FULL=1: at full length, as on CI
#   make lint                  style, types, and which folder may import which
#   make reference             docs/commands.md and the manual page, from the commands
#   make docs                  the documents as a site, in build/docs
#   make wheel                 dist/ipfsreg-….whl
#   make clean, make distclean what was built; the virtual environment and the tools too

PYTHON ?= python3
VENV ?= .venv
CONFIG ?=
ARGS ?=
FULL ?=
# More than a small machine has processors: tests of a network program wait most of the time.
JOBS ?= 3
# The processes that run the tests. One that dies, or is ended because its test hangs, is not replaced: a new one would be
# given the same test, and die of it too, without end.
workers := --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder --max-worker-restart 0

bin := $(VENV)/bin
# `compat`: the plain form of an editable installation, which lets twistd find the plugin in the checkout.
install := $(bin)/pip install --quiet --config-settings editable_mode=compat

.PHONY: run test lint docs reference wheel clean distclean

run: $(VENV)/.installed
	$(bin)/twistd -n --pidfile= ipfsreg $(if $(CONFIG),--config "$(CONFIG)")

# What is compiled is kept: rewriting the assertions anew takes each worker longer than many a test.
test: $(VENV)/.installed-test
	env -u PYTHONDONTWRITEBYTECODE $(if $(FULL),IPFSREG_FULL_TESTS=1) $(bin)/python -m pytest $(workers) $(ARGS)

lint: $(VENV)/.installed-test
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy ipfsreg tests bench
	$(bin)/lint-imports --no-cache

docs: $(VENV)/.installed-test
	$(bin)/mkdocs build --quiet

reference: $(VENV)/.installed-test
	$(bin)/python -m docs.commands

wheel: $(VENV)/.installed-test
	$(bin)/python -m build --wheel

$(bin)/python:
	$(PYTHON) -m venv $(VENV)

# The stamps make the installation happen again when, and only when, what it depends on has changed.
$(VENV)/.installed: setup.py pyproject.toml | $(bin)/python
	$(install) --editable .
	touch $@

$(VENV)/.installed-test: setup.py pyproject.toml | $(bin)/python
	$(install) --editable '.[test]'
	touch $@ $(VENV)/.installed

clean:
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find ipfsreg tests bench twisted -name __pycache__ -prune -exec rm -rf {} +
	rm -f twisted/plugins/dropin.cache

distclean: clean
	rm -rf $(VENV) .tools
