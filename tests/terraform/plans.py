"""Plans of the whole tree as data: every resource, with what is known of it and what it is made from.

Much of a plan is only known after apply. What a value is made from is in the plan's configuration all the same, so
links between resources are followed there: through outputs and variables of modules, but not through locals.
"""

from __future__ import annotations

import contextlib
import json
import queue
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from scripts.aws import terraform_mirror, terraform_provider
from scripts.places import ROOT, functions
from tests.support import terraforms

ENVIRONMENTS = tuple(sorted(path.stem for path in (ROOT / "terraform" / "environments").glob("*.tfvars")))
EMULATED = "local"
WHOLE = "leaderboard"
"""The root's one module, which holds everything; addresses are those within it."""

KNOWN = {"modules/cache": {"host": "cache.invalid", "port": 6379}}
"""Outputs that AWS would make up, by module: set so that the plan shows the functions' environment."""

NETWORK = {
    "name": "leaderboard-test",
    "interface_endpoints": ["elasticache"],
    "flow_log_retention_days": 7,
    "kms_key_arn": "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-4000-8000-000000000000",
}
"""The variables of the network when it is applied by itself."""

AT_ONCE = 2
"""How many plans are made side by side; each has a provider of half a gigabyte."""

ADDRESS = re.compile(r"((?:module\.\w+(?:\[[^]]*\])?\.)*)(\w+)\.(\w+)(?:\[(.*)\])?")
"""Its module, its type, its name and its key."""

Values = Mapping[str, Any]

Edit = Callable[[Path], None]
"""Something that is done to a copy of `terraform/` before it is planned."""


@dataclass(frozen=True)
class Resource:
    """One instance of a resource: what is planned, what is not known yet, and how both are written."""

    address: str
    block: str
    """The address without any index, as in the configuration."""
    type: str
    key: str | int | None
    values: Values
    unknown: Values
    expressions: Values
    for_each: Values
    depends_on: tuple[str, ...]

    def value(self, *path: str) -> Any:
        """What is planned at a path, in the first of nested blocks; None if there is nothing, or it is not known."""
        return _dig(self.values, path)

    def is_unknown(self, *path: str) -> bool:
        """Whether something is planned at a path that is only known after apply."""
        found: Any = self.unknown
        for name in path:
            found = _first(found)
            if found is True:
                return True
            found = found.get(name) if isinstance(found, Mapping) else None
        return found is True or (isinstance(found, list) and True in found)

    def expression(self, *path: str) -> Values:
        """How a value is written: `references` or `constant_value`; empty if it is not."""
        return _dig(self.expressions, path) or {}


@dataclass(frozen=True)
class Plan:
    """All resources, and the configuration that they come from, which a state does not have."""

    resources: tuple[Resource, ...]
    configuration: Values
    taken_to: Mapping[str, str]
    """Where each instance of the state is in the configuration, by its full address."""

    def of(self, *types: str) -> list[Resource]:
        """The resources of these types."""
        return [resource for resource in self.resources if resource.type in types]

    def linked(self, resource: Resource, *path: str) -> list[Resource]:
        """The resources that a value names: by id if that is known, otherwise by what the value is written with."""
        value = resource.value(*path)
        ids = {each for each in (value if isinstance(value, list) else [value]) if isinstance(each, str)}
        if ids:
            return [other for other in self.resources if other.values.get("id") in ids]
        expression = resource.expression(*path)
        blocks = self.origins(resource.block, expression)
        each = any(name.split(".")[0] == "each" for name in expression.get("references", ()))
        of_each = self.origins(resource.block, resource.for_each) if each else frozenset()
        return [
            other
            for other in self.resources
            if other.block in blocks or (other.block in of_each and other.key == resource.key)
        ]

    def origins(self, block: str, expression: Values) -> frozenset[str]:
        """The blocks that an expression is made from, through the modules' variables and outputs.

        block is where it is written: in a resource, or under any other name within the module.
        """
        return frozenset(self._origins(_module(block), expression))

    def awaited(self, resource: Resource) -> frozenset[str]:
        """The blocks that a resource is said to depend on, through the modules' variables and outputs."""
        return self.origins(resource.block, {"references": resource.depends_on})

    def _origins(self, module: str, expression: Values) -> Iterator[str]:
        for reference in expression.get("references", ()):
            kind, *rest = re.sub(r"\[[^]]*\]", "", reference).split(".")
            if kind == "var" and module:
                parent, _, name = module.rpartition("module.")
                call = self._modules[parent.rstrip(".")]["module_calls"][name]
                yield from self._origins(parent.rstrip("."), call["expressions"].get(rest[0], {}))
            elif kind == "module" and len(rest) > 1:
                inner = _join(module, f"module.{rest[0]}")
                output = self._modules[inner]["outputs"].get(rest[1], {})
                yield from self._origins(inner, output.get("expression", {}))
                yield from self._origins(inner, {"references": output.get("depends_on", ())})
            elif kind.startswith("aws_"):
                yield _join(module, f"{kind}.{rest[0]}")

    @cached_property
    def _modules(self) -> dict[str, Values]:
        return dict(_modules_of(self.configuration))

    @property
    def types(self) -> set[str]:
        """The types of all resources."""
        return {resource.type for resource in self.resources}


def read(document: Values) -> Plan:
    """What `terraform show -json` prints of a plan or a state, as a plan; of the root, what its one module holds."""
    configuration = document.get("configuration", {}).get("root_module", {})
    calls = configuration.get("module_calls", {})
    prefix = f"module.{WHOLE}." if set(calls) == {WHOLE} and "resources" not in configuration else ""
    if prefix:
        configuration = calls[WHOLE]["module"]
    blocks = {
        _join(module, f"{block['type']}.{block['name']}"): block
        for module, content in _modules_of(configuration)
        for block in content.get("resources", ())
        if block["mode"] == "managed"
    }
    unknown = {
        change["address"].removeprefix(prefix): change["change"]["after_unknown"]
        for change in document.get("resource_changes", ())
    }
    values = document["planned_values"] if "planned_values" in document else document["values"]
    found = []
    for resource in terraforms.managed(values):
        address = resource["address"].removeprefix(prefix)
        block = re.sub(r"\[[^]]*\]", "", address)
        written = blocks.get(block, {})
        found.append(
            Resource(
                address=address,
                block=block,
                type=resource["type"],
                key=resource.get("index"),
                values=resource.get("values", {}),  # left out if nothing is known
                unknown=unknown.get(address, {}),
                expressions=written.get("expressions", {}),
                for_each=written.get("for_each_expression", {}),
                depends_on=tuple(written.get("depends_on", ())),
            )
        )
    taken_to = {
        change.get("previous_address", change["address"]): change["address"]
        for change in document.get("resource_changes", ())
        if change["change"]["before"] is not None
    }
    return Plan(tuple(found), configuration, taken_to)


class Tree:
    """A copy of the tree that is ready to be planned, and plans of copies of it, made side by side."""

    def __init__(self, folder: Path, providers: Iterable[Mapping[str, str]], pool: ThreadPoolExecutor):
        self._folder, self._pool = folder, pool
        self._plans: dict[str, Future[Plan]] = {}
        self._providers: queue.SimpleQueue[Mapping[str, str]] = queue.SimpleQueue()
        for provider in providers:
            self._providers.put(provider)

    def start(self, name: str, environment: str, edit: Edit | None = None, more: Values | None = None) -> None:
        """Begins to plan an environment, with more variables, unless that was begun before; edit changes the copy."""
        if name not in self._plans:
            self._plans[name] = self._pool.submit(self._plan, name, environment, edit, more or {}, ())

    def start_moving(self, name: str, environment: str, state: Path) -> None:
        """Begins to plan the end of all that a former tree's state has: the plan says where each is in this tree.

        state lists the instances, a line each: the version of its schema, and its address.
        """
        if name not in self._plans:

            def take_on(folder: Path) -> None:
                (folder / "terraform.tfstate").write_text(json.dumps(_state(state.read_text(encoding="utf-8"))))
                for path in folder.rglob("*.tf"):
                    path.write_text(re.sub(r"prevent_destroy += true", "prevent_destroy = false", path.read_text()))

            options = ("-destroy", "-refresh=false")
            self._plans[name] = self._pool.submit(self._plan, name, environment, take_on, {}, options)

    def start_example(self, name: str) -> None:
        """Begins to plan one of terraform/examples/, a root of its own."""
        if name not in self._plans:
            self._plans[name] = self._pool.submit(self._plan_example, name)

    def plan(self, name: str) -> Plan:
        """A plan or state that was begun, once it is there. Raises TerraformError."""
        return self._plans[name].result()

    def start_applying(self, name: str, module: str, variables: Values, edit: Edit | None = None) -> None:
        """Begins to apply one module alone to the emulator: in its state every id is known."""
        self._plans[name] = self._pool.submit(self._apply, name, module, variables, edit)

    def _apply(self, name: str, module: str, variables: Values, edit: Edit | None) -> Plan:
        copied = terraforms.copy(self._folder.parent / name)
        if edit:
            edit(copied)
        folder = copied / "modules" / module
        with self._provider() as provider:
            terraforms.init(folder, environment=provider)
            return read(terraforms.apply(folder, variables, environment=provider))

    def _plan(self, name: str, environment: str, edit: Edit | None, more: Values, options: Sequence[str]) -> Plan:
        folder = self._folder.parent / name
        shutil.copytree(self._folder, folder, symlinks=True)
        if edit:
            edit(folder / "terraform")
        file = Path("environments", f"{environment}.tfvars")
        with self._provider() as provider:
            planned = terraforms.plan(folder / "terraform", more, var_file=file, options=options, environment=provider)
            return read(planned)

    def _plan_example(self, name: str) -> Plan:
        copied = self._folder.parent / f"example-{name}"
        shutil.copytree(self._folder, copied, symlinks=True)
        folder = copied / "terraform" / "examples" / name
        written = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.tf"))
        with self._provider() as provider:
            own = written.count('provider "aws"') > 1  # one that stays has a single configuration
            environment = {key: text for key, text in provider.items() if not own or key != terraform_provider.VARIABLE}
            options = terraform_mirror.init_options() if own else []
            terraforms.run(folder, "init", "-input=false", *options, environment=environment)
            return read(terraforms.plan(folder, {}, environment=environment))

    @contextlib.contextmanager
    def _provider(self) -> Iterator[Mapping[str, str]]:
        """A provider for this work alone: it takes its default tags from whatever configured it last."""
        provider = self._providers.get()
        try:
            yield provider
        finally:
            self._providers.put(provider)


@contextlib.contextmanager
def tree(folder: Path) -> Iterator[Tree]:
    """A tree in its own folder, and an AWS that knows who we are and which zones there are."""
    copied = terraforms.copy(folder / "tree")
    for module, outputs in KNOWN.items():
        override = {"output": {name: {"value": value} for name, value in outputs.items()}}
        (copied / module / "known_override.tf.json").write_text(json.dumps(override))
    pretend_to_build(copied.parent)
    terraforms.init(copied)
    with contextlib.ExitStack() as stack:
        environment = stack.enter_context(terraforms.emulator(folder))
        providers = []
        for number in range(AT_ONCE):
            seen = {**terraform_mirror.environment(), **environment}
            serving = terraform_provider.serving(copied / ".terraform", folder / f"provider-{number}.log", seen)
            providers.append({**environment, **stack.enter_context(serving).variables})
        pool = ThreadPoolExecutor(AT_ONCE)
        try:
            yield Tree(copied.parent, providers, pool)
        finally:
            pool.shutdown(cancel_futures=True)


def pretend_to_build(folder: Path) -> None:
    """Writes something in the place of zips: a plan only asks for their hashes."""
    keys = functions()
    for architecture in ("arm64", "x86_64"):
        built = folder / "build" / f"{architecture}-python3.13"
        (built / "functions").mkdir(parents=True)
        for name in ("layer", *(f"functions/{key}" for key in keys)):
            (built / f"{name}.zip").write_text(name)


def _state(instances: str) -> Values:
    """A state as Terraform writes it, of instances of which nothing but the address is known."""
    resources = []
    for line in instances.splitlines():
        version, address = line.split(" ", 1)
        module, type_, name, key = ADDRESS.fullmatch(address).groups()  # type: ignore[union-attr]
        instance = {"schema_version": int(version), "attributes": {}, **({"index_key": json.loads(key)} if key else {})}
        resources.append(
            {
                **({"module": module.rstrip(".")} if module else {}),
                "mode": "managed",
                "type": type_,
                "name": name,
                "provider": f'provider["{terraform_mirror.PROVIDER.as_posix()}"]',
                "instances": [instance],
            }
        )
    return {"version": 4, "terraform_version": "1.11.0", "serial": 1, "lineage": "former", "resources": resources}


def _modules_of(configuration: Values, path: str = "") -> Iterator[tuple[str, Values]]:
    yield path, configuration
    for name, call in configuration.get("module_calls", {}).items():
        yield from _modules_of(call["module"], _join(path, f"module.{name}"))


def _module(block: str) -> str:
    return ".".join(block.split(".")[:-2])


def _join(module: str, name: str) -> str:
    return f"{module}.{name}" if module else name


def _first(value: Any) -> Any:
    """A nested block is a list of one."""
    return value[0] if isinstance(value, list) and value and isinstance(value[0], Mapping) else value


def _dig(values: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        values = _first(values)
        values = values.get(name) if isinstance(values, Mapping) else None
    return values
