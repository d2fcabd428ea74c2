# Everything that is done with Drumline from a checkout. `make help` lists it.
#
# Needs Rust (rust-toolchain.toml says which) and make; `make deps` installs the
# rest. Nothing here touches a server that it did not start itself.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# One thing at a time: cargo uses all cores by itself, and wants its lock.
.NOTPARALLEL:

TARGET := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
# Logs, sample data and process ids of demo and fleet.
RUN := $(CURDIR)/.run
# For fleet-demo: the repositories to replay beside the sample ones. Only one
# with its whole history at hand is worth it.
REPOS ?= $(CURDIR)
# For dev and fleet: where the HTTP API is.
PORT ?= 8080
# For bench: further arguments of `drumline bench`.
ARGS ?=

# What demo, dev, fleet and the tests run.
export PATH := $(TARGET)/debug:$(PATH)
RELEASE := $(TARGET)/release

.PHONY: help
help: ## Print this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

##—— Try it ——

.PHONY: demo
demo: ## Build, import solutions on a Drumline in one process, check, stop (no servers needed)
	cargo build --locked --package drumline --package drumline-example-solutions
	examples/demo.sh $(RUN)/demo

.PHONY: dev
dev: ## A whole Drumline in one process, with the examples' handlers; stays up (PORT=8080)
	cargo build --locked --package drumline \
		--package drumline-example-solutions --package drumline-example-git-replay
	mkdir -p $(RUN)
	cat examples/*/handlers.toml > $(RUN)/handlers.toml
	exec drumline dev --listen 127.0.0.1:$(PORT) --handlers $(RUN)/handlers.toml

.PHONY: fleet
fleet: deps build ## Private RabbitMQ and Redis, 2 queue managers, 4 workers; stays up (PORT=8080)
	FLEET_PORT=$(PORT) exec deploy/fleet.sh $(RUN)/fleet

.PHONY: fleet-demo
fleet-demo: deps build ## Both examples on a fleet whose workers are killed now and then (REPOS=…)
	FLEET_PORT=0 deploy/fleet.sh $(RUN)/fleet-demo examples/fleet-demo.sh $(REPOS)

.PHONY: producer-example
producer-example: deps build ## A producer in Python publishes over AMQP to a private fleet (pip fetches pika)
	drumline-test-servers -- examples/producer-python/run.sh $(RUN)/producer

.PHONY: worker-example
worker-example: deps build ## A worker in Rust on private servers: runs operations, and drains
	drumline-test-servers -- examples/worker-rust/run.sh $(RUN)/worker-rust

.PHONY: bench
bench: deps ## Measure this machine: Drumline against the bare libraries (ARGS=…)
	cargo build --locked --release --package drumline --package drumline-test-servers
	$(RELEASE)/drumline-test-servers -- $(RELEASE)/drumline bench $(ARGS)

##—— Check it ——

.PHONY: test
test: deps fmt-check architecture links prose lint doc check-crates deny tests doc-tests ## Everything that a change must pass, private servers included
	examples/demo.sh $(RUN)/demo
	drumline-test-servers -- examples/producer-python/run.sh $(RUN)/producer
	drumline-test-servers -- examples/worker-rust/run.sh $(RUN)/worker-rust

# Tests ask some dependencies for more features than the programs do. What is
# compiled with --all-targets has them throughout, so that tests, the programs
# that they start, and the demo share one build of each dependency.
#
# The settings of a fleet are taken out of the environment again: tests of the
# settings would find them.
.PHONY: tests
tests: ## All tests but those in the documentation, with private servers around them
	cargo build --locked --workspace --all-targets
	drumline-test-servers -- env -u DRUMLINE_REDIS_URL -u DRUMLINE_AMQP_URL \
		cargo nextest run --locked --workspace

.PHONY: soak
soak: deps ## The tests that take minutes
	cargo build --locked --workspace --all-targets
	cargo nextest run --locked --package drumline-tests --run-ignored only

.PHONY: fuzz-api
fuzz-api: ## The HTTP API against its own description, for two minutes (pip fetches schemathesis)
	cargo build --locked --package drumline
	tests/openapi/run.sh $(RUN)/fuzz-api

.PHONY: doc-tests
doc-tests: ## The examples in the documentation of the code
	cargo test --locked --quiet --workspace --doc

.PHONY: lint
lint: ## Clippy, where a warning is an error
	cargo clippy --locked --workspace --all-targets -- -D warnings

.PHONY: fmt-check
fmt-check:
	cargo fmt --all --check

.PHONY: doc
doc: ## The documentation of the code, where a warning is an error
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items

.PHONY: architecture
architecture: ## The arrows between the crates are those of docs/architecture.md
	.ci/architecture

.PHONY: prose
prose: ## Comments open with a noun or a verb, and replaced names stay away
	.ci/prose

.PHONY: links
links: ## Links between the documents lead somewhere
	.ci/links

.PHONY: check-crates
check-crates: ## What is taken alone compiles alone, without features borrowed from others
	.ci/check-crates

.PHONY: deny
deny: ## Licences, advisories and sources of the dependencies, where cargo-deny is installed
	@if cargo deny --version >/dev/null 2>&1; then \
		cargo deny --locked --log-level warn check; \
	else \
		echo "cargo-deny is not installed: licences and advisories are NOT checked (cargo install cargo-deny --locked)"; \
	fi

##—— Work on it ——

.PHONY: build
build: ## All programs
	cargo build --locked --workspace

.PHONY: fmt
fmt: ## Format the code
	cargo fmt --all

# Beside its place first: a failure must not leave an empty file behind.
.PHONY: openapi
openapi: ## Write docs/openapi.json anew from the code (a test says when it is needed)
	mkdir -p $(RUN)
	cargo run --locked --quiet --package drumline-queue-manager --example openapi > $(RUN)/openapi.json
	mv $(RUN)/openapi.json docs/openapi.json

.PHONY: sample
sample: ## Write deploy/drumline.toml anew from the code (a test says when it is needed)
	mkdir -p $(RUN)
	cargo run --locked --quiet --package drumline -- config --sample > $(RUN)/drumline.toml
	mv $(RUN)/drumline.toml deploy/drumline.toml

# Puts the parts that a command prints between their marks in a page.
define write_parts
mkdir -p $(RUN)
$(2) > $(RUN)/parts.md
awk 'NR == FNR { if (/^<!-- written by the code: /) name = $$0; part[name] = part[name] $$0 "\n"; next } \
	$$0 in part { printf "%s", part[$$0]; placed[$$0]; skip = 1 } \
	!skip { print } \
	/^<!-- end -->$$/ { skip = 0 } \
	END { for (name in part) if (!(name in placed)) { print FILENAME ": no place for " name > "/dev/stderr"; exit 1 } }' \
	$(RUN)/parts.md $(1) > $(RUN)/page.md
mv $(RUN)/page.md $(1)
endef

.PHONY: docs
docs: openapi sample ## Write what the code writes in docs and deploy anew (tests say when it is needed)
	$(call write_parts,docs/states.md,cargo run --locked --quiet --package drumline-protocol --example states)
	$(call write_parts,docs/errors/README.md,cargo run --locked --quiet --package drumline-protocol --example errors)
	$(call write_parts,docs/metrics.md,cargo run --locked --quiet --package drumline-queue-manager --example metrics)
	$(call write_parts,docs/configuration.md,cargo run --locked --quiet --package drumline -- config --reference)

.PHONY: deps
deps: ## Install what building and testing need, where it is missing (Debian's packages, cargo-nextest)
	@.ci/deps

.PHONY: clean-run
clean-run: ## Remove the logs and data of demo and fleet
	rm -rf $(RUN)
