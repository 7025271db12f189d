# What can be done here. `make` alone lists it.

GO       ?= go
FUZZTIME ?= 30s
CYCLES   ?= 1000
FAILOVERS ?= 1000
SWITCHOVERS ?= 1000
TRANSITIONS ?= 4032
NETWORKS ?= 1000
PAIRS    ?=
STATES   ?= 5000000
SPECIMEN ?= 1048576
SEED     ?= 1
IMAGES   ?= 2000
ROUNDS   ?= 1
PROGRAMS ?= 1000000
WORLDS   ?= 200000000
SEEDS    ?= 1000000
DIR      ?=

# Programs that the tests speak with, as Debian packages: clients, and the brokers that Baton is compared with. Only
# `make test` needs both, `make torture` the clients, `make peers` the brokers. The networks of `make partitions` are made with iproute2.
CLIENTS = python3-stomp ruby-stomp netcat-openbsd $(if $(shell command -v ip),,iproute2) $(if $(shell command -v npm),,nodejs npm)
BROKERS = activemq rabbitmq-server

# What checks the Promela model of failover.
CHECKERS = spin gcc libc6-dev

# Explorations of the protocol of the pair: the race detector would make them ten times slower, and has hardly anything to find there.
# TestWorkersVisitTheSame is for that.
EXPLORATIONS = ^Test(Model|Mutants|Liveness|Leases|PackedWorlds|Relax)

.DEFAULT_GOAL := help
.PHONY: help build run demo demo-network test lint fuzz programs peers torture failovers switchovers powerloss partitions networks backlog start soak durable selective pair forwarding bench bench-peers clients brokers checkers model simulate simulate-network

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 12

build: ## build bin/baton
	$(GO) build -o bin/baton ./cmd/baton

run: build ## build and run a broker: 127.0.0.1:61613, data in ./baton-data
	@exec ./bin/baton serve

demo: ## a pair on this machine: kill the master under load, swap the roles, count; data in a temporary directory
	$(GO) run ./integration/demo

demo-network: ## three brokers on this machine: a consumer wanders between them, one is killed under load, count; data in a temporary directory
	$(GO) run ./integration/demo/network

test: clients brokers checkers lint ## everything that must hold before a change is merged
	@[ -e /dev/loop-control ] && [ "$$(id -u)" = 0 ] || echo "ATTENTION: power loss is NOT tested here, it needs Linux, root and loop devices"
	@unshare --net true 2>/dev/null || echo "ATTENTION: partitions are NOT tested here, they need Linux, root and network namespaces"
	$(GO) test -race -timeout 30m -skip '$(EXPLORATIONS)' ./...
	$(MAKE) programs PROGRAMS=10200
	$(GO) test -timeout 15m ./journal/...
	$(GO) test ./failover -run '$(EXPLORATIONS)' -count=1 -timeout 15m
	$(GO) test ./failover -run '^TestModel$$/^(small|disks|handover|all)$$' -count=1 -timeout 15m -model.states=1000000
	$(GO) test ./failover -run '^TestModel$$/^stated$$' -count=1 -timeout 15m -model.states=5000000
	$(MAKE) simulate SEEDS=2000
	$(MAKE) simulate-network SEEDS=300

lint: ## format, vet, staticcheck and the layers of the rooms
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "not formatted, run gofmt -w: $$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) test -run '^TestLayers' .

fuzz: ## run each fuzz target for FUZZTIME (30s)
	@set -e; for package in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
			echo "$$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package; \
		done; \
	done

# A third of them for each property.
programs: ## give the destinations PROGRAMS (1000000) random programs of commands
	$(GO) test ./destinations -run '^Test.*Property$$' -count=1 -timeout 72h -rapid.checks=$$(($(PROGRAMS) / 3))

model: ## explore the protocol of the pair to the end of its bounds, or to WORLDS (200 million) states of each, which take 8 GiB
	$(GO) test ./failover -run '^(TestModel|TestMutantsAreFound|TestRelaxedWorldsMissNothing|TestLeasesByTheClock|TestLiveness.*)$$' -count=1 -v -timeout 72h -parallel 1 \
		-model.states=$(WORLDS)

simulate: ## simulate a pair, the real code on a clock, network and disk of its own, for SEEDS (1000000) seeds from SEED (1) on
	$(GO) test ./failover -run '^TestSimulation' -count=1 -v -timeout 72h -sim.from=$(SEED) -sim.seeds=$(SEEDS)

simulate-network: ## simulate brokers that forward to each other, on a clock, network and disks of their own, for SEEDS seeds from SEED (1) on
	$(GO) test ./network -run '^TestSimulation$$' -count=1 -v -timeout 72h -sim.from=$(SEED) -sim.seeds=$(SEEDS)

peers: brokers ## play the same scripts against Baton, ActiveMQ and RabbitMQ, and compare with docs/migrating.md
	$(GO) test ./integration/peers -count=1 -v -timeout 10m

torture: clients ## crash and damage a journal STATES (5000000) times and bit by bit, kill -9 a broker CYCLES (1000) times
	GOGC=1000 $(GO) test ./journal -run '^(TestCrashAnywhere|TestCrashInACut|TestEveryFlippedBitIsFoundOrHarmless|TestDamagedSectors)$$' -count=1 -v -timeout 24h \
		-states=$(STATES) -specimen=$(SPECIMEN) -seed=$(SEED)
	$(GO) test ./integration -run '^TestKill9$$' -count=1 -v -timeout 6h -cycles=$(CYCLES)

# With several PAIRS side by side there is as much to check in less time; times are to be read with one alone, and nothing beside it.
failovers: clients ## kill -9 the master of a pair FAILOVERS (1000) times under clients in three languages: what is lost, and how long it takes
	$(GO) test ./integration -run '^TestPairClients$$' -count=1 -v -timeout 6h -failovers=$(FAILOVERS) -pairs=$(or $(PAIRS),1)

switchovers: ## swap the roles of a pair SWITCHOVERS (1000) times under load: what is lost, and how long it takes
	$(GO) test ./integration -run '^TestPairSwitchover$$' -count=1 -v -timeout 6h -switchovers=$(SWITCHOVERS) -pairs=$(or $(PAIRS),1)

powerloss: ## cut the power of a broker's disk under load IMAGES (2000) times; root only
	$(GO) test ./integration -run '^TestPowerLoss$$' -count=1 -v -timeout 12h -images=$(IMAGES)

# Pairs wait for timers, mostly, so that there can be many at a time; fewer of them where what is timed is to be read.
partitions: ## all 4032 ordered pairs of states of a partitioned pair, PAIRS (24) side by side, 100 silent hosts, 500 processes that stand still, ROUNDS (1) times; root only
	@for round in $$(seq $(ROUNDS)); do \
		$(GO) test ./integration -run '^TestPartitions$$' -count=1 -v -timeout 12h -transitions=$(TRANSITIONS) -pairs=$(or $(PAIRS),24) && \
		$(GO) test ./integration -run '^(TestSilentHost|TestArbiterAway)$$' -count=1 -v -timeout 12h -silences=100 -away=3m -pairs=$(or $(PAIRS),4) && \
		$(GO) test ./integration -run '^(TestStandstill|TestEverythingKilled)$$' -count=1 -v -timeout 12h -stops=500 -longest-stop=30s -blackouts=50 -pairs=$(or $(PAIRS),8) || exit 1; \
	done

networks: ## NETWORKS (1000) networks of brokers under faults: brokers killed and stopped, ways cut, consumers that wander
	$(GO) test ./integration -run '^TestNetworks$$' -count=1 -v -timeout 12h -network.seeds=$(NETWORKS) -network.settle=5s -pairs=$(or $(PAIRS),4)

backlog: ## 5 million messages without a consumer: rates, memory, disk; data in DIR
	$(GO) run ./integration/prove backlog -dir "$(DIR)"

start: ## time to the first MESSAGE with 1 and 10 million messages on disk; needs 12 GiB in DIR
	$(GO) run ./integration/prove start -dir "$(DIR)"

soak: ## 30 minutes of traffic beside one dead letter: disk use; data in DIR
	$(GO) run ./integration/prove soak -dir "$(DIR)"

durable: ## 100 durable subscribers, 100,000 messages: one copy on disk; data in DIR
	$(GO) run ./integration/prove durable -dir "$(DIR)"

selective: ## a selector that wants 1 in 10,000 of a million messages on disk: the first and all; data in DIR
	$(GO) run ./integration/prove selective -dir "$(DIR)"

pair: ## what a hot standby costs, beside a broker alone; and a standby that lacks 1 GiB coming back; data in DIR
	$(GO) run ./integration/prove pair -dir "$(DIR)"

forwarding: ## what it costs that a message is forwarded: throughput beside a broker alone, latency, what demand costs at rest; data in DIR
	$(GO) run ./integration/prove network -dir "$(DIR)"

bench: ## throughput and latency of Baton beside the limits of this machine, then the Go benchmarks: ten minutes or so
	$(GO) run ./bench/peers -against baton,relay -growth "" -rounds 1 -duration 3s -dir "$(DIR)"
	$(GO) test -run '^$$' -bench . -benchmem -benchtime 300ms ./...

bench-peers: brokers ## Baton, ActiveMQ, RabbitMQ and the limits of this machine: an hour; writes docs/performance.md
	$(GO) run ./bench/peers -dir "$(DIR)" -out docs/performance.md

clients: PACKAGES = $(CLIENTS)
checkers: PACKAGES = $(CHECKERS)
brokers: PACKAGES = $(BROKERS)

# Debian starts a server that it installs, unless a policy-rc.d forbids it: ours does while we install, for the tests start
# brokers of their own and nobody has asked for a service.
clients brokers checkers:
	@missing=; for package in $(PACKAGES); do \
		dpkg -s $$package >/dev/null 2>&1 || missing="$$missing $$package"; \
	done; \
	[ -z "$$missing" ] && exit 0; \
	if ! command -v apt-get >/dev/null; then echo "the tests need$$missing: install what is so called in Debian"; exit 1; fi; \
	if [ "$$(id -u)" = 0 ]; then sudo=; \
	elif sudo -n true 2>/dev/null; then sudo="sudo -n"; \
	else echo "the tests need$$missing: sudo apt-get install$$missing"; exit 1; fi; \
	policy=/usr/sbin/policy-rc.d; \
	if [ ! -e $$policy ]; then \
		trap "$$sudo rm -f $$policy" EXIT; trap 'exit 1' INT TERM; \
		printf '#!/bin/sh\nexit 101\n' | $$sudo tee $$policy >/dev/null; $$sudo chmod 755 $$policy; \
	fi; \
	$$sudo apt-get update -qq && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing
