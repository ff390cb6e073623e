"""Each rule of plan_rules.py is worth something: a tree that breaks it is caught, and by that very rule.

A mutant is a slip such as people make, one or two edits of the tree's text. Mutants of one batch share a copy, and all
copies share a plan, since a plan takes seconds; each is looked for by words that no other mutant of its batch could
cause. With MUTANTS_ALONE=1 each is planned by itself (some minutes): then nothing else can have caused them.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import partial

import pytest

from tests.terraform import plan_rules
from tests.terraform.plan_rules import RULES, Rule
from tests.terraform.plans import EMULATED, SWAPPED, Edits, Plan, Tree, edit

ALONE = bool(os.environ.get("MUTANTS_ALONE"))

WITHOUT_A_FIREWALL = {"waf": None}
"""No mutant is in it, and Terraform takes longer for the nested schema of a web ACL than for all the rest of a plan."""


@dataclass(frozen=True)
class Mutant:
    """One slip: what it is, which rule has to see it, what the rule says, and where the slip is made."""

    slip: str
    rule: Rule
    says: str
    edits: Edits
    batch: str = "first"
    environment: str = "staging"


WHOLE = "modules/leaderboard/main.tf"
OPERATIONS_KEY = "modules/leaderboard/encryption.tf"
NETWORK_ACLS = "modules/network/nacl.tf"
SECURITY_GROUPS = "modules/network/security_groups.tf"
VALKEY_OUT = '{ acl = "function", direction = "egress", ports = local.valkey, number = 100, what = "valkey", peers = '

VALKEY_IN = '{ acl = "cache", direction = "ingress", ports = local.valkey,'

AUTHORIZER_FAILURES = 'section   = "authorizer-failures"\n        metric    = "${local.dashed[key]}-failures"\n'

IPV6_RULE = """
resource "aws_network_acl_rule" "six" {
  network_acl_id  = aws_network_acl.cache.id
  rule_number     = 900
  rule_action     = "allow"
  protocol        = "-1"
  ipv6_cidr_block = "::/0"
}
"""
HALF_THE_WORLD = """
resource "aws_vpc_security_group_ingress_rule" "half" {
  security_group_id = aws_security_group.valkey.id
  cidr_ipv4         = "0.0.0.0/1"
  ip_protocol       = "tcp"
  from_port         = 6379
  to_port           = 6379
}
"""
RULE_IN_PLACE = """
resource "aws_security_group" "debug" {
  name   = "debug"
  vpc_id = aws_vpc.this.id

  ingress {
    protocol    = "tcp"
    from_port   = 22
    to_port     = 22
    cidr_blocks = [var.cidr_block]
  }
}
"""
RULE_OF_THE_OLD_KIND = """
resource "aws_security_group_rule" "old" {
  security_group_id = aws_security_group.valkey.id
  type              = "ingress"
  protocol          = "tcp"
  from_port         = 22
  to_port           = 22
  cidr_blocks       = [var.cidr_block]
}
"""
GATEWAY = """
resource "aws_internet_gateway" "this" {
  vpc_id = aws_vpc.this.id
}
"""
BUCKET = """
resource "aws_s3_bucket" "exports" {
  bucket = "${var.name}-exports"
}
"""
FUNCTION_URL = """
resource "aws_lambda_function_url" "this" {
  function_name      = aws_lambda_function.this["rank"].function_name
  authorization_type = "NONE"
}
"""
ATTACHED = """
resource "aws_iam_role_policy_attachment" "read" {
  role       = aws_iam_role.function["rank"].name
  policy_arn = "arn:aws:iam::aws:policy/ReadOnlyAccess"
}
"""

MUTANTS = (
    # Network
    Mutant(
        "an endpoint's clients get out to everywhere",
        plan_rules.nothing_names_the_whole_world,
        r"egress_rule\.interface_endpoint\[0\]: 0\.0\.0\.0/0",
        (
            (
                SECURITY_GROUPS,
                "referenced_security_group_id = aws_security_group.endpoint[0].id",
                'cidr_ipv4 = "0.0.0.0/0"',
            ),
        ),
        batch="second",
    ),
    Mutant(
        "a rule for all of IPv6, under another name",
        plan_rules.nothing_names_the_whole_world,
        r"aws_network_acl_rule\.six: ::/0",
        ((NETWORK_ACLS, "", IPV6_RULE),),
    ),
    Mutant(
        "half the world",
        plan_rules.network_rules_stay_in_the_vpc,
        r"ingress_rule\.half: 0\.0\.0\.0/1",
        ((SECURITY_GROUPS, "", HALF_THE_WORLD),),
    ),
    Mutant(
        "a rule of the old kind",
        plan_rules.network_rules_stay_in_the_vpc,
        r"aws_security_group_rule\.old: ",
        ((SECURITY_GROUPS, "", RULE_OF_THE_OLD_KIND),),
    ),
    Mutant(
        "a rule written within its group",
        plan_rules.network_rules_are_read,
        r"aws_security_group\.debug: ingress",
        ((SECURITY_GROUPS, "", RULE_IN_PLACE),),
    ),
    Mutant(
        "the read port is forgotten in the ACLs",
        plan_rules.functions_reach_the_cache,
        r'cache\["eu-central-1a"\] \S+:6380 from port 49152: the ACL',
        ((NETWORK_ACLS, "= [6379, 6380]", "= [6379, 6379]"),),
    ),
    Mutant(
        "answers go to the ports of Linux alone",
        plan_rules.functions_reach_the_cache,
        r'cache\["eu-central-1a"\] \S+:6379 from port 1024: the ACL of \S*cache\S+ \S+ drops the answer',
        ((NETWORK_ACLS, "= [1024, 65535]", "= [32768, 65535]"),),
    ),
    Mutant(
        "the ACLs know the first zone only",
        plan_rules.functions_reach_the_cache,
        r'cache\["eu-central-1c"\] \S+:6379 from port 49152: the ACL of \S*function\S+ \S+ does not let it out',
        (
            (
                NETWORK_ACLS,
                f"{VALKEY_OUT}local.cache_subnets",
                f"{VALKEY_OUT}{{ (local.zones[0]) = local.cache_subnets[local.zones[0]] }}",
            ),
        ),
    ),
    Mutant(
        "the functions are not in Valkey's group",
        plan_rules.functions_reach_the_cache,
        r"no security group of \S*function\S+ \S+ lets it out",
        (
            (
                "modules/network/outputs.tf",
                "concat([aws_security_group.valkey.id], aws_security_group.endpoint_client[*].id)",
                "aws_security_group.endpoint_client[*].id",
            ),
        ),
        batch="third",
    ),
    Mutant(
        "a port for the debugger, in groups and ACLs",
        plan_rules.only_valkey_reaches_the_cache,
        r"function\S+ \S+ -> \S+cache\S+ \S+:22: passes",
        (
            (SECURITY_GROUPS, "read = 6380 }", "read = 6380, debug = 22 }"),
            (NETWORK_ACLS, "= [6379, 6380]", "= [22, 6380]"),
        ),
        batch="second",
    ),
    Mutant(
        "the cache may begin a conversation",
        plan_rules.only_valkey_reaches_the_cache,
        r"cache\S+ \S+ -> \S+function\S+ \S+:6379: passes",
        (
            (NETWORK_ACLS, VALKEY_OUT, VALKEY_OUT.replace("local.valkey", "local.ephemeral")),
            (NETWORK_ACLS, VALKEY_IN, VALKEY_IN.replace("local.valkey", "local.ephemeral")),
        ),
        batch="fourth",
    ),
    Mutant(
        "the whole VPC may speak to the group",
        plan_rules.only_valkey_reaches_the_cache,
        r"another group's \S+function\S+ \S+ -> \S+cache\S+ \S+:6379: passes",
        (
            (
                SECURITY_GROUPS,
                "  referenced_security_group_id = aws_security_group.valkey.id\n"
                '  description                  = "Valkey ${each.key} port from members',
                '  cidr_ipv4   = var.cidr_block\n  description = "Valkey ${each.key} port from members',
            ),
        ),
        batch="second",
    ),
    Mutant(
        "the ACLs let the whole VPC in",
        plan_rules.acls_alone_keep_strangers_out,
        r"another subnet \S+ -> \S+cache\S+ \S+:6379: passes",
        ((NETWORK_ACLS, "= each.value.cidr_block", "= var.cidr_block"),),
        batch="fourth",
    ),
    Mutant(
        "the ACLs leave all ports to the groups",
        plan_rules.acls_alone_keep_strangers_out,
        r"cache\S+ \S+:3389: the ACLs let it pass",
        ((NETWORK_ACLS, "= [6379, 6380]", "= [0, 65535]"),),
        batch="third",
    ),
    Mutant(
        "an endpoint's answers are forgotten",
        plan_rules.endpoints_are_reached_by_https_only,
        r":443 from port 49152: the ACL of \S+ \S+ drops the answer",
        (
            (
                NETWORK_ACLS,
                'direction = "egress", ports = local.ephemeral, number = 300, what = "endpoint-reply", '
                "peers = local.endpoint_subnets",
                'direction = "egress", ports = local.ephemeral, number = 300, what = "endpoint-reply", peers = {}',
            ),
        ),
    ),
    Mutant(
        "an internet gateway",
        plan_rules.there_is_no_way_out,
        r"aws_internet_gateway\.this: leads out",
        (("modules/network/main.tf", "", GATEWAY),),
    ),
    Mutant(
        "public addresses",
        plan_rules.there_is_no_way_out,
        r"aws_subnet\.\S+: gives public addresses",
        (("modules/network/main.tf", "map_public_ip_on_launch = false", "map_public_ip_on_launch = true"),),
    ),
    Mutant(
        "the cache's subnets have no route table",
        plan_rules.there_is_no_way_out,
        r"aws_subnet\.cache\S+: no route table of ours",
        (("modules/network/main.tf", "  for_each = aws_subnet.cache\n", "  for_each = {}\n"),),
        batch="second",
    ),
    # Permissions
    Mutant(
        "all functions take one role",
        plan_rules.each_function_has_a_role_of_its_own,
        r'function\.this\["stats"\]: not a role of its own',
        (("modules/functions/main.tf", "aws_iam_role.function[each.key].arn", 'aws_iam_role.function["rank"].arn'),),
    ),
    Mutant(
        "a managed policy besides",
        plan_rules.each_function_has_a_role_of_its_own,
        r"aws_iam_role_policy_attachment\.read: ",
        (("modules/functions/roles.tf", "", ATTACHED),),
    ),
    Mutant(
        "everybody may take a function's role",
        plan_rules.each_function_has_a_role_of_its_own,
        r"aws_iam_role\.function\S+: trusts",
        (("modules/functions/roles.tf", '["lambda.amazonaws.com"]', '["lambda.amazonaws.com", "ec2.amazonaws.com"]'),),
        batch="second",
    ),
    Mutant(
        "all actions on the logs",
        plan_rules.no_star_without_a_reason,
        r"\('Action', 'logs:\*'\) in WriteOwnLogs",
        (("modules/functions/roles.tf", '["logs:CreateLogStream", "logs:PutLogEvents"]', '["logs:*"]'),),
    ),
    Mutant(
        "everybody's logs",
        plan_rules.no_star_without_a_reason,
        r"\('Resource', 'arn:aws:logs:\S+:log-group:\*'\) in WriteOwnLogs",
        (
            (
                "modules/functions/roles.tf",
                '["${local.log_group_arns[each.key]}:*"]',
                '["arn:aws:logs:${local.region}:${local.account}:log-group:*"]',
            ),
        ),
        batch="second",
    ),
    Mutant(
        "an endpoint for every account",
        plan_rules.no_star_without_a_reason,
        r"aws_vpc_endpoint\.interface\S+: allows everybody",
        (
            (
                "modules/network/endpoints.tf",
                'Condition = { StringEquals = { "aws:PrincipalAccount" = local.account_id } }',
                "",
            ),
        ),
    ),
    Mutant(
        "a policy that no plan shows",
        plan_rules.no_star_without_a_reason,
        r"aws_sqs_queue_policy\.reconcile_failures: a policy that the plan does not show",
        (
            (
                "modules/functions/reconcile.tf",
                "resources = [local.failures_queue_arn]",
                "resources = [aws_sqs_queue.reconcile_failures.arn]",
            ),
        ),
    ),
    Mutant(
        "a reader may connect as a writer",
        plan_rules.each_function_connects_as_its_own_user,
        r'function\.this\["rank"\]: may connect as .*staging-writes',
        (
            (
                "modules/functions/roles.tf",
                "statement.value.users[each.value].arn",
                'statement.value.users["writes"].arn',
            ),
        ),
    ),
    Mutant(
        "a reader connects as a writer",
        plan_rules.each_function_connects_as_its_own_user,
        r'function\.this\["rank"\]: connects as leaderboard-staging-writes',
        (("modules/functions/main.tf", "var.cache.users[each.value].name", 'var.cache.users["writes"].name'),),
    ),
    Mutant(
        "versions of the release before are locked out",
        plan_rules.each_function_connects_as_its_own_user,
        r'function\.this\["get_user"\]: may connect as \[\S+ .user:leaderboard-staging-profiles.\]',
        (("modules/functions/roles.tf", "lookup(statement.value.former_users, each.key, [])", "[]"),),
        batch="second",
    ),
    Mutant(
        "a user of that name in any account",
        plan_rules.each_function_connects_as_its_own_user,
        r'function\.this\["sessions"\]: may connect as \[.arn:aws:elasticache:\*:\*:user:\S+-sessions',
        (("modules/cache/users.tf", "${local.elasticache_arn}:user:", "arn:aws:elasticache:*:*:user:"),),
        batch="third",
    ),
    Mutant(
        "a reader's user has a writer's access string",
        plan_rules.each_function_may_do_what_its_role_needs,
        r"function\.this\[\"stats\"\]: as board it has \[.*'\+zadd'.* too much, \[.*'\+evalsha_ro'",
        (("modules/cache/users.tf", 'local.access_strings["board"]', 'local.access_strings["writes"]'),),
    ),
    Mutant(
        "all commands for everybody",
        plan_rules.each_function_may_do_what_its_role_needs,
        r"function\.this\[\"get_user\"\]: as read it has \['\+@all'\] too much, \['-@all'\] too little",
        (("modules/cache/access.tf", '["-@all"]', '["+@all"]'),),
        batch="second",
    ),
    Mutant(
        "two users change at once",
        plan_rules.users_change_one_after_the_other,
        r"aws_elasticache_user\.board and \S*aws_elasticache_user\.profiles change at once",
        (("modules/cache/users.tf", "depends_on = [aws_elasticache_user.board]", ""),),
    ),
    Mutant(
        "the users of a block change in no order",
        plan_rules.users_change_one_after_the_other,
        r'aws_elasticache_user\.read\["\S+"\]: is one of several',
        (
            (
                "modules/cache/users.tf",
                'resource "aws_elasticache_user" "read" {',
                'resource "aws_elasticache_user" "read" {\n  for_each = toset(["one", "two"])',
            ),
            ("modules/cache/users.tf", "= aws_elasticache_user.read\n", '= aws_elasticache_user.read["one"]\n'),
        ),
    ),
    Mutant(
        "CodeDeploy may connect",
        plan_rules.each_function_connects_as_its_own_user,
        r"delivery\S+: may connect, but belongs to no function",
        (("modules/delivery/main.tf", '"lambda:UpdateAlias"]', '"lambda:UpdateAlias", "elasticache:Connect"]'),),
    ),
    Mutant(
        "a permission on no alias",
        plan_rules.permissions_name_the_alias_and_the_caller,
        r"aws_lambda_permission\.reconcile: on \S+:None, which is not an alias",
        (("modules/functions/reconcile.tf", "qualifier     = local.alias[local.reconcile].name", ""),),
    ),
    Mutant(
        "any API may call",
        plan_rules.permissions_name_the_alias_and_the_caller,
        r"aws_lambda_permission\.this\S.*: from anywhere",
        (("modules/api/main.tf", "  source_arn    = ", "  source_account = null # "),),
    ),
    # Data
    Mutant(
        "logs without a key",
        plan_rules.everything_is_encrypted,
        r"aws_cloudwatch_log_group\.function\S+: kms_key_id",
        (("modules/functions/logs.tf", "kms_key_id        = var.kms_key_arn", ""),),
    ),
    Mutant(
        "a cache with AWS's own key",
        plan_rules.everything_is_encrypted,
        r"aws_elasticache_serverless_cache\.this\S+: kms_key_id",
        (
            (
                "modules/cache/main.tf",
                "kms_key_id         = var.kms_key == null ? aws_kms_key.this[0].arn : var.kms_key.arn",
                "",
            ),
        ),
    ),
    Mutant(
        "a topic with AWS's own key",
        plan_rules.everything_is_encrypted,
        r"aws_sns_topic\.this\[.*: kms_master_key_id",
        (
            (
                "modules/monitoring/notifications.tf",
                "kms_master_key_id = var.kms_key_arn",
                'kms_master_key_id = "alias/aws/sns"',
            ),
        ),
    ),
    Mutant(
        "a queue that nobody encrypts",
        plan_rules.everything_is_encrypted,
        r"aws_sqs_queue\.reconcile_failures: kms_master_key_id",
        (
            (
                "modules/functions/reconcile.tf",
                "sqs_managed_sse_enabled   = true",
                "sqs_managed_sse_enabled   = false",
            ),
        ),
    ),
    Mutant(
        "a queue with a key that EventBridge needs",
        plan_rules.eventbridge_needs_no_key,
        r"aws_sqs_queue\.reconcile_failures: EventBridge would need its key",
        (
            (
                "modules/functions/reconcile.tf",
                "sqs_managed_sse_enabled   = true",
                "kms_master_key_id         = var.kms_key_arn",
            ),
        ),
        batch="second",
    ),
    Mutant(
        "a key that never rotates",
        plan_rules.everything_is_encrypted,
        r"aws_kms_key\.operations\[0\]: does not rotate",
        ((OPERATIONS_KEY, "enable_key_rotation     = true", "enable_key_rotation     = false"),),
    ),
    Mutant(
        "a key that does not know API Gateway's own log",
        plan_rules.keys_are_for_the_log_groups,
        r"aws_cloudwatch_log_group\.execution: its key's policy does not know API-Gateway-Execution-Logs_abc123/v1",
        ((OPERATIONS_KEY, "log-group:API-Gateway-Execution-Logs_*/", "log-group:API-Gateway-Logs_*/"),),
    ),
    Mutant(
        "logs that are kept forever",
        plan_rules.logs_end,
        r"aws_cloudwatch_log_group\.function\S+: kept forever",
        (("modules/functions/logs.tf", "retention_in_days = lookup(", "# lookup("),),
    ),
    Mutant(
        "a function that logs somewhere else",
        plan_rules.logs_end,
        r"aws_lambda_function\.this\S+: logs to a group that Lambda makes",
        (
            (
                "modules/functions/main.tf",
                "aws_cloudwatch_log_group.function[each.key].name",
                '"/leaderboard/${each.key}"',
            ),
        ),
    ),
    Mutant(
        "a bucket as AWS makes it",
        plan_rules.nothing_is_public,
        r"aws_s3_bucket\.exports: may be public",
        (("modules/functions/main.tf", "", BUCKET),),
    ),
    Mutant(
        "a function on the internet",
        plan_rules.nothing_is_public,
        r"aws_lambda_function_url\.this: ",
        (("modules/functions/main.tf", "", FUNCTION_URL),),
    ),
    Mutant(
        "a password among the settings",
        plan_rules.no_secret_is_written_down,
        r"function\.this\S+: VALKEY_PASSWORD looks like a secret",
        ((WHOLE, "merge(local.settings,", 'merge({ VALKEY_PASSWORD = "hunter2" }, local.settings,'),),
    ),
    Mutant(
        "a private key in the place of a public one",
        plan_rules.no_secret_is_written_down,
        r'function\.this\["authorizer"\]: TOKEN_PUBLIC_KEYS looks like a secret',
        (
            (
                WHOLE,
                "authorizer = module.access.authorizer_environment",
                'authorizer = { TOKEN_PUBLIC_KEYS = "-----BEGIN PRIVATE KEY-----" }',
            ),
        ),
        batch="second",
    ),
    Mutant(
        "a signing key of another kind",
        plan_rules.everything_is_encrypted,
        r'aws_kms_key\.signing\["a"\]: does not rotate',
        (("modules/access/main.tf", '"ECC_NIST_P256"', '"ECC_SECG_P256K1"'),),
    ),
    Mutant(
        "tokens that a reader can sign",
        plan_rules.only_the_issuer_signs,
        r"policy\.sign: for leaderboard-staging-rank",
        ((WHOLE, 'functions["issue_token"].role_name', 'functions["rank"].role_name'),),
    ),
    Mutant(
        "tokens that everybody can sign",
        plan_rules.only_the_issuer_signs,
        r'policy\.function\["stats"\]: may sign, in WriteTraces',
        (("modules/functions/roles.tf", '"xray:PutTraceSegments"]', '"xray:PutTraceSegments", "kms:Sign"]'),),
        batch="second",
    ),
    Mutant(
        "a role that could make interfaces, and has no use for any",
        plan_rules.who_asks_no_cache_is_outside_the_vpc,
        r'policy\.function\["issue_token"\]: may make network interfaces',
        (
            (
                "modules/functions/roles.tf",
                'for_each = each.value[*]\n\n    content {\n      sid       = "ChangeNetworkInterfaces"',
                'for_each = [1]\n\n    content {\n      sid       = "ChangeNetworkInterfaces"',
            ),
        ),
    ),
    Mutant(
        "an authorizer that reaches nothing but the cache",
        plan_rules.who_asks_no_cache_is_outside_the_vpc,
        r'function\.this\["authorizer"\]: in the VPC',
        (
            (
                "modules/functions/main.tf",
                "subnet_ids         = each.value == null ? [] : var.subnet_ids",
                "subnet_ids         = var.subnet_ids",
            ),
        ),
        batch="second",
    ),
    Mutant(
        "a record that is kept no longer than any log",
        plan_rules.what_people_do_to_players_is_on_record,
        r"erase_user: its log is kept for 30 days",
        ((WHOLE, "{ for key in local.audited : key => var.audit_retention_days }", "{}"),),
        batch="second",
    ),
    Mutant(
        "an API key that everybody knows",
        plan_rules.no_secret_is_written_down,
        r"aws_api_gateway_api_key\.this\S+: a value is given",
        (
            (
                "modules/api/keys.tf",
                '  description = "A key of the tier ${each.value}"',
                '  description = "A key of the tier ${each.value}"\n  value       = "the-one-key-of-every-client"',
            ),
        ),
    ),
    Mutant(
        "a user whom nobody vouches for",
        plan_rules.no_secret_is_written_down,
        r"aws_elasticache_user\.board: lets in by other means than IAM",
        (("modules/cache/users.tf", 'type = "iam"', 'type = "no-password-required"'),),
    ),
    Mutant(
        "bodies and keys in the log",
        plan_rules.no_secret_is_written_down,
        r"aws_api_gateway_method_settings\.this\S+: logs bodies",
        (("modules/api/stage.tf", "data_trace_enabled     = false", "data_trace_enabled     = true"),),
    ),
    # The API
    Mutant(
        "routes that pass the alias by",
        plan_rules.each_route_calls_the_alias_of_its_function,
        r"GET /stats calls \S+",
        (
            (
                "modules/api/body.tf",
                "= var.functions[operation.function].invoke_arn",
                '= replace(var.functions[operation.function].invoke_arn, ":live", "")',
            ),
        ),
    ),
    Mutant(
        "a method that is left out",
        plan_rules.each_route_calls_the_alias_of_its_function,
        r"no DELETE /sessions/\{sessionId\}",
        (
            (
                "modules/api/body.tf",
                '["get", "head", "put", "post", "delete", "patch"]',
                '["get", "head", "put", "post", "patch"]',
            ),
        ),
    ),
    Mutant(
        "every route to one function",
        plan_rules.each_route_calls_the_alias_of_its_function,
        r"GET /stats calls \S+rank:live",
        (
            (
                "modules/api/body.tf",
                "= var.functions[operation.function].invoke_arn",
                '= var.functions["rank"].invoke_arn',
            ),
        ),
        batch="second",
    ),
    Mutant(
        "a route that nobody may call",
        plan_rules.the_api_may_call_each_route,
        r"none for GET /stats",
        (
            (
                "modules/api/main.tf",
                "  for_each = local.operations\n",
                '  for_each = { for key, one in local.operations : key => one if key != "GET /stats" }\n',
            ),
        ),
    ),
    Mutant(
        "no throttle but for one route",
        plan_rules.each_route_is_throttled,
        r"none for all methods",
        (("modules/api/stage.tf", '{ "*/*" = {', '{ "~1health/GET" = {'),),
    ),
    Mutant(
        "a throttle of no route",
        plan_rules.each_route_is_throttled,
        r"there is no such route",
        (
            (
                "modules/api/stage.tf",
                '"${replace(split(" ", key)[1], "/", "~1")}/',
                '"${trimprefix(split(" ", key)[1], "/")}/',
            ),
        ),
    ),
    Mutant(
        "a route that strangers may call as often as all players together",
        plan_rules.each_route_is_throttled,
        r"none for HEAD /health, which needs no key",
        (("modules/api/stage.tf", "if !operation.key }", "if false }"),),
        batch="third",
    ),
    Mutant(
        "a tier without a quota",
        plan_rules.each_route_is_throttled,
        r"aws_api_gateway_usage_plan\.this\S+: no limit",
        (("modules/api/keys.tf", "each.value.quota_per_month[*]", "[]"),),
        batch="second",
    ),
    Mutant(
        "a tier without limits",
        plan_rules.each_route_is_throttled,
        r"aws_api_gateway_usage_plan\.this\S+: no rate_limit",
        (("modules/api/keys.tf", "rate_limit  = each.value.rate_per_second", "rate_limit  = 0"),),
    ),
    Mutant(
        "a route that is free",
        plan_rules.each_route_needs_a_key,
        r"GET /stats has security \[\]",
        (("modules/api/body.tf", "(local.key_scheme) = operation.key", "(local.key_scheme) = false"),),
    ),
    Mutant(
        "a preflight request that needs a key",
        plan_rules.each_route_needs_a_key,
        r"OPTIONS /stats has security \[\{",
        (
            (
                "modules/api/body.tf",
                "security   = []\n      parameters = [for found in",
                "security   = var.contract.security\n      parameters = [for found in",
            ),
        ),
    ),
    Mutant(
        "a route that forgets to ask for a token",
        plan_rules.what_is_not_public_needs_a_token,
        r"POST /sessions asks nobody for a token",
        (("modules/api/body.tf", '["x-scopes"], [])) > 0', '["x-scopes"], [])) > 2'),),
    ),
    Mutant(
        "a token that is believed for an hour after its end",
        plan_rules.what_is_not_public_needs_a_token,
        r"Token takes other tokens, or believes them for another time",
        (("modules/api/body.tf", "authorizer_cache_seconds = 300", "authorizer_cache_seconds = 3600"),),
        batch="second",
    ),
    Mutant(
        "a version of the authorizer that no deployment moves",
        plan_rules.what_is_not_public_needs_a_token,
        r"asks arn:\S+-authorizer/invocations",
        (
            (
                "modules/api/body.tf",
                "authorizerUri                = var.functions[key].invoke_arn",
                'authorizerUri                = replace(var.functions[key].invoke_arn, ":live", "")',
            ),
        ),
        batch="third",
    ),
    Mutant(
        "functions that judge as if access were open",
        plan_rules.what_is_not_public_needs_a_token,
        r"GET /users/\{userId\}/export asks \['Token'\] for a token",
        (("modules/leaderboard/locals.tf", "= var.access\n", '= "open"\n'),),
        batch="fourth",
    ),
    Mutant(
        "an authorizer that API Gateway may not call",
        plan_rules.the_authorizer_stands_apart,
        r'function\.this\["authorizer"\]: API Gateway may not call it',
        (("modules/api/main.tf", "for_each = toset(var.authorizer[*])", "for_each = toset([])"),),
    ),
    Mutant(
        "an authorizer that any flood of requests keeps from working",
        plan_rules.the_authorizer_stands_apart,
        r'function\.this\["authorizer"\]: no concurrency of its own',
        (("modules/functions/main.tf", "coalesce(local.of_function.reserved_concurrency[each.key], -1)", "-1"),),
        batch="second",
    ),
    Mutant(
        "a policy for TLS that nobody tells the API",
        plan_rules.clients_speak_new_tls,
        r"rest_api\.this: also speaks TLS 1\.0",
        (("modules/api/body.tf", "if var.tls_policy != null", "if false"),),
        batch="third",
    ),
    # Monitoring
    Mutant(
        "alarms that tell nobody",
        plan_rules.each_function_has_its_alarms,
        r'function\.this\["rank"\]: no alarm that tells of Duration',
        (("modules/monitoring/alarms.tf", 'severity          = "ticket"', 'severity          = "deployment"'),),
    ),
    Mutant(
        "no alarm for throttled calls",
        plan_rules.each_function_has_its_alarms,
        r'function\.this\["rank"\]: no alarm that tells of Throttles',
        (("modules/monitoring/alarms.tf", '= "Throttles"', '= "Invocations"'),),
        batch="second",
    ),
    Mutant(
        "an authorizer that nobody watches",
        plan_rules.each_function_has_its_alarms,
        r'function\.this\["authorizer"\]: no alarm that tells of Errors',
        (
            (
                "modules/monitoring/alarms.tf",
                AUTHORIZER_FAILURES,
                AUTHORIZER_FAILURES.replace('-failures"\n', '-away"\n'),
            ),
        ),
        batch="third",
    ),
    Mutant(
        "the dimension that other caches have",
        plan_rules.alarms_watch_what_exists,
        r"alarm\.this\S+: AWS/ElastiCache \S+ is not kept by \['CacheClusterId'\]",
        (("modules/monitoring/alarms.tf", "{ clusterId = lower(", "{ CacheClusterId = lower("),),
    ),
    Mutant(
        "a metric that nodes have",
        plan_rules.alarms_watch_what_exists,
        r"alarm\.this\S+: AWS/ElastiCache has no EngineCPUUtilization",
        (("modules/monitoring/alarms.tf", '= "ElastiCacheProcessingUnits"', '= "EngineCPUUtilization"'),),
    ),
    Mutant(
        "a queue of another name",
        plan_rules.alarms_watch_what_exists,
        r"alarm\.this\S+: AWS/SQS \S+: no QueueName \S+-dlq",
        ((WHOLE, "module.functions.reconcile_failures_queue.name", '"${local.name}-dlq"'),),
    ),
    Mutant(
        "a metric that nobody writes",
        plan_rules.alarms_watch_what_exists,
        r"alarm\.this\S+: nobody writes leaderboard-staging \S+-failures",
        (("modules/monitoring/alarms.tf", "    namespace = var.name\n", '    namespace = "Leaderboard"\n'),),
    ),
    Mutant(
        "runs that are missed before there is a schedule",
        plan_rules.a_standstill_comes_after_a_start,
        r"alarm\.this\S+: made before any schedule",
        (("modules/monitoring/alarms.tf", ", var.reconcile_interval_minutes]", "]"),),
    ),
    Mutant(
        "a chart of a metric that does not exist",
        plan_rules.dashboards_show_what_exists,
        r"AWS/ElastiCache has no ReadLatency",
        (("modules/monitoring/dashboard.tf", '"SuccessfulReadRequestLatency"', '"ReadLatency"'),),
    ),
    Mutant(
        "alarms of another name on the dashboard",
        plan_rules.dashboards_show_what_exists,
        r"no alarm arn:",
        (("modules/monitoring/dashboard.tf", '"${local.alarm_arn}-${name}"', '"${local.alarm_arn}/${name}"'),),
    ),
    Mutant(
        "a cause that pages",
        plan_rules.one_alarm_pages,
        r"these page: \S+slo-page\S+ \S+cache-evictions",
        (
            (
                "modules/monitoring/alarms.tf",
                '        metric    = "Evictions"\n',
                '        metric    = "Evictions"\n        severity = "page"\n',
            ),
        ),
    ),
    Mutant(
        "a window that a composite does not find",
        plan_rules.one_alarm_pages,
        r"slo-page\"\]: no alarm leaderboard-staging/availability-fast-1h",
        (("modules/monitoring/slo.tf", 'ALARM(\\"${var.name}-${name}', 'ALARM(\\"${var.name}/${name}'),),
    ),
    Mutant(
        "a day in periods of half an hour, and more",
        plan_rules.alarms_can_be_evaluated,
        r"steady-30m\"\]: looks at 90000 s in periods of 1800 s",
        (("modules/monitoring/slo.tf", 'name = "30m", minutes = 30 }', 'name = "30m", minutes = 30, periods = 50 }'),),
    ),
    Mutant(
        "math of a metric that is not there",
        plan_rules.alarms_can_be_evaluated,
        r"counts with \['all'\]",
        (("modules/monitoring/slo.tf", "100 * bad / requests, 0)", "100 * bad / all, 0)"),),
    ),
    Mutant(
        "a chart by what the metric is not counted by",
        plan_rules.dashboards_show_what_exists,
        r"SubmissionsRefused \{'Code': 'stale_attempt'\} is counted by \['Reason'\]",
        (("modules/monitoring/dashboard.tf", "{ Reason = reason }", '{ Code = "stale_attempt" }'),),
        batch="second",
    ),
    Mutant(
        "widgets that overlap",
        plan_rules.dashboards_are_well_formed,
        r"log at 13, \d+: does not fit",
        (
            (
                "modules/monitoring/dashboard.tf",
                'kind = "chart", width = 12, title = "Security events',
                'kind = "chart", width = 13, title = "Security events',
            ),
        ),
        batch="second",
    ),
    Mutant(
        "math that only CloudWatch knows",
        plan_rules.dashboards_are_well_formed,
        r"is more than plain math",
        (("modules/monitoring/dashboard.tf", '"100 * answered"', '"100 * RATE(answered)"'),),
        batch="third",
    ),
    Mutant(
        "deployments that stop on nothing",
        plan_rules.deployments_stop_on_alarms_that_exist,
        r"deployment_group\.this\S+: no alarm rank-errors",
        (("modules/delivery/main.tf", "= var.rollback_alarm_names[each.key]", '= ["${each.key}-errors"]'),),
    ),
    Mutant(
        "an alarm that no deployment reads",
        plan_rules.deployments_stop_on_alarms_that_exist,
        r"alarm\.this\S+-live-errors\"\]: tells nobody, and nothing reads it",
        (("modules/monitoring/alarms.tf", '["live-errors", "failures"]', '["errors", "failures"]'),),
        batch="second",
    ),
    # Environments
    Mutant(
        "a cache for the emulator",
        plan_rules.nothing_that_no_emulator_has,
        r"aws_elasticache_serverless_cache\.this\S+: not emulated",
        ((WHOLE, "count  = local.emulated ? 0 : 1", "count  = 1"),),
        batch="emulated",
        environment=EMULATED,
    ),
    Mutant(
        "CodeDeploy in production alone",
        plan_rules.differences_are_values,
        r"module\.delivery\.aws_codedeploy_app\.this: not in both",
        (("modules/leaderboard/locals.tf", 'var.alias_mover == "codedeploy"', 'var.environment == "prod"'),),
        batch="third",
    ),
)


def name(mutant: Mutant) -> str:
    """A mutant's name as a test's id."""
    return mutant.slip.replace(" ", "-")


def batch(mutant: Mutant) -> str:
    """The name of the copy that a mutant is in."""
    return re.sub(r"\W+", "-", f"alone-{mutant.slip}") if ALONE else f"batch-{mutant.batch}"


@pytest.fixture(scope="module")
def broken(tree: Tree) -> Tree:
    """The tree, with the plans of every batch and of unbroken production begun."""
    batches = {}
    for begun in dict.fromkeys(map(batch, MUTANTS)):
        mutants = [mutant for mutant in MUTANTS if batch(mutant) == begun]
        edits = tuple(one for mutant in mutants for one in mutant.edits)
        batches[begun] = (mutants[0].environment, partial(edit, edits=edits))
    for together in [{begun: one} for begun, one in batches.items()] if ALONE else [batches]:
        tree.start_broken(together, WITHOUT_A_FIREWALL)
    tree.start("prod", "prod")
    tree.start_networks()
    return tree


@pytest.mark.parametrize("mutant", MUTANTS, ids=name)
def test_it_is_caught_by_the_rule_that_it_breaks(broken: Tree, mutant: Mutant) -> None:
    found = check(mutant.rule, broken.plan(batch(mutant)), broken)
    assert [offence for offence in found if re.search(mutant.says, offence)], found


def check(rule: Rule, plan: Plan, tree: Tree) -> list[str]:
    """What a rule says about a plan."""
    return rule(plan, tree.plan("prod")) if rule is plan_rules.differences_are_values else rule(plan)


def test_rules_in_the_wrong_acl_are_caught(broken: Tree) -> None:
    network = broken.plan(SWAPPED)
    found = plan_rules.acl_rules_are_where_their_keys_say(network)
    assert len(found) == len(network.of("aws_network_acl_rule")) > 0


def test_every_rule_has_a_mutant() -> None:
    caught = {mutant.rule for mutant in MUTANTS}
    assert caught == {*RULES, plan_rules.nothing_that_no_emulator_has, plan_rules.differences_are_values}


def test_whatever_rule_is_not_read_has_a_mutant_that_writes_it() -> None:
    written = "".join(new for mutant in MUTANTS for _, _, new in mutant.edits)
    assert set(re.findall(r'^resource "(aws_\w+_rule)"', written, re.MULTILINE)) >= plan_rules.UNREAD_NETWORK_RULES


def test_no_two_of_a_batch_are_looked_for_by_the_same_words() -> None:
    words = [(batch(mutant), mutant.rule, mutant.says) for mutant in MUTANTS]
    assert len(words) == len(set(words))
