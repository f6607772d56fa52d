# One virtual environment, made on first use; every target is instant about it afterwards.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
JOBS   ?= 2
OUT    ?= runs/demo
export HF_HUB_OFFLINE ?= 1

.DEFAULT_GOAL := help
.PHONY: help venv demo test check format docs clean

help: ## what each target does
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

venv: $(READY) ## make .venv with all that demo, tests, checks and the benchmarks' peers need

$(READY): pyproject.toml requirements/constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c requirements/constraints.txt -e '.[all-cpu,dev,peers,docs]'
	@touch $@

demo: $(READY) ## RL against MBRL on a real language model, measured here (about 4 minutes)
	$(BIN)/mbrl-split bench run benchmarks/demo.yaml --out $(OUT) --jobs $(JOBS) $(ARGS)

test: $(READY) ## the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) $(ARGS)

check: $(READY) docs ## style, types, layers, and the site
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(READY) ## the site, in site/ (open site/index.html; for its search, `python -m http.server -d site`)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

format: $(READY) ## let ruff arrange the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove what the targets made, except measurements under runs/
	rm -rf $(VENV) site dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
