# Who may open a connection to whom. Security groups keep state: an answer needs no rule. Terraform removes the rule that
# lets a new group out to everywhere, so these rules are all there are.

resource "aws_security_group" "valkey" {
  #checkov:skip=CKV2_AWS_5:attached by the callers, the functions and the cache, through this module's outputs
  name        = "${var.name}-valkey"
  description = "Functions and cache of ${var.name}: Valkey among the members of this group, nothing else"
  vpc_id      = aws_vpc.this.id

  tags = { Name = "${var.name}-valkey" }
}

locals {
  valkey_ports = { primary = 6379, read = 6380 }
}

resource "aws_vpc_security_group_ingress_rule" "valkey" {
  for_each = local.valkey_ports

  security_group_id            = aws_security_group.valkey.id
  referenced_security_group_id = aws_security_group.valkey.id
  description                  = "Valkey ${each.key} port from members of this group"
  ip_protocol                  = "tcp"
  from_port                    = each.value
  to_port                      = each.value

  tags = { Name = "${var.name}-valkey-${each.key}-in" }
}

resource "aws_vpc_security_group_egress_rule" "valkey" {
  for_each = local.valkey_ports

  security_group_id            = aws_security_group.valkey.id
  referenced_security_group_id = aws_security_group.valkey.id
  description                  = "Valkey ${each.key} port to members of this group"
  ip_protocol                  = "tcp"
  from_port                    = each.value
  to_port                      = each.value

  tags = { Name = "${var.name}-valkey-${each.key}-out" }
}

# A second group, for the functions alone, if there is an endpoint to call: with the first, the cache would get out too.
resource "aws_security_group" "endpoint_client" {
  #checkov:skip=CKV2_AWS_5:attached by the callers, the functions, through this module's outputs
  count = local.has_endpoints ? 1 : 0

  name        = "${var.name}-endpoint-client"
  description = "Functions of ${var.name}: HTTPS to the VPC endpoints, nothing else"
  vpc_id      = aws_vpc.this.id

  tags = { Name = "${var.name}-endpoint-client" }
}

resource "aws_vpc_security_group_egress_rule" "interface_endpoint" {
  count = local.has_interface_endpoints ? 1 : 0

  security_group_id            = aws_security_group.endpoint_client[0].id
  referenced_security_group_id = aws_security_group.endpoint[0].id
  description                  = "HTTPS to the interface endpoints: ${join(", ", sort(var.interface_endpoints))}"
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443

  tags = { Name = "${var.name}-endpoint-out" }
}

resource "aws_vpc_security_group_egress_rule" "gateway_endpoint" {
  for_each = var.gateway_endpoints

  security_group_id = aws_security_group.endpoint_client[0].id
  prefix_list_id    = data.aws_prefix_list.gateway[each.key].id
  description       = "HTTPS to ${each.key} in this Region, by its gateway endpoint"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443

  tags = { Name = "${var.name}-${each.key}-out" }
}

# An endpoint only answers, so it needs no way out.
resource "aws_security_group" "endpoint" {
  count = local.has_interface_endpoints ? 1 : 0

  name        = "${var.name}-endpoint"
  description = "Interface endpoints of ${var.name}: HTTPS from its functions, nothing else"
  vpc_id      = aws_vpc.this.id

  tags = { Name = "${var.name}-endpoint" }
}

resource "aws_vpc_security_group_ingress_rule" "endpoint" {
  count = local.has_interface_endpoints ? 1 : 0

  security_group_id            = aws_security_group.endpoint[0].id
  referenced_security_group_id = aws_security_group.endpoint_client[0].id
  description                  = "HTTPS from the functions"
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443

  tags = { Name = "${var.name}-endpoint-in" }
}
