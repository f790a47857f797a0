# Targets are listed by `make` from the words behind their `##`.

GO       ?= go
FUZZTIME ?= 10s
DIR      ?= docs

export CGO_ENABLED = 0

.DEFAULT_GOAL := help
.PHONY: help test check go-test race bench gobench fuzz try build docs

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

test: check go-test ## the one gate: format, vet, staticcheck, every test

check: ## format, vet and staticcheck alone
	@dirs=$$($(GO) list -f '{{.Dir}}' ./...) && bad=$$(gofmt -l $$dirs | sort -u) && \
		if [ -n "$$bad" ]; then echo "gofmt -w these files:"; echo "$$bad"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

# PostgreSQL's tests need its server's programs and nothing that runs: they
# start a server of their own. Where there are none, the other half of the
# suite still passes, and this says what was left out.
go-test:
	$(GO) test ./...
	@if ! command -v initdb >/dev/null && ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then \
		echo; echo "NOT TESTED ON POSTGRESQL: no initdb here. Install Debian's postgresql (or any other) and run again;"; \
		echo "FIRTH_TEST_POSTGRES=require makes its absence a failure."; fi

race: ## every test (or PKG="./x ./y") under the race detector; needs a C compiler
	CGO_ENABLED=1 $(GO) test -race $(or $(PKG),./...)

bench: ## against named peers, with ratios (CONTEST="commp prepare-inline" for some; PLOTS=docs/plots draws the curves)
	$(GO) run ./bench $(if $(PLOTS),-plots $(PLOTS)) $(CONTEST)
	$(if $(CONTEST),,$(GO) run ./bench/block)

gobench: ## Go's own benchmarks (PKG=./x for one package)
	$(GO) test -run '^$$' -bench . -benchmem $(or $(PKG),./...)

fuzz: ## every fuzz test for FUZZTIME (10s) each
	@grep -rn --include='*_test.go' --exclude-dir=testdata -o '^func Fuzz[A-Za-z0-9_]*' . | \
	while IFS=: read -r file _ name; do \
		name=$${name#func }; echo "$$name in $$(dirname $$file)"; \
		$(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "$$(dirname $$file)" </dev/null || exit 1; \
	done

try: ## the whole life of a file on this machine (DIR=path to choose what)
	$(GO) run ./cmd/firth try $(DIR)

build: ## ./firth, for this machine
	$(GO) build -trimpath -o firth ./cmd/firth

docs: ## draw the picture in docs/ARCHITECTURE.md again
	$(GO) test ./internal/arch -run TestPicture -update
