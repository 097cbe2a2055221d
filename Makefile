# SPDX-License-Identifier: MIT OR Apache-2.0
# Every target is one or two commands; what takes more lies in packaging/*.sh. `make help` lists them.

PREFIX   ?= /usr/local
DESTDIR  ?=
# Port of `make run`.
PORT     ?= 8443
# Cargo features, for example FEATURES=aws-lc.
FEATURES ?=
# Arguments passed on: a test's name, the scenarios of the benchmark, seconds per fuzz target.
TEST     ?=
BENCH    ?=
FUZZ_SECONDS ?= 60

# rustup's directory, for shells that have not read its profile yet.
export PATH := $(PATH):$(HOME)/.cargo/bin
export PREFIX DESTDIR PORT FEATURES

CARGO   ?= cargo
flags   := --locked $(if $(FEATURES),--features $(FEATURES))
need    := sh packaging/need.sh
target  := $(or $(CARGO_TARGET_DIR),target)
binary  := $(target)/release/tunnel
scripts := .ci/run packaging/tunnel.init packaging/tunnelctl.bash-completion $(wildcard packaging/*.sh)
pages   := $(wildcard man/*.[1-8])

.DEFAULT_GOAL := help
.PHONY: help build run test check fmt doc deny bench soak fuzz install uninstall clean

help: ## list the targets
	@echo 'make TARGET [VARIABLE=value]'
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 14

build: ## build the release binary
	$(need) build
	$(CARGO) build --release $(flags)

run: ## build, then show it working on 127.0.0.1:PORT (8443); Ctrl-C ends it
	$(need) run
	$(CARGO) build --release $(flags)
	@sh packaging/demo.sh $(binary)

test: ## run all tests (TEST=name for some of the Rust ones)
	$(need) test
	$(CARGO) test $(flags) $(TEST)
	sh packaging/test.sh $(target)/debug/tunnel

check: ## formatting, lints, documentation, man pages, scripts
	$(need) check
	$(CARGO) fmt --all --check
	$(CARGO) clippy $(flags) --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc $(flags) --no-deps
	mandoc -Tlint -W warning $(pages)
	shellcheck $(scripts)

fmt: ## format the sources
	$(CARGO) fmt --all

doc: ## build the documentation of the crate
	$(CARGO) doc $(flags) --no-deps --document-private-items

deny: ## check dependencies against deny.toml (takes cargo-deny)
	$(CARGO) deny --all-features check

bench: ## CPU time beside haproxy, nginx, hitch, … (BENCH='scenario …' for some)
	$(need) bench
	$(CARGO) bench $(flags) --bench rules --bench routes --bench balance --bench checks --bench listing
	$(CARGO) bench $(flags) --bench peers -- $(BENCH)

soak: ## the integration tests at full counts; takes long (TEST=name for some)
	$(need) test
	TUNNEL_SOAK=1 $(CARGO) test --release $(flags) --test it $(TEST)

fuzz: ## fuzz each parser for FUZZ_SECONDS (60); takes nightly Rust and cargo-fuzz
	$(need) build
	sh packaging/fuzz.sh $(FUZZ_SECONDS)

install: | $(binary) ## install to DESTDIR/PREFIX (/usr/local); builds only if nothing is built
	sh packaging/install.sh install $(binary)

uninstall: ## remove what install put there, except configuration
	sh packaging/install.sh uninstall

clean: ## remove what was built, and the demo's files
	$(CARGO) clean
	rm -rf demo

# Not rebuilt when it is there: `make && sudo make install` must not run the compiler as root.
$(binary):
	$(MAKE) build
