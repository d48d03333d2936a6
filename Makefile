# The commands a person types. Needs Python 3.11 to 3.13 with venv, and make; nothing else.
PYTHON  ?= python3
PROFILE ?= demo
SIZE    ?= default
VENV    := .venv
RUN     := $(VENV)/bin/python
READY   := $(VENV)/.ready

# A line per step instead of TensorFlow's start-up notices.
export TF_CPP_MIN_LOG_LEVEL ?= 3
export PYDEVD_DISABLE_FILE_VALIDATION ?= 1

.PHONY: help book check test lab serve plan doctor bench doses weights clean
.DEFAULT_GOAL := help

help:  ## list these commands
	@awk -F ': .*## |: +## ' '/^[a-z]+:.*## /{printf "  make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  PROFILE=demo (default), tiny, paper, own, or the path of your parameters file"

book: $(READY)  ## run what is stale, build the book, print where it is
	@$(RUN) -m helpers make --profile "$(PROFILE)"

plan: $(READY)  ## what `make book` would run, and why
	@$(RUN) -m helpers plan --profile "$(PROFILE)"

check: $(READY)  ## recompute every published claim; fails when a verdict changes
	@$(RUN) -m helpers check --profile "$(PROFILE)"

doctor: $(READY)  ## list every problem in your own data; runs nothing
	@$(RUN) -m helpers doctor --profile "$(PROFILE)"

test: $(READY)  ## all tests, on the tiny and the demo profile
	@$(RUN) -m helpers make --profile demo
	@$(RUN) -m helpers cohort thigh --profile tiny
	@$(RUN) -m helpers cohort brain --profile tiny
	@$(RUN) -m pytest

lab: $(READY)  ## the notebooks in JupyterLab
	@$(RUN) -m jupyter lab --notebook-dir=.

serve: $(READY)  ## the built book on http://127.0.0.1:8000
	@$(RUN) -m http.server 8000 --bind 127.0.0.1 --directory "_build/$(basename $(notdir $(PROFILE)))/html"

bench: $(READY)  ## time phantom, legs, networks, intervals; SIZE=paper: the published cohort too
	@$(RUN) benchmarks/run.py --size "$(SIZE)"

doses: $(READY)  ## what 98.8 % would take: 120 networks on the brain phantom, an hour or two; resumable
	@$(RUN) benchmarks/brain_doses.py --maps

weights: $(READY)  ## what weights are worth: five networks learn on simulated legs; half an hour
	@$(RUN) benchmarks/weights_ablation.py --profile "$(PROFILE)" --longer DenseNet121

clean:  ## remove the results and books of all profiles; your own images stay
	rm -rf results _build .snakemake

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else f"Found Python {v[0]}.{v[1]}, expected 3.11 to 3.13. Name one: make book PYTHON=python3.12")'
	@echo "Setting up .venv from requirements.lock (about 2 minutes, once) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(RUN) -m pip install -qq --disable-pip-version-check --require-hashes -r requirements.lock
	@$(RUN) -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(READY)
