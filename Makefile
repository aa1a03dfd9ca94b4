# From a fresh clone with nothing but Python and make: each target makes .venv when
# there is none, installs what it needs, and starts at once the next time.

PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
# Two processes or more, each with test files of its own; ARGS="-n0" runs all in one.
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses=8 --dist loadfile \
	--no-loadscope-reorder --durations=12
BENCHMARKS := $(wildcard benchmarks/speed/[a-z]*.py)

TF_CPP_MIN_LOG_LEVEL ?= 2
export TF_CPP_MIN_LOG_LEVEL
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help demo test test-slow lint format bench clean

help:  ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile
	@echo 'ARGS="..." goes to the program: make demo ARGS="--help", make test ARGS="-k loss"'
	@echo 'PYTHON=python3.11 makes .venv with that Python; remove .venv to start afresh'

demo: $(VENV)/.demo  ## Distil a teacher into a small student on real data, and measure it
	$(BIN)/python examples/quickstart.py $(ARGS)

test: $(VENV)/.dev  ## Run the tests
	$(PYTEST) $(ARGS)

test-slow: $(VENV)/.dev  ## Run the tests that `make test` leaves out
	$(PYTEST) -m slow $(ARGS)

lint: $(VENV)/.dev  ## Check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.dev  ## Fix what `make lint` can fix by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev  ## Run the speed benchmarks: ratios of interleaved runs, as JSON lines
	$(if $(BENCHMARKS),,$(error benchmarks/speed holds no benchmark yet))
	@set -e; for file in $(BENCHMARKS); do echo "$$file"; $(BIN)/python "$$file" $(ARGS); done

clean:  ## Remove caches and build products (.venv stays)
	rm -rf .cache .hypothesis .pytest_cache .ruff_cache build dist *.egg-info
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

# A stamp is touched after a whole install only, so an interrupted one is done again.
# `demo` is an extra of its own: trying the package needs no test or lint tools.
# `dev` includes it.
$(VENV)/.demo: setup.py
	$(call install,demo)
	@touch $@

$(VENV)/.dev: setup.py
	$(call install,dev)
	@touch $(VENV)/.demo $@

# Where pip does not run there is no .venv yet, or the rest of an interrupted one.
define install
@$(BIN)/python -m pip --version >/dev/null 2>&1 || \
{ $(call require_python,$(PYTHON),make $(MAKECMDGOALS) PYTHON=/path/to/python3.11); \
  $(PYTHON) -m venv $(VENV); }
@$(call require_python,$(BIN)/python,rm -rf $(VENV))
@echo "Installing keras_kd[$(1)] into $(VENV): minutes the first time ..."
$(BIN)/python -m pip install -qq --editable '.[$(1)]'
endef

define require_python
$(1) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
{ echo "keras_kd needs Python 3.11 or newer; $(1) is older or missing. Fix: $(2)" >&2; exit 1; }
endef
