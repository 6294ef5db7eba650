# Nervure's errands. Set-up needs make and Python >= 3.11, nothing else, and runs again only when the lock changes.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.locked
MUTATION := .mutation/.locked
CANDIDATES := $(or $(PYTHON),python3.13 python3.12 python3.11 python3)

.DEFAULT_GOAL := help
.PHONY: help demo test sim mutants mutation hostile chaos up bench lint schemas venv lock clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

demo: $(READY)  ## real baskets from order to delivery, then a report  [ORDERS= SEED= DAY= KEEP=1 JSON=FILE]
	@echo "$@: real orders through all five services; the report comes at the end"
	@$(BIN)/nervure demo $(if $(ORDERS),--orders $(ORDERS)) $(if $(SEED),--seed $(SEED)) $(if $(DAY),--day $(DAY)) \
		$(if $(KEEP),--keep) $(if $(JSON),--json $(JSON))

test: lint  ## lint, two thousand seeds of the simulation, and all tests, a slice of the chaos among them  [JSON=FILE]
	@echo "$@: tests that wait for servers, and beside them, shown at the end, those that only calculate"
	@$(BIN)/python -m tests.support.suites $(if $(JSON),--json $(JSON))

sim: $(READY)  ## whole services under a seeded scheduler that breaks things on purpose  [SEEDS= FROM= JOBS= JSON=FILE]
	@echo "$@: $(or $(SEEDS),2000) seeds; a failure prints the command that replays it"
	@$(BIN)/python -m tests.sim --seeds $(or $(SEEDS),2000) $(if $(FROM),--from $(FROM)) $(if $(JOBS),--jobs $(JOBS)) \
		$(if $(JSON),--json $(JSON))

mutants: $(READY)  ## protections switched off one by one: after how many seeds the simulation notices  [SEEDS= ONLY= JOBS= RESUME=1 JSON=FILE]
	@echo "$@: each mutant until a world fails, at most $(or $(SEEDS),10000) seeds"
	@$(BIN)/python -m tests.sim.mutate --seeds $(or $(SEEDS),10000) $(if $(ONLY),--only $(ONLY)) $(if $(JOBS),--jobs $(JOBS)) \
		$(if $(RESUME),--resume) $(if $(JSON),--json $(JSON))

hostile: $(READY)  ## hostile input: generated cases for every decoder, then records over the broker  [CASES= RECORDS= SEED= JSON=FILE]
	@echo "$@: $(or $(CASES),1000000) cases for the decoders, then $(or $(RECORDS),50000) records over the broker"
	@$(BIN)/python -m tests.hostile --cases $(or $(CASES),1000000) --records $(or $(RECORDS),50000) $(if $(SEED),--seed $(SEED)) \
		$(if $(JSON),--json $(JSON))

mutation: $(READY) $(MUTATION)  ## mutants of decide.py and rules.py: unit tests kill each, or mutants.toml says why not  [ONLY= JOBS= JSON=FILE]
	@echo "$@: one change at a time, unit tests against it; all of it takes about half an hour"
	@$(BIN)/python -m tests.support.mutation $(if $(ONLY),--only $(ONLY)) $(if $(JOBS),--jobs $(JOBS)) $(if $(JSON),--json $(JSON))

$(MUTATION): deploy/mutation.txt | $(READY)
	@echo "mutation: installing the locked tool beside the environment"
	@rm -rf .mutation && $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input --no-warn-conflicts --no-deps \
		--require-hashes --only-binary :all: --target .mutation/tool -r deploy/mutation.txt && touch $@

chaos: $(READY)  ## broker, database, processes, network and disk injured under load  [MINUTES= ONLY=kill,stop STATE=FILE SEED= JSON=FILE]
	@echo "$@: $(if $(MINUTES),about $(MINUTES) minutes,the whole programme, in rounds of some minutes); a line a round"
	@$(BIN)/python -m tests.chaos $(if $(MINUTES),--minutes $(MINUTES)) $(if $(ONLY),--only $(ONLY)) \
		$(if $(STATE),--state $(STATE)) $(if $(SEED),--seed $(SEED)) $(if $(JSON),--json $(JSON))

up: $(READY)  ## broker, database and all services, until Ctrl-C  [REPLICAS=sourcing=2]
	@echo "$@: broker, database and services; Ctrl-C stops them"
	@$(BIN)/nervure up $(if $(REPLICAS),--replicas $(REPLICAS))

bench: $(READY)  ## speed beside the floor of this machine, growth, catching up  [QUICK=1 ONLY=flash,growth MINUTES= JSON=FILE]
	@echo "$@: $(if $(QUICK),first figures within three minutes,speed from channel to instruction and what becomes of it); a page at the end"
	@$(BIN)/python -m tests.bench $(if $(QUICK),--quick) $(if $(JSON),--json $(JSON)) $(if $(ONLY),--only $(ONLY)) \
		$(if $(MINUTES),--minutes $(MINUTES))

lint: $(READY)  ## ruff, mypy --strict and the import contracts  [JSON=FILE]
	@$(BIN)/python -m tests.support.lint $(if $(JSON),--json $(JSON))

schemas: $(READY)  ## JSON Schemas, AsyncAPI and examples, generated from the models
	@echo "$@: writing schemas/json, schemas/asyncapi.yaml and schemas/examples"
	@$(BIN)/python -m schemas.generate

venv: $(READY)  ## the virtual environment, from the lock  [PYTHON=]

$(READY): deploy/requirements.txt deploy/bootstrap.py
	@for module in ensurepip pip sys; do for python in $(CANDIDATES); do \
		if $$python -c "import sys, $$module; sys.exit(sys.version_info < (3, 11))" 2>/dev/null; then \
			exec $$python deploy/bootstrap.py $(VENV); \
		fi; \
	done; done; \
	echo "No Python >= 3.11 among: $(CANDIDATES). Remedy: install one, or name it: make PYTHON=/path/to/python3" >&2; exit 1

lock: $(READY)  ## the lock, from pyproject.toml and deploy/requirements.in  [UPGRADE=1]
	@echo "$@: pinning deploy/requirements.txt and deploy/mutation.txt with uv; the index is the one your environment names"
	@tools=$$(mktemp -d) && trap 'rm -rf "$$tools"' EXIT && $(BIN)/python -m venv "$$tools" && "$$tools/bin/pip" install --quiet uv && \
	"$$tools/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
		--custom-compile-command 'make lock' $(if $(UPGRADE),--upgrade) \
		--all-extras pyproject.toml deploy/requirements.in --output-file deploy/requirements.txt && \
	"$$tools/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
		--custom-compile-command 'make lock' $(if $(UPGRADE),--upgrade) deploy/mutation.in --output-file deploy/mutation.txt

clean:  ## stop the servers of .nervure, remove it (its data too), the environment and all caches
	@echo "$@: removing $(VENV), .nervure and caches"
	@for home in $(wildcard .nervure/demo .nervure); do if test -x $(BIN)/python; then \
		$(BIN)/python -m deploy.embedded erase --home $$home || echo "$@: servers of $$home may still run" >&2; \
	fi; done
	@rm -rf $(VENV) .nervure .mutation .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
