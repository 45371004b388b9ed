# Two commands: `make demo` and `make test`. Everything they need is made on first use and reused after.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
JARS := .thalweg/jars
.DEFAULT_GOAL := help

.PHONY: help demo test check jars wheel audit matrix release clean prerequisites

help: ## say what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

demo: $(STAMP) jars ## learn on a live Kafka stream of real flights
	$(BIN)/thalweg demo $(ARGS)

test: $(STAMP) jars check ## everything CI runs
	$(BIN)/python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder $(ARGS)

check: $(STAMP) ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@mkdir -p build/types/thalweg && for d in connector udfs jobs; do ln -sfn ../../../$$d build/types/thalweg/$$d; done
	MYPYPATH=build/types $(BIN)/mypy -p thalweg

wheel: $(STAMP) ## build the wheel into dist/, for docker/
	$(BIN)/python -m build --wheel --no-isolation --outdir dist . >/dev/null

release: $(STAMP) jars ## build everything that a release ships, with checksums and bill of materials
	$(BIN)/python docker/release.py

audit: $(STAMP) ## look the pinned dependencies up in the database of vulnerabilities; 1: some are known, 3: cannot ask
	$(BIN)/python docker/audit.py $(ARGS)

matrix: $(STAMP) ## try every Flink, Python and Kafka that resolves, each in an environment of its own (an hour)
	$(BIN)/python tests/matrix.py --write $(ARGS)

jars: $(JARS)/.resolved ## resolve the pinned jars through Maven

$(JARS)/.resolved: connector/jars/pom.xml | prerequisites
	@for profile in job broker gateway; do \
	  echo "resolving jars: $$profile"; rm -rf $(JARS)/$$profile; \
	  mvn -B -q --strict-checksums -f connector/jars/pom.xml -P $$profile dependency:copy-dependencies \
	    -DincludeScope=runtime -DoutputDirectory=$(CURDIR)/$(JARS)/$$profile || exit 1; \
	done
	@touch $@

$(STAMP): pyproject.toml constraints.txt | prerequisites
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade pip -c constraints.txt
	$(BIN)/python -m pip install -qq -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip check
	@touch $@

prerequisites:
	@command -v java >/dev/null || { echo "Java is missing: install a Java 17 runtime (for instance the package openjdk-17-jre-headless)."; exit 1; }
	@command -v mvn >/dev/null || { echo "Maven is missing: install Maven 3.8 or newer (for instance the package maven)."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' || { echo "Python 3.10, 3.11 or 3.12 is needed: name one with PYTHON=..."; exit 1; }

clean: ## remove what was made
	rm -rf $(VENV) .thalweg build dist *.egg-info
