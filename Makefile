# Every target is one command; what it does lives in scripts/. `make` lists them.

# The first of these that is Python 3.11 or newer makes .venv. Name your own: make run PYTHON=/path/to/python3.12
PYTHONS = .venv/bin/python python3.13 python3.12 python3.11 python3.14 python3 python
PYTHON = $(PYTHONS)
INTERPRETERS = $(PYTHON)

# `make build PYTHON=3.13` names the version that the zips are for, not an interpreter.
VERSION = $(filter 3.% local,$(PYTHON))
build: INTERPRETERS = $(if $(VERSION),$(PYTHONS),$(PYTHON))

# Two workers a core (tests/conftest.py), each with a Valkey of its own. One that is done takes tests from the end of another's, so neighbours mostly stay together.
WORKERS = --numprocesses auto --dist worksteal

# The tests that need neither Terraform nor LocalStack nor a generator of clients.
VALKEY_ONLY = --ignore tests/browser --ignore tests/emulated --ignore tests/clients --ignore tests/terraform --ignore tests/aws -m "not emulated"

.NOTPARALLEL:
.PHONY: help run emulate dashboard drill rebuild token admin bench build plan apply drift smoke destroy snapshot retire test test-terraform test-emulated test-browser test-clients test-long check audit-dependencies format lock clean

help: ## list the targets
	@if test -t 1; then on=$$(printf '\033[36m') off=$$(printf '\033[0m'); fi; \
	awk -F ':.*## ' -v on="$$on" -v off="$$off" \
	    '/^#: / { print "\n" substr($$0, 4) } /^[a-z-]+:.*## / { printf "  %s%-18s%s %s\n", on, $$1, off, $$2 }' Makefile

#: Run
run: ## the whole API on http://127.0.0.1:8080, and its dashboard on http://127.0.0.1:8081, with 1,000 demo players (PORT, DASHBOARD_PORT, ACCESS=protected, API_KEY, RATE_LIMIT, ALLOWED_HOSTS, VALKEY_HOST, DEMO)
	@$(call install,local.lock)
	@exec .venv/bin/python -m scripts.run

emulate: ## all of terraform/ on an emulated AWS, with real functions and a real Valkey, until Ctrl-C (PORT, ACCESS=protected, KEEP=1, LOCALSTACK_HOST, VALKEY_HOST)
	@$(call install,local.lock)
	@exec .venv/bin/python -m scripts.emulator.emulate

drill: ## raise an alarm of a running `make emulate` by its cause, and wait until it is over (ALARM=api-5xx; FORCE=1: by hand; JSON=1); without ALARM, list them
	@$(call install,local.lock)
	@exec .venv/bin/python -m scripts.emulator.drill $(if $(FORCE),--force) $(if $(JSON),--json) $(ALARM)

dashboard: ## the page of `make run`, drawn from what `make emulate` has deployed (SOURCE=localstack, DASHBOARD_PORT, NAME, LOCALSTACK_HOST)
	@$(call install,dev.lock)
	@exec .venv/bin/python -m scripts.emulator.dashboard

rebuild: ## make board, names and totals anew from the profiles, while writes go on (ENV=dev: on AWS; RESUME=1: go on with one that was stopped; CHECK=1: compare only)
	@$(call install,local.lock)
	@exec .venv/bin/python -m scripts.rebuild

token: ## a token for a server or a person, on standard output (SCOPE=server NAME=backend DAYS=90; ENV=dev: of that environment on AWS; JSON=1)
	@$(call install,local.lock)
	@exec .venv/bin/python -m scripts.tokens

admin: ## what people do about a player: find, show, hide, unhide, correct, rename, export, erase, token, audit (ARGS="hide grace --reason …"; ENV=prod, or BASE_URL, TOKEN, API_KEY)
	@$(call install,local.lock)
	@exec .venv/bin/python -m scripts.admin $(or $(value ARGS),--help)

bench: ## clock every handler against the bare round trip to Valkey (MEMORY=1: what a million players cost; FIRST=1: a new environment's first request; LINE=1: a request's line)
	@$(call install,dev.lock)
	@exec .venv/bin/python -m scripts.bench $(if $(MEMORY),--memory) $(if $(FIRST),--first) $(if $(LINE),--line)

#: Ship
build: ## the zips for Lambda: layer and functions (ARCH=arm64 PYTHON=3.13; local: this machine's own)
	@$(call install,local.lock)
	@exec .venv/bin/python -m scripts.aws.build $(if $(ARCH),--arch $(ARCH)) $(if $(VERSION),--python $(VERSION))

plan: ## what `make apply` would change on AWS (ENV=dev; OUT=file: save the plan and sum it up; JSON=1; ARGS="…": more for terraform)
	@$(call install,local.lock)
	@exec .venv/bin/python -m scripts.aws.infrastructure plan $(if $(OUT),--out "$(OUT)") $(if $(JSON),--json) "$(ENV)" $(ARGS)

apply: ## make AWS what terraform/ says, once you say yes (ENV=dev; PLAN=file: exactly that plan, at once)
	@$(call install,local.lock)
	@exec .venv/bin/python -m scripts.aws.infrastructure apply $(if $(PLAN),--plan "$(PLAN)") "$(ENV)" $(ARGS)

drift: ## whether AWS still is what terraform/ says (ENV=dev; JSON=1)
	@$(call install,local.lock)
	@exec .venv/bin/python -m scripts.aws.infrastructure drift $(if $(JSON),--json) "$(ENV)" $(ARGS)

smoke: ## what only AWS can show, looked at after an apply: a table of verdicts (ENV=dev; JSON=1)
	@$(call install,local.lock)
	@exec .venv/bin/python -m scripts.aws.smoke $(if $(JSON),--json) "$(ENV)" $(ARGS)

destroy: ## remove an environment from AWS once you have typed its name, but for a last snapshot of its data (ENV=dev)
	@$(call install,local.lock)
	@exec .venv/bin/python -m scripts.aws.destroy "$(ENV)" $(ARGS)

snapshot: ## take a snapshot of the cache in use, and print its ARN (ENV=dev)
	@$(call install,local.lock)
	@exec .venv/bin/python -m scripts.aws.caches snapshot "$(ENV)"

retire: ## delete a cache that is no longer in use, with a last snapshot (ENV=dev; CACHE=r1: the one whose name ends so)
	@$(call install,local.lock)
	@exec .venv/bin/python -m scripts.aws.caches retire "$(ENV)" "$(CACHE)"

#: Prove
test: ## what our own code promises, on a real Valkey of its own (ARGS=tests/api/test_ties.py: a part, of any tier; COVERAGE=1: list the lines that no test has run)
	@$(call install,dev.lock)
	@.venv/bin/pytest $(if $(findstring tests/,$(ARGS)),,$(VALKEY_ONLY) $(WORKERS)) $(if $(COVERAGE),--cov) $(ARGS)

test-terraform: ## what terraform/ would make and what runs it: every plan by its rules, every rule on a broken tree, applies (needs Terraform)
	@$(call install,dev.lock)
	@.venv/bin/pytest tests/aws tests/terraform $(ARGS)

test-emulated: ## the whole system on an emulated AWS, and `make emulate` itself (needs Terraform and a Python 3.11)
	@$(call install,dev.lock)
	@.venv/bin/pytest tests/emulated tests/tooling -m emulated --numprocesses 3 --dist loadfile $(ARGS)

test-browser: ## the dashboard in a real browser, as people see it (needs Chromium)
	@$(call install,browser.lock .browser)
	@.browser/bin/pytest tests/browser $(ARGS)

test-clients: ## clients in TypeScript and Python, generated from the contract, on the local API (installs the generators, once)
	@$(call install,dev.lock)
	@.venv/bin/pytest tests/clients $(ARGS)

test-long: ## the suites that try to break it, ten times larger (some minutes)
	@$(call install,dev.lock)
	.venv/bin/python -m tests.write_path.model --size large
	CRASH_SCALE=10 HISTORY_EXAMPLES=1500 MODEL_EXAMPLES=200 FUZZ_EXAMPLES=2000 .venv/bin/pytest -v --timeout 3600 \
	    $(addprefix tests/write_path/,test_crash_points.py test_lost_replies.py test_races.py test_histories.py test_model.py) \
	    tests/api/test_fuzz.py

check: ## formatting, lint, types, the contract and Terraform
	@$(call install,dev.lock)
	@$(call install,checkov.lock .checkov)
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/python -m scripts.dev.lint_contract
	.venv/bin/python -m scripts.dev.operations --check
	.venv/bin/python -m scripts.dev.terraform_root --check
	.venv/bin/python -m scripts.dev.terraform_docs --check
	.venv/bin/python -m scripts.dev.check_terraform

audit-dependencies: ## whether anybody has published a hole in what the locks pin (JSON=1; OSV_URL: a copy of the advisories; needs the network)
	@$(call install,audit.lock .audit)
	@exec .audit/bin/python -m scripts.dev.audit_dependencies $(if $(JSON),--json)

#: Change
format: ## rewrite the code in its one format, and what is made of the contract and of terraform/
	@$(call install,dev.lock)
	.venv/bin/ruff check --fix-only .
	.venv/bin/ruff format .
	.venv/bin/python -m scripts.dev.operations
	.venv/bin/python -m scripts.dev.terraform_root
	.venv/bin/python -m scripts.dev.terraform_docs
	if command -v terraform > /dev/null; then terraform fmt -recursive terraform; fi
	.venv/bin/python -m scripts.dev.planned_dashboard

lock: ## pin pyproject.toml's dependencies in *.lock (UPGRADE=1: the newest versions)
	@$(call install,dev.lock)
	@.venv/bin/python -m scripts.dev.lock

clean: ## remove what was made: .venv, caches, builds, and the data of `make run`
	rm -rf .venv .uv .browser .checkov .audit .clients .localstack .emulated .data build .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache scripts/dev/lint_contract/node_modules tests/clients/node_modules
	find functions scripts shared tests -name __pycache__ -prune -exec rm -rf {} +

install = for python in $(INTERPRETERS); do \
	    if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        $$python scripts/dev/bootstrap.py $(1); exit; \
	    fi; \
	done; \
	echo "Python 3.11 or newer is needed, and none of these is: $(INTERPRETERS). Install one, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1
