# make demo: the whole study in miniature, in three minutes. make test: the tests. make lint: style and types.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
DEMO = demo/out
DRAWN = tfds:$(DEMO)/data/synthetic_conflict/64px_0/1.0.0

.PHONY: demo test lint clean

demo: $(VENV)/.runtime
	rm -rf $(DEMO)
	$(BIN)/python -m biasjax.data.builders.synthetic_conflict --data_dir=$(DEMO)/data --per_category=0
	BIASJAX_CACHE=$(DEMO)/cache $(BIN)/python run.py --config=configs/demo.py
	BIASJAX_CACHE=$(DEMO)/cache $(BIN)/python run.py --config=configs/demo.py \
	  --probes=accuracy,spectral,critical_band,pgd:eps=1:steps=10 --dataset=drawn=$(DRAWN)@validation
	$(BIN)/python run.py --config=configs/miniature.py --table=$(DEMO)/results/results.csv \
	  --categories=demo/zoo/categories.json --output=$(DEMO)/study

test: $(VENV)/.development
	$(BIN)/python -m pytest

lint: $(VENV)/.development
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --level error

clean:
	rm -rf $(VENV) $(DEMO)

$(VENV)/.runtime: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "biasjax needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements.txt
	touch $@

$(VENV)/.development: requirements-dev.txt $(VENV)/.runtime
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements-dev.txt
	touch $@
