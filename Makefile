# Holdfast. `make help` says what there is. Nothing here needs more than Python 3.11, git and make.

PYTHON ?= python3
DATA ?= ./data
JOBS ?= 2
TARGET ?= all
SECONDS ?= 60
ARGS ?=
ROUNDS ?= 60

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help run test check format bench demo outages crashes simulate fuzz docs-config clean

help: ## Say what there is.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  DATA=DIR      where make run keeps its data (now $(DATA))"
	@echo "  JOBS=N        processes of make test (now $(JOBS))"
	@echo "  ROUNDS=N      rounds of make crashes (now $(ROUNDS))"
	@echo "  TARGET=NAME   what make fuzz tries (now $(TARGET)), for SECONDS=N each (now $(SECONDS))"
	@echo "  ARGS='...'    more arguments, for example: make test ARGS='-k durable'"
	@echo "  PYTHON=PATH   the Python to use, 3.11 or newer"

run: $(VENV)/.run ## Set up what is missing and serve S3 on 127.0.0.1:9000.
	@exec $(BIN)/holdfast serve --data '$(DATA)' $(ARGS)

test: $(VENV)/.npm ## Set up what is missing and run all tests.
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

check: $(VENV)/.test ## Formatting, lint, types and the house rules.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_house.py

format: $(VENV)/.test ## Bring the sources into form.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.test ## Measure, as JSON lines in bench/results.
	$(BIN)/python -m bench $(ARGS)

demo: $(VENV)/.run ## Show what happens when a provider dies: under a minute, nothing is left behind.
	@exec $(BIN)/holdfast demo $(ARGS)

outages: $(VENV)/.test ## Play every outage and write docs/outages.md and .svg (three quarters of an hour); ARGS='refused slow' plays some, ARGS=--list shows them.
	$(BIN)/holdfast lab $(or $(ARGS),--write docs)

crashes: $(VENV)/.test ## Kill it ROUNDS times in each of seven ways, and lose power at every flush of three runs (60: about an hour).
	HOLDFAST_CRASH_ROUNDS=$(ROUNDS) HOLDFAST_POWER_CUTS=all \
	    $(BIN)/python -m pytest -q --timeout 0 tests/crashes/test_kill9.py tests/crashes/test_power.py $(ARGS)

simulate: $(VENV)/.run ## Play whole installations with all that goes wrong; SEED=n STEPS=m play one run, COUNT=n many (0: until Ctrl-C).
	$(BIN)/holdfast simulate --seed $(or $(SEED),1) --steps $(or $(STEPS),300) --count $(or $(COUNT),$(if $(SEED),1,20)) --jobs $(JOBS) $(ARGS)

fuzz: $(VENV)/.fuzz ## Fuzz a target, or all, for a time; what breaks one becomes a regression in tests/fuzz/corpus.
	$(BIN)/python -m tests.fuzz.run '$(TARGET)' '$(SECONDS)'

docs-config: $(VENV)/.run ## Write docs/CONFIGURATION.md, docs/GRIDS.md and docs/S3.md from their tables.
	$(BIN)/holdfast config reference > docs/CONFIGURATION.md
	$(BIN)/holdfast config providers > docs/GRIDS.md
	$(BIN)/holdfast config s3 > docs/S3.md

clean: ## Remove what was set up and built; data stays.
	rm -rf $(VENV) build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

# The first Python that is new enough: the one that was asked for, or one with its version in its name.
$(VENV)/.python:
	@for python in '$(PYTHON)' python3.14 python3.13 python3.12 python3.11; do \
	    if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found="$$python"; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	    echo "error: Python 3.11 or newer is needed, and '$(PYTHON)' is not. Install it, or: make PYTHON=/path/to/python" >&2; exit 1; \
	fi; \
	echo "setting up $(VENV) with $$("$$found" --version)"; \
	"$$found" -m venv --clear $(VENV) || { \
	    echo "error: $$found cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; \
	    rm -rf $(VENV); exit 1; }
	@touch $@

$(VENV)/.run: requirements/run.txt pyproject.toml | $(VENV)/.python
	@echo "installing the server"
	@$(PIP) -r requirements/run.txt
	@$(PIP) --no-deps --editable .
	@touch $@

$(VENV)/.test: requirements/dev.txt requirements/clients.txt $(VENV)/.run
	@echo "installing checks, the test runner and S3 clients"
	@$(PIP) -r requirements/clients.txt
	@touch $@

# The fuzzer that is guided by coverage has wheels for some versions of Python only; make fuzz does without it and says so.
$(VENV)/.fuzz: requirements/fuzz.txt $(VENV)/.test
	@$(PIP) --only-binary :all: -r requirements/fuzz.txt || true
	@touch $@

# Microsoft's emulator of Azure Blob Storage and the AWS SDK for JavaScript, where there is Node.js; without it the tests that need them
# are skipped and say so.
$(VENV)/.npm: tests/npm.py $(VENV)/.test
	@$(BIN)/python -m tests.npm
	@touch $@
