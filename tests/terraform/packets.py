"""A connection through security groups and network ACLs, as AWS judges it: there and back.

Security groups are stateful, so an answer needs no rule of theirs. ACLs are not: the first rule by number that matches
decides for each direction, in each subnet that the packet leaves or enters, and what matches no rule is dropped. Within
a subnet no packet meets an ACL.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass

from tests.terraform.plans import Plan, Resource

CLIENT_PORTS = (1024, 6378, 6381, 32768, 49152, 60999, 65535)
"""Ports that a client may pick for itself, among them the edges of all ranges in use; no service has any of them."""

EVERY_PROTOCOL = "-1"
TCP = ("tcp", "6", EVERY_PROTOCOL)

Address = ipaddress.IPv4Address


@dataclass(frozen=True)
class Entry:
    """A rule of an ACL or a security group. peer is a block of addresses, or a group's address in the plan."""

    egress: bool
    first_port: int
    last_port: int
    peer: str
    number: int = 0
    allow: bool = True


@dataclass(frozen=True)
class Subnet:
    """Addresses behind an ACL; its rules are in order."""

    name: str
    block: ipaddress.IPv4Network
    acl: tuple[Entry, ...]


@dataclass(frozen=True)
class Host:
    """A network interface. groups holds its security groups, each with its rules."""

    subnet: Subnet
    address: Address
    groups: tuple[tuple[str, tuple[Entry, ...]], ...]

    def __str__(self) -> str:
        return f"{self.subnet.name} ({self.address})"


def refusal(source: Host, target: Host, port: int, client_port: int) -> str | None:
    """What stops a TCP connection or its answers; None if nothing does."""
    across = source.subnet != target.subnet
    steps = (
        (_group_lets(source, target, port, egress=True), f"no security group of {source} lets it out"),
        (not across or _acl_lets(source, target, port, egress=True), f"the ACL of {source} does not let it out"),
        (not across or _acl_lets(target, source, port, egress=False), f"the ACL of {target} does not let it in"),
        (_group_lets(target, source, port, egress=False), f"no security group of {target} lets it in"),
        (not across or _acl_lets(target, source, client_port, egress=True), f"the ACL of {target} drops the answer"),
        (not across or _acl_lets(source, target, client_port, egress=False), f"the ACL of {source} drops the answer"),
    )
    return next((reason for passes, reason in steps if not passes), None)


def hosts(plan: Plan, resource: Resource, *block: str) -> list[Host]:
    """The interfaces that a resource may have: at both ends of each of its subnets, with its security groups."""
    groups = tuple(
        (group.address, tuple(group_entries(plan, group)))
        for group in plan.linked(resource, *block, "security_group_ids")
    )
    return [
        Host(subnet, address, groups)
        for linked in plan.linked(resource, *block, "subnet_ids")
        for subnet in [subnet_of(plan, linked)]
        for address in (subnet.block[4], subnet.block[-2])  # AWS keeps the first four and the last
    ]


def subnet_of(plan: Plan, subnet: Resource) -> Subnet:
    """A subnet with the rules of the ACL that names it, or with none if no ACL does, since the default ACL is empty."""
    acls = [acl for acl in plan.of("aws_network_acl") if subnet in plan.linked(acl, "subnet_ids")]
    entries = [entry for acl in acls for entry in acl_entries(plan, acl)]
    return Subnet(
        subnet.address, ipaddress.IPv4Network(subnet.value("cidr_block")), tuple(sorted(entries, key=_by_number))
    )


def acl_of(plan: Plan, rule: Resource) -> list[Resource]:
    """The ACL that a rule belongs to. If the plan cannot tell, because the id comes from a local, the rule's key does:
    it begins with the ACL's name. An applied network shows that this is true."""
    if rule.value("network_acl_id") or plan.linked(rule, "network_acl_id"):
        return plan.linked(rule, "network_acl_id")
    module = rule.block.rpartition("aws_network_acl_rule.")[0]
    name = str(rule.key).partition("-")[0]
    return [acl for acl in plan.of("aws_network_acl") if acl.block == f"{module}aws_network_acl.{name}"]


def acl_entries(plan: Plan, acl: Resource) -> Iterator[Entry]:
    """The TCP rules of an ACL."""
    for rule in plan.of("aws_network_acl_rule"):
        if acl in acl_of(plan, rule) and rule.value("protocol") in TCP and rule.value("cidr_block"):
            yield Entry(
                egress=bool(rule.value("egress")),
                first_port=_port(rule, "from_port", 0),
                last_port=_port(rule, "to_port", 65535),
                peer=rule.value("cidr_block"),
                number=rule.value("rule_number"),
                allow=rule.value("rule_action") == "allow",
            )


def group_entries(plan: Plan, group: Resource) -> Iterator[Entry]:
    """The TCP rules of a security group."""
    for direction in ("ingress", "egress"):
        for rule in plan.of(f"aws_vpc_security_group_{direction}_rule"):
            if group not in plan.linked(rule, "security_group_id") or rule.value("ip_protocol") not in TCP:
                continue
            others = [other.address for other in plan.linked(rule, "referenced_security_group_id")]
            for peer in (*others, rule.value("cidr_ipv4")):
                if peer:
                    ports = _port(rule, "from_port", 0), _port(rule, "to_port", 65535)
                    yield Entry(direction == "egress", *ports, peer)


def _port(rule: Resource, name: str, otherwise: int) -> int:
    port = rule.value(name)
    return otherwise if port is None or port < 0 else int(port)


def _by_number(entry: Entry) -> int:
    return entry.number


def _acl_lets(here: Host, there: Host, port: int, *, egress: bool) -> bool:
    for entry in here.subnet.acl:
        covers = entry.first_port <= port <= entry.last_port and there.address in ipaddress.IPv4Network(entry.peer)
        if entry.egress == egress and covers:
            return entry.allow
    return False


def _group_lets(here: Host, there: Host, port: int, *, egress: bool) -> bool:
    names = {name for name, _ in there.groups}
    return any(
        entry.egress == egress
        and entry.first_port <= port <= entry.last_port
        and (entry.peer in names if "/" not in entry.peer else there.address in ipaddress.IPv4Network(entry.peer))
        for _, entries in here.groups
        for entry in entries
    )
