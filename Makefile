# make demo: the bundled networks measured and studied, in three minutes. make test: the tests. make lint: style and types.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
DEMO = demo/out

.PHONY: demo test coverage lint clean

demo: $(VENV)/.runtime
	rm -rf $(DEMO)
	$(BIN)/python -m biasjax.data.builders.synthetic_conflict --data_dir=$(DEMO)/data --per_category=0
	$(BIN)/python run.py --config=configs/demo.py --data_dir=$(DEMO)/data --workdir=$(DEMO)/results
	$(BIN)/python run.py --config=configs/miniature.py --table=$(DEMO)/results/results.csv \
	  --categories=demo/zoo/categories.json --output=$(DEMO)/study

test: $(VENV)/.development
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile

coverage: $(VENV)/.development
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --cov --cov-report=term-missing:skip-covered

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
