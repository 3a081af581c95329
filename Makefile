# Everything sets itself up: `make test` and `make demo` work on a fresh clone with Python 3.11+, git and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export UV_PROJECT_ENVIRONMENT := $(VENV)

.PHONY: setup check demo-in-time lint types imports test test-long test-judge test-slow test-root test-cluster test-cluster-short object-store lab-packages lab-build lab-built lab-up lab-down demo demo-cluster bench soak fidelity fidelity-short wheels bounds clean
.DEFAULT_GOAL := help

help:
	@echo "make demo       real card transactions: a better model promoted, two bad ones stopped (4 minutes)"
	@echo "make demo-cluster the same story on a Kubernetes cluster: the lab's, which it starts as root (10 minutes)"
	@echo "make test       all tests but those that take long, and whole rollouts under load"
	@echo "make test-long  tests that take seconds each, or need a running Serinus or a browser"
	@echo "make test-judge simulated rollouts of every kind: false aborts and false promotions (minutes)"
	@echo "make test-slow  whole rollouts by real processes, under load"
	@echo "make test-root  the tests that need root, or show more as root"
	@echo "make test-cluster the tests that need a Kubernetes cluster: the lab's, or that of SERINUS_KUBECONFIG"
	@echo "make test-cluster-short the quickest of those of an installed control plane"
	@echo "make lab-up     a Kubernetes cluster on this machine, without Docker (as root; lab-build, lab-down)"
	@echo "make check      what CI runs, as an ordinary user"
	@echo "make bench      other servers, bounds and Serinus side by side (half an hour; needs wrk)"
	@echo "make fidelity   100,000 answers compared with those of MLflow's scoring server (half an hour)"
	@echo "make wheels     the wheels of both distributions, in dist/"
	@echo "make bounds     the quick tests with the lowest and the newest versions that are allowed"
	@echo "make soak       200 models for ten minutes, with deployments, kills and rollbacks"

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; 'make PYTHON=/path/to/python3.11 ...' takes another one"; exit 1; }
	$(PYTHON) -m venv $(VENV) || { echo "python3 cannot make virtual environments (Debian: apt-get install python3-venv)"; exit 1; }
	$(BIN)/python -m pip install --quiet uv

$(VENV)/.synced: $(BIN)/uv uv.lock pyproject.toml runtime/pyproject.toml
	$(BIN)/uv sync --quiet --locked --compile-bytecode --all-extras --all-groups
	@touch $@

setup: $(VENV)/.synced

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

# Both at once, as each uses one processor.
types: setup
	$(BIN)/mypy & packages=$$!; $(BIN)/mypy --config-file tests/mypy.ini; tests=$$?; wait $$packages && exit $$tests

imports: setup
	$(BIN)/lint-imports

# The number of processes that run tests: make test WORKERS=4
WORKERS ?= 2

test: setup
	$(BIN)/python scripts/nothing_left.py 20 $(BIN)/pytest -n $(WORKERS) --dist loadfile -m "not long and not slow and not browser and not cluster"

# In the order of the files: files of few tests that take long would be the last ones otherwise.
test-long: setup
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "(long or browser) and not slow and not cluster"

# As many as exclude a rate of 5% where none fails. docs/judge.md shows 2,000 of each: make test-judge STREAMS=2000
STREAMS ?= 60

test-judge: setup
	$(BIN)/python -m simulation --streams $(STREAMS)

test-slow: setup
	$(BIN)/pytest -m "slow and not cluster"

test-root: setup
	$(BIN)/pytest -n $(WORKERS) --dist loadfile -m "root and not cluster"

# Where neither the lab nor another cluster is there, it starts the lab, and ends it afterwards; that needs root.
test-cluster: setup
	$(BIN)/pytest -m cluster tests/cluster

# What CI has time for: the control plane is installed, brings a first version, and is restarted under load.
test-cluster-short: setup
	$(BIN)/pytest -m cluster tests/cluster/test_cluster_installed.py -k "not in_a_canary"

# The S3 server that tests of the prediction log are run on; needs Go.
object-store: setup
	$(BIN)/python -m clusterlab build --object-store

# The Debian packages that it needs and this machine has not.
lab-packages: setup
	@$(BIN)/python -m clusterlab packages

lab-build: setup
	$(BIN)/python -m clusterlab build

# Succeeds where all of them are built.
lab-built: setup
	@$(BIN)/python -m clusterlab built

lab-up: setup
	$(BIN)/python -m clusterlab up

lab-down: setup
	$(BIN)/python -m clusterlab down

demo: setup
	$(BIN)/python -m demo

# On the lab, which it starts where it does not run, and ends afterwards; that needs root, and lab-build before.
demo-cluster: setup
	$(BIN)/python -m demo.cluster

bench: setup
	$(BIN)/python -m bench && $(BIN)/python -m bench report

soak: setup
	$(BIN)/python -m bench.soak --minutes 10

fidelity: setup
	$(BIN)/python -m fidelity --report

# Bounded by its number; the time is a second bound, for a slow machine.
fidelity-short: setup
	$(BIN)/python -m fidelity --comparisons 5000 --seconds 90

# Twenty streams of each kind show a judge that is broken, in a fifth of the time; `make test-judge` shows its rates.
check: STREAMS := 20
check: lint types imports test test-long test-judge fidelity-short test-slow demo-in-time

# The demo, unless less than ten minutes are left of a time that is bounded from outside, as .ci/run says (in seconds since
# 1970). The whole rollouts of test-slow are the same with fewer requests.
demo-in-time:
	@if [ -n "$$SERINUS_TEST_DEADLINE" ] && [ $$((SERINUS_TEST_DEADLINE - $$(date +%s))) -lt 600 ]; then \
	  echo "THE DEMO IS SKIPPED: less than ten minutes are left for the checks. \`make demo\` runs it." >&2; \
	else DEMO_EXIT=1 $(MAKE) demo; fi

# Of wheels alone: the sdist of one distribution does not hold the other.
wheels: setup
	$(BIN)/uv build --quiet --wheel --out-dir dist --all-packages

# An environment of its own for each, which the lock does not bind; the tests are those of the control plane, whose
# dependencies have bounds. `lowest-direct`: the lowest that pyproject.toml allows, and the newest of what those need.
RESOLUTIONS ?= lowest-direct highest
BOUNDS_TESTS ?= tests/api tests/predictions/table/test_rollup.py tests/cli tests/core tests/delivery tests/engine tests/gates tests/judge tests/spec tests/targets/local/supervisor tests/wiring
# Left out: the OpenAPI document, which is as the locked FastAPI and Pydantic write it.
OF_THE_LOCK := tests/api/test_api_openapi.py::test_the_file_is_what_the_code_says

bounds: setup
	@for resolution in $(RESOLUTIONS); do \
	  echo "$$resolution" && \
	  $(BIN)/uv venv --quiet --clear --python $(BIN)/python .bounds/$$resolution && \
	  VIRTUAL_ENV=.bounds/$$resolution $(BIN)/uv pip install --quiet --resolution $$resolution \
	    --group dev -e ./runtime -e ".[local]" && \
	  .bounds/$$resolution/bin/python -m pytest -q -n $(WORKERS) --dist loadfile -m "not slow and not browser and not root" \
	    --deselect $(OF_THE_LOCK) $(BOUNDS_TESTS) || exit 1; \
	done

clean:
	rm -rf $(VENV) .bounds dist .mypy_cache .ruff_cache .pytest_cache
