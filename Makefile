# What people type. Each target installs what it needs first (Debian and Ubuntu; elsewhere it says what is missing)
# and is quick when nothing is.

CARGO ?= cargo
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)

.DEFAULT_GOAL := help
.PHONY: help demo test lint build serve bench-fetch bench-media bench-webhooks kill-run large-run fuzz setup setup-demo setup-test

help: ## Say what can be typed
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: setup-demo ## A video in, its audio and a signed webhook out: the whole service in a minute
	$(CARGO) build --package server
	@python3 -B demo/demo.py $(TARGET_DIR)/debug/audio-extract

test: setup-test lint ## Everything that CI runs
	$(CARGO) test --workspace

lint: ## Formatting, clippy with warnings refused, and documents that tell the truth
	@python3 scripts/check_docs.py
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

build: setup ## The release binary
	$(CARGO) build --release --package server

serve: build ## Run the service for real use, with the settings of the environment
	$(TARGET_DIR)/release/audio-extract serve

bench-fetch: setup-test ## Measure fetching over a slow link beside the ffmpeg command: one table, in about 25 minutes (QUICK=1: 4)
	$(CARGO) build --release --package bench --package server
	$(TARGET_DIR)/release/bench fetch $(if $(QUICK),--quick)

bench-webhooks: setup-test ## Measure webhooks: one table, in about 20 minutes (QUICK=1: 5)
	$(CARGO) build --release --package bench --package server
	$(TARGET_DIR)/release/bench webhooks $(if $(QUICK),--quick)

bench-media: setup-test ## Measure media beside the ffmpeg command: one table, in about 15 minutes (QUICK=1: 4)
	$(CARGO) build --release --package bench --package server
	$(TARGET_DIR)/release/bench media $(if $(QUICK),--quick)

kill-run: setup-test ## Kill the service at every write of a job, and KILLS times (100) under load: no webhook is lost
	$(CARGO) test --package server --test e2e -- --ignored killed_at_every_single_write
	$(CARGO) build --release --package bench --package server
	$(TARGET_DIR)/release/bench kills --kills $(or $(KILLS),100)

large-run: setup-test ## Make results beyond 4 GiB, in 2 minutes and 4.4 GB of the temporary folder
	$(CARGO) test --package media --lib -- --ignored what_32_bits_cannot_count

fuzz: setup-test ## Run FILES (20000) mutated files through real children; SEED (1) draws others; what is wrong stays in target/fuzz
	$(CARGO) test --release --package media --test hostile -- --fuzz $(or $(FILES),20000) --seed $(or $(SEED),1)

setup: ## Install what building needs
	@scripts/install-deps.sh build

setup-demo: ## Install what the demo needs
	@scripts/install-deps.sh demo

setup-test: ## Install what the tests need
	@scripts/install-deps.sh test
	@scripts/install-receivers.sh
