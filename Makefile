# Every target says what it does: make help.
SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

CARGO ?= cargo
# One profile and one selection of packages everywhere: a cold machine compiles the dependencies once.
BUILD := --profile quick --locked --workspace
# What is shipped and measured.
RELEASE := --release --locked --package launchway-operator

# Scenarios of `make test`, and those that only `make test-all` adds.
SCENARIOS := main_job
# Long ones first, and at the end those that have to be alone: who waits for that keeps a place from the others.
LONG_SCENARIOS := git real_packages rolling restore kills bad_input bad_releases dispatchers bare_environment re_execute every_step cancel scaling metric_guard times on_change split exclusion emergency deletion signing retention waiting_costs_nothing guard git_polls restarts

.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## From nothing to "production serves release 1" on a real cluster (cold about 17 minutes, warm about 3)
	@hack/preflight.sh cluster
	@hack/demo.sh

.PHONY: test
test: ## What has to pass: unit tests, generated files, policy and chart tests, the main scenario (cold about 27 minutes, with a cluster, images and dependencies in the cache 12)
	@hack/preflight.sh cluster
	@hack/test.sh $(SCENARIOS)

.PHONY: test-all
test-all: ## The same with every scenario, JOBS=4 at a time, and the base images by themselves (about half an hour more)
	@hack/preflight.sh cluster
	@hack/test.sh $(SCENARIOS) $(LONG_SCENARIOS)

.PHONY: unit
unit: ## Unit tests alone: no cluster, no network
	@hack/preflight.sh build
	@hack/unit.sh

.PHONY: verify
verify: ## Form, lints, licences, generated files, chart and unit tests: before every commit
	@hack/preflight.sh build
	$(CARGO) fmt --all --check
	$(CARGO) clippy $(BUILD) --all-targets -- -D warnings
	@hack/deny.sh
	@hack/generated.sh --check
	@hack/shell.sh
	@hack/chart.sh
	@$(MAKE) unit

.PHONY: oracle
oracle: ## Compare versions, ranges, ids, orders, metadata and zips with FileVault and Java's readers (SEED=1, SCALE=400)
	@hack/preflight.sh java
	$(CARGO) run --profile quick --locked --package launchway-operator --example oracle -- e2e/oracle/run.sh operator/tests/oracle $(or $(SEED),1) $(or $(SCALE),400)

.PHONY: fuzz
fuzz: ## One fuzz target for TIME seconds: make fuzz T=zip TIME=600 (targets: fuzz/fuzz_targets)
	@hack/preflight.sh build
	@hack/fuzz.sh "$(T)" $(or $(TIME),60)

.PHONY: fuzz-shrink
fuzz-shrink: ## Keep what the fuzzer found and the committed corpus does not cover: make fuzz-shrink T=zip
	@hack/fuzz.sh --shrink "$(T)"

.PHONY: model
model: ## The planner against every order of events, and many more random histories than the unit tests play (cold about 20 minutes)
	@hack/preflight.sh build
	PROPTEST_CASES=5000 $(CARGO) test $(BUILD) --test model -- --nocapture --test-threads 1
	@hack/model.sh

.PHONY: e2e
e2e: ## One scenario on the cluster: make e2e T=main_job (KUBECONFIG and LAUNCHWAY_REGISTRY name a cluster of your own)
	@test -n "$(T)" || { echo "name a scenario: make e2e T=NAME, one of: $(SCENARIOS) $(LONG_SCENARIOS)" >&2; exit 2; }
	@hack/preflight.sh cluster
	$(CARGO) test $(BUILD) --test $(T) -- --nocapture --test-threads 1

.PHONY: test-images
test-images: ## Start every base image for real and prove its contract, Sling's and the stand-in's alike (2 to 4 minutes)
	@hack/preflight.sh cluster
	@e2e/images/build.sh sling standin httpd tester
	@e2e/images/test.sh tester standin sling httpd

.PHONY: validate-image
validate-image: ## Let other tools judge a signed release: crane, skopeo, umoci, official schemas (cold about 3 minutes; COSIGN=1 adds cosign)
	@hack/preflight.sh build
	$(CARGO) build $(BUILD) --bins
	@e2e/validators/run.sh $(if $(COSIGN),--cosign)

.PHONY: bench-image
bench-image: ## Compare image builds with crane, skopeo and buildah on one registry (about 6 minutes; OPTIONS="--rounds 3")
	@hack/preflight.sh build
	$(CARGO) build $(RELEASE) --bin launchway --example push_layer
	@e2e/bench/image/run.sh $(OPTIONS)

.PHONY: bench-planner
bench-planner: ## How long one call of the planner takes on the largest world, p50 and p99 (seconds)
	@hack/preflight.sh build
	$(CARGO) build $(RELEASE) --example bench_planner
	@"$${CARGO_TARGET_DIR:-target}/release/examples/bench_planner"

.PHONY: bench-operator
bench-operator: ## What the operator costs on the cluster: a release, a rollout, 1,000 and 10,000 executions, 1,000 Environments (about 55 minutes; PARTS="release build rollout waiting finished many environments")
	@hack/preflight.sh cluster
	$(CARGO) build $(RELEASE) --bin launchway
	LAUNCHWAY_BINARY="$${CARGO_TARGET_DIR:-$$PWD/target}/release/launchway" $(CARGO) run $(BUILD) --bin bench_operator -- $(PARTS)

.PHONY: generate
generate: ## Write what is derived: CRDs, the chart's copy of them, config/
	@hack/preflight.sh build
	@hack/generated.sh

.PHONY: image
image: ## Build the operator's image without a container engine
	@hack/preflight.sh cluster
	$(CARGO) build $(RELEASE) --bin launchway
	e2e/images/build.sh operator --binary "$${CARGO_TARGET_DIR:-target}/release/launchway"

.PHONY: cluster-up
cluster-up: ## Start the local cluster (built in about 10 minutes the first time); prints its kubeconfig
	@hack/preflight.sh cluster
	@e2e/cluster/up.sh

.PHONY: cluster-down
cluster-down: ## Stop the local cluster; its state stays in the cache
	@e2e/cluster/down.sh

.PHONY: clean
clean: ## Stop the local cluster and remove what was built, caches included
	@hack/clean.sh
