# Two commands do everything: `make demo` and `make test`. What is missing on a Debian or Ubuntu machine with a Rust
# toolchain is installed first (scripts/setup.sh says what).

.PHONY: help demo demo-edge test check bench build web obs-check sessions-check api-check fuzz audit sbom sim soak chaos clean

CARGO ?= cargo
# Where cargo puts what it builds.
TARGET := $(or $(CARGO_TARGET_DIR),target)


help:
	@echo 'make demo       build, start, push a clock picture, and print the page to open'
	@echo 'make demo-edge  the same from one origin through two edges on this machine'
	@echo 'make test       everything: unit, property and end-to-end tests, Chromium included'
	@echo 'make check      formatting, lints, licences and sources of dependencies, what is shipped in deploy/'
	@echo 'make bench      ours beside the peers, in one run'
	@echo 'make build      the release binary with its pages: target/release/aqueduct'
	@echo 'make obs-check  a real OBS pushes for a minute and plays (needs obs-studio; installs it)'
	@echo 'make sessions-check  twenty sessions with stalls: what the server says of them beside what their pages measured'
	@echo 'make sim        packager, relay, edges and players under a virtual clock: SEEDS (2000) cases'
	@echo 'make soak       five streams, a ladder, two edges, SOAK_PLAYERS (500) for SOAK_SECONDS (3600): what grows?'
	@echo 'make chaos      an origin, two edges, players and Chromium, and faults by SEED (random) for SECONDS (300): what breaks?'
	@echo 'make api-check  schemathesis asks a running server for everything that the document of /api/v1 promises'
	@echo 'make audit      known faults of every dependency (needs the network; says which lists it could not ask)'
	@echo 'make sbom       what the program is made of, as CycloneDX: target/sbom'
	@echo 'make fuzz       every fuzz target for FUZZ_SECONDS (60) each; better with a nightly compiler'

demo:
	@scripts/setup.sh build demo
	@$(MAKE) --no-print-directory build
	@$(TARGET)/release/aqueduct demo --clip tests/media/bigbuckbunny.mp4 $(DEMO_FLAGS)

demo-edge:
	@scripts/setup.sh build demo
	@$(MAKE) --no-print-directory build
	@scripts/demo-edge.sh $(TARGET)/release/aqueduct $(DEMO_FLAGS)

build: web
	$(CARGO) build --release --locked -p aqueduct

web:
	@scripts/setup.sh build
	cd web && npm run --silent build

test: web
	@scripts/setup.sh build test
	cd web && npm test --silent
	# All at once, with the features that the tests have: the server that they start is built of the same parts.
	$(CARGO) build --locked --workspace --all-targets
	scripts/test.sh $(CARGO) $(abspath $(TARGET))

check:
	@scripts/setup.sh build check
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) deny --log-level error check bans licenses sources
	@scripts/check-deploy.sh $(TARGET)/check-deploy
	cd web && npm run --silent check

bench: build
	@scripts/setup.sh bench
	$(CARGO) build --release --locked -p aqueduct-benches -p aqueduct-tests
	benches/run.sh

obs-check: build
	@scripts/setup.sh obs
	tests/obs/run.sh

sessions-check: build
	@scripts/setup.sh build test
	cd tests/browser && node sessions.mjs --server $(abspath $(TARGET))/release/aqueduct

fuzz:
	@scripts/setup.sh build fuzz
	fuzz/run.sh $(or $(FUZZ_SECONDS),60)

# The operator's API beside its own document, by a public tool.
api-check: web
	@scripts/setup.sh build demo api
	$(CARGO) build --locked -p aqueduct
	scripts/api-check.sh $(TARGET)/debug/aqueduct $(TARGET)/schemathesis/bin/schemathesis --phases examples,coverage,fuzzing \
	    --max-examples $(or $(EXAMPLES),50)

# As many cases of the simulation as are asked for, optimised; `SEED=N` runs one and tells of it.
sim:
	@scripts/setup.sh build
	SEEDS=$(or $(SEEDS),2000) $(CARGO) test --release --locked -p aqueduct-tests --test sim -- --nocapture

soak: build
	@scripts/setup.sh demo
	$(CARGO) build --release --locked -p aqueduct-benches
	$(TARGET)/release/aqueduct-bench --server $(TARGET)/release/aqueduct soak --seconds $(or $(SOAK_SECONDS),3600) \
	    --players $(or $(SOAK_PLAYERS),500)

# The same seed and length make the same plan; a run that fails says which they were. CHAOS_FLAGS: `--plan`, `--players 60`.
chaos: build
	@scripts/setup.sh build test
	$(CARGO) build --release --locked -p aqueduct-tests
	SERVER_UNDER_TEST=$(abspath $(TARGET))/release/aqueduct $(TARGET)/release/aqueduct-chaos --browser \
	    --seconds $(or $(SECONDS),300) $(if $(SEED),--seed $(SEED)) $(CHAOS_FLAGS)

audit:
	@scripts/setup.sh build audit
	@scripts/audit.sh

sbom:
	@scripts/setup.sh build sbom
	@scripts/sbom.sh $(TARGET)/sbom

clean:
	$(CARGO) clean
	rm -rf web/dist web/node_modules tests/browser/node_modules
