# Each target first does what is missing of the set-up; `make help` lists them.

# PYTHON names the interpreter of the environment (default: the first suitable one); ARGS are passed on.
PYTHON ?=
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test bench results docs lint audit lock matrix clean

help:
	@echo "make setup            environment, pinned packages and colcon build in this folder; only what is missing"
	@echo "make demo [ARGS=...]  the robot walks a path, loses a leg, adapts and walks on (ARGS=--help lists options)"
	@echo "make test [ARGS=...]  all tests (ARGS go to pytest)"
	@echo "make bench [ARGS=...] speeds, against other packages, which it installs in .venv-bench (ARGS=--help lists options)"
	@echo "make results          docs/results anew: about 2 h of 2 cores; a stopped one goes on, what is the same is not run again"
	@echo "make docs             docs as a site, site/index.html; ARGS=serve shows it while it is written"
	@echo "make lint             ruff, mypy, import-linter and hadolint"
	@echo "make audit            bill of materials, sbom.cdx.json, and known weaknesses of what is installed"
	@echo "make lock [ARGS=...]  requirements/*.txt anew of the *.in (ARGS: packages to take in their newest version)"
	@echo "make matrix ARGS=...  all tests with each Python that is named, such as ARGS='python3.10 python3.12'"
	@echo "make clean            removes .venv*, build, install, log, site and the caches of tools"
	@echo "With PYTHON=... the environment is made of that interpreter."

# The environment's own interpreter starts faster than a python3 that a version manager stands for.
setup:
	@python=.venv/bin/python; [ -x $$python ] || python=python3; command -v $$python >/dev/null || \
	  { echo "python3 is missing. On Debian or Ubuntu: sudo apt install python3 python3-venv python3-dev" >&2; exit 1; }; \
	  PYTHON="$(PYTHON)" $$python -E -s -S tools/setup_workspace.py

demo: setup
	@.venv/bin/mbmrl demo $(ARGS)

test: setup
	@.venv/bin/ros-env python -m pytest $(ARGS)

bench: setup
	@.venv/bin/python tools/setup_more.py bench
	@.venv/bin/mbmrl bench $(ARGS)

# Seeds that nothing was chosen by. What two evaluations share is run once.
EVALUATE = .venv/bin/mbmrl evaluate --precision bfloat16 --duration 18 --fault-time 8 --seed 20000
PAPER = .venv/bin/mbmrl evaluate --task move_forward --learners default,grbal,rebal,mb,mb_de --seeds 10 --seed 30000
results: setup
	@$(EVALUATE) --seeds 40 --learners all --out docs/results
	@$(EVALUATE) --seeds 40 --learners default,bayes_replay,attention,mb --scenarios all --out docs/results/kinds
	@$(EVALUATE) --seeds 40 --learners default,mb --scenarios severe --out docs/results/severe
	@$(EVALUATE) --seeds 20 --learners default --planner all --out docs/results/planners
	@$(EVALUATE) --seeds 20 --learners default --precision all --out docs/results/precisions
	@$(PAPER) --robot half_cheetah --scenarios joint_dead,slope,soft_ground --out docs/results/half_cheetah
	@$(PAPER) --robot ant --set effort_weight=0 --out docs/results/ant

docs: setup
	@.venv/bin/python tools/setup_more.py docs
	@.venv/bin/ros-env python tools/docs.py $(ARGS)

lint: setup
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/python -m mypy
	@.venv/bin/ros-env lint-imports --no-cache
	@.venv/bin/hadolint Dockerfile

audit: setup
	@.venv/bin/python tools/setup_more.py audit
	@.venv/bin/python tools/audit.py

lock: setup
	@.venv/bin/python tools/setup_more.py lock
	@.venv/bin/python tools/lock.py $(ARGS)

matrix:
	@tools/matrix.sh $(ARGS)

clean:
	rm -rf .venv .venv-* build install log site sbom.cdx.json .mypy_cache .pytest_cache .ruff_cache .hypothesis
