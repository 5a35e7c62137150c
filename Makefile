# Each target works as the first command on a machine with Python 3.11 or newer, its venv (Debian: python3-venv) and make.
PYTHON ?= $(shell python3 .ci/python.py || echo python3)
BIN := .venv/bin
SIZE ?= 1GiB
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: run test check bench fmt sample setup constraints vendor clean

run: .venv/stamp  ## serve data/ on http://127.0.0.1:8000
	@$(BIN)/fileserve serve data

test: .venv/stamp  ## run the tests, a process for each processor; ARGS go to pytest
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile $(ARGS)

check: .venv/stamp  ## formatting, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/stamp  ## measure beside the peers that are installed; QUICK=1 in about three minutes
	$(BIN)/python -m pytest benchmarks -c benchmarks/pytest.ini $(ARGS)

fmt: .venv/stamp  ## format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

sample: .venv/stamp  ## make data/large/sample-SIZE.bin (SIZE=8GiB), random bytes
	$(BIN)/python -m benchmarks.sample $(SIZE)

setup: .venv/stamp  ## make .venv

.venv/stamp: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("fileserve needs Python 3.11 or newer; make PYTHON=python3.12 chooses another")'
	$(PYTHON) -m venv --clear .venv
	@echo "the environment is made with $$($(BIN)/python -c 'import platform, sys; print("Python", platform.python_version(), "of", sys.base_prefix)'); make PYTHON=… clean setup chooses another"
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable . --group dev
	@touch $@

constraints: .venv/stamp  ## write constraints.txt anew from the newest versions that pyproject.toml allows
	$(BIN)/python -m pip install --quiet --upgrade --upgrade-strategy eager --editable . --group dev
	$(BIN)/python -m pip freeze --exclude-editable > constraints.txt

vendor:  ## fetch the browser's tus client anew, as fileserve/web/ui/vendor/README.md says
	@set -eu; cd fileserve/web/ui/vendor; folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	set -- $$(sed -n 's/^| `tus.min.js` |.*`\(tus-js-client\)` | \([0-9.]*\) | `\([0-9a-f]*\)`.*/\1@\2 \3/p' README.md); \
	npm pack --silent --pack-destination "$$folder" "$$1" >/dev/null; \
	tar -xzf "$$folder"/*.tgz -C "$$folder"; \
	echo "$$2  $$folder/package/dist/tus.min.js" | sha256sum --check --quiet; \
	cp "$$folder/package/dist/tus.min.js" tus.min.js; cp "$$folder/package/LICENSE" tus.LICENSE; echo "$$1 is as the README says"

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
