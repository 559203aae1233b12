# Every target sets up .venv by itself; nothing else is needed but Python 3.11 or newer with venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help setup demo test test-long test-slow lint types docs train benchmark speed clean
.DEFAULT_GOAL := help

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/' | expand -t 20

setup: $(READY)  ## Make .venv with the pinned packages

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "$(PYTHON) is missing or older than 3.11: run make PYTHON=/path/to/a/newer/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "$(PYTHON) cannot make virtual environments (no ensurepip): install your system's python3-venv package" >&2; exit 1; }
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[train,dev]"
	@touch $@

demo: $(READY)  ## Draw the bundled example into out/demo
	$(BIN)/twinset generate --prompt "short hair, smiling, on the beach" \
		--selfie examples/selfie.png --garment examples/garment.png --pose walking \
		--num 4 --seed 7 -o out/demo

test: $(READY)  ## Run the quick tests on two cores, about six minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow and not long" -n 2 --dist worksteal

test-long: $(READY)  ## Run those that take longer: trainings, notebooks, browsers, full runs
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m long -n 2 --dist worksteal

test-slow: $(READY)  ## Run the slow tests only
	$(BIN)/python -m pytest -m slow

lint: $(READY)  ## Check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)  ## Check types
	$(BIN)/pyright

docs: $(READY)  ## Build the documentation as a site into build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

train: $(READY)  ## Train the studio model from nothing
	$(BIN)/twinset train training/studio.toml

benchmark: $(READY)  ## Measure the model on held-out people
	$(BIN)/python -m twinset.benchmarks.joint

speed: $(READY)  ## Measure time and FLOPs against plain Stable Diffusion
	$(BIN)/python -m twinset.benchmarks.speed

clean:  ## Remove .venv, caches and build leftovers (not out/, data/, runs/)
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
