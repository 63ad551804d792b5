PYTHON ?= $(firstword $(shell command -v python3.11) $(shell command -v python3))
BIN := .venv/bin

.PHONY: train test clean

train: .venv/installed
	$(BIN)/jbackprop train configs/digits_two_layer.toml

test: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/pytest -n auto --dist loadfile

clean:
	rm -rf .venv build dist runs .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/installed: pyproject.toml
	@echo "installing into .venv, which takes a minute or more ..."
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable ".[train,test]"
	touch $@
