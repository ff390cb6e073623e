# A VPC that nothing enters and nothing leaves: no internet gateway, no NAT, no public addresses. The functions reach the
# cache and any endpoints; API Gateway, logs and traces go through Lambda's own network.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

# Local Zones and Wavelength Zones need an opt-in and have neither Lambda nor ElastiCache. The first zones by name are
# taken. If one of them is out of service when you plan, the plan moves its subnets: do not apply it, but wait.
data "aws_availability_zones" "available" {
  #checkov:skip=CKV_AWS_394:AWS letters a new zone after the old ones, and only the first availability_zone_count by name are used
  state            = "available"
  exclude_zone_ids = var.excluded_zone_ids

  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }
}

locals {
  account_id = data.aws_caller_identity.current.account_id
  partition  = data.aws_partition.current.partition
  region     = data.aws_region.current.id

  # The cache always has two zones, even if the functions make do with one.
  zones            = sort(data.aws_availability_zones.available.names)
  zones_needed     = max(var.availability_zone_count, 2)
  zone_index       = { for index, zone in local.zones : zone => index }
  function_zones   = slice(local.zones, 0, min(var.availability_zone_count, length(local.zones)))
  cache_zones      = slice(local.zones, 0, min(local.zones_needed, length(local.zones)))
  cidr_block_parts = 4 # bits: sixteen blocks, the lower eight for functions, the upper eight for the cache

  # A zone's blocks depend only on its index, so one zone more or less moves no other subnet.
  function_subnets = { for zone in local.function_zones : zone => cidrsubnet(var.cidr_block, local.cidr_block_parts, local.zone_index[zone]) }
  cache_subnets    = { for zone in local.cache_zones : zone => cidrsubnet(var.cidr_block, local.cidr_block_parts, local.zone_index[zone] + 8) }
}

resource "aws_vpc" "this" {
  cidr_block           = var.cidr_block
  enable_dns_support   = true # the VPC's resolver answers for the cache's name and the endpoints' private names
  enable_dns_hostnames = true

  tags = { Name = var.name }

  lifecycle {
    precondition {
      condition     = length(local.zones) >= local.zones_needed
      error_message = "${local.region} has ${length(local.zones)} usable availability zones (${join(", ", local.zones)}); availability_zone_count = ${var.availability_zone_count} needs ${local.zones_needed}."
    }
  }
}

resource "aws_subnet" "function" {
  for_each = local.function_subnets

  vpc_id                  = aws_vpc.this.id
  availability_zone       = each.key
  cidr_block              = each.value
  map_public_ip_on_launch = false

  tags = { Name = "${var.name}-function-${each.key}" }
}

resource "aws_subnet" "cache" {
  for_each = local.cache_subnets

  vpc_id                  = aws_vpc.this.id
  availability_zone       = each.key
  cidr_block              = each.value
  map_public_ip_on_launch = false

  tags = { Name = "${var.name}-cache-${each.key}" }
}

# Both tables have the VPC's own route and no other; a gateway endpoint adds its prefix list to the functions' table.
resource "aws_route_table" "function" {
  vpc_id = aws_vpc.this.id
  tags   = { Name = "${var.name}-function" }
}

resource "aws_route_table" "cache" {
  vpc_id = aws_vpc.this.id
  tags   = { Name = "${var.name}-cache" }
}

resource "aws_route_table_association" "function" {
  for_each = aws_subnet.function

  subnet_id      = each.value.id
  route_table_id = aws_route_table.function.id
}

resource "aws_route_table_association" "cache" {
  for_each = aws_subnet.cache

  subnet_id      = each.value.id
  route_table_id = aws_route_table.cache.id
}

# The defaults that a VPC comes with are emptied, so that whatever is added later and names no others reaches nothing.
resource "aws_default_route_table" "this" {
  default_route_table_id = aws_vpc.this.default_route_table_id
  route                  = []

  tags = { Name = "${var.name}-default-unused" }
}

resource "aws_default_security_group" "this" {
  vpc_id = aws_vpc.this.id

  tags = { Name = "${var.name}-default-unused" }
}

resource "aws_default_network_acl" "this" {
  default_network_acl_id = aws_vpc.this.default_network_acl_id

  tags = { Name = "${var.name}-default-unused" }

  lifecycle {
    ignore_changes = [subnet_ids] # a subnet falls back to this ACL while ours is being replaced, which is no drift
  }
}
