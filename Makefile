# Everything a developer or a build machine runs. `make` alone lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

TOOLS := .tools
VENV := $(TOOLS)/venv
PIP_PINS := tests/foreign/python/requirements.txt
NPM := tests/foreign/oidc-provider
DENY_VERSION := 0.20.2
DENY := $(or $(shell command -v cargo-deny),$(TOOLS)/bin/cargo-deny)

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(VENV)/ready $(NPM)/node_modules/ready redis ## Install what the tests need: Redis, Python and Node packages

.PHONY: test
test: setup ## Run all tests
	cargo test

.PHONY: lint
lint: $(VENV)/ready ## Check formatting, clippy and the proto files
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	cd proto && ../$(VENV)/bin/buf lint

.PHONY: deny
deny: $(DENY) ## Check licences, bans and sources of the dependencies, and advisories where they can be fetched
	$(DENY) check licenses bans sources
	@$(DENY) fetch db 2>/dev/null || { echo "advisories: skipped, the database cannot be fetched from here"; exit 0; }; \
	  $(DENY) check advisories

.PHONY: ci
ci: ## Run what the build machine runs
	.ci/run

.PHONY: dev
dev: ## Run a broker with simulated providers on this machine
	cargo run -- dev

.PHONY: fmt
fmt: ## Format the code
	cargo fmt

.PHONY: docs
docs: ## Write the generated pages of docs/ anew, and the crate's own documentation
	UPDATE_DOCS=1 cargo test --lib the_reference_page
	cargo doc --no-deps --document-private-items

.PHONY: clean
clean: ## Remove everything that was built or installed into this folder
	cargo clean
	rm -rf $(TOOLS) $(NPM)/node_modules .bursar

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

$(VENV)/ready: $(PIP_PINS)
	@command -v python3 >/dev/null || { echo "install Python 3.10 or newer, with venv" >&2; exit 1; }
	@python3 -c 'import ensurepip, venv' 2>/dev/null || { command -v apt-get >/dev/null \
	  && $(AS_ROOT) apt-get update -qq && $(APT_INSTALL) python3-venv </dev/null; } || { \
	  echo "install Python's venv module (Debian: python3-venv)" >&2; exit 1; }
	python3 -m venv --clear $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-input --requirement $(PIP_PINS)
	@touch $@

$(NPM)/node_modules/ready: $(NPM)/package.json $(NPM)/package-lock.json
	@command -v npm >/dev/null || { echo "install Node.js 20 or newer, with npm" >&2; exit 1; }
	npm ci --prefix $(NPM) --silent
	@touch $@

$(DENY):
	cargo install --locked --quiet --version $(DENY_VERSION) --root $(TOOLS) cargo-deny
