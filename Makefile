# Tandem's front door. `make` lists what it can do.
# Everything happens in .venv; the first target that needs it makes it. Works with GNU make 3.81, which macOS has.

SHELL := /bin/sh
PYTHON ?=
PY := .venv/bin/python
SETUP := .venv/.setup-done
DEV := .venv/.dev-done
MODELS := .venv/.models-done
TOOLCHAINS := .venv/.toolchains-done
GENERATE = $(PY) -m grpc_tools.protoc -I proto --python_out=$(1) --pyi_out=$(1) --grpc_python_out=$(1) \
	--plugin=protoc-gen-mypy_grpc=.venv/bin/protoc-gen-mypy_grpc --mypy_grpc_out=$(1) proto/tandem/v1/worker.proto

.DEFAULT_GOAL := help
.PHONY: help setup demo test soak check format lint types imports fresh proto constraints clean FORCE

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# A copied or moved checkout brings a .venv that points elsewhere; the stamp knows where it was made.
ifneq ($(shell cat $(SETUP) 2>/dev/null),$(CURDIR))
$(SETUP): FORCE
endif
$(SETUP): pyproject.toml constraints.txt deploy/setup.sh deploy/system.sh
	@PYTHON="$(PYTHON)" sh deploy/setup.sh guard,test
	@pwd > $@

$(DEV): $(SETUP)
	@PYTHON="$(PYTHON)" sh deploy/setup.sh guard,test,dev
	@pwd > $@

$(MODELS): $(SETUP) deploy/models.sh
	@sh deploy/models.sh
	@pwd > $@

setup: $(SETUP) ## make .venv with everything Tandem needs (PYTHON=... chooses the interpreter)
	@echo "tandem: .venv is ready; make help lists what can be done"

$(TOOLCHAINS): $(SETUP) deploy/toolchains.sh deploy/system.sh
	@sh deploy/toolchains.sh
	@pwd > $@

demo: $(SETUP) ## watch the team work: no network, no model, under a minute
	@$(PY) -m tandem cli demo

test: $(SETUP) $(MODELS) $(TOOLCHAINS) ## run every test once, in three processes
	@$(PY) -m pytest -q -m "not soak" -n 3 --dist loadfile --no-loadscope-reorder

soak: $(SETUP) $(MODELS) $(TOOLCHAINS) ## run the tests with full counts, for figures that are quoted
	@TANDEM_SOAK=1 $(PY) -m pytest -q -m "soak or not soak" --timeout 3600

check: format lint types imports fresh test ## everything a change must pass

format: $(DEV)
	@.venv/bin/ruff format --check --quiet . || { echo "run: .venv/bin/ruff format ."; exit 1; }

lint: $(DEV)
	@.venv/bin/ruff check --quiet .
	@.venv/bin/buf lint proto

types: $(DEV)
	@.venv/bin/pyright --warnings

imports: $(DEV)
	@.venv/bin/lint-imports --no-logo 2>/dev/null || .venv/bin/lint-imports

fresh: $(DEV)
	@rm -rf .venv/fresh && mkdir -p .venv/fresh
	@$(call GENERATE,.venv/fresh) 2>.venv/protoc.log || { cat .venv/protoc.log; exit 1; }
	@for f in .venv/fresh/tandem/v1/*; do cmp -s "$$f" "tandem/v1/$${f##*/}" \
		|| { echo "tandem/v1/$${f##*/} is not what proto/ says; run: make proto"; exit 1; }; done
	@rm -rf .venv/fresh

proto: $(DEV) ## generate tandem/v1 from proto/
	@$(call GENERATE,.)

constraints: ## write constraints.txt anew: the newest versions that fit together
	@PYTHON="$(PYTHON)" sh deploy/constraints.sh

clean: ## remove .venv and everything that was made
	@rm -rf .venv dist build .hypothesis .pytest_cache .ruff_cache .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
