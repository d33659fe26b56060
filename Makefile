# Sluice: every target with one line in `make help`.
SHELL := /bin/bash
.DEFAULT_GOAL := help

GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
COVERED  := ./shared/...,./streamer/...
FUZZTIME ?= 20s

.PHONY: help run build verify-aws test short vet lint arch fuzz bench cover clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build ## run the whole product on 127.0.0.1:8080, store embedded (settings: bin/sluice --help)
	@SLUICE_SIMULATOR=$${SLUICE_SIMULATOR:-true} exec bin/sluice

build: ## build bin/sluice, the whole product in one process
	@go build -trimpath -o bin/sluice ./streamer/local

verify-aws: ## check a deployment with bin/verify, as ARGS say: ARGS='--stack SluiceApp', ARGS=--help
	@go build -trimpath -o bin/verify ./infra/verify
	@bin/verify $(ARGS)

test: ## run every test under the race detector, with real redis-servers; hold coverage above 80 %
	@.ci/redis-server
	go test -race -timeout 20m -coverpkg=$(COVERED) -coverprofile=cover.out ./...
	@.ci/coverage cover.out 80

short: ## run the tests that need no cluster and no long run
	@.ci/redis-server
	go test -short ./...

vet: ## go vet, and gofmt on every file
	go vet ./...
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); \
	if [ -n "$$unformatted" ]; then echo "not formatted (run gofmt -w):"; echo "$$unformatted"; exit 1; fi

lint: ## golangci-lint, pinned (the first run builds it, about 4 minutes)
	go run $(GOLANGCI) run ./...

arch: ## hold the import rule
	go test -count=1 -run TestImportsPointDown ./shared

fuzz: ## run each fuzz target for FUZZTIME (20s)
	@for pkg in $$(go list ./...); do \
	  for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
	    echo "$$pkg $$target"; go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
	  done; \
	done

bench: ## run the benchmarks of the hot paths
	go test -run '^$$' -bench . -benchmem ./...

cover: test ## show the coverage of each function
	go tool cover -func=cover.out

clean: ## remove what was built, and the local data
	rm -rf bin cover.out data
