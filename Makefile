# make demo: the bundled networks measured and studied, in two minutes. make test: the tests. make lint: style and types.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
DEMO = demo/out
LOWEST = .venv-lowest

.PHONY: demo test coverage lint lowest lock clean

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

# The lower ends of pyproject.toml's ranges, in an environment of their own.
lowest: $(VENV)/.development
	rm -rf $(LOWEST)
	$(PYTHON) -m venv $(LOWEST)
	$(BIN)/uv pip compile pyproject.toml --quiet --resolution lowest-direct --output-file $(LOWEST)/requirements.txt
	$(BIN)/uv pip install --quiet --python $(LOWEST)/bin/python -r $(LOWEST)/requirements.txt pip pytest pytest-xdist filelock hypothesis beartype 'setuptools>=77' tensorboardX
	$(LOWEST)/bin/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile

# requirements.txt anew: what it holds stays where the ranges allow, `make lock UPGRADE=--upgrade` takes the newest.
lock: $(VENV)/.development
	$(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --no-annotate \
	  --custom-compile-command "make lock" --output-file requirements.txt $(UPGRADE)

clean:
	rm -rf $(VENV) $(LOWEST) $(DEMO)

$(VENV)/.runtime: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "biasjax needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements.txt
	touch $@

$(VENV)/.development: requirements-dev.txt $(VENV)/.runtime
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements-dev.txt
	touch $@
