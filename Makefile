# Everything a developer or a build machine runs. `make` alone lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

TOOLS := .tools
VENV := $(TOOLS)/venv
PIP_PINS := tests/foreign/python/requirements.txt
NPM := tests/foreign/oidc-provider tests/foreign/browser
DENY_VERSION := 0.20.2
FUZZ_VERSION := 0.13.2
FUZZ := $(or $(shell command -v cargo-fuzz),$(TOOLS)/bin/cargo-fuzz)
FUZZ_SECONDS := 30
ARCH := $(if $(filter aarch64 arm64,$(shell uname -m)),arm64,amd64)
CYCLONEDX_VERSION := 0.5.9
CYCLONEDX := $(or $(shell command -v cargo-cyclonedx),$(TOOLS)/bin/cargo-cyclonedx)
DENY := $(or $(shell command -v cargo-deny),$(TOOLS)/bin/cargo-deny)

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(VENV)/ready $(NPM:%=%/node_modules/ready) redis shell chromium ## Install what the tests need: Redis, Chromium, Python and Node packages

.PHONY: test
test: setup ## Run all tests
	cargo test
	$(VENV)/bin/pytest tests/chart

.PHONY: chart
chart: $(VENV)/ready redis target/debug/bursar ## Test the Helm chart with the program as it was built last
	$(VENV)/bin/pytest tests/chart

target/debug/bursar:
	cargo build

.PHONY: lint
lint: $(VENV)/ready ## Check formatting, clippy, the proto files, the Dockerfiles and the Helm chart
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	cd proto && ../$(VENV)/bin/buf lint
	$(VENV)/bin/hadolint Dockerfile Dockerfile.binary
	$(VENV)/bin/python helm/generate.py --check
	$(VENV)/bin/pytest tests/chart -k lint

.PHONY: deny
deny: $(DENY) ## Check licences, bans and sources of the dependencies, and advisories where they can be fetched
	$(DENY) check licenses bans sources
	@$(DENY) fetch db 2>/dev/null || { echo "advisories: skipped, the database cannot be fetched from here"; exit 0; }; \
	  $(DENY) check advisories

.PHONY: sbom
sbom: $(CYCLONEDX) ## Write target/bursar.cdx.json: every library in the program, as CycloneDX
	$(CYCLONEDX) cyclonedx --format json --spec-version 1.5 --no-build-deps --override-filename bursar.cdx --quiet
	@mkdir -p target && sed 's|path+file://$(CURDIR)#||g' bursar.cdx.json > target/bursar.cdx.json && rm bursar.cdx.json

# The rest of the machine should be quiet: driver and brokers share it.
.PHONY: load
load: setup ## Replace policies, certificates, issuers and keys under load, in an optimised build, and tell the calls a second
	CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_PROFILE_DEV_DEBUG=0 CARGO_INCREMENTAL=0 CARGO_TARGET_DIR=target/load \
	  cargo test --test it -- --nocapture --test-threads=1 under_load

.PHONY: fuzz
fuzz: $(FUZZ) ## Run each fuzz target for 30 seconds (FUZZ_SECONDS), with all that earlier runs found
	cd fuzz && for target in $$(sed -n 's/^name = "\([a-z_]*\)"$$/\1/p' Cargo.toml); do \
	  echo "== $$target"; mkdir -p found/$$target; \
	  PATH="$(CURDIR)/$(TOOLS)/bin:$$PATH" RUSTC_BOOTSTRAP=1 nice cargo fuzz run --fuzz-dir . --sanitizer none \
	    $$target found/$$target seeds/$$target -- -max_total_time=$(FUZZ_SECONDS) -timeout=10 -print_final_stats=1; \
	done

.PHONY: ci
ci: ## Run what the build machine runs
	.ci/run

.PHONY: dev
dev: ## Run a broker with simulated providers on this machine
	cargo run -- dev

.PHONY: image-binary
image-binary: ## Build the static program that Dockerfile.binary takes (ARCH: amd64 or arm64)
	container/image-binary $(ARCH) target/image/$(ARCH)

.PHONY: docs
docs: setup ## Write the generated pages of docs/ anew, and the crate's own documentation
	UPDATE_DOCS=1 cargo test --lib the_reference_page
	$(VENV)/bin/python helm/generate.py
	UPDATE_DOCS=1 cargo test --test flow the_page_of_hostile_servers
	UPDATE_DOCS=1 cargo test --test it -- matrix:: every_code_of_concur attacker::page
	cargo doc --no-deps --document-private-items

.PHONY: clean
clean: ## Remove everything that was built or installed into this folder
	cargo clean
	rm -rf $(TOOLS) $(NPM:%=%/node_modules) .bursar

# What follows is installed for the targets above.

# How to get root, if that is needed at all.
AS_ROOT := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
APT_INSTALL := $(AS_ROOT) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends

# Redis listens to nobody here: each test starts one of its own. Docker does instead.
.PHONY: redis
redis:
	@command -v redis-server >/dev/null || [ -S /var/run/docker.sock ] || { \
	  command -v apt-get >/dev/null || { echo "install redis-server 7 or newer, or start Docker" >&2; exit 1; }; \
	  $(AS_ROOT) apt-get update -qq && $(APT_INSTALL) redis-server </dev/null && command -v redis-server; } || { \
	  echo "redis-server could not be installed: install version 7 or newer, or start Docker" >&2; exit 1; }

# What the commands of the documents use, which a test runs.
.PHONY: shell
shell:
	@for each in curl jq; do command -v $$each >/dev/null || { \
	  command -v apt-get >/dev/null && $(AS_ROOT) apt-get update -qq && $(APT_INSTALL) $$each </dev/null; } || { \
	  echo "install $$each" >&2; exit 1; }; done

# The browser in which the tests look at pages.
.PHONY: chromium
chromium:
	@[ -x /usr/bin/chromium ] || { \
	  command -v apt-get >/dev/null && $(AS_ROOT) apt-get update -qq && $(APT_INSTALL) chromium </dev/null; } || { \
	  echo "chromium could not be installed: install it as /usr/bin/chromium" >&2; exit 1; }

$(VENV)/ready: $(PIP_PINS)
	@command -v python3 >/dev/null || { echo "install Python 3.10 or newer, with venv" >&2; exit 1; }
	@python3 -c 'import ensurepip, venv' 2>/dev/null || { command -v apt-get >/dev/null \
	  && $(AS_ROOT) apt-get update -qq && $(APT_INSTALL) python3-venv </dev/null; } || { \
	  echo "install Python's venv module (Debian: python3-venv)" >&2; exit 1; }
	python3 -m venv --clear $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-input --requirement $(PIP_PINS)
	@touch $@

$(NPM:%=%/node_modules/ready): %/node_modules/ready: %/package.json %/package-lock.json
	@command -v npm >/dev/null || { echo "install Node.js 20 or newer, with npm" >&2; exit 1; }
	npm ci --prefix $* --silent
	@touch $@

$(DENY):
	cargo install --locked --quiet --version $(DENY_VERSION) --root $(TOOLS) cargo-deny

$(CYCLONEDX):
	cargo install --locked --quiet --version $(CYCLONEDX_VERSION) --root $(TOOLS) cargo-cyclonedx

$(FUZZ):
	cargo install --locked --quiet --version $(FUZZ_VERSION) --root $(TOOLS) cargo-fuzz
