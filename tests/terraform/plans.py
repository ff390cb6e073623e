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

from scripts.aws import terraform_mirror, terraform_provider, values
from scripts.dev import lean_provider
from scripts.places import ROOT, functions
from tests.support import aws_api, terraforms

ENVIRONMENTS = tuple(sorted(path.stem for path in (ROOT / "terraform" / "environments").glob("*.tfvars")))
EMULATED = "local"
WHOLE = "leaderboard"
"""The root's one module, which holds everything; addresses are those within it."""

KEY_ARNS = [
    f"arn:aws:kms:eu-central-1:123456789012:key/{number}0000000-0000-4000-8000-000000000000" for number in (1, 2)
]
PUBLIC_KEY = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----\n"

KNOWN: Mapping[str, Mapping[str, Any]] = {
    "modules/cache": {"host": "cache.invalid", "port": 6379},
    "modules/access": {
        "authorizer_environment": {
            "TOKEN_ISSUER": "${var.name}",
            "TOKEN_PUBLIC_KEYS": json.dumps({arn.partition("/")[2]: PUBLIC_KEY for arn in KEY_ARNS}),
            "REVOKED_TOKENS": "",
        },
        "issuer_environment": {"TOKEN_ISSUER": "${var.name}", "TOKEN_KEY": KEY_ARNS[0]},
    },
}
"""Outputs that AWS would make up, by module: set so that the plan shows the functions' environment."""

NETWORK = {
    "interface_endpoints": ["elasticache"],
    "flow_log_retention_days": 7,
    "kms_key_arn": "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-4000-8000-000000000000",
}
"""The variables of the network when it is applied by itself."""

AT_ONCE = 2
"""How many plans are made side by side; each has a provider of half a gigabyte."""

ADDRESS = re.compile(r"((?:module\.\w+(?:\[[^]]*\])?\.)*)(\w+)\.(\w+)(?:\[(.*)\])?")
"""Its module, its type, its name and its key."""

_PROVIDER = f'provider["{terraform_mirror.PROVIDER.as_posix()}"]'
"""As a state names it."""

Values = Mapping[str, Any]

Edit = Callable[[Path], None]
"""Something that is done to a copy of `terraform/` before it is planned."""

Edits = tuple[tuple[str, str, str], ...]
"""The file, seen from terraform/; a text; what replaces it. If the text is empty, the rest is added at the end."""

APPLIED, SWAPPED = "applied", "swapped"

NETWORKS: Mapping[str, Edits] = {
    APPLIED: (),
    SWAPPED: (
        (
            "modules/network/nacl.tf",
            "{ function = aws_network_acl.function.id, cache = aws_network_acl.cache.id }",
            "{ function = aws_network_acl.cache.id, cache = aws_network_acl.function.id }",
        ),
    ),
}
"""What is applied: the network as it is, and one whose rules are in each other's ACL, which no plan shows."""

WITHOUT_A_ZONE = "555555555555"
"""The account in which they are: endpoints cannot be in its second zone."""


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
    lost: tuple[str, ...] = ()
    """The instances of the state that an apply would destroy, to make them anew or not, by their full addresses now."""

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


def read(document: Values, *path: str) -> Plan:
    """What `terraform show -json` prints of a plan, as a plan: of the module that is called by this path of names.

    Of a module that has nothing but one call of the whole, it is what that holds.
    """
    configuration = document["configuration"]["root_module"]
    prefix = ""
    for name in path:
        configuration, prefix = configuration["module_calls"][name]["module"], f"{prefix}module.{name}."
    calls = configuration.get("module_calls", {})
    if set(calls) == {WHOLE} and "resources" not in configuration and "for_each_expression" not in calls[WHOLE]:
        return read(document, *path, WHOLE)
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
    found = []
    for resource in terraforms.managed(document["planned_values"]):
        if not resource["address"].startswith(prefix):
            continue
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
    lost = (one["address"] for one in document.get("resource_changes", ()) if "delete" in one["change"]["actions"])
    return Plan(tuple(found), configuration, taken_to, tuple(lost))


def read_state(state: Values, name: str) -> Plan:
    """The resources of a module, called by this name from the root, as Terraform keeps them in a state."""
    found = []
    for resource in state["resources"]:
        if resource["mode"] == "managed" and resource["module"] == f"module.{name}":
            block = f"{resource['type']}.{resource['name']}"
            for instance in resource["instances"]:
                key = instance.get("index_key")
                address = block if key is None else f"{block}[{json.dumps(key)}]"
                found.append(Resource(address, block, resource["type"], key, instance["attributes"], {}, {}, {}, ()))
    return Plan(tuple(found), {}, {})


class Tree:
    """A copy of the tree that is ready to be planned, and plans of copies of it, made side by side."""

    def __init__(self, folder: Path, providers: Iterable[Mapping[str, str]], pool: ThreadPoolExecutor):
        self._folder, self._pool = folder, pool
        self._plans: dict[str, Future[Mapping[str, Plan]]] = {}
        """Whatever makes a plan, by the plan's name; it may make others too."""
        self._providers: queue.SimpleQueue[Mapping[str, str]] = queue.SimpleQueue()
        for provider in providers:
            self._providers.put(provider)

    def plan(self, name: str) -> Plan:
        """A plan or state that was begun, once it is there. Raises TerraformError."""
        return self._plans[name].result()[name]

    def start(self, name: str, environment: str, edit: Edit | None = None, more: Values | None = None) -> None:
        """Begins to plan an environment, with more variables, unless that was begun before; edit changes the copy."""
        self._start(name, lambda: self._plan(name, environment, edit, more or {}, ()))

    def start_moving(self, name: str, environment: str, state: Path) -> None:
        """Begins to plan the end of all that a former tree's state has: the plan says where each is in this tree.

        state lists the instances, a line each: the version of its schema, and its address.
        """

        def take_on(folder: Path) -> None:
            (folder / "terraform.tfstate").write_text(json.dumps(_state(state.read_text(encoding="utf-8"))))
            for path in folder.rglob("*.tf"):
                path.write_text(re.sub(r"prevent_destroy += true", "prevent_destroy = false", path.read_text()))

        self._start(name, lambda: self._plan(name, environment, take_on, {}, ("-destroy", "-refresh=false")))

    def start_upgrading(self, name: str, environment: str, state: Path) -> None:
        """Begins to plan what this tree makes of a former tree's state that has all that the provider wrote into it.

        Only as far as the state goes, which is the network, the cache with its users, and the keys.
        """

        former = json.loads(state.read_text(encoding="utf-8"))
        # Terraform asks for both addresses of whatever has moved.
        before = {_join(one.get("module", ""), f"{one['type']}.{one['name']}") for one in former["resources"]}
        parts = ("module.cache", "module.network", "aws_kms_key.operations", "aws_kms_alias.operations")
        targets = [*sorted(before), *(f"module.{WHOLE}.{part}" for part in parts)]

        def take_on(folder: Path) -> None:
            for one in former["resources"]:
                one["provider"] = _PROVIDER
            (folder / "terraform.tfstate").write_text(json.dumps(former))

        options = ("-refresh=false", *(f"-target={one}" for one in targets))
        self._start(name, lambda: self._plan(name, environment, take_on, {}, options))

    def start_broken(self, batches: Mapping[str, tuple[str, Edit]], more: Values) -> None:
        """Begins one plan of many broken trees, each for an environment: most of what a plan costs, it costs once.

        Slips are within modules/. What the root adds to them is in the plans of the environments.
        """

        def break_them(root: Path) -> Values:
            calls = {}
            for name, (environment, edit) in batches.items():
                broken = root / name
                shutil.copytree(root / "modules", broken / "modules")
                edit(broken)
                calls[name] = _whole(broken, root, environment, more)
            return calls

        names = tuple(batches)
        self._start(names, lambda: self._plan_calls(names[0], break_them, names))

    def start_examples(self, names: Sequence[str]) -> None:
        """Begins one plan of terraform/examples/. Each is a root of its own, with its providers: so is a call of it."""

        def call_them(root: Path) -> Values:
            return {name: {"source": f"./examples/{name}"} for name in names}

        self._start(names, lambda: self._plan_calls("examples", call_them, names, own_providers=True))

    def start_networks(self) -> None:
        """Begins to apply the network alone, as it is and with a slip: in the state every id is known."""
        self._start(tuple(NETWORKS), self._apply_networks)

    def _start(self, names: str | Sequence[str], work: Callable[[], Plan | Mapping[str, Plan]]) -> None:
        """Begins work that makes these plans, unless it was begun before."""
        names = [names] if isinstance(names, str) else names

        def make() -> Mapping[str, Plan]:
            made = work()
            return {names[0]: made} if isinstance(made, Plan) else made

        if names[0] not in self._plans:
            self._plans.update(dict.fromkeys(names, self._pool.submit(make)))

    def _apply_networks(self) -> Mapping[str, Plan]:
        root = self._root("networks")
        calls = {}
        for name, edits in NETWORKS.items():
            shutil.copytree(root / "modules", root / name / "modules")
            edit(root / name, edits)
            calls[name] = {"source": f"./{name}/modules/network", **NETWORK, "name": f"leaderboard-{name}"}
        _call(root, calls)
        with self._provider() as provider:
            terraforms.init(root, environment=provider, account=WITHOUT_A_ZONE)
            state = terraforms.apply(root, {}, environment=provider)
        return {name: read_state(state, name) for name in NETWORKS}

    def _plan(self, name: str, environment: str, edit: Edit | None, more: Values, options: Sequence[str]) -> Plan:
        folder = self._folder.parent / name
        shutil.copytree(self._folder, folder, symlinks=True)
        if edit:
            edit(folder / "terraform")
        file = Path("environments", f"{environment}.tfvars")
        with self._provider() as provider:
            planned = terraforms.plan(folder / "terraform", more, var_file=file, options=options, environment=provider)
            return read(planned)

    def _plan_calls(
        self, name: str, prepare: Callable[[Path], Values], names: Sequence[str], *, own_providers: bool = False
    ) -> Mapping[str, Plan]:
        """Plans a root that only calls modules, and reads the plan of each."""
        root = self._root(name)
        _call(root, prepare(root))
        with self._provider() as provider:
            # One that stays has a single configuration.
            kept = {
                key: text for key, text in provider.items() if not own_providers or key != terraform_provider.VARIABLE
            }
            terraforms.run(root, "get", environment=kept)
            document = terraforms.plan(root, {}, environment=kept)
        return {name: read(document, name) for name in names}

    def _root(self, name: str) -> Path:
        """A copy of the tree whose root has nothing but a provider."""
        folder = self._folder.parent / f"root-{name}"
        shutil.copytree(self._folder, folder, symlinks=True)
        root = folder / "terraform"
        for file in (*root.glob("*.tf"), root / ".terraform" / "terraform.tfstate"):  # the latter knows a backend
            file.unlink()
        (root / terraform_provider.OFFLINE_FILE).rename(root / "offline.tf.json")
        (root / "offline.tf.json").write_text(json.dumps({"provider": {"aws": terraform_provider.OFFLINE}}))
        return root

    @contextlib.contextmanager
    def _provider(self) -> Iterator[Mapping[str, str]]:
        """A provider for this work alone: it takes its default tags from whatever configured it last."""
        provider = self._providers.get()
        try:
            yield provider
        finally:
            self._providers.put(provider)


@contextlib.contextmanager
def tree(folder: Path, aws: aws_api.Aws) -> Iterator[Tree]:
    """A tree in its own folder, and an AWS that knows who we are and which zones there are."""
    copied = terraforms.copy(folder / "tree")
    for module, outputs in KNOWN.items():
        override = {"output": {name: {"value": value} for name, value in outputs.items()}}
        (copied / module / "known_override.tf.json").write_text(json.dumps(override))
    pretend_to_build(copied.parent)
    terraforms.init(copied)
    aws.account(WITHOUT_A_ZONE).set(zones_without_endpoints=["eu-central-1b"])
    environment = aws.account().variables
    with contextlib.ExitStack() as stack:
        providers = []
        for number in range(AT_ONCE):
            seen = {**terraform_mirror.environment(), **environment}
            log = folder / f"provider-{number}.log"
            serving = lean_provider.serving(copied / ".terraform", log, seen, types=types())
            providers.append({**environment, **stack.enter_context(serving)})
        pool = ThreadPoolExecutor(AT_ONCE)
        try:
            yield Tree(copied.parent, providers, pool)
        finally:
            pool.shutdown(cancel_futures=True)


def types() -> set[str]:
    """All types of resources that the tree has, or a slip in it."""
    return lean_provider.named([ROOT / "terraform", ROOT / "tests" / "terraform"])


def edit(folder: Path, edits: Edits) -> None:
    """Makes slips in a copy of the tree. What they replace has to be there."""
    for file, old, new in edits:
        text = (folder / file).read_text(encoding="utf-8")
        assert old in text, f"{file} has no {old!r} any more"
        (folder / file).write_text(text.replace(old, new) if old else text + new, encoding="utf-8")


def _call(root: Path, calls: Values) -> None:
    (root / "calls.tf.json").write_text(json.dumps({"module": calls}))


def _whole(folder: Path, root: Path, environment: str, more: Values) -> Values:
    """A call of the whole in a folder, with an environment's values."""
    source = folder / "modules" / WHOLE
    given = {**values.read(values.file_of(environment)), **more}
    declared = {name for name, _ in values.VARIABLE.findall((source / "variables.tf").read_text())}
    return {
        "source": f"./{source.relative_to(root)}",
        "contract_path": "../functions/openapi.yaml",
        "build_path": "../build",
        **{name: value for name, value in given.items() if name in declared},
    }


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
                "provider": _PROVIDER,
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
