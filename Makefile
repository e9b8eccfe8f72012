# The targets a person needs, each one call of workerctl. `make help` lists them.

ENV ?= dev
WORKERCTL := .local/bin/workerctl
PROGRAM := .local/bin/prefect-worker-ecs
APPROVE := $(if $(AUTO_APPROVE),--auto-approve)
# Without paths of this machine in it, what Go has compiled once serves every checkout. Without what a
# debugger reads (a stack trace needs none of it), without a C compiler and with fewer garbage collections of
# the compiler the first build takes four fifths of the time.
export GOFLAGS := $(shell go env GOFLAGS 2>/dev/null) -trimpath -ldflags=-s -gcflags=all=-dwarf=false
export CGO_ENABLED := 0
export GOGC := 800

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@echo "usage: make TARGET [ENV=dev]    ENV is a file in config/environments"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Make itself sees that nothing is to be built: asking Go takes longer than a synth. Folders are
# in the list because a removed file changes them. make local compiles the program itself, while it
# downloads.
SOURCES := $(shell find main.go go.mod go.sum cmd config constructs internal stacks \
	-not -name '*_test.go' -not -path '*/testdata*' -not -path 'config/environments/*')
$(WORKERCTL): $(SOURCES)
	@sh cmd/compile.sh workerctl ./cmd/workerctl
$(PROGRAM): $(SOURCES)
	@sh cmd/compile.sh prefect-worker-ecs .

.PHONY: tools
tools:
	@sh internal/terraform/project/tools.sh

.PHONY: setup
setup: tools $(WORKERCTL) ## Check the tools, and install what make local and make test need
	@$(WORKERCTL) setup

.PHONY: synth
synth: $(WORKERCTL) $(PROGRAM) ## Write the Terraform JSON of all environments to cdktf.out, for review
	@$(WORKERCTL) synth --built

.PHONY: plan
plan: $(WORKERCTL) $(PROGRAM) ## Show what deploy would change, and what would be lost (for CI: workerctl plan --markdown)
	@$(WORKERCTL) plan --built $(ENV) || [ $$? = 2 ]

.PHONY: review
review: $(WORKERCTL) ## Show what the files change against BASE (a git revision, HEAD), with no AWS account
	@$(WORKERCTL) review $(if $(BASE),--base $(BASE))

.PHONY: diff
diff: $(WORKERCTL) $(PROGRAM) ## Show what deploy would change, in Terraform's own text
	@$(WORKERCTL) plan --terraform --built $(ENV)

.PHONY: deploy
deploy: $(WORKERCTL) $(PROGRAM) ## Create or change the AWS resources (AUTO_APPROVE=1: without a prompt)
	@$(WORKERCTL) deploy --built $(ENV) $(APPROVE)

.PHONY: destroy
destroy: $(WORKERCTL) $(PROGRAM) ## Remove the AWS resources (AUTO_APPROVE=1: without a prompt)
	@$(WORKERCTL) destroy --built $(ENV) $(APPROVE)

.PHONY: output
output: $(WORKERCTL) $(PROGRAM) ## Show the outputs of the deployment
	@$(WORKERCTL) output --built $(ENV)

.PHONY: lock
lock: synth ## Write the provider lock of ENV with the checksums of Linux and macOS
	@$(WORKERCTL) lock $(ENV)

.PHONY: verify
verify: $(WORKERCTL) ## Check that the deployed worker runs flows
	@$(WORKERCTL) verify $(ENV)

.PHONY: status
status: $(WORKERCTL) ## Show what runs: tasks, workers, flow runs, last error
	@$(WORKERCTL) status $(ENV)

.PHONY: local-status
local-status: $(WORKERCTL) ## Show what of the local run is running
	@$(WORKERCTL) local status $(ENV)

.PHONY: open
open: $(WORKERCTL) ## Open Prefect and the AWS consoles; the in-stack Prefect server until Ctrl-C
	@$(WORKERCTL) open $(ENV)

.PHONY: local
local: tools $(WORKERCTL) ## Run the whole system on this machine, and a flow on it
	@$(WORKERCTL) local up $(ENV)

.PHONY: local-down
local-down: $(WORKERCTL) ## Destroy and stop what local started
	@$(WORKERCTL) local down $(ENV)

.PHONY: generate
generate: ## Regenerate what is made from the options: docs/configuration.md and the editors' schema
	go test -count=1 ./config -run TestGenerated -update

# Four packages at a time, and in them four of the tests that may run together: those that
# deploy mostly wait for Terraform, and Terraform for a database. The longest go first. With five
# all takes longer: servers of Prefect that wait use processor time all the while. (lint calls vet.)
GOTEST := go test -vet=off -count=1 -p 4 -parallel 4 -timeout 40m
.PHONY: test
test: ## Run all tests
	$(GOTEST) -skip '^TestScaling$$' ./internal/local/run ./internal/test/lifecycle ./cmd/workerctl ./internal/local/prefectserver $$(go list ./... | grep -v /ops/verify)
	@$(MAKE) --no-print-directory -j 2 test-verify test-scaling

# These two wait more than they calculate, and would slow down all others: TestScaling has up to eight workers.
.PHONY: test-verify test-scaling
test-verify:
	$(GOTEST) ./internal/ops/verify
test-scaling:
	$(GOTEST) ./internal/local/run -run '^TestScaling$$'

.PHONY: bench
bench: ## Measure synth with and without the fast start, and workerctl plan against terraform plan
	go test -run '^$$' -bench . -benchtime 5x -timeout 30m ./internal/faststart ./internal/test/lifecycle

.PHONY: bench-local
bench-local: tools ## Measure make local by its parts: from empty caches, warm, and again (REV=HEAD)
	@.ci/bench-local $(REV)

.PHONY: lint
lint: ## Check format, go vet and staticcheck
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "not formatted: run make fmt" >&2; exit 1; }
	@! git grep -nwiE "mend(s|ed)?|for ever|anew|clear text|way out|stand-ins?|takes? on (a|the) role|knows? no resource|beats? no more" -- "*.go" "*.py" "*.md" ":!CHANGELOG.md" ":!CONTRIBUTING.md" || { echo "these words have a standard term: CONTRIBUTING.md, Language" >&2; exit 1; }
	@! git grep -nE "uses: [^@]+@v" -- .github/workflows || { echo "pin an action by the hash of its commit, with the release behind it" >&2; exit 1; }
	go vet ./...
	go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...

.PHONY: fmt
fmt: ## Format the code
	gofmt -w .
