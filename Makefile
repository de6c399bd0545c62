# The commands of README.md. Each first makes the environment, if it must.

VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# For example --config.num_steps=100.
ARGS ?=
# Processes that run tests side by side.
WORKERS ?= 2

# The first Python that the tested set exists for.
CHECK_PYTHON := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python; do \
  $$python -c '$(CHECK_PYTHON)' 2>/dev/null && { echo $$python; break; }; done)

# Commands leave nothing behind in the checkout but what they are asked for.
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help install train demo test check lint format

help:
	@echo "make train    learn the coloured shapes, write runs/shapes"
	@echo "make demo     a page that shows runs/shapes: captions, boxes, chat"
	@echo "make test     lint and all tests"
	@echo "make check    lint and the fast tests"
	@echo "make lint     ruff: format and rules"
	@echo "make format   ruff: change the files"
	@echo "make install  the environment $(VENV) alone"

install: $(STAMP)

$(STAMP): pyproject.toml requirements.txt
	@$(if $(PYTHON),,echo "Expected a Python 3.11, 3.12 or 3.13 on the PATH and found none: install one, or name it, as in 'make PYTHON=/path/to/python3.12'." >&2; exit 1)
	@$(PYTHON) -c '$(CHECK_PYTHON)' || { echo "Expected Python 3.11, 3.12 or 3.13, found $$($(PYTHON) -V 2>&1): name another, as in 'make PYTHON=/path/to/python3.12'." >&2; exit 1; }
	@rm -f $@
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --requirement requirements.txt
	@# The set above is complete and has setuptools: nothing else is fetched.
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# XLA asks for its scratch memory anew in every step. In huge pages (glibc 2.35
# or newer; ignored elsewhere) that takes the system 100 times fewer faults.
train: export GLIBC_TUNABLES := glibc.malloc.hugetlb=1
train: $(STAMP)
	$(BIN)/python train.py --config=configs/shapes.py --workdir=runs/shapes $(ARGS)

# What `make train` leaves, or another: make demo CHECKPOINT=kosmos-2-patch14-224
CHECKPOINT ?= runs/shapes
demo: $(STAMP)
	@test -e $(CHECKPOINT) || { echo "Expected a checkpoint in $(CHECKPOINT) and found none: run 'make train' first (about 15 minutes on two cores), or name another, as in 'make demo CHECKPOINT=PATH'." >&2; exit 1; }
	$(BIN)/python -m kosmos2_jax.tools.demo --checkpoint=$(CHECKPOINT) $(ARGS)

# Without the last flag, a worker that crashes leaves pytest waiting for ever.
PYTEST := -m pytest -n $(WORKERS) --dist loadfile --max-worker-restart=0

test: lint
	$(BIN)/python $(PYTEST) $(ARGS)

check: lint
	$(BIN)/python $(PYTEST) -m "not slow" $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff format --no-cache --check --diff .
	$(BIN)/ruff check --no-cache .

format: $(STAMP)
	$(BIN)/ruff format --no-cache .
	$(BIN)/ruff check --no-cache --fix .
