# What one does with this repository. `make` alone lists it.

GO        ?= go
BIN       := bin/vrproxy
FUZZTIME  ?= 30s
CHAOS_TIME ?= 2m
SOAK_TIME ?= 30m
E2E_DIR   ?= e2e
# One package after the other: two would build Vault at the same time.
E2E_FLAGS ?= -race -count=1 -timeout 60m -p 1 -v
TESTFLAGS ?=

# Stamped here instead of by the go command, which gives up on a checkout that
# another user owns.
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
EPOCH   := $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
LDFLAGS := -s -w -X github.com/vrproxy/vrproxy/internal/app.version=$(VERSION) \
           -X github.com/vrproxy/vrproxy/internal/app.commit=$(COMMIT)
export GOFLAGS := $(GOFLAGS) -buildvcs=false

# The race detector needs a C compiler; nothing else here does.
RACE := $(if $(shell command -v $$($(GO) env CC) 2>/dev/null),-race)

.DEFAULT_GOAL := help
.PHONY: help build dev test lint vuln docs screenshot fmt e2e chaos soak scale bench bench-docs bench-smoke bench-go bench-dns fuzz deploy image release ci clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

build: ## build bin/vrproxy
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/vrproxy

dev: ## run a multi-region laboratory with the proxy in front; needs nothing but Go (ARGS=--bare: not yet replicated)
	$(GO) run ./cmd/vrproxy dev $(ARGS)

test: ## vet and test, with the race detector if there is a C compiler
	$(GO) vet ./...
	@test -n '$(RACE)' || echo '*** no C compiler found: testing WITHOUT the race detector (install gcc to have it) ***'
	$(GO) test $(RACE) -shuffle=on $(TESTFLAGS) ./...
ifdef RACE
	@echo 'what may not allocate, counted without the race detector, which allocates itself:'
	$(GO) test -run Alloc $(TESTFLAGS) ./routing ./proxy ./internal/observe ./internal/dnsserver
endif

lint: ## golangci-lint, gofmt, and whether go.mod is tidy
	@unformatted=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go' 2>/dev/null | while read -r f; do test -f "$$f" && echo "$$f"; done)); \
	  test -z "$$unformatted" || { echo "not formatted, run make fmt:"; echo "$$unformatted"; exit 1; }
	$(GO) mod tidy -diff
	$(GO) tool -modfile=tools/go.mod golangci-lint run ./...

VULNDB := https://vuln.go.dev

vuln: ## look for known vulnerabilities that the code can reach (needs the network)
	@if curl -sf --max-time 20 -o /dev/null $(VULNDB)/index/modules.json.gz; then \
	  $(GO) tool -modfile=tools/go.mod govulncheck -db $(VULNDB) ./...; \
	else echo '*** govulncheck did not run: $(VULNDB) cannot be reached'; fi

docs: ## write what documents show of the code (engine tables, differences)
	$(GO) test -run TestTheDocumentHasTheTables ./routing -update
	$(GO) test -run TestTheDocumentHasTheDifferences ./internal/wiretest -update

screenshot: ## take the picture of the web page for the documents (needs chromium)
	$(GO) -C $(E2E_DIR) test -count=1 -run TestThePageInABrowser ./ui -args -ui.screenshot=$(CURDIR)/docs/ui.png

fmt: ## format the code
	gofmt -w $$(git ls-files -co --exclude-standard '*.go')

e2e: ## test with real Vault, PostgreSQL, OpenLDAP and DNS resolvers (builds Vault once, then caches it)
	$(GO) -C $(E2E_DIR) test $(E2E_FLAGS) ./...
	$(GO) -C $(E2E_DIR)/monitoring test $(filter-out -race,$(E2E_FLAGS)) ./...

chaos: ## break clusters and lines by seeded schedules for CHAOS_TIME and check what clients saw (SEED=n: that one)
	$(GO) -C $(E2E_DIR) test $(RACE) -count=1 -timeout 3h -v -run TestChaos ./chaos -args -chaos.time=$(CHAOS_TIME) $(if $(SEED),-chaos.seed=$(SEED) -chaos.one)

soak: ## the same on one world for SOAK_TIME, and report what grows
	$(GO) -C $(E2E_DIR) test -count=1 -timeout 3h -v -run TestSoak ./chaos -args -chaos.soak=$(SOAK_TIME)

SCALE ?= -scale.proxies=5000 -scale.sessions=2
scale: ## simulate 5,000 proxies, a region lost and back, in virtual time; takes minutes (SCALE=flags)
	$(GO) test -count=1 -timeout 2h -v ./internal/scale -args $(SCALE)

bench: ## measure the proxy beside HAProxy, nginx, ReverseProxy, fasthttp and vault proxy; a quarter of an hour (BENCH_FLAGS=…)
	$(GO) -C bench run ./http -out $(CURDIR)/build/bench $(BENCH_FLAGS)

bench-docs: ## the same, into docs/performance.md; on a machine that does nothing else
	$(GO) -C bench run ./http -out $(CURDIR)/docs/performance -docs $(BENCH_FLAGS)

bench-smoke: ## half a minute of plain small reads; fails if vrproxy takes 0.8 times the CPU time of ReverseProxy, or four times that of HAProxy
	$(GO) -C bench vet ./...
	$(GO) -C bench test ./...
	$(GO) -C bench run ./http -smoke -rounds 3 -time 1s -max-ratio 0.8 -max-haproxy 4

N     ?= 6
BENCH ?= .
BENCHSTAT = $(GO) tool -modfile=$(CURDIR)/tools/go.mod benchstat
# Of the directory it is run in: the packages that have benchmarks, N times.
RUN_BENCHMARKS = $(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -count $(N) \
	$$(git grep -l '^func Benchmark' -- '*_test.go' ':!$(E2E_DIR)' ':!bench' ':!deploy' | xargs -n 1 dirname | sort -u | sed 's,^,./,')

bench-go: ## run the Go benchmarks (BENCH=regexp) N times into build/bench-go.txt; BASE=revision: compare with those there
	@mkdir -p build
	$(RUN_BENCHMARKS) >build/bench-go.txt || { cat build/bench-go.txt; exit 1; }
ifdef BASE
	@tree=$$(mktemp -d) && trap 'git worktree remove --force "$$tree"' EXIT && git worktree add -q --detach "$$tree" '$(BASE)' && \
	  cd "$$tree" && $(RUN_BENCHMARKS) >$(CURDIR)/build/bench-go-base.txt || { cat $(CURDIR)/build/bench-go-base.txt; exit 1; }
	@$(BENCHSTAT) base=build/bench-go-base.txt now=build/bench-go.txt
else
	@$(BENCHSTAT) build/bench-go.txt
endif

bench-dns: ## measure the DNS server beside dnsmasq, unbound and CoreDNS; fails if CoreDNS takes less CPU
	$(GO) -C bench run ./dns -max-ratio 1

# Minimising is capped: by default it may take 60 s for one input, during which
# nothing new is tried.
fuzz: ## run each fuzz target for FUZZTIME
	@grep -rHo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | grep -v '^\./$(E2E_DIR)/' | \
	while IFS=: read -r file func; do \
	  echo "== $$(dirname $$file) $${func#func }"; \
	  $(GO) test -run '^$$' -fuzz "^$${func#func }$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 100x "$$(dirname $$file)" || exit 1; \
	done

deploy: ## test what is deployed: manifests, chart, units, packages, images (deploy/)
	$(GO) -C deploy vet ./...
	$(GO) -C deploy test -count=1 -timeout 30m $(TESTFLAGS) ./...

# What is made is stamped with the commit and its time, and is the same each time.
SHIP = SOURCE_DATE_EPOCH=$(EPOCH) $(GO) -C deploy run ./ship -version $(VERSION) -commit $(COMMIT)

image: ## the container image for amd64 and arm64 as an OCI archive in build/; needs no engine
	$(SHIP) image

release: ## everything of a release in build/release: binaries, packages, image, SBOMs, checksums
	for os in linux darwin windows; do GOOS=$$os $(GO) vet ./... || exit 1; done
	rm -rf build/release
	$(SHIP) -out ../build/release release
	$(SHIP) prove

ci: ## all that a merge needs, as the build server runs it
	.ci/run

clean: ## remove what was built
	rm -rf bin build
