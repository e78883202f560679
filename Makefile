# The project's commands. `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help setup run test check bench migration

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install --require-hashes

# What runs on SQLite and on PostgreSQL.
ON_BOTH_DATABASES := $(addprefix tests/,accounts devices jobs sessions overview test_migrations.py)

# The newest Python that really starts here; a pyenv shim may stand on PATH without a Python behind it.
FIND_PYTHON = for name in python3.13 python3.12 python3.11 python3; do \
	if "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then echo "$$name"; break; fi; done

help: ## lists these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.ready ## makes .venv with the exact versions of requirements.lock

run: $(VENV)/.ready ## runs hub, worker and this machine's collector until Ctrl-C, and prints the address
	@exec $(BIN)/python -m webapp.supervisor --until-parent-ends

test: $(VENV)/.ready-dev ## runs every test on SQLite, then what touches the database on PostgreSQL
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not e2e and not faults"
	$(BIN)/python -m pytest -m "e2e or faults"
	TEST_DATABASE=postgresql $(BIN)/python -m pytest -n 2 --dist loadfile $(ON_BOTH_DATABASES)

check: $(VENV)/.ready-dev ## lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.ready-dev ## measures what GOALS.md promises, each as a ratio beside its target
	$(BIN)/python -m bench

migration: $(VENV)/.ready-dev ## makes a schema revision from the models: make migration m="add pulls"
	@test -n "$(m)" || { echo 'Say what changes: make migration m="add pulls"'; exit 1; }
	$(BIN)/flask --app app db upgrade
	$(BIN)/flask --app app db migrate -m "$(m)"
	@$(BIN)/ruff check --fix --quiet migrations && $(BIN)/ruff format --quiet migrations
	@echo "Read the new file in migrations/versions by hand before you commit it."

$(VENV)/bin/python:
	@python=$$($(FIND_PYTHON)); \
	if [ -z "$$python" ]; then \
		echo "Muster needs Python 3.11 or newer (Debian: apt install python3 python3-venv; macOS: brew install python)." >&2; \
		exit 1; \
	fi; \
	echo "Making $(VENV) with $$($$python --version)..."; \
	"$$python" -m venv $(VENV) || { \
		echo "That Python cannot make virtual environments. Debian and Ubuntu: apt install python3-venv" >&2; \
		rm -rf $(VENV); exit 1; \
	}

$(VENV)/.ready: requirements.lock | $(VENV)/bin/python
	@echo "Installing what Muster needs (about a minute, once)..."
	@$(PIP) -r requirements.lock
	@touch $@

$(VENV)/.ready-dev: requirements-dev.lock $(VENV)/.ready
	@echo "Installing what the tests need (about two minutes, once)..."
	@$(PIP) -r requirements-dev.lock
	@touch $@
