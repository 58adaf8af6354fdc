# Every target does its own set-up, without root, in .venv and typings/. Set-up speaks to standard
# error, so that the last line of standard output is the command's own.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
# Two files of tests at a time; `make test JOBS=` takes one after the other.
JOBS ?= --numprocesses 2 --dist loadfile
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install
PORTS := rp2 esp32
STUBS := $(PORTS:%=typings/%/.stamp)

MAKEFLAGS += --no-print-directory --no-builtin-rules
.SUFFIXES:
.DELETE_ON_ERROR:
.PHONY: help demo test check bench soak hil docs lock clean

help:
	@echo "make demo [ARGS='--for 30 --json']   simulated machines, gateway, broker, live table"
	@echo "make test    everything CI runs: check, then all tests"
	@echo "make check   format, lint, types"
	@echo "make bench   measurements        make soak    long runs"
	@echo "PICO_UF2=firmware.uf2 make hil       the firmware in an emulated Pico; takes an hour"
	@echo "make docs    generated documents make lock    renew requirements/*.txt"
	@echo "make clean   remove what make made"

demo: $(VENV)/.tools
	@$(BIN)/clampwork demo $(ARGS)

test: check
	@$(BIN)/python -m pytest $(JOBS) $(ARGS)

# Every part speaks before the target fails.
check: $(VENV)/.dev $(STUBS)
	@failed=; \
	$(BIN)/ruff format --check --quiet . || { $(BIN)/ruff format --check .; failed=1; }; \
	$(BIN)/ruff check --quiet . || failed=1; \
	$(BIN)/pyright --warnings --pythonpath $(BIN)/python || failed=1; \
	for port in $(PORTS); do \
	    $(BIN)/pyright --warnings -p pyrightconfig.$$port.json || failed=1; done; \
	test -z "$$failed"

bench: $(VENV)/.dev
	@$(BIN)/clampwork bench $(ARGS)

soak: $(VENV)/.dev
	@$(BIN)/python -m pytest -m soak --timeout=0 $(ARGS)

hil: $(VENV)/.dev
	@$(BIN)/python -m pytest hil $(ARGS)

docs: $(VENV)/.dev
	@$(BIN)/python -m clamptools.gendocs $(ARGS)

clean:
	rm -rf $(VENV) .venv-lock typings .pytest_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- set-up -----------------------------------------------------------------------------------

# $(call make_venv,folder): an empty environment of a Python that is new enough.
define make_venv
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	    { echo "Clampwork needs Python 3.11 or later, but PYTHON=$(PYTHON) is" \
	    "$$($(PYTHON) --version 2>&1 || echo missing). Try: make PYTHON=python3.12" >&2; exit 1; }
	@echo "setting up $(1)" >&2
	@$(PYTHON) -m venv --clear $(1) >&2 || { echo "$(PYTHON) -m venv failed; on Debian:" \
	    "apt install python3-venv" >&2; exit 1; }
endef

$(BIN)/python:
	$(call make_venv,$(VENV))

# The project itself is installed editable; --no-deps, because the lists below hold everything.
$(VENV)/.tools: requirements/build.txt requirements/tools.txt pyproject.toml \
    device/clampwire/version.py | $(BIN)/python
	@echo "installing what the command line needs" >&2
	@$(PIP) --require-hashes -r requirements/build.txt -r requirements/tools.txt >&2
	@$(PIP) --no-deps --no-build-isolation --editable . >&2
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.tools
	@echo "installing what the tests need" >&2
	@$(PIP) --require-hashes -r requirements/dev.txt >&2
	@touch $@

# Type stubs stay out of the environment: they shadow the standard library.
typings/%/.stamp: requirements/stubs-%.txt | $(BIN)/python
	@echo "installing the type stubs of $*" >&2
	@rm -rf typings/$*
	@$(PIP) --require-hashes --target typings/$* -r $< >&2
	@touch $@

# --- requirements -----------------------------------------------------------------------------

LOCK := .venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 \
    --generate-hashes --strip-extras --no-emit-index-url --no-emit-find-links --no-header \
    --no-annotate --upgrade
LISTS := $(patsubst %,requirements/%.txt,dev tools base build stubs-rp2 stubs-esp32 lock)

# dev first: it holds every package, so the others take its versions as their constraint.
lock:
	$(call make_venv,.venv-lock)
	@$(PIP:$(BIN)/%=.venv-lock/bin/%) --require-hashes -r requirements/lock.txt >&2
	@rm -f $(LISTS)
	@$(LOCK) pyproject.toml --all-extras -o requirements/dev.txt
	@$(LOCK) pyproject.toml --extra tools -c requirements/dev.txt -o requirements/tools.txt
	@$(LOCK) pyproject.toml -c requirements/dev.txt -o requirements/base.txt
	@$(LOCK) requirements/build.in -c requirements/dev.txt -o requirements/build.txt
	@for name in stubs-rp2 stubs-esp32 lock; do \
	    $(LOCK) requirements/$$name.in -o requirements/$$name.txt || exit 1; done
