# Sluice: every target with one line in `make help`.
SHELL := /bin/bash
.DEFAULT_GOAL := help

GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
CDK      := 2.1148.1
COVERED  := ./shared/...,./streamer/...,./functions/...
FUZZTIME ?= 20s
FOR_ARM  := GOOS=linux GOARCH=arm64 CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -tags lambda.norpc
WITH_CDK := export PATH="$$(.ci/node):$$PATH" &&
ARGS     ?=

.PHONY: help run build test test-infra short vet lint arch fuzz bench cover clean \
	chaos artifacts check synth diff deploy destroy verify-aws cost

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build ## run the whole product on 127.0.0.1:8080, store embedded (settings: bin/sluice --help)
	@SLUICE_SIMULATOR=$${SLUICE_SIMULATOR:-true} exec bin/sluice

build: ## build bin/sluice, the whole product in one process
	@go build -trimpath -o bin/sluice ./streamer/local

test: ## run every test under the race detector, with real redis-servers; hold coverage above 80 %
	@.ci/redis-server
	go test -race -timeout 20m -coverpkg=$(COVERED) -coverprofile=cover.out $$(go list ./... | grep -v '/infra$$')
	@.ci/coverage cover.out 80
	@$(MAKE) --no-print-directory test-infra

test-infra: artifacts ## run the tests of the CloudFormation templates only (the first build takes minutes)
	$(WITH_CDK) go test -timeout 20m ./infra

short: ## run the tests that need no cluster and no long run
	@.ci/redis-server
	go test -short $$(go list ./... | grep -v '/infra$$')

vet: ## go vet, and gofmt on every file
	go vet ./...
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); \
	if [ -n "$$unformatted" ]; then echo "not formatted (run gofmt -w):"; echo "$$unformatted"; exit 1; fi

lint: ## golangci-lint, pinned (the first run builds it, about 4 minutes)
	go run $(GOLANGCI) run ./...

arch: ## hold the import rule
	go test -count=1 -run TestImportsPointDown ./shared

chaos: ## break everything the ledger stands on, for minutes (SEED=n, ONLY=kill,freeze, LONG=1: outages of 60 s)
	@.ci/redis-server
	go test -count=1 -timeout 60m -v -run TestChaos ./streamer/chaos -args -all $(if $(SEED),-seed=$(SEED)) $(if $(ONLY),-only=$(ONLY)) $(if $(LONG),-long)

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

artifacts: ## build what is deployed, for arm64, and the tools that deploy it
	@mkdir -p bin/lambda/relay
	@$(FOR_ARM) -o bin/arm64/streamer ./streamer
	@cp bin/arm64/streamer bin/lambda/relay/bootstrap
	@for f in functions/*/; do $(FOR_ARM) -o bin/lambda/$$(basename $$f)/bootstrap ./$$f || exit 1; done
	@go build -o bin/infra ./infra && go build -o bin/deploy ./infra/deploy && go build -o bin/verify ./infra/verify

check: artifacts ## say whether everything that a deployment needs is here, a line each
	@$(WITH_CDK) bin/deploy check --cdk $(CDK)

synth: artifacts ## write the CloudFormation templates to cdk.out (ARGS="-c profile=ha" and so on)
	@$(WITH_CDK) npx --yes aws-cdk@$(CDK) synth --quiet $(ARGS)

diff: artifacts ## show what deploy would change
	@$(WITH_CDK) npx --yes aws-cdk@$(CDK) diff $(ARGS)

deploy: check ## deploy to the AWS account of your credentials: image, SluiceData, SluiceApp
	@$(WITH_CDK) npx --yes aws-cdk@$(CDK) synth --quiet $(ARGS)
	@if grep -q AWS::ECS::Service cdk.out/SluiceApp.template.json; then bin/deploy push; fi
	@if grep -q '"AWS_USE_DUALSTACK_ENDPOINT": "true"' cdk.out/SluiceApp.template.json; then bin/deploy probe; fi
	@$(WITH_CDK) npx --yes aws-cdk@$(CDK) deploy --all --app cdk.out

destroy: artifacts ## remove SluiceApp; SluiceData, with all that was recorded, stays
	@$(WITH_CDK) npx --yes aws-cdk@$(CDK) destroy SluiceApp $(ARGS)
	@echo "SluiceData is kept: it holds keys, budgets and usage. README.md says how to remove it."

verify-aws: ## check a deployment for what only AWS can show: yes or no for each
	@go build -o bin/verify ./infra/verify && bin/verify $(ARGS)

cost: ## compute infra/COST.md anew from the templates and infra/cost/prices.json
	$(WITH_CDK) go test -count=1 ./infra -run TestCostPage -update

clean: ## remove what was built, and the local data
	rm -rf bin cover.out data cdk.out
