# Each target makes its own virtual environment when there is none.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
READY   = $(VENV)/.ready
TESTS  ?= tests
WORKERS ?= $(shell expr 2 \* $$(nproc))

# What is imported is compiled once and kept: a machine on which nothing is would do it at each of some hundred starts.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-long cover lint bench bench-smoke bench-compare profile pictures peers cluster histories soak image release wheel sbom lock clean

demo: $(READY)
	$(BIN)/xds demo $(DEMO)

# Twice as many processes as cores: half of them wait for servers and disks.
test: $(READY)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --durations 40 --durations-min 5 $(TESTS)

# What is large, ten times as large, in an hour at most: property tests, histories, whole corpora, floods as large as
# tests/hostile/attacks.md says, other people's validators, and screenshots of every page in .long/.
test-long: $(READY)
	mkdir -p .long
	TESTS_LONG=1 TESTS_SCREENSHOTS=$(CURDIR)/.long $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --timeout 1800 $(TESTS)

# The tests with their coverage, which takes twice as long.
cover: $(READY)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --cov=xds --cov-branch --cov-report=term $(TESTS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive xds

# Figures against floors: make bench BENCH="iti-42 --quick"; they stand in .bench/latest.json and .html, too.
bench: $(READY)
	$(BIN)/python -m tests.bench --json .bench/latest.json --page .bench/latest.html $(BENCH)

# Every benchmark for a second: only that each runs and gives its figures.
bench-smoke: $(READY)
	$(BIN)/python -m tests.bench --smoke $(BENCH)

bench-compare: $(READY)
	$(BIN)/python -m tests.bench.compare $(OLD) $(NEW)

# Where a request's time goes: .bench/profile.html, PROFILE="--before FILE" beside what was found of other code.
profile: $(READY)
	$(BIN)/python -m tests.bench.profiling --json .bench/profile.json --page .bench/profile.html $(PROFILE)

# The README's pictures, in deploy/pictures: the demonstration runs, and Chromium looks at it and at a desk.
pictures: $(READY)
	$(BIN)/python -m tests.pictures

# Other people's clients, IPF's, against a server of ours: needs Java and Maven, and Maven Central the first time.
peers: $(READY)
	$(BIN)/python -m tests.peers

# A cluster to look at: PostgreSQL twice under Patroni, etcd, HAProxy, PgBouncer, two nodes.  CLUSTER="--kills 20" kills
# its primary under load so often, and holds what must hold.
cluster: $(READY)
	$(BIN)/python -m tests.cluster $(CLUSTER)

# Histories of faults by their seeds, and what they found: make histories N=10000 SEED=1.
histories: $(READY)
	$(BIN)/python -m tests.faults --histories $(or $(N),200) --seed $(or $(SEED),1)

# A node under peers of all kinds for hours, and whether anything of it grows: .bench/soak.html.  make soak HOURS=1.
soak: $(READY)
	$(BIN)/python -m tests.soak --hours $(or $(HOURS),1) $(SOAK)

# A release in dist/: wheel, source, SBOM, and what every Python that is here made of them; which were not, it says.
release: $(READY)
	$(BIN)/python deploy/release.py dist

# The container's image, on bases made by mmdebstrap, as root; .image keeps these: without it they are made anew.
image:
	deploy/image.sh .image

# The wheel, and beside it what it needs as an SBOM (CycloneDX): the same from the same source.
wheel: $(READY)
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	$(MAKE) sbom

sbom: $(READY)
	mkdir -p dist
	$(BIN)/python deploy/sbom.py dist

# deploy/requirements.txt, with hashes, from constraints.txt: asks an index of packages.
lock: $(READY)
	$(BIN)/python deploy/lock.py

$(READY): pyproject.toml constraints.txt constraints-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -c constraints-dev.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .image .image.lock .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage* tests/peers/*/target
