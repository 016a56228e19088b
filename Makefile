# make         the environment in .venv (once; again only when its requirements change)
# make demo    train two small models, translate a clip and an utterance, write a page about it
# make test    the quick tests          make test-slow   those that take minutes
# make lint    style, types, import layers               make format   rewrite in the style
# make docs    the documentation as a site, in site/
# make clean   remove what demo, tests and builds left; .venv and runs/ stay

PYTHON ?= $(firstword $(foreach name,python3 python3.13 python3.12 python3.11,\
	$(shell $(name) -c 'import sys; sys.version_info >= (3, 11) and print("$(name)")' 2>/dev/null)) \
	python3)
BIN := .venv/bin
# `make test ARGS="tests/test_core.py -x"` and `make demo ARGS="--only voice"` pass ARGS on.
ARGS ?=

.PHONY: install demo test test-slow lint format docs clean
install: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit( \
	    "cyclegan_media needs Python 3.11 or later, but $(PYTHON) is %d.%d; install a newer one, " \
	    "or name it: make PYTHON=/path/to/python3.12" % sys.version_info[:2])'
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "$(PYTHON) cannot make environments; \
	on Debian and Ubuntu install the package python3-venv" >&2; exit 1; }
	@echo "Making .venv and installing into it: a few minutes, once."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check \
	    --constraint constraints.txt --editable '.[test]'
	@touch $@

demo: install
	$(BIN)/python -m cyclegan_media.demo --out demo-output --overwrite $(ARGS)

test: install
	$(BIN)/pytest $(ARGS)

# Exit code 5: no slow test is among those asked for.
test-slow: install
	$(BIN)/pytest -m slow $(ARGS) || [ $$? -eq 5 ]

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

.venv/.docs: .venv/.installed
	$(BIN)/python -m pip install --disable-pip-version-check \
	    --constraint constraints.txt --editable '.[docs]'
	@touch $@

clean:
	rm -rf build dist site demo-output .pytest_cache .mypy_cache .ruff_cache .import_linter_cache \
	    .hypothesis .coverage
	find cyclegan_media tests -name __pycache__ -type d -prune -exec rm -rf {} +
