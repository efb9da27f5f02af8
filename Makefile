# Linux and macOS. All the work is in start.py; Windows runs it directly: py start.py lab
#
#   make lab PYTHON=/path/to/python3.12       choose the Python that .venv is made from
#   make lab ARGS="--ip 0.0.0.0 --port 9000"  options for `diffusion-course lab` (after make test: for pytest)

# The default Python first: it is the one that you chose. The others only where that one does not do.
CANDIDATES = python3 python3.13 python3.12 python3.14 python3.11 python

.PHONY: help lab test bench env constraints clean

help:
	@echo "make lab          install the course into .venv and open JupyterLab on the first notebook"
	@echo "make test         install the same and run all checks (ruff, pytest, notebooks)"
	@echo "make bench        install the same and measure the course beside diffusers: some minutes, on a quiet machine"
	@echo "make env          only install"
	@echo "make constraints  choose the newest allowed packages anew: rewrites constraints.txt (needs uv)"
	@echo "make clean        delete .venv and everything else that these commands made"

# A Python of the right age that has venv; failing that the default one, for start.py to say what is wrong with it.
lab test bench env:
	@if [ -n "$(PYTHON)" ]; then \
	  command -v "$(PYTHON)" >/dev/null || { echo "PYTHON=$(PYTHON): there is no such program." >&2; exit 1; }; \
	  exec "$(PYTHON)" start.py $@ $(ARGS); \
	fi; \
	for python in $(CANDIDATES); do \
	  if $$python -c 'import sys, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' >/dev/null 2>&1; then \
	    exec $$python start.py $@ $(ARGS); \
	  fi; \
	done; \
	for python in $(CANDIDATES); do \
	  if $$python -c '' >/dev/null 2>&1; then exec $$python start.py $@; fi; \
	done; \
	echo "No Python found: this course needs one of 3.11 to 3.14, from https://www.python.org/downloads/" >&2; exit 1

constraints:
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.11.0 --upgrade --quiet \
	  --no-annotate --custom-compile-command "make constraints" --output-file constraints.txt

clean:
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
