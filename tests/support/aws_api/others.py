"""What is left: one operation here, one there."""

from __future__ import annotations

from typing import Any

from moto.ec2.models.security_groups import SecurityGroupRule

from tests.support.aws_api.operations import Answer, Refused, Request, operation


def _description(rule: Any) -> str | None:
    """moto shows it only of a rule that names addresses."""
    found: str | None = rule.ip_range.get("Description") or rule.source_group.get("Description")
    return found


SecurityGroupRule.description = property(_description)


@operation("ec2", "CreateVpcEndpoint")
def create_vpc_endpoint(request: Request) -> Answer:
    """Refused as AWS does for a zone in which the service has no endpoint."""
    for subnet in request.parameters.get("SubnetIds", []):
        zone = request.records("ec2").get_subnet(subnet).availability_zone
        if zone in request.account.switches.zones_without_endpoints:
            raise Refused(
                "InvalidParameter",
                f"The VPC endpoint service {request.parameters['ServiceName']} does not support the availability zone "
                f"of the subnet: {subnet}.",
            )
    return request.ask_moto()
