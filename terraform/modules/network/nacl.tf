# Network ACLs keep no state: an answer needs a rule of its own, to the port that the client picked, which can be any of
# 1024-65535 for Lambda and for the load balancers behind an endpoint. One ACL serves all subnets of a tier and lists every
# subnet of the other tier, so every pair is covered: the cache may answer from any zone.
#
# Two things need no rule: traffic within a subnet, which passes no ACL, and the VPC's resolver, which no ACL filters.
# The ephemeral ports include 6379 and 6380; the security groups say which side may open a connection.

locals {
  ephemeral = [1024, 65535]
  valkey    = [6379, 6380] # primary, reads: a client that opens both hangs if one is closed
  https     = [443, 443]

  # Interface endpoints are in the functions' subnets. With a single zone, they are in the same one: no rule.
  endpoint_subnets = length(var.interface_endpoints) > 0 && length(local.function_subnets) > 1 ? local.function_subnets : {}

  # A gateway endpoint changes the route, not the address: packets still go to the service's public ranges. A security
  # group can name these by their prefix list, but an ACL takes only CIDR blocks, so the list is read at plan and written
  # out. AWS adds a range now and then: the next plan shows it, and until that is applied, calls that resolve to it time
  # out. (0.0.0.0/0 would not have that gap, as the route table leads nowhere else, but would rely on that one lock.)
  gateway_ranges = {
    for service, list in data.aws_prefix_list.gateway : service => {
      for index, range in sort(list.cidr_blocks) : "${service}-${index}" => range
    }
  }

  # number: the first rule number; each further peer takes the next. Unique in an ACL and direction.
  network_acl_table = concat(
    [
      { acl = "function", direction = "egress", ports = local.valkey, number = 100, what = "valkey", peers = local.cache_subnets },
      { acl = "function", direction = "ingress", ports = local.ephemeral, number = 100, what = "valkey-reply", peers = local.cache_subnets },
      { acl = "cache", direction = "ingress", ports = local.valkey, number = 100, what = "valkey", peers = local.function_subnets },
      { acl = "cache", direction = "egress", ports = local.ephemeral, number = 100, what = "valkey-reply", peers = local.function_subnets },

      { acl = "function", direction = "egress", ports = local.https, number = 200, what = "endpoint", peers = local.endpoint_subnets },
      { acl = "function", direction = "ingress", ports = local.https, number = 200, what = "endpoint", peers = local.endpoint_subnets },
      { acl = "function", direction = "egress", ports = local.ephemeral, number = 300, what = "endpoint-reply", peers = local.endpoint_subnets },
      { acl = "function", direction = "ingress", ports = local.ephemeral, number = 300, what = "endpoint-reply", peers = local.endpoint_subnets },
    ],
    flatten([
      for service, ranges in local.gateway_ranges : [
        { acl = "function", direction = "egress", ports = local.https, number = local.gateway_numbers[service], what = "gateway", peers = ranges },
        { acl = "function", direction = "ingress", ports = local.ephemeral, number = local.gateway_numbers[service], what = "gateway-reply", peers = ranges },
      ]
    ])
  )
  gateway_numbers = { s3 = 400, dynamodb = 500 }

  network_acl_rules = merge([
    for row in local.network_acl_table : {
      for index, peer in keys(row.peers) : "${row.acl}-${row.direction}-${row.what}-${peer}" => {
        acl        = row.acl
        egress     = row.direction == "egress"
        number     = row.number + index
        protocol   = "tcp"
        from_port  = row.ports[0]
        to_port    = row.ports[1]
        cidr_block = row.peers[peer]
      }
    }
  ]...)

  network_acl_ids = { function = aws_network_acl.function.id, cache = aws_network_acl.cache.id }

  fullest_network_acl = max([
    for pair in setproduct(["function", "cache"], [true, false]) :
    length([for rule in local.network_acl_rules : rule if rule.acl == pair[0] && rule.egress == pair[1]])
  ]...)
}

resource "aws_network_acl" "function" {
  vpc_id     = aws_vpc.this.id
  subnet_ids = values(aws_subnet.function)[*].id

  tags = { Name = "${var.name}-function" }

  lifecycle {
    precondition {
      condition     = local.fullest_network_acl <= var.network_acl_rule_quota
      error_message = "One direction of a network ACL would hold ${local.fullest_network_acl} rules; network_acl_rule_quota is ${var.network_acl_rule_quota}. Use fewer zones or endpoints, or have AWS raise the quota (to at most 40) and set it here."
    }
  }
}

resource "aws_network_acl" "cache" {
  vpc_id     = aws_vpc.this.id
  subnet_ids = values(aws_subnet.cache)[*].id

  tags = { Name = "${var.name}-cache" }
}

resource "aws_network_acl_rule" "this" {
  for_each = local.network_acl_rules

  network_acl_id = local.network_acl_ids[each.value.acl]
  egress         = each.value.egress
  rule_number    = each.value.number
  rule_action    = "allow"
  protocol       = each.value.protocol
  from_port      = each.value.from_port
  to_port        = each.value.to_port
  cidr_block     = each.value.cidr_block
}
