# The system needs nothing of this: the cache brings its own endpoint into its subnets, its tokens are signed locally, and
# Lambda ships logs and traces outside the VPC.

locals {
  has_interface_endpoints = length(var.interface_endpoints) > 0
  has_endpoints           = local.has_interface_endpoints || length(var.gateway_endpoints) > 0

  # This names no action or resource: the caller's role says what it may do. Here it says whose callers and, for the two
  # services that hold everybody's data, whose data: credentials of another account get nothing out.
  endpoint_policy_statement = {
    Effect    = "Allow"
    Principal = { AWS = "*" } # narrowed to this account by the condition
    Action    = "*"           # of the endpoint's one service
    Resource  = "*"           # of the endpoint's one service
  }
}

data "aws_prefix_list" "gateway" {
  for_each = var.gateway_endpoints

  name = "com.amazonaws.${local.region}.${each.key}"
}

resource "aws_vpc_endpoint" "gateway" {
  for_each = var.gateway_endpoints

  vpc_id            = aws_vpc.this.id
  vpc_endpoint_type = "Gateway"
  service_name      = "com.amazonaws.${local.region}.${each.key}"
  route_table_ids   = [aws_route_table.function.id]

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [merge(local.endpoint_policy_statement, {
      Sid       = "CallersAndDataOfThisAccount"
      Condition = { StringEquals = { "aws:PrincipalAccount" = local.account_id, "aws:ResourceAccount" = local.account_id } }
    })]
  })

  tags = { Name = "${var.name}-${each.key}" }
}

# Not every service has an endpoint in every zone, and AWS refuses one in a zone that its service does not have.
data "aws_vpc_endpoint_service" "interface" {
  for_each = var.interface_endpoints

  service_name = "com.amazonaws.${local.region}.${each.key}"
  service_type = "Interface"
}

locals {
  # Where a function's zone has none, its calls go to another zone's: private DNS is the VPC's, not a zone's.
  endpoint_zones = {
    for service, found in data.aws_vpc_endpoint_service.interface :
    service => [for zone in local.function_zones : zone if contains(found.availability_zones, zone)]
  }
}

resource "aws_vpc_endpoint" "interface" {
  for_each = var.interface_endpoints

  vpc_id              = aws_vpc.this.id
  vpc_endpoint_type   = "Interface"
  service_name        = data.aws_vpc_endpoint_service.interface[each.key].service_name
  subnet_ids          = [for zone in local.endpoint_zones[each.key] : aws_subnet.function[zone].id]
  security_group_ids  = [aws_security_group.endpoint[0].id]
  private_dns_enabled = true

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [merge(local.endpoint_policy_statement, {
      Sid       = "CallersOfThisAccount"
      Condition = { StringEquals = { "aws:PrincipalAccount" = local.account_id } }
    })]
  })

  tags = { Name = "${var.name}-${each.key}" }

  lifecycle {
    precondition {
      condition     = length(local.endpoint_zones[each.key]) > 0
      error_message = "${each.key} has no endpoint in any of the functions' zones (${join(", ", local.function_zones)}), only in ${join(", ", sort(data.aws_vpc_endpoint_service.interface[each.key].availability_zones))}: raise availability_zone_count, or take it out of interface_endpoints."
    }
  }
}
