# omvalkeyaudit: `make help` lists the targets.

CARGO ?= cargo
# Where rsyslog looks for modules; `make install` copies the plugin there.
MODULE_DIR ?= /usr/lib/$(shell gcc -print-multiarch 2>/dev/null)/rsyslog
# Where `make install` copies omvalkeyaudit-verify.
BIN_DIR ?= /usr/local/bin
SEEDS ?= 20000
COMMANDS ?= 1000000
PLUGIN := target/release/omvalkeyaudit.so
VERIFY := target/release/omvalkeyaudit-verify

.DEFAULT_GOAL := help
.PHONY: help setup setup-build build install demo lint test test-rust simulate mutations testbench pipeline faults \
	bench bench-cluster bench-source clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Install and fetch everything that tests, demo and benchmarks need (apt, as root or with sudo)
	tests/setup.sh

setup-build: ## Install and fetch only what the plugin's build needs
	tests/setup.sh build

build: setup-build ## Build plugin, Valkey module and checker: omvalkeyaudit.so, auditsource.so, omvalkeyaudit-verify in target/release
	$(CARGO) build --release --locked -p omvalkeyaudit -p omvalkeyaudit-verify -p audit-source
	cp target/release/libomvalkeyaudit.so $(PLUGIN)
	cp target/release/libauditsource.so target/release/auditsource.so

install: ## Install the built plugin into rsyslog's module folder (MODULE_DIR=...), omvalkeyaudit-verify into BIN_DIR
	install -D -m 0644 $(PLUGIN) $(DESTDIR)$(MODULE_DIR)/omvalkeyaudit.so
	install -D -m 0755 $(VERIFY) $(DESTDIR)$(BIN_DIR)/omvalkeyaudit-verify

demo: setup build ## See an audited Valkey, rsyslogd and a stream at work, and every record counted
	$(CARGO) run --release --locked -q -p testkit --bin demo

lint: ## Formatting, clippy, links in comments, shell scripts, the shim against newer headers
	tests/setup.sh build headers lint
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items --locked -q
	shellcheck tests/*.sh tests/testbench/*.sh .ci/run
	RSYSLOG_SOURCE_DIR=$(CURDIR)/target/host/rsyslog-8.2504 \
		$(CARGO) check --locked -p omvalkeyaudit --target-dir target/headers-8.2504

test: setup build test-rust testbench ## Run all tests

test-rust: ## Unit, integration and end-to-end tests (after `make setup`)
	$(CARGO) test --workspace --locked --no-fail-fast

simulate: ## Run SEEDS simulated outages through the transaction protocol (SEED=n replays one)
	SEEDS=$(SEEDS) $(CARGO) test --release --locked --test simulation seeds::every -- --nocapture

mutations: ## Break each rule of the protocol on purpose and see the simulation notice (docs/simulation.md)
	$(CARGO) run --release --locked -q -p testkit --bin mutations

testbench: build ## Run the tests on rsyslog's own testbench
	tests/testbench/run.sh

pipeline: setup ## Send COMMANDS (1000000) through audited server, rsyslogd and store, undisturbed and disturbed, and count
	PIPELINE_COMMANDS=$(COMMANDS) $(CARGO) test --release --locked -q -p omvalkeyaudit-verify --test pipeline -- \
		--nocapture --test-threads=1 flow

faults: setup ## Break real servers while records flow (SCENARIO="CLIENT KILL" FLAVOUR=redis-7.0 TOPOLOGY=cluster TLS=on VERSION=8.2504 RECORDS=n PEER=omhiredis)
	$(CARGO) test --release --locked -q --test faults -- --full $(if $(RECORDS),--records $(RECORDS)) \
		$(if $(VERSION),--version $(VERSION)) $(if $(FLAVOUR),--flavour $(FLAVOUR)) \
		$(if $(TOPOLOGY),--topology $(TOPOLOGY)) $(if $(TLS),--tls $(TLS)) $(if $(PEER),--peer $(PEER)) $(if $(SCENARIO),"$(SCENARIO)")

bench: setup build ## Compare the drain rate with omhiredis
	$(CARGO) run --release --locked -q -p testkit --bin bench

bench-cluster: setup build ## Measure the drain rate with workers and shards, into one server and into a cluster
	$(CARGO) run --release --locked -q -p testkit --bin bench-cluster

bench-source: setup ## Measure what the audit source costs the audited server
	$(CARGO) build --release --locked -p audit-source
	$(CARGO) run --release --locked -q -p testkit --bin bench-source

clean: ## Remove everything that was built or fetched
	$(CARGO) clean
