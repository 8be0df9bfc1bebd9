# Two commands do everything: `make search` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
JOBS ?= 2
STAMP := $(VENV)/.installed

.PHONY: search test test-faults test-mutations test-blocks audit lint types install clean \
  bench-search bench-tables bench-memory bench-modalities bench-one-shot bench-weights

search: $(STAMP)
	$(BIN)/model_search --filename=data/breast_cancer.csv --label=diagnosis --model_dir=runs \
	  --experiment_name=breast_cancer --experiment_owner=$(shell id -un) --experiment_max_num_trials=20 \
	  --phoenix_train_steps=300 --phoenix_eval_steps=20 --phoenix_batch_size=32 --phoenix_tf_random_seed=1

# Hundreds of processes load the package and the tests: what is compiled is kept, whatever the environment says.
test test-faults: export PYTHONDONTWRITEBYTECODE =

test: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest --numprocesses=$(JOBS) --dist=loadfile --no-loadscope-reorder

test-faults: $(STAMP)
	$(BIN)/python -m pytest tests/faults --full-faults --fault-table=docs/faults.md

test-blocks: $(STAMP)
	$(BIN)/python -m pytest tests/blocks --every-block

test-mutations: $(STAMP)
	$(BIN)/python tests/faults/mutations.py --jobs $(JOBS) $(GUARDS)

audit: $(STAMP)
	$(BIN)/python .ci/audit.py

lint: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP)
	$(BIN)/mypy

bench-search: $(STAMP)
	$(BIN)/python benchmarks/search_bench.py --jobs $(JOBS) --results bench_search.json $(if $(QUICK),--quick) $(BENCH_FLAGS)

bench-tables: $(STAMP)
	$(BIN)/pip install --quiet --editable '.[bench]'
	$(BIN)/python benchmarks/nas_tables.py --seeds 100 --jobs $(JOBS) --plot best_so_far.png $(BENCH_FLAGS)

bench-tabular: $(STAMP)
	$(BIN)/python benchmarks/tabular.py --seeds 3 --results tabular_results.json $(BENCH_FLAGS)

bench-memory: $(STAMP)
	$(BIN)/python benchmarks/memory.py --search --trials 1000 $(BENCH_FLAGS)

bench-one-shot: $(STAMP)
	$(BIN)/python benchmarks/one_shot.py --results one_shot_results $(BENCH_FLAGS)

bench-modalities: $(STAMP)
	$(BIN)/python benchmarks/modalities.py --results modalities.json $(BENCH_FLAGS)
	$(BIN)/python benchmarks/tower_speed.py $(if $(DATASETS),--datasets $(DATASETS))

bench-weights: $(STAMP)
	$(BIN)/python benchmarks/weights.py --seeds 5 $(BENCH_FLAGS)

install: $(STAMP)

$(STAMP): setup.py pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $(STAMP)

clean:
	rm -rf $(VENV) build dist *.egg-info runs
