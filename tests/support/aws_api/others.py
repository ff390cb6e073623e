"""Single operations of other services.

A zone in `Switches.zones_without_endpoints` can have no endpoint: services do not list it, and creating one there is
refused.
"""

from __future__ import annotations

import re
from typing import Any

from moto.ec2.models.security_groups import SecurityGroupRule

from tests.support.aws_api.operations import Answer, Refused, Request, operation


def _description(rule: Any) -> str | None:
    """A rule's description, which moto shows only for rules with addresses."""
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


@operation("ec2", "DescribeVpcEndpointServices")
def describe_vpc_endpoint_services(request: Request) -> Answer:
    """moto's answer without the zones that have no endpoints."""
    answer = request.ask_moto()
    text = answer.get_data(as_text=True)
    for zone in request.account.switches.zones_without_endpoints:
        text = re.sub(rf"<item>\s*{zone}\s*</item>", "", text)
    answer.set_data(text)
    return answer
