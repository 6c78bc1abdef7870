# Fleetwatch. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
GO ?= go
export GOTOOLCHAIN ?= local

STACK = .bin/stackctl
REPORT = $(GO) run ./internal/stack/testreport
# The packages whose guarantees rest on concurrency; -race needs a C compiler.
RACE = ./internal/lifecycle/... ./internal/httpserve/... ./internal/sqlstore/... ./internal/exporter/... ./internal/heartbeat/... ./internal/alertbridge/... ./internal/gateway/... ./internal/webui/... ./internal/sandbox/feishu/... ./internal/stack/...

.PHONY: help up down status demo test lint e2e e2e-compose bench soak fuzz mutate tools build fmt deps stackctl clean

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

stackctl:
	@CGO_ENABLED=0 $(GO) build -o $(STACK) ./internal/stack/stackctl

up: stackctl ## run the suite on this machine; prints a table of what is where
	@$(STACK) up

down: stackctl ## stop the suite; its data stays in .run/up
	@$(STACK) down

status: stackctl ## print the table again; exit code 1 where something is not ready
	@$(STACK) status

demo: stackctl ## run the sandbox beside any suite and play an incident
	@$(STACK) $(if $(HOLD),-hold) demo

build: stackctl ## build the programs into .bin
	@$(STACK) build

tools: stackctl ## build the pinned Prometheus, Alertmanager and their tools into .bin (once)
	@$(STACK) tools

deps: ## install what tests need beyond Go, where that is possible (Debian, as root)
	@.ci/deps

test: tools deps ## all tests; what could not run is listed at the end (REQUIRE_ALL=1: fails)
	@$(GO) test -timeout 20m -json ./... 2>&1 | $(REPORT)
	@if [ "$$($(GO) env CGO_ENABLED)" = 1 ] && command -v "$$($(GO) env CC)" >/dev/null; then \
		echo "again with the race detector:"; $(GO) test -race -short -timeout 20m -json $(RACE) 2>&1 | $(REPORT); \
	elif [ "$${REQUIRE_ALL:-}" = 1 ]; then echo "FAILED race detector: no C compiler"; exit 1; \
	else echo "SKIPPED race detector: no C compiler"; fi

lint: ## go vet, formatting, golangci-lint
	@.ci/lint

e2e: tools build ## from cause to card through the real parts; writes docs/e2e-report.md
	@$(GO) test -tags e2e -count=1 -timeout 30m -v ./internal/stack/e2e
	@$(GO) test -tags e2e -count=1 -timeout 10m -run TestPanelsShowData -v ./internal/dashboards | grep -E "^(---|===|ok|FAIL|PASS|panic| +[a-z_]+_test.go)"
	@ALERTBRIDGE_CRASH_ROUNDS=20 HEARTBEAT_CRASH_ROUNDS=20 GATEWAY_CRASH_ROUNDS=20 $(GO) test -count=1 -timeout 20m -run "Crash|Kill" -v ./internal/alertbridge/... ./internal/heartbeat/... ./internal/gateway/... | grep -vE '^(=== |\?|testing: warning|PASS$$)|no tests to run'

e2e-compose: tools ## the same in containers: real engine, real compose.yaml, a clean clone
	@.ci/compose-images deps
	@$(GO) test -tags e2e_compose -count=1 -timeout 40m -v -run TestContainers ./internal/compose

bench: ## every figure, with pass or miss; writes docs/benchmarks.md
	@$(GO) run ./internal/stack/benchreport

fuzz: ## 20 s per fuzz target (FUZZTIME=5m for more)
	@.ci/fuzz

mutate: tools ## break the guarantees one by one; lists what no test notices (ONLY=text for some)
	@CGO_ENABLED=0 $(GO) build -C internal/tools/gremlins -o $(CURDIR)/.bin/ github.com/go-gremlins/gremlins/cmd/gremlins
	@$(GO) run ./internal/mutate $(if $(ONLY),-only "$(ONLY)")

soak: tools build ## the long kill -9, storm, outage and fuzz runs
	@ALERTBRIDGE_STORM=full ALERTBRIDGE_OUTAGE=2m ALERTBRIDGE_CRASH_ROUNDS=200 HEARTBEAT_CRASH_ROUNDS=200 GATEWAY_CRASH_ROUNDS=50 $(GO) test -count=1 -timeout 3h -run "Crash|Kill|Storm|Outage" -v ./internal/alertbridge/... ./internal/heartbeat/... ./internal/gateway/...
	@FUZZTIME=5m .ci/fuzz

fmt: ## format the source
	@gofmt -w $$(git ls-files '*.go')

clean: ## remove what was built; data in .run stays
	@rm -rf .bin
