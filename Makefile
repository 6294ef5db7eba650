# Nervure's errands. Set-up needs make and Python >= 3.11, nothing else, and runs again only when the lock changes.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.locked
CANDIDATES := $(or $(PYTHON),python3.13 python3.12 python3.11 python3)
SUITES := $(wildcard tests/unit tests/contract tests/integration tests/sim tests/flow)

.DEFAULT_GOAL := help
.PHONY: help demo test sim mutants up bench lint schemas venv lock clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

demo: $(READY)  ## real baskets from order to delivery, then a report  [ORDERS= SEED= DAY= KEEP=1 JSON=FILE]
	@echo "$@: real orders through all five services; the report comes at the end"
	@$(BIN)/nervure demo $(if $(ORDERS),--orders $(ORDERS)) $(if $(SEED),--seed $(SEED)) $(if $(DAY),--day $(DAY)) \
		$(if $(KEEP),--keep) $(if $(JSON),--json $(JSON))

test: lint  ## lint, then unit, contract, integration and flow tests  [JSON=FILE]
	@echo "$@: $(if $(SUITES),pytest $(SUITES),no tests here yet)"
	@$(if $(SUITES),$(BIN)/python -m pytest $(SUITES) $(if $(JSON),-p tests.support.json_report --json $(JSON)))

sim: $(READY)  ## whole services under a seeded scheduler that breaks things on purpose  [SEEDS= FROM= JOBS= JSON=FILE]
	@echo "$@: $(or $(SEEDS),2000) seeds; a failure prints the command that replays it"
	@$(BIN)/python -m tests.sim --seeds $(or $(SEEDS),2000) $(if $(FROM),--from $(FROM)) $(if $(JOBS),--jobs $(JOBS)) \
		$(if $(JSON),--json $(JSON))

mutants: $(READY)  ## protections switched off one by one: after how many seeds the simulation notices  [SEEDS= ONLY= JOBS= RESUME=1 JSON=FILE]
	@echo "$@: each mutant until a world fails, at most $(or $(SEEDS),10000) seeds"
	@$(BIN)/python -m tests.sim.mutate --seeds $(or $(SEEDS),10000) $(if $(ONLY),--only $(ONLY)) $(if $(JOBS),--jobs $(JOBS)) \
		$(if $(RESUME),--resume) $(if $(JSON),--json $(JSON))

up: $(READY)  ## broker, database and all services, until Ctrl-C  [REPLICAS=sourcing=2]
	@echo "$@: broker, database and services; Ctrl-C stops them"
	@$(BIN)/nervure up $(if $(REPLICAS),--replicas $(REPLICAS))

bench: $(READY)  ## orders per second beside the floor of this machine  [QUICK=1 JSON=FILE]
	@echo "$@: speed from channel to instruction, and the floor beside it"
	@$(BIN)/python -m tests.bench $(if $(QUICK),--quick) $(if $(JSON),--json $(JSON))

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
	@echo "$@: pinning deploy/requirements.txt with uv; the index is the one your environment names"
	@tools=$$(mktemp -d) && trap 'rm -rf "$$tools"' EXIT && $(BIN)/python -m venv "$$tools" && "$$tools/bin/pip" install --quiet uv && \
	"$$tools/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
		--custom-compile-command 'make lock' $(if $(UPGRADE),--upgrade) \
		--all-extras pyproject.toml deploy/requirements.in --output-file deploy/requirements.txt

clean:  ## stop the servers of .nervure, remove it (its data too), the environment and all caches
	@echo "$@: removing $(VENV), .nervure and caches"
	@for home in $(wildcard .nervure/demo .nervure); do if test -x $(BIN)/python; then \
		$(BIN)/python -m deploy.embedded erase --home $$home || echo "$@: servers of $$home may still run" >&2; \
	fi; done
	@rm -rf $(VENV) .nervure .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
