# Everything a person or CI types. Needs Python >= 3.11 with venv, and the package index.

PYTHON ?= python3
BIN := .venv/bin
CLEAN_ENV := env -u PYTHONPATH -u PYTHONHOME

.PHONY: run test check check-quick check-slow fast corpus bench bench-peers fuzz lock setup setup-dev debian

run: setup
	@exec $(BIN)/rawproxy serve

test: setup-dev .venvs/legacy/.done .venvs/ancient/.done .venvs/tools/.done debian
	@$(MAKE) --no-print-directory check

# ruff, mypy, every test, coverage of the whole and of the pure layers. Slow tests with processes and
# load have one core, all others the other one.
check:
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/coverage erase
	@$(MAKE) --no-print-directory -j2 check-quick check-slow
	$(BIN)/coverage combine -q
	$(BIN)/coverage report --include='rawproxy/errors.py,rawproxy/wire/*,rawproxy/dialects/*,rawproxy/gateway/*' --fail-under=100
	$(BIN)/coverage report

ONE_PROCESS := tests/fuzz tests/net tests/wire

check-quick:
	$(BIN)/coverage run -m pytest -q -m 'not slow'
	RAWPROXY_PUMP=off $(BIN)/pytest -q -m 'not slow' tests/net tests/faults
	$(BIN)/coverage run -m pytest -q -p tests.net.tasks -m 'not slow' tests/net tests/faults
	$(BIN)/coverage run -m pytest -q -m slow $(ONE_PROCESS)

check-slow:
	$(BIN)/coverage run -m pytest -q -m slow $(ONE_PROCESS:%=--ignore=%)

# The tests without sockets under load, SDK clients and subprocesses: under a minute.
fast:
	$(BIN)/pytest -q -m 'not slow'

# Requests and responses with verdicts, and 110,000 broken ones; shows the figures. Two minutes.
corpus: setup-dev
	$(BIN)/pytest -q -s tests/wire/test_corpus.py tests/wire/test_response_corpus.py tests/wire/test_mutations.py \
		tests/net/test_corpus.py tests/net/test_response_corpus.py tests/net/test_mutations.py

# Direct, rawproxy, nginx and HAProxy side by side; a quarter of an hour. ARGS=--quick: two minutes.
bench: setup-dev
	$(BIN)/python -m bench $(ARGS)

# The same with Envoy, Portkey, LiteLLM and claude-code-router, which are installed into .venvs/ first.
bench-peers: setup-dev
	$(BIN)/python -m bench --peers all $(ARGS)

# Every parser, fed with what nobody should send; exit code 1 on a finding. ARGS='--seconds 600'.
fuzz: setup-dev
	$(BIN)/python -m fuzz $(ARGS)

# What pip installs, pinned with hashes. Run after a change of the dependencies in pyproject.toml.
lock: setup-dev
	$(BIN)/uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-header --no-emit-index-url --no-annotate pyproject.toml --group build -o requirements/run.txt
	$(BIN)/uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-header --no-emit-index-url --no-annotate pyproject.toml --group dev -o requirements/dev.txt
	$(BIN)/uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-header --no-emit-index-url --no-annotate requirements/legacy.in -o requirements/legacy.txt
	$(BIN)/uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-header --no-emit-index-url --no-annotate requirements/ancient.in -o requirements/ancient.txt
	$(BIN)/uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-header --no-emit-index-url --no-annotate requirements/tools.in -o requirements/tools.txt

# Clients of other makers. Where nothing may be installed, the tests that need them skip, and say so.
debian:
	@for program in nghttp:nghttp2-client h2load:nghttp2-client curl:curl openssl:openssl cc:gcc; do \
		command -v $${program%%:*} >/dev/null && continue; \
		echo "rawproxy: installing $${program##*:}"; \
		(apt-get update -q && apt-get install -q -y $${program##*:}) >/dev/null 2>&1 \
			|| echo "rawproxy: $${program##*:} cannot be installed: its tests will skip"; \
	done
	@test -e /usr/include/openssl/ssl.h || (apt-get update -q && apt-get install -q -y libssl-dev) >/dev/null 2>&1 \
		|| echo "rawproxy: libssl-dev cannot be installed: the bench's tests of TLS will skip"

setup: .venv/.run
setup-dev: .venv/.dev

.venv/bin/python:
	@echo 'rawproxy: setting up .venv (once)'
	@$(CLEAN_ENV) $(PYTHON) -m venv .venv

.venv/.run: requirements/run.txt pyproject.toml | .venv/bin/python
	@echo 'rawproxy: installing what requirements/run.txt pins'
	@$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements/run.txt
	@$(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv/.dev: requirements/dev.txt .venv/.run
	@echo 'rawproxy: installing what requirements/dev.txt pins'
	@$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

# The vendors' SDKs of the generation before (legacy), and the first that spoke to Claude (ancient):
# what many clients still run. Programs that look at ours from outside (tools).
.venvs/%/.done: requirements/%.txt
	@$(CLEAN_ENV) $(PYTHON) -m venv .venvs/$*
	@.venvs/$*/bin/pip install -q --disable-pip-version-check --require-hashes -r $<
	@touch $@
