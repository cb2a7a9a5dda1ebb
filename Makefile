# make run            the main job: four years of weather through a population of agents, on embedded Ray
# make test           formatting, types and all tests; what cannot run here is named at the end, with the reason
# make scenario       one scenario of tests/scenarios in containers: make scenario NAME=bring_up
# make faults         the scenarios of tests/scenarios/faults, half an hour
# make snapshots      tests/nodes anew, after a change of modules/ or hosts/
# make fuzz           coverage-guided search for input that breaks the readers, 45 s for each kind of file
# make bench          the engine beside pymdp, the pipeline beside the core alone, plans for a thousand nodes
# make bench-cluster  services.ray beside a bare `ray start`, in containers
# make bench-recovery how long both take to recover from the same faults
# make bench-services the services beside an empty application, durable tasks under fire, chat beside a llama-server
# make soak           a random process is killed every 20 s, in containers: make soak MINUTES=20

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= results
MINUTES ?= 20
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint python/constraints.txt

export RAY_USAGE_STATS_ENABLED := 0

.DEFAULT_GOAL := run
.PHONY: run test test-python test-node test-cluster check format scenario faults snapshots fuzz bench bench-cluster bench-recovery bench-services soak clean

run: $(VENV)/.installed
	$(BIN)/cognitive run python/examples/seattle-weather.jsonl \
	    --model python/examples/umbrella.yaml --out $(OUT) --time-scale 0.001 --salience-threshold 0.2

# One after the other: on two cores, clusters beside a Ray of its own reach Ray's own limits of time.
test: check test-python test-node test-cluster

# A process can be connected to one Ray only, and each of the first two connects to its own.
test-python: $(VENV)/.tested
	$(BIN)/python -m pytest python

test-node: $(VENV)/.tested
	$(BIN)/python -m pytest pkgs

test-cluster: $(VENV)/.tested
	$(BIN)/python -m pytest tests

check: $(VENV)/.tested
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	cd python && ../$(BIN)/mypy
	cd pkgs/ray-node && ../../$(BIN)/mypy --config-file ../../python/pyproject.toml .
	cd tests && ../$(BIN)/mypy --config-file ../python/pyproject.toml containers nix.py write_snapshots.py
	cd tests && MYPYPATH=benchmarks:../python/src ../$(BIN)/mypy --config-file ../python/pyproject.toml benchmarks/*.py

format: $(VENV)/.tested
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

scenario: $(VENV)/.tested
	$(BIN)/python tests/containers $(NAME)

faults: $(VENV)/.tested
	$(BIN)/python tests/containers --faults

snapshots:
	$(PYTHON) tests/write_snapshots.py

fuzz: $(VENV)/.tested
	$(PIP) atheris
	for kind in jsonl csv parquet yaml npz checkpoint gguf text; do \
	    $(BIN)/python python/fuzz/files.py $$kind -max_total_time=45 -rss_limit_mb=3000 || exit 1; done

bench: $(VENV)/.benched
	cd python && ../$(BIN)/python -m benchmarks.planning --output ../$(OUT)/benchmarks
	$(BIN)/cognitive bench --out $(OUT)/benchmarks
	cd python && ../$(BIN)/python -m benchmarks.placement

bench-cluster: $(VENV)/.tested
	$(BIN)/python tests/benchmarks/nodes.py --output $(OUT)/benchmarks

bench-recovery: $(VENV)/.tested
	$(BIN)/python tests/benchmarks/recovery.py --output $(OUT)/benchmarks

bench-services: $(VENV)/.tested
	cd python && ../$(BIN)/python -m benchmarks.serving --output ../$(OUT)/benchmarks
	cd python && ../$(BIN)/python -m benchmarks.dispatch --tasks 100000
	cd python && PYTHONPATH=tests ../$(BIN)/python -m benchmarks.chatting --output ../$(OUT)/benchmarks

soak: $(VENV)/.tested
	$(BIN)/python tests/benchmarks/soak.py --minutes $(MINUTES) --output $(OUT)/benchmarks

clean:
	rm -rf $(VENV) $(OUT)

# The marker files are touched last: an installation that was interrupted is done again.
$(VENV)/.installed: python/pyproject.toml python/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	    { echo "python -m venv failed; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(PIP) --editable python
	@touch $@

$(VENV)/.tested: $(VENV)/.installed
	$(PIP) --editable 'python[test]'
	@touch $@

$(VENV)/.benched: $(VENV)/.installed python/benchmarks/requirements.txt
	$(PIP) --requirement python/benchmarks/requirements.txt
	@touch $@
