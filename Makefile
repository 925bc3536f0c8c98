# make serve      set up, prepare data, train DTN and PLE, export, load features, serve on HOST:PORT
# make outcomes   beside a running service: count exposures and events, read experiments out;  make trial  sends a trial
# make test       set up, then the tests;  make test-all adds the slow ones
# make check      ruff, mypy --strict, import arrows
# make loadtest   load a running service:  make loadtest ARGS="--users 8 --run-time 30s --p99 100"
# make loadtest-compare BASE=.run/loadtest/result.json   the same load again; fails on a drop beyond noise
# make bench      the service against floors on this machine, and peers: make bench ARGS="--peers all"
# make bench-open, bench-stages, soak    latency against offered load, where the time goes, memory and p99 over minutes
# make engine-table BUNDLE=…   a run's time by number of candidates, without HTTP;  make demo  rebuilds deploy/demo

PYTHON ?= python3
RUNTIME ?= cpu# cpu or gpu: which ONNX Runtime is installed
PREPARE ?= synthetic --rows 200000 --seed 1# any arguments of `python -m training prepare`, without --out
SEED ?= 1
MODELS := ple dtn
ARGS ?=

PY := .venv/bin/python
OTHER_cpu := onnxruntime-gpu
OTHER_gpu := onnxruntime
READY := .venv/.ready-$(RUNTIME)
DATA := .run/data
RUNS := .run/runs
RAW := $(wildcard $(filter-out --%,$(PREPARE)))# files and folders among the arguments
MEANING := $(wildcard contract/schema.py contract/dictionary.py contract/hashing.py contract/encoding.py)
say = @printf '\033[1m[%s]\033[0m %s\n'

.DELETE_ON_ERROR:
.PHONY: serve outcomes trial setup test test-all check loadtest loadtest-compare bench bench-open bench-stages soak engine-table demo demo-data clean FORCE

serve: $(READY) $(MODELS:%=bundles/%/.exported)
	$(say) 5/6 "load features into Redis ($${REDIS_URL:-private server, .run/redis})"
	@$(PY) -m export features --data $(DATA)
	$(say) 6/6 "serve"
	@exec $(PY) -m service

outcomes: $(READY)
	@exec $(PY) -m service outcomes $(ARGS)

trial: $(READY)
	@$(PY) -m loadtest.trial $(ARGS)

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: Python 3.11 or newer is needed, $$($(PYTHON) --version) found; set PYTHON=/path/to/python3.11"; exit 1; }
	$(say) 1/6 "set up .venv (once; a minute or two)"
	@test -x $(PY) || $(PYTHON) -m venv .venv
	@rm -f .venv/.ready-*; $(PY) -m pip uninstall -qq -y $(OTHER_$(RUNTIME)) 2>/dev/null # both own one folder
	@$(PY) -m pip install -qq --disable-pip-version-check -c constraints.txt \
	  '.[service,arrow,experiments,kafka,$(RUNTIME),training,tracking,benchmark,export,distributed,loadtest,local,dev]'
	@rm -rf build twinscore.egg-info
	@touch $@

# changes only when the variable of that name does
.run/%.value: FORCE
	@mkdir -p .run; echo '$($*)' | cmp -s - $@ || echo '$($*)' > $@

$(DATA)/prepared.json: .run/PREPARE.value $(if $(RAW),$(shell find $(RAW) -type f)) $(MEANING) \
  $(wildcard training/datasets/*.py training/datasets/*/*.py) | $(READY)
	$(say) 2/6 "prepare $(PREPARE)"
	@$(PY) -m training prepare $(PREPARE) --out $(DATA)

$(RUNS)/%/metrics.json: $(DATA)/prepared.json .run/SEED.value training/recipes/%.yaml \
  $(wildcard training/*.py training/models/*.py) | $(READY)
	$(say) 3/6 "train $*"
	@$(PY) -m training train --data $(DATA) --model $* --seed $(SEED) --out $(@D)

bundles/%/.exported: $(RUNS)/%/metrics.json $(wildcard export/*.py) contract/bundle.py | $(READY)
	$(say) 4/6 "export $*"
	@$(PY) -m export model --run $(RUNS)/$* --out bundles
	@touch $@

.PRECIOUS: $(RUNS)/%/metrics.json .run/%.value

# two processes; a file stays in one, as its fixtures do
SIDE_BY_SIDE := -n 2 --dist loadfile
test: $(READY)
	@$(PY) -m pytest -m "not slow" $(SIDE_BY_SIDE) $(ARGS)

test-all: $(READY)
	@$(PY) -m pytest $(SIDE_BY_SIDE) $(ARGS)

check: $(READY)
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports

loadtest: $(READY)
	@$(PY) -m loadtest $(ARGS)

loadtest-compare: $(READY)
	@test -n '$(BASE)' || { echo "error: BASE is missing: make loadtest-compare BASE=.run/loadtest/result.json"; exit 2; }
	@$(PY) -m loadtest.compare --base '$(BASE)' $(ARGS)

PART_bench := table
PART_bench-open := open
PART_bench-stages := stages
PART_soak := soak
bench bench-open bench-stages soak: $(READY) $(MODELS:%=bundles/%/.exported)
	@$(PY) -m loadtest.bench $(PART_$@) $(ARGS)

DEVICE ?= cpu
engine-table: $(READY)
	@test -n '$(BUNDLE)' || { echo "error: BUNDLE is missing: make engine-table BUNDLE=bundles/dtn/VERSION DEVICE=cuda"; exit 2; }
	@$(PY) -m service.engine_table --bundle $(BUNDLE) --device $(DEVICE) $(ARGS)

DEMO_dtn := --set model.embedding=8 --set model.width=32 --set model.memonet.fields=8 --set model.memonet.code_book=2000 \
  --set model.gated_cross.rank=16
DEMO_ple := --set model.embedding=8 --set 'model.expert_layers=[64]'

# small models and tables for `docker compose up`, made by the same commands as everybody's
demo: $(READY) $(MODELS:%=demo-%)
	@rm -rf deploy/demo && mkdir -p deploy/demo && cp -r .run/demo/bundles .run/demo/data deploy/demo
	@rm -r deploy/demo/data/interactions

demo-data: $(READY)
	@rm -rf .run/demo
	@$(PY) -m training prepare synthetic --rows 60000 --users 2000 --items 500 --seed 1 --out .run/demo/data

demo-%: demo-data
	@$(PY) -m training train --data .run/demo/data --model $* --seed $(SEED) --out .run/demo/runs/$* $(DEMO_$*)
	@$(PY) -m export model --run .run/demo/runs/$* --out .run/demo/bundles

clean:
	rm -rf .run bundles build twinscore.egg-info
