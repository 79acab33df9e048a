# make demo: the main job on drawn pictures, in two minutes. make test: the tests. make lint: style and types.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
DEMO = demo/out

.PHONY: demo test lint clean

demo: $(VENV)/.runtime
	rm -rf $(DEMO)
	$(BIN)/python -m demo.draw --output=$(DEMO)/pictures
	$(BIN)/python -m convert --checkpoint=demo/narrow_resnet50.pth --output=$(DEMO)/narrow_resnet50
	$(BIN)/python run.py --models=$(DEMO)/narrow_resnet50 --probes=accuracy,spectral \
	  --dataset=drawn=folder:$(DEMO)/pictures --workdir=$(DEMO)/results

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
