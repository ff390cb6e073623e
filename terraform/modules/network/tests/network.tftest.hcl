# Plans only, by the real provider, without an account: what a plan would ask AWS is given here, and so are the ids that
# AWS would give, so that a rule can be seen to stand in its own ACL or group.

provider "aws" {
  region                      = "eu-central-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
  skip_region_validation      = true
}

override_data {
  target = data.aws_caller_identity.current
  values = { account_id = "111122223333" }
}

override_data {
  target = data.aws_availability_zones.available
  values = { names = ["eu-central-1c", "eu-central-1a", "eu-central-1b"] }
}

override_data {
  target = data.aws_prefix_list.gateway
  values = { id = "pl-s3", cidr_blocks = ["52.219.0.0/16", "3.5.0.0/17"] }
}

override_data {
  target = data.aws_vpc_endpoint_service.interface

  values = {
    availability_zones = [
      "eu-central-1a", "eu-central-1b", "eu-central-1c",
      "us-east-1a", "us-east-1b", "us-east-1c", "us-east-1d", "us-east-1e", "us-east-1f",
    ]
  }
}

override_resource {
  target          = aws_network_acl.function
  override_during = plan
  values          = { id = "acl-function" }
}

override_resource {
  target          = aws_network_acl.cache
  override_during = plan
  values          = { id = "acl-cache" }
}

override_resource {
  target          = aws_security_group.valkey
  override_during = plan
  values          = { id = "sg-valkey" }
}

override_resource {
  target          = aws_security_group.endpoint_client
  override_during = plan
  values          = { id = "sg-endpoint-client" }
}

override_resource {
  target          = aws_security_group.endpoint
  override_during = plan
  values          = { id = "sg-endpoint" }
}

override_resource {
  target          = aws_default_security_group.this
  override_during = plan
}

override_resource {
  target          = aws_route_table.function
  override_during = plan
  values          = { id = "rtb-function" }
}

override_resource {
  target          = aws_route_table.cache
  override_during = plan
  values          = { id = "rtb-cache" }
}

variables {
  name                    = "leaderboard-test"
  flow_log_retention_days = 30
  kms_key_arn             = "arn:aws:kms:eu-central-1:111122223333:key/00000000-0000-0000-0000-000000000000"
}

run "the_defaults_make_a_closed_network_in_three_zones" {
  command = plan

  assert {
    condition     = aws_vpc.this.enable_dns_support && aws_vpc.this.enable_dns_hostnames
    error_message = "Without DNS in the VPC the cache's name does not resolve."
  }

  assert {
    condition = { for zone, subnet in aws_subnet.function : zone => subnet.cidr_block } == {
      "eu-central-1a" = "10.40.0.0/20", "eu-central-1b" = "10.40.16.0/20", "eu-central-1c" = "10.40.32.0/20"
    }
    error_message = "The functions' subnets should be the first blocks, in the order of the zones' names."
  }

  assert {
    condition = { for zone, subnet in aws_subnet.cache : zone => subnet.cidr_block } == {
      "eu-central-1a" = "10.40.128.0/20", "eu-central-1b" = "10.40.144.0/20", "eu-central-1c" = "10.40.160.0/20"
    }
    error_message = "The cache's subnets should be the blocks of the upper half, in the order of the zones' names."
  }

  assert {
    condition     = alltrue([for subnet in concat(values(aws_subnet.function), values(aws_subnet.cache)) : subnet.map_public_ip_on_launch == false])
    error_message = "A subnet gives out public addresses."
  }

  assert {
    condition = (
      length(aws_route_table_association.function) == 3 && alltrue([for each in values(aws_route_table_association.function) : each.route_table_id == "rtb-function"]) &&
      length(aws_route_table_association.cache) == 3 && alltrue([for each in values(aws_route_table_association.cache) : each.route_table_id == "rtb-cache"])
    )
    error_message = "Every subnet should have its tier's route table."
  }

  assert {
    condition     = length(aws_default_security_group.this.ingress) == 0 && length(aws_default_security_group.this.egress) == 0
    error_message = "The default security group should let nothing in and nothing out."
  }

  assert {
    condition     = length(aws_default_route_table.this.route) == 0 && length(aws_default_network_acl.this.ingress) == 0 && length(aws_default_network_acl.this.egress) == 0
    error_message = "What the VPC is born with should be empty."
  }

  assert {
    condition     = length(aws_vpc_endpoint.gateway) == 0 && length(aws_vpc_endpoint.interface) == 0 && length(aws_security_group.endpoint) == 0 && length(aws_security_group.endpoint_client) == 0
    error_message = "No endpoint was asked for, and none is needed."
  }

  assert {
    condition     = length(output.function_subnet_ids) == 3 && length(output.cache_subnet_ids) == 3
    error_message = "A subnet a zone should be handed out for the functions, and one for the cache."
  }

  assert {
    condition     = output.valkey_security_group_id == "sg-valkey" && output.function_security_group_ids == ["sg-valkey"] && output.cache_security_group_ids == ["sg-valkey"]
    error_message = "Functions and cache should share Valkey's group, and take no other where there is no endpoint."
  }

  # A packet passes the ACLs there and back, for every pair of subnets.
  assert {
    condition     = length(aws_network_acl_rule.this) == 12 && alltrue([for rule in aws_network_acl_rule.this : rule.rule_action == "allow" && rule.protocol == "tcp"])
    error_message = "Three zones should make twelve rules: each of two ACLs, both directions, three peers; all of TCP."
  }

  assert {
    condition = alltrue([
      for pair in setproduct(values(aws_subnet.function)[*].cidr_block, values(aws_subnet.cache)[*].cidr_block) : alltrue([
        for way in [
          { acl = "acl-function", egress = true, from = 6379, to = 6380, peer = pair[1] },
          { acl = "acl-cache", egress = false, from = 6379, to = 6380, peer = pair[0] },
          { acl = "acl-cache", egress = true, from = 1024, to = 65535, peer = pair[0] },
          { acl = "acl-function", egress = false, from = 1024, to = 65535, peer = pair[1] },
          ] : anytrue([
            for rule in aws_network_acl_rule.this :
            rule.network_acl_id == way.acl && rule.egress == way.egress && rule.from_port == way.from && rule.to_port == way.to && rule.cidr_block == way.peer
        ])
      ])
    ])
    error_message = "Between some function subnet and some cache subnet a step of the packet's way is closed."
  }

  assert {
    condition     = length(distinct([for rule in aws_network_acl_rule.this : "${rule.network_acl_id} ${rule.egress} ${rule.rule_number}"])) == length(aws_network_acl_rule.this)
    error_message = "Two rules of an ACL and direction have the same number."
  }

  # The ACLs admit no port and no address beyond that.
  assert {
    condition = alltrue([
      for rule in aws_network_acl_rule.this : contains(
        rule.network_acl_id == "acl-function" ? values(aws_subnet.cache)[*].cidr_block : values(aws_subnet.function)[*].cidr_block,
        rule.cidr_block,
      )
    ])
    error_message = "An ACL lets a tier speak with something that is not a subnet of the other tier."
  }

  assert {
    condition = alltrue([
      for rule in aws_network_acl_rule.this :
      contains((rule.network_acl_id == "acl-function") == rule.egress ? ["6379-6380"] : ["1024-65535"], "${rule.from_port}-${rule.to_port}")
    ])
    error_message = "Requests go to 6379 and 6380 only, from functions to the cache; answers come back to ephemeral ports only."
  }

  assert {
    condition     = alltrue([for acl in [aws_network_acl.function, aws_network_acl.cache] : length(acl.ingress) == 0 && length(acl.egress) == 0])
    error_message = "A rule stands inside an ACL, where this test does not see it."
  }

  # The group speaks Valkey with itself only.
  assert {
    condition = alltrue([
      for rule in concat(values(aws_vpc_security_group_ingress_rule.valkey), values(aws_vpc_security_group_egress_rule.valkey)) :
      rule.security_group_id == "sg-valkey" && rule.referenced_security_group_id == "sg-valkey" && rule.cidr_ipv4 == null && rule.cidr_ipv6 == null &&
      rule.ip_protocol == "tcp" && rule.from_port == rule.to_port && length(rule.description) > 0
    ])
    error_message = "A rule of Valkey's group names something else than that group, or says nothing about itself."
  }

  assert {
    condition = (
      toset(values(aws_vpc_security_group_ingress_rule.valkey)[*].from_port) == toset([6379, 6380]) &&
      toset(values(aws_vpc_security_group_egress_rule.valkey)[*].from_port) == toset([6379, 6380])
    )
    error_message = "Both ports should be open both ways: the primary, 6379, and the read port, 6380."
  }

  # Connections are recorded, encrypted, and by a role that can do nothing else.
  assert {
    condition = (
      aws_flow_log.this.traffic_type == "ALL" && aws_cloudwatch_log_group.flow_logs.name == "/aws/vpc/leaderboard-test-flow-logs" &&
      aws_cloudwatch_log_group.flow_logs.kms_key_id == var.kms_key_arn && aws_cloudwatch_log_group.flow_logs.retention_in_days == 30
    )
    error_message = "Accepted and refused connections should go to the log group, with the key and the retention given."
  }

  assert {
    condition = jsondecode(aws_iam_role.flow_logs.assume_role_policy).Statement[0].Condition == {
      StringEquals = { "aws:SourceAccount" = "111122223333" }
      ArnLike      = { "aws:SourceArn" = "arn:aws:ec2:eu-central-1:111122223333:vpc-flow-log/*" }
    }
    error_message = "Flow Logs should take the role for this account and Region only."
  }

  assert {
    condition = toset(flatten([for statement in jsondecode(aws_iam_role_policy.flow_logs.policy).Statement : [
      for pair in setproduct(flatten([statement.Action]), flatten([statement.Resource])) : "${pair[0]} ${pair[1]}"
      ]])) == toset([
      "logs:CreateLogStream arn:aws:logs:eu-central-1:111122223333:log-group:/aws/vpc/leaderboard-test-flow-logs",
      "logs:CreateLogStream arn:aws:logs:eu-central-1:111122223333:log-group:/aws/vpc/leaderboard-test-flow-logs:log-stream:*",
      "logs:DescribeLogStreams arn:aws:logs:eu-central-1:111122223333:log-group:/aws/vpc/leaderboard-test-flow-logs",
      "logs:DescribeLogStreams arn:aws:logs:eu-central-1:111122223333:log-group:/aws/vpc/leaderboard-test-flow-logs:log-stream:*",
      "logs:PutLogEvents arn:aws:logs:eu-central-1:111122223333:log-group:/aws/vpc/leaderboard-test-flow-logs",
      "logs:PutLogEvents arn:aws:logs:eu-central-1:111122223333:log-group:/aws/vpc/leaderboard-test-flow-logs:log-stream:*",
      "logs:DescribeLogGroups arn:aws:logs:eu-central-1:111122223333:log-group:*",
    ])
    error_message = "The role should write to its own log group and find it, no more."
  }
}

run "an_interface_endpoint_is_reached_from_every_zone_by_functions_only" {
  command = plan

  variables {
    interface_endpoints = ["elasticache", "secretsmanager"]
  }

  override_data {
    target = data.aws_vpc_endpoint_service.interface["secretsmanager"]
    values = { availability_zones = ["eu-central-1b", "eu-central-1c", "eu-central-1d"] }
  }

  override_resource {
    target          = aws_subnet.function["eu-central-1a"]
    override_during = plan
    values          = { id = "subnet-a" }
  }

  override_resource {
    target          = aws_subnet.function["eu-central-1b"]
    override_during = plan
    values          = { id = "subnet-b" }
  }

  override_resource {
    target          = aws_subnet.function["eu-central-1c"]
    override_during = plan
    values          = { id = "subnet-c" }
  }

  assert {
    condition = { for service, endpoint in aws_vpc_endpoint.interface : service => endpoint.subnet_ids } == {
      elasticache = toset(["subnet-a", "subnet-b", "subnet-c"]), secretsmanager = toset(["subnet-b", "subnet-c"])
    }
    error_message = "AWS refuses an endpoint in a zone that its service does not have: it should be in the other zones."
  }

  assert {
    condition = (
      { for service, endpoint in aws_vpc_endpoint.interface : service => endpoint.service_name } == {
        elasticache = "com.amazonaws.eu-central-1.elasticache", secretsmanager = "com.amazonaws.eu-central-1.secretsmanager"
      } &&
      alltrue([for endpoint in aws_vpc_endpoint.interface : endpoint.private_dns_enabled && endpoint.vpc_endpoint_type == "Interface" && endpoint.security_group_ids == toset(["sg-endpoint"])])
    )
    error_message = "Each service should have an interface endpoint with private DNS, in the endpoints' group."
  }

  assert {
    condition = alltrue([
      for endpoint in aws_vpc_endpoint.interface : alltrue([
        for statement in jsondecode(endpoint.policy).Statement :
        try(statement.Condition.StringEquals["aws:PrincipalAccount"], null) == "111122223333"
      ])
    ])
    error_message = "An endpoint serves callers of other accounts."
  }

  assert {
    condition     = output.function_security_group_ids == ["sg-valkey", "sg-endpoint-client"] && output.cache_security_group_ids == ["sg-valkey"]
    error_message = "The functions, and not the cache, should get out to the endpoints."
  }

  assert {
    condition = (
      aws_vpc_security_group_egress_rule.interface_endpoint[0].security_group_id == "sg-endpoint-client" &&
      aws_vpc_security_group_egress_rule.interface_endpoint[0].referenced_security_group_id == "sg-endpoint" &&
      aws_vpc_security_group_ingress_rule.endpoint[0].security_group_id == "sg-endpoint" &&
      aws_vpc_security_group_ingress_rule.endpoint[0].referenced_security_group_id == "sg-endpoint-client" &&
      alltrue([for rule in [aws_vpc_security_group_egress_rule.interface_endpoint[0], aws_vpc_security_group_ingress_rule.endpoint[0]] :
      rule.from_port == 443 && rule.to_port == 443 && rule.ip_protocol == "tcp" && rule.cidr_ipv4 == null && rule.cidr_ipv6 == null])
    )
    error_message = "HTTPS should pass from the functions' group to the endpoints' group, and nothing else."
  }

  assert {
    condition = alltrue([
      for peer in values(aws_subnet.function)[*].cidr_block : alltrue([
        for way in setproduct([true, false], [[443, 443], [1024, 65535]]) : anytrue([
          for rule in aws_network_acl_rule.this :
          rule.network_acl_id == "acl-function" && rule.egress == way[0] && [rule.from_port, rule.to_port] == way[1] && rule.cidr_block == peer
        ])
      ])
    ])
    error_message = "An endpoint in another zone's function subnet is not reached, or its answer does not come back."
  }

  assert {
    condition     = length(aws_network_acl_rule.this) == 24 && alltrue([for rule in aws_network_acl_rule.this : rule.from_port != 443 || rule.network_acl_id == "acl-function"])
    error_message = "Twelve rules for Valkey and twelve for the endpoints; none of the latter is the cache's."
  }

  assert {
    condition     = length(distinct([for rule in aws_network_acl_rule.this : "${rule.network_acl_id} ${rule.egress} ${rule.rule_number}"])) == length(aws_network_acl_rule.this)
    error_message = "Two rules of an ACL and direction have the same number."
  }
}

run "a_gateway_endpoint_opens_the_services_ranges_and_not_the_world" {
  command = plan

  variables {
    gateway_endpoints = ["s3"]
  }

  assert {
    condition     = aws_vpc_endpoint.gateway["s3"].vpc_endpoint_type == "Gateway" && aws_vpc_endpoint.gateway["s3"].route_table_ids == toset(["rtb-function"])
    error_message = "S3 should be in the functions' route table, and not in the cache's."
  }

  assert {
    condition = jsondecode(aws_vpc_endpoint.gateway["s3"].policy).Statement[0].Condition == {
      StringEquals = { "aws:PrincipalAccount" = "111122223333", "aws:ResourceAccount" = "111122223333" }
    }
    error_message = "The endpoint should serve this account's callers and this account's buckets."
  }

  assert {
    condition = (
      aws_vpc_security_group_egress_rule.gateway_endpoint["s3"].security_group_id == "sg-endpoint-client" &&
      aws_vpc_security_group_egress_rule.gateway_endpoint["s3"].prefix_list_id == "pl-s3" &&
      aws_vpc_security_group_egress_rule.gateway_endpoint["s3"].cidr_ipv4 == null &&
      aws_vpc_security_group_egress_rule.gateway_endpoint["s3"].from_port == 443 &&
      aws_vpc_security_group_egress_rule.gateway_endpoint["s3"].to_port == 443 &&
      output.function_security_group_ids == ["sg-valkey", "sg-endpoint-client"] && output.cache_security_group_ids == ["sg-valkey"]
    )
    error_message = "The functions, and not the cache, should get out to S3's prefix list on 443."
  }

  assert {
    condition = alltrue([
      for range in ["3.5.0.0/17", "52.219.0.0/16"] : alltrue([
        for way in [[true, 443, 443], [false, 1024, 65535]] : anytrue([
          for rule in aws_network_acl_rule.this :
          rule.network_acl_id == "acl-function" && [rule.egress, rule.from_port, rule.to_port] == way && rule.cidr_block == range
        ])
      ])
    ])
    error_message = "S3 is not reached on one of its ranges, or its answer does not come back."
  }

  assert {
    condition     = length(aws_network_acl_rule.this) == 16 && alltrue([for rule in aws_network_acl_rule.this : !endswith(rule.cidr_block, "/0")])
    error_message = "Two ranges should add four rules, and none should be open to everybody."
  }
}

run "with_one_zone_the_cache_still_has_two" {
  command = plan

  variables {
    availability_zone_count = 1
    interface_endpoints     = ["elasticache"]
  }

  assert {
    condition     = keys(aws_subnet.function) == ["eu-central-1a"] && keys(aws_subnet.cache) == ["eu-central-1a", "eu-central-1b"]
    error_message = "One zone for the functions, two for the cache."
  }

  assert {
    condition     = length(aws_network_acl_rule.this) == 6 && alltrue([for rule in aws_network_acl_rule.this : rule.from_port != 443])
    error_message = "Two peers for the functions, one for the cache; an endpoint in the function's own subnet needs no rule."
  }
}

run "six_zones_with_interface_endpoints_stay_within_the_quota" {
  command = plan

  variables {
    availability_zone_count = 6
    cidr_block              = "192.168.7.0/24"
    interface_endpoints     = ["elasticache"]
  }

  override_data {
    target = data.aws_availability_zones.available
    values = { names = ["us-east-1a", "us-east-1b", "us-east-1c", "us-east-1d", "us-east-1e", "us-east-1f"] }
  }

  assert {
    condition     = values(aws_subnet.function)[5].cidr_block == "192.168.7.80/28" && values(aws_subnet.cache)[5].cidr_block == "192.168.7.208/28"
    error_message = "The smallest VPC should hold twelve subnets of the smallest size."
  }

  assert {
    condition     = length(aws_network_acl_rule.this) == 48 && length(distinct([for rule in aws_network_acl_rule.this : "${rule.network_acl_id} ${rule.egress} ${rule.rule_number}"])) == 48
    error_message = "24 rules for Valkey and 24 for the endpoints, each with a number of its own."
  }
}

run "an_endpoint_that_no_zone_has_is_refused" {
  command = plan

  variables {
    interface_endpoints = ["elasticache"]
  }

  override_data {
    target = data.aws_vpc_endpoint_service.interface
    values = { availability_zones = ["eu-central-1d"] }
  }

  expect_failures = [aws_vpc_endpoint.interface["elasticache"]]
}

run "more_acl_rules_than_the_quota_are_refused" {
  command = plan

  variables {
    availability_zone_count = 6
    interface_endpoints     = ["elasticache"]
    gateway_endpoints       = ["s3"]
  }

  override_data {
    target = data.aws_availability_zones.available
    values = { names = ["us-east-1a", "us-east-1b", "us-east-1c", "us-east-1d", "us-east-1e", "us-east-1f"] }
  }

  override_data {
    target = data.aws_prefix_list.gateway
    values = { id = "pl-s3", cidr_blocks = ["52.219.0.0/16", "3.5.0.0/17", "16.15.0.0/16"] }
  }

  expect_failures = [aws_network_acl.function]
}

run "more_zones_than_the_region_has_are_refused" {
  command = plan

  variables {
    availability_zone_count = 4
  }

  expect_failures = [aws_vpc.this]
}

run "a_region_with_one_zone_cannot_hold_the_cache" {
  command = plan

  variables {
    availability_zone_count = 1
  }

  override_data {
    target = data.aws_availability_zones.available
    values = { names = ["eu-central-1a"] }
  }

  expect_failures = [aws_vpc.this]
}

run "refuses_what_is_too_little" {
  command = plan

  variables {
    cidr_block              = "10.40.0.0/25"
    availability_zone_count = 0
    flow_log_retention_days = 0 # which would mean for ever
  }

  expect_failures = [var.cidr_block, var.availability_zone_count, var.flow_log_retention_days]
}

run "refuses_what_is_too_much" {
  command = plan

  variables {
    cidr_block              = "10.0.0.0/15"
    availability_zone_count = 7
    network_acl_rule_quota  = 41     # AWS grants no more than 40
    interface_endpoints     = ["s3"] # a gateway does that for nothing
  }

  expect_failures = [var.cidr_block, var.availability_zone_count, var.network_acl_rule_quota, var.interface_endpoints]
}

run "refuses_what_is_malformed" {
  command = plan

  variables {
    name                    = "leaderboard_test"
    cidr_block              = "10.40.0.300/16"
    availability_zone_count = 2.5
    excluded_zone_ids       = ["us-east-1e"] # a zone's name
    interface_endpoints     = ["com.amazonaws.eu-central-1.elasticache"]
    kms_key_arn             = "alias/leaderboard"
  }

  expect_failures = [
    var.name, var.cidr_block, var.availability_zone_count, var.excluded_zone_ids, var.interface_endpoints, var.kms_key_arn,
  ]
}

run "refuses_what_looks_right" {
  command = plan

  variables {
    cidr_block              = "10.40.1.0/16"  # does not begin at its first address
    gateway_endpoints       = ["elasticache"] # has none
    interface_endpoints     = ["ElastiCache"]
    flow_log_retention_days = 42 # CloudWatch does not know it
  }

  expect_failures = [var.cidr_block, var.gateway_endpoints, var.interface_endpoints, var.flow_log_retention_days]
}
