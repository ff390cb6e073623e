"""Plans of the whole tree as data: every resource with what is known of it, and what it is made from.

Much of a plan is known after apply only. What a value is made from stands in the plan's configuration all the same, so
links between resources are followed there: through outputs and variables of modules, though not through locals.
"""

from __future__ import annotations

import contextlib
import json
import queue
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from scripts.aws import terraform_mirror, terraform_provider
from scripts.places import ROOT
from tests.support import terraforms

ENVIRONMENTS = tuple(sorted(path.stem for path in (ROOT / "terraform" / "environments").glob("*.tfvars")))
EMULATED = "local"
WHOLE = "leaderboard"
"""The root's one module, which holds everything; addresses are those within it."""

EMULATOR = {"emulator": {"valkey_host": "127.0.0.1", "valkey_port": 6379}, "architecture": "x86_64"}
"""What `make emulate` adds to the values of the emulated environment; the runtime is the default here."""

KNOWN = {"modules/cache": {"host": "cache.invalid", "port": 6379}}
"""Outputs that AWS makes up, given so that the plan shows the functions' environment; by module."""

NETWORK = {
    "name": "leaderboard-test",
    "interface_endpoints": ["elasticache"],
    "flow_log_retention_days": 7,
    "kms_key_arn": "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-4000-8000-000000000000",
}
"""What the network takes when it is applied by itself."""

AT_ONCE = 2
"""Plans made side by side; each has a provider of half a gigabyte."""

Values = Mapping[str, Any]

Edit = Callable[[Path], None]
"""What is done to a copy of `terraform/` before it is planned."""


@dataclass(frozen=True)
class Resource:
    """One instance of a resource: what is planned, what is not known yet, and how both are written."""

    address: str
    block: str
    """The address without any index: what the configuration calls it."""
    type: str
    key: str | int | None
    values: Values
    unknown: Values
    expressions: Values
    for_each: Values
    depends_on: tuple[str, ...]

    def value(self, *path: str) -> Any:
        """What is planned at a path, of a nested block the first; None where nothing is, or it is not known."""
        return _dig(self.values, path)

    def is_unknown(self, *path: str) -> bool:
        """Whether something is planned at a path that only an apply will tell."""
        found: Any = self.unknown
        for name in path:
            found = _first(found)
            if found is True:
                return True
            found = found.get(name) if isinstance(found, Mapping) else None
        return found is True or (isinstance(found, list) and True in found)

    def expression(self, *path: str) -> Values:
        """How a value is written: `references` or `constant_value`; nothing where it is not."""
        return _dig(self.expressions, path) or {}


@dataclass(frozen=True)
class Plan:
    """All resources, and the configuration that they come from; a state has none."""

    resources: tuple[Resource, ...]
    configuration: Values

    def of(self, *types: str) -> list[Resource]:
        """The resources of some types."""
        return [resource for resource in self.resources if resource.type in types]

    def linked(self, resource: Resource, *path: str) -> list[Resource]:
        """The resources that a value names: by id where it is known, else by what the value is written with."""
        value = resource.value(*path)
        ids = {one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)}
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

        block is where it stands: a resource's, or any name within the module.
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
    """What `terraform show -json` prints of a plan, or of a state. Of the tree's root, what its one module holds."""
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
    for one in terraforms.managed(values):
        address = one["address"].removeprefix(prefix)
        block = re.sub(r"\[[^]]*\]", "", address)
        written = blocks.get(block, {})
        found.append(
            Resource(
                address=address,
                block=block,
                type=one["type"],
                key=one.get("index"),
                values=one.get("values", {}),  # left out where nothing is known
                unknown=unknown.get(address, {}),
                expressions=written.get("expressions", {}),
                for_each=written.get("for_each_expression", {}),
                depends_on=tuple(written.get("depends_on", ())),
            )
        )
    return Plan(tuple(found), configuration)


class Tree:
    """A copy of the tree that is ready to be planned, and plans of copies of it, made side by side."""

    def __init__(self, folder: Path, providers: Iterable[Mapping[str, str]], pool: ThreadPoolExecutor):
        self._folder, self._pool = folder, pool
        self._plans: dict[str, Future[Plan]] = {}
        self._providers: queue.SimpleQueue[Mapping[str, str]] = queue.SimpleQueue()
        for provider in providers:
            self._providers.put(provider)

    def start(self, name: str, environment: str, edit: Edit | None = None, more: Values | None = None) -> None:
        """Begins to plan an environment, with more variables, unless that name has begun; edit changes the copy."""
        if name not in self._plans:
            self._plans[name] = self._pool.submit(self._plan, name, environment, edit, more or {})

    def plan(self, name: str) -> Plan:
        """A plan or state that was begun, as soon as it is there. Raises TerraformError."""
        return self._plans[name].result()

    def start_applying(self, name: str, module: str, variables: Values, edit: Edit | None = None) -> None:
        """Begins to apply one module, alone, to the emulator: in its state every id is known."""
        self._plans[name] = self._pool.submit(self._apply, name, module, variables, edit)

    def _apply(self, name: str, module: str, variables: Values, edit: Edit | None) -> Plan:
        copied = terraforms.copy(self._folder.parent / name)
        if edit:
            edit(copied)
        folder = copied / "modules" / module
        with self._provider() as provider:
            terraforms.init(folder, environment=provider)
            return read(terraforms.apply(folder, variables, environment=provider))

    def _plan(self, name: str, environment: str, edit: Edit | None, more: Values) -> Plan:
        folder = self._folder.parent / name
        shutil.copytree(self._folder, folder, symlinks=True)
        if edit:
            edit(folder / "terraform")
        variables = {**(EMULATOR if environment == EMULATED else {}), **more}
        file = Path("environments", f"{environment}.tfvars")
        with self._provider() as provider:
            return read(terraforms.plan(folder / "terraform", variables, var_file=file, environment=provider))

    @contextlib.contextmanager
    def _provider(self) -> Iterator[Mapping[str, str]]:
        """One for this work alone: it takes its default tags from whoever has configured it last."""
        provider = self._providers.get()
        try:
            yield provider
        finally:
            self._providers.put(provider)


@contextlib.contextmanager
def tree(folder: Path) -> Iterator[Tree]:
    """A tree in a folder of its own, and an AWS that knows who we are and which zones there are."""
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
    """A plan asks for the zips' hashes alone."""
    keys = [path.parent.name for path in (ROOT / "functions").glob("*/handler.py")]
    for architecture in ("arm64", "x86_64"):
        built = folder / "build" / f"{architecture}-python3.13"
        (built / "functions").mkdir(parents=True)
        for name in ("layer", *(f"functions/{key}" for key in keys)):
            (built / f"{name}.zip").write_text(name)


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
