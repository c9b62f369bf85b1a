# Everything that a person types here. It needs Python 3.11 or later and make; the rest is installed.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
FUZZ_SEED ?= $(shell date +%s)
INSTALLED := .venv/installed-$(shell cat requirements.txt requirements-dev.txt | cksum | cut -d' ' -f1)

.PHONY: install demo up test lint chaos fuzz mutants model peers bench bench-guest lock audit pythons sbom clean

install: $(INSTALLED)

$(INSTALLED):
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

demo: install  ## 200 webhooks through a faulty API, and a check of what came of them
	@$(BIN)/python -m worker.local demo

up: install  ## the same stack, left running until Ctrl-C
	@$(BIN)/python -m worker.local up

test: install
	$(BIN)/python -m pytest -n 6 --dist worksteal

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive config tasks worker docs

chaos: install  ## break everything, in the long forms, with three seeds; prints a table
	@$(BIN)/python -m tests.chaos

fuzz: install  ## 100,000 cases of what strangers may send: messages, records, files, answers, settings
	@echo "FUZZ_SEED=$(FUZZ_SEED)"
	@FUZZ_CASES=100000 FUZZ_SEED=$(FUZZ_SEED) $(BIN)/python -m pytest tests/fuzz

mutants: install  ## a fault in each Lua step, one at a time, and the test that fails of it; protections, too
	@$(BIN)/python -m tests.chaos.mutants
	@$(BIN)/python -m tests.chaos.mutants --list protections

model: install  ## the protocol, every state of it: what holds, what can go wrong, planted faults; needs spin
	@$(BIN)/python -m tests.model

PEERS = .peers/installed

peers: install $(PEERS)  ## the task queues that `make bench` compares with, in an environment of their own

$(PEERS): tests/benchmarks/peers/requirements.txt
	$(PYTHON) -m venv --clear .peers
	.peers/bin/pip install --quiet --disable-pip-version-check --require-hashes -r tests/benchmarks/peers/requirements.txt
	@touch $@

bench: peers  ## beside Celery, dramatiq, taskiq, arq and RQ, with plots; import, durability, sealing, sandbox
	$(BIN)/python -m tests.benchmarks.bench_import
	$(BIN)/python -m tests.benchmarks.bench_durability
	$(BIN)/python -m tests.benchmarks.bench_sealing
	$(BIN)/python -m tests.benchmarks.bench_sandbox
	$(BIN)/python -m tests.benchmarks.peers --plots docs/bench

bench-guest: install  ## what the API's bad days cost, each figure with its bound; half an hour
	@$(BIN)/python -m tests.benchmarks.guest

lock: install  ## compile the .in files anew
	$(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url --no-emit-find-links --output-file requirements.txt requirements.in
	$(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url --no-emit-find-links --output-file requirements-dev.txt requirements-dev.in
	$(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url --no-emit-find-links --output-file tests/benchmarks/peers/requirements.txt tests/benchmarks/peers/requirements.in

audit: install  ## known vulnerabilities of what is locked; fails where they cannot be looked up
	@$(BIN)/python -m tests.supply_chain audit

pythons: install  ## whether the oldest and the newest Python of this machine can install what is locked
	@$(BIN)/python -m tests.supply_chain pythons

sbom: install  ## sbom.cdx.json: what production installs, with hashes and licences (CycloneDX)
	@$(BIN)/python -m tests.supply_chain sbom

clean:
	rm -rf .venv .peers .mypy_cache .pytest_cache .ruff_cache .hypothesis
