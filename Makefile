# The project's few commands. `make demo` and `make test` need Python 3.11+, git and make, nothing else.
PYTHON ?= python3
BIN := .venv/bin
# One more than there are cores: tests wait for deadlines half of their time, the longest files begin.
WORKERS := $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)

.PHONY: demo test check kerberos soak sample lock clean

demo: .venv/ready
	$(BIN)/fleet demo

test: .venv/ready
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

# The last of them is all the syntax check there is for the script of Windows hosts: it needs no PowerShell.
check: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.powershell_syntax fleet/collect/visit.ps1

# The extra of that name beside the rest, for tests/system/test_kerberos.py. Needs libkrb5-dev, a C compiler and
# Python's headers; the test itself a KDC (Debian: krb5-kdc krb5-admin-server krb5-user).
kerberos: .venv/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-kerberos-build.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --no-build-isolation -r requirements-kerberos.lock

# Ten thousand simulated hosts, for ten minutes; prints one table. See docs/soak.md.
soak: .venv/ready
	$(BIN)/python -m tests.lab.soak 1000 10000

# Installed with hashes; the build back end comes from the lock too, so nothing unpinned is fetched. Compiled here:
# where PYTHONDONTWRITEBYTECODE is set, as in many containers, each start would compile the libraries anew.
.venv/ready: requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	$(BIN)/python -m compileall -q -j 0 .venv/lib fleet
	touch $@

# One run of the demo into reports/sample, the README's output and the README's picture.
SAMPLE := hosts.csv findings.csv fleet_findings.csv report.html report.json
sample: .venv/ready
	$(BIN)/fleet demo --out /tmp/fleet-demo
	cp $(addprefix /tmp/fleet-demo/,$(SAMPLE)) reports/sample/
	$(BIN)/python -m tests.sample_output
	chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=1280,1180 --screenshot=docs/report.png file://$(CURDIR)/reports/sample/report.html

lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --group dev -o requirements.lock pyproject.toml
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate -c requirements.lock --group kerberos-build -o requirements-kerberos-build.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate -c requirements.lock $(addprefix --no-emit-package ,$(shell sed -n 's/^\([a-z][a-z0-9._-]*\)==.*/\1/p' requirements.lock)) --extra kerberos -o requirements-kerberos.lock pyproject.toml

clean:
	rm -rf .venv build dist reports/out
