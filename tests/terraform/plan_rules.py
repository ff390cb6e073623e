"""Rules that every plan must keep. Each is a function from a plan to the offences against it, one line for each.

What a rule has to let pass is in a table, with the reason; test_plans.py sees to it that no entry outlives its use.
"""

from __future__ import annotations

import functools
import ipaddress
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

import yaml

from scripts.places import ROOT
from tests.support import contract
from tests.terraform import packets
from tests.terraform.plans import Plan, Resource

Rule = Callable[[Plan], list[str]]

OPEN: dict[str, str] = {}
"""Resources that may name the whole world, by block, each with the reason. There are none."""

VALKEY_PORTS = (6379, 6380)
OTHER_PORTS = (22, 53, 80, 443, 3389, 6378, 6381, 11211, 16379)
HTTPS = 443

ANYTHING = (packets.Entry(True, 0, 65535, "0.0.0.0/0"), packets.Entry(False, 0, 65535, "0.0.0.0/0"))
OPEN_GROUP = (("open", ANYTHING),)
ANOTHER_GROUP = (("another", ANYTHING[:1]),)
"""Rules for made-up hosts: an ACL or a group that lets everything through, a group that lets everything out."""

STARS = {
    ("TheAccountAdministersTheKey", "Action", "kms:[*]"): "a key whose policy leaves its account out is lost",
    ("TheAccountAdministersTheKey", "Resource", "*"): "a key's policy has no resource but its key",
    (
        "LogGroupsOfThisSystem",
        "Action",
        "kms:[DEGR]*[*]",
    ): "as AWS documents it for CloudWatch Logs; narrowed to log groups",
    ("LogGroupsOfThisSystem", "Resource", "*"): "a key's policy has no resource but its key",
    ("AlarmsOfThisAccount", "Action", "kms:GenerateDataKey[*]"): "with or without plaintext",
    ("AlarmsOfThisAccount", "Resource", "*"): "a key's policy has no resource but its key",
    (
        "ElastiCacheUsesTheKeyForTheAccount",
        "Action",
        "kms:[GR]*[*]",
    ): "families of one action; only through ElastiCache",
    ("ElastiCacheUsesTheKeyForTheAccount", "Resource", "*"): "a key's policy has no resource but its key",
    ("CallersOfThisAccount", "Action", "*"): "of the endpoint's one service; callers' roles say what they may do",
    ("CallersOfThisAccount", "Resource", "*"): "of the endpoint's one service",
    ("CallersOfThisAccount", "Principal", "*"): "narrowed to this account by the condition",
    ("WriteOwnLogs", "Resource", "arn:aws:logs:*:log-group:/aws/lambda/*:[*]"): "Lambda names the streams",
    ("WriteToTheGroup", "Resource", "arn:aws:logs:*:log-group:/aws/vpc/*:log-stream:[*]"): "one stream per interface",
    ("FindTheGroup", "Resource", "arn:aws:logs:*:log-group:[*]"): "a search by prefix names no single group",
    ("ReadNetworkInterfaces", "Resource", "*"): "EC2's Describe* actions have no resource level",
    ("ChangeNetworkInterfaces", "Resource", "arn:aws:ec2:*:[*]/[*]"): "the interfaces do not exist yet",
    ("WriteTraces", "Resource", "*"): "X-Ray has no resource level for these",
    ("WatchAlarms", "Resource", "*"): "whoever may not read all alarms is shown no composite ones",
}
"""Stars in what policies allow: the statement, the part of it, and a pattern of the value ([*] is a star itself)."""

POLICIES = {
    "aws_iam_policy": ("policy",),
    "aws_iam_role": ("assume_role_policy",),
    "aws_iam_role_policy": ("policy",),
    "aws_kms_key": ("policy",),
    "aws_sns_topic_policy": ("policy",),
    "aws_sqs_queue_policy": ("policy",),
    "aws_vpc_endpoint": ("policy",),
}
"""The arguments that hold policies. Any other text that looks like a policy is read as well."""

UNKNOWN_POLICIES = {
    "module.functions.aws_iam_role_policy.settings_key": "a new key's ARN, its one resource, is known after apply",
    "module.access.aws_iam_role_policy.sign": "so is that of the key that signs; modules/access has a test of it",
}
"""Policies that a plan does not show, each with the reason."""

ENCRYPTED = {
    "aws_cloudwatch_log_group": "kms_key_id",
    "aws_elasticache_serverless_cache": "kms_key_id",
    "aws_lambda_function": "kms_key_arn",
    "aws_sns_topic": "kms_master_key_id",
    "aws_sqs_queue": "kms_master_key_id",
}
"""What takes one of our keys, and in which argument. The rule finds others by the names of their arguments."""

BY_THE_SERVICE = {"aws_sqs_queue": "sqs_managed_sse_enabled"}
"""What its service may encrypt instead, and by which argument: what has to be open to EventBridge."""

LOGS_CONTEXT = "kms:EncryptionContext:aws:logs:arn"

NOT_SECRET = {
    "TOKEN_ISSUER": r"[a-z][a-z0-9-]*",
    "TOKEN_KEY": r"arn:aws:kms:[a-z0-9-]+:\d{12}:key/[0-9a-f-]{36}",
    "TOKEN_PUBLIC_KEYS": r"\{("
    r"\"[0-9a-f-]{36}\": ?\"-----BEGIN PUBLIC KEY-----[\w+/=\\]+-----END PUBLIC KEY-----\\n\",? ?"
    r"){2}\}",
    "REVOKED_TOKENS": r"[\w.:,-]*",
}
"""Settings whose names sound like secrets, and what they look like: names, public keys, and ids of keys and tokens."""

ASYMMETRIC = {"key_usage": "SIGN_VERIFY", "customer_master_key_spec": "ECC_NIST_P256"}
"""A key that signs tokens. KMS cannot rotate it."""

NO_KEYS = {"kms_data_key_reuse_period_seconds"}
"""Arguments with kms in their names that do not take a key."""

WAYS_OUT = {
    "aws_ec2_transit_gateway_vpc_attachment",
    "aws_egress_only_internet_gateway",
    "aws_eip",
    "aws_internet_gateway",
    "aws_internet_gateway_attachment",
    "aws_nat_gateway",
    "aws_network_interface",
    "aws_route",
    "aws_vpc_peering_connection",
    "aws_vpn_gateway",
}
"""Types that would lead a packet out of the VPC."""

UNREAD_NETWORK_RULES = {"aws_security_group_rule"}
"""Other ways to write a rule, which packets.py does not read."""

NOT_EMULATED = ("aws_elasticache_", "aws_codedeploy_", "aws_wafv2_", "aws_lambda_provisioned_concurrency_config")

ONLY_SOMEWHERE = {
    "module.functions.aws_lambda_provisioned_concurrency_config.this": "staging keeps none warm: an empty map",
}
"""Blocks that production has and staging does not have, or the other way round, each with the reason."""

METRICS = {
    "AWS/Lambda": """ConcurrentExecutions Duration Errors Invocations ProvisionedConcurrencySpilloverInvocations
        ProvisionedConcurrencyUtilization Throttles AsyncEventAge AsyncEventsDropped AsyncEventsReceived
        DeadLetterErrors DestinationDeliveryFailures""",
    "AWS/ApiGateway": "4XXError 5XXError CacheHitCount CacheMissCount Count IntegrationLatency Latency",
    "AWS/ElastiCache": """AuthenticationFailures BytesUsedForCache CacheHitRate CacheHits CacheMisses
        CommandAuthorizationFailures CurrConnections CurrItems CurrVolatileItems ElastiCacheProcessingUnits Evictions
        IamAuthenticationExpirations IamAuthenticationThrottling KeyAuthorizationFailures NetworkBytesIn NetworkBytesOut
        NewConnections SuccessfulReadRequestLatency SuccessfulWriteRequestLatency ThrottledCmds TotalCmdsCount""",
    "AWS/SQS": """ApproximateAgeOfOldestMessage ApproximateNumberOfMessagesDelayed
        ApproximateNumberOfMessagesNotVisible ApproximateNumberOfMessagesVisible NumberOfMessagesDeleted
        NumberOfMessagesReceived NumberOfMessagesSent SentMessageSize""",
}
"""What AWS measures, by namespace; for the cache, the metrics of a serverless one, which are not those of a node."""

DIMENSIONS = {
    "AWS/Lambda": (set(), {"FunctionName"}, {"FunctionName", "Resource"}),
    "AWS/ApiGateway": ({"ApiName"}, {"ApiName", "Stage"}, {"ApiName", "Stage", "Method", "Resource"}),
    "AWS/ElastiCache": ({"clusterId"},),
    "AWS/SQS": ({"QueueName"},),
}
"""The dimensions of those metrics: with any other set of them there is no such metric, and no error either."""

OWN = yaml.safe_load((ROOT / "functions" / "metrics.yaml").read_text(encoding="utf-8"))
"""The table of our own metrics."""

WIDGETS = {
    "text": ({"markdown"}, set()),
    "alarm": ({"alarms", "title"}, set()),
    "log": ({"query", "region", "title", "view"}, set()),
    "metric": (
        {"metrics", "period", "region", "title", "view"},
        {"annotations", "setPeriodToTimeRange", "start", "yAxis"},
    ),
}
"""The kinds of widgets, with the members that each must and may have here. CloudWatch knows more; it wants less, and
takes what it does not know without a word."""

SHOWN = {"expression", "id", "label", "stat", "visible"}
"""What is said of how a metric is drawn, or of math, which `make run` evaluates as well."""

MATH = re.compile(r"(?:IF\(|FILL\(|[a-z]\w*|\d+(?:\.\d+)?|[-+*/(),]|>=?|<=?|\s)+")
"""All that it can evaluate."""

SECRET_NAME = re.compile(r"(^|_)(SECRET|PASSWORD|PASSWD|PASS|TOKEN|CREDENTIAL|API_?KEY|KEY)S?(_|$)", re.IGNORECASE)
SECRET_VALUE = re.compile(r"AKIA[A-Z0-9]{16}|-----BEGIN|://[^/\s]*:[^/\s]*@|\b[A-Za-z0-9+/]{32,}")

OURS = re.compile(r"^arn:aws:elasticache:[a-z]+-[a-z]+-\d:\d{12}:")
"""How ElastiCache's ARNs begin that name one Region and one account."""

RECONCILE, AUTHORIZER, ISSUER = "reconcile", "authorizer", "issue_token"

CACHED_SECONDS = 300
"""How long API Gateway goes on by what the authorizer said: docs/security.md says so."""

AUDITED_ROLE = "people"
AUDIT_DAYS = 365
"""Whose logs are the record of what people did to players, and how long they are kept at least."""

AUTHORIZING = "x-amazon-apigateway-authorizer"
AUTHORIZER_FAILURES = "authorizer-failures"
"""What API Gateway's log says of it: Lambda counts a refused token as an error."""

ALARMS = ("aws_cloudwatch_metric_alarm", "aws_cloudwatch_composite_alarm")
COLUMNS, MOST_WIDGETS, MOST_METRICS, MOST_QUERIES, LONGEST_TEXT = 24, 500, 500, 10, 1024
HOUR_SECONDS, DAY_SECONDS = 3600, 86400
"""Limits of CloudWatch: of a dashboard, of a chart, of an alarm's math and of its text."""


# Network


def nothing_names_the_whole_world(plan: Plan) -> list[str]:
    """Neither 0.0.0.0/0 nor ::/0 is in any argument of any resource."""
    return [
        f"{resource.address}: {text} in {'.'.join(path)}"
        for resource in plan.resources
        for path, text in _texts(resource.values)
        if text in ("0.0.0.0/0", "::/0") and resource.block not in OPEN
    ]


def network_rules_stay_in_the_vpc(plan: Plan) -> list[str]:
    """Rules of ACLs and security groups name blocks of the VPC, or groups; half the world is two rules."""
    found = [f"{rule.address}: a kind of rule that is not read here" for rule in plan.of(*UNREAD_NETWORK_RULES)]
    vpcs = [ipaddress.ip_network(vpc.value("cidr_block")) for vpc in plan.of("aws_vpc")]
    for rule in plan.of(
        "aws_network_acl_rule", *(f"aws_vpc_security_group_{way}_rule" for way in ("ingress", "egress"))
    ):
        for name in ("cidr_block", "ipv6_cidr_block", "cidr_ipv4", "cidr_ipv6"):
            if rule.value(name):
                block = ipaddress.ip_network(rule.value(name))
                if not any(block.version == vpc.version and block.subnet_of(vpc) for vpc in vpcs):
                    found.append(f"{rule.address}: {block} is not within the VPC")
    return found


def network_rules_are_read(plan: Plan) -> list[str]:
    """Every rule belongs to an ACL or group of the plan, and none is written in a way that packets.py does not read."""
    found = [
        f"{rule.address}: its ACL cannot be seen"
        for rule in plan.of("aws_network_acl_rule")
        if len(packets.acl_of(plan, rule)) != 1
    ]
    found += [
        f"{rule.address}: its security group cannot be seen"
        for rule in plan.of(*(f"aws_vpc_security_group_{way}_rule" for way in ("ingress", "egress")))
        if len(plan.linked(rule, "security_group_id")) != 1
    ]
    for resource in plan.of("aws_security_group", "aws_network_acl", "aws_default_security_group"):
        found += [
            f"{resource.address}: {way} written in place is not read here"
            for way in ("ingress", "egress")
            if resource.expression(way)
        ]
    for resource in plan.of("aws_default_network_acl"):
        found += [f"{resource.address}: {way} is not empty" for way in ("ingress", "egress") if resource.value(way)]
    return found


def acl_rules_are_where_their_keys_say(network: Plan) -> list[str]:
    """In an applied network, where the ids are known: what acl_of concludes from a plan is true."""
    return [
        f"{rule.address}: of {[acl.address for acl in acls]}"
        for rule in network.of("aws_network_acl_rule")
        for acls in [network.linked(rule, "network_acl_id")]
        if [acl.address for acl in acls] != [f"aws_network_acl.{str(rule.key).partition('-')[0]}"]
    ]


def functions_reach_the_cache(plan: Plan) -> list[str]:
    """From both ends of each function subnet to both ends of each cache subnet and back, from any client port."""
    return [
        f"{source} -> {target}:{port} from port {client_port}: {reason}"
        for source, target in itertools.product(function_hosts(plan), cache_hosts(plan))
        for port in VALKEY_PORTS
        for client_port in packets.CLIENT_PORTS
        if (reason := packets.refusal(source, target, port, client_port))
    ]


def only_valkey_reaches_the_cache(plan: Plan) -> list[str]:
    """No other port is open, the cache opens no connection, and nothing outside the group gets in."""
    functions, caches = function_hosts(plan), cache_hosts(plan)
    neighbours = [packets.Host(host.subnet, host.address, ANOTHER_GROUP) for host in functions]
    attempts = [
        *(("", *attempt) for attempt in itertools.product(functions, caches, OTHER_PORTS)),
        *(("", *attempt) for attempt in itertools.product(caches, functions, (*VALKEY_PORTS, *OTHER_PORTS))),
        *(("another group's ", *attempt) for attempt in itertools.product(neighbours, caches, VALKEY_PORTS)),
    ]
    return [
        f"{whose}{source} -> {target}:{port}: passes"
        for whose, source, target, port in attempts
        if any(packets.refusal(source, target, port, client_port) is None for client_port in packets.CLIENT_PORTS)
    ]


def acls_alone_keep_strangers_out(plan: Plan) -> list[str]:
    """A host in any other subnet reaches no cache, even if somebody gave it the groups of the functions and the cache;
    nor does a function reach it; and the ACLs alone let functions reach Valkey's ports of the cache and no others."""
    functions, caches = function_hosts(plan), cache_hosts(plan)
    found = []
    for cache in caches:
        for address in _strangers(plan):
            block = ipaddress.IPv4Network(f"{address}/32")
            stranger = packets.Host(packets.Subnet("another subnet", block, ANYTHING), address, cache.groups)
            pairs = [(stranger, cache), *((function, stranger) for function in functions)]
            found += [
                f"{source} -> {target}:{port}: passes"
                for source, target in pairs
                for port in VALKEY_PORTS
                if packets.refusal(source, target, port, 49152) is None
            ]
        opened = packets.Host(cache.subnet, cache.address, OPEN_GROUP)
        for function in functions:
            source = packets.Host(function.subnet, function.address, OPEN_GROUP)
            found += [
                f"{source} -> {opened}:{port}: the ACLs let it pass"
                for port in OTHER_PORTS
                if packets.refusal(source, opened, port, 49152) is None
            ]
    return found


def endpoints_are_reached_by_https_only(plan: Plan) -> list[str]:
    """Each interface endpoint is reached in each of its subnets, from each function subnet; it opens no connection."""
    endpoints = [
        host
        for endpoint in plan.of("aws_vpc_endpoint")
        if endpoint.value("vpc_endpoint_type") == "Interface"
        for host in packets.hosts(plan, endpoint)
    ]
    found = []
    for source, target in itertools.product(function_hosts(plan), endpoints):
        for client_port in packets.CLIENT_PORTS:
            if reason := packets.refusal(source, target, HTTPS, client_port):
                found.append(f"{source} -> {target}:{HTTPS} from port {client_port}: {reason}")
            attempts = [
                *((source, target, port) for port in (22, 80, 8443)),
                *((target, source, port) for port in (22, 80, HTTPS, *VALKEY_PORTS)),
            ]
            found += [
                f"{opener} -> {other}:{port}: passes"
                for opener, other, port in attempts
                if packets.refusal(opener, other, port, client_port) is None
            ]
    return found


def there_is_no_way_out(plan: Plan) -> list[str]:
    """No internet gateway, no NAT, no route but the VPC's own, no public address; each subnet has a route table."""
    found = [f"{resource.address}: leads out of the VPC" for resource in plan.of(*WAYS_OUT)]
    for table in plan.of("aws_route_table", "aws_default_route_table"):
        if table.value("route") or table.expression("route").get("references"):
            found.append(f"{table.address}: routes of its own")
        if table.expression("propagating_vgws"):
            found.append(f"{table.address}: takes routes from a VPN")
    associations = plan.of("aws_route_table_association")
    for subnet in plan.of("aws_subnet"):
        if subnet.value("map_public_ip_on_launch"):
            found.append(f"{subnet.address}: gives public addresses")
        if not any(
            subnet in plan.linked(each, "subnet_id") and plan.linked(each, "route_table_id") for each in associations
        ):
            found.append(f"{subnet.address}: no route table of ours")
        if not any(subnet in plan.linked(acl, "subnet_ids") for acl in plan.of("aws_network_acl")):
            found.append(f"{subnet.address}: no ACL of ours")
    return found


# Permissions


def each_function_has_a_role_of_its_own(plan: Plan) -> list[str]:
    """The role with its matching key, which no other function has and only Lambda may take; and no managed policy."""
    found = []
    for function in plan.of("aws_lambda_function"):
        references = function.expression("role").get("references", ())
        roles = plan.origins(function.block, function.expression("role"))
        matching = [role for role in plan.of("aws_iam_role") if role.block in roles and role.key == function.key]
        if "each.key" not in references or len(matching) != 1:
            found.append(f"{function.address}: not a role of its own")
            continue
        trusted = [statement.get("Principal") for statement in _statements(matching[0].value("assume_role_policy"))]
        if trusted != [{"Service": "lambda.amazonaws.com"}]:
            found.append(f"{matching[0].address}: trusts {trusted}")
    attachments = plan.of("aws_iam_role_policy_attachment", "aws_iam_policy_attachment")
    found += [f"{attached.address}: attaches a policy that is not read here" for attached in attachments]
    for role in plan.of("aws_iam_role"):
        found += [
            f"{role.address}: {name} is not read here"
            for name in ("managed_policy_arns", "inline_policy")
            if role.expression(name)
        ]
    return found


def no_star_without_a_reason(plan: Plan) -> list[str]:
    """A star in what a policy allows, or to whom, needs an entry in STARS; a policy that cannot be seen is listed."""
    found = [
        f"{resource.address}: {star} in {sid}" for resource, sid, star in stars(plan) if allowed_by(sid, *star) is None
    ]
    found += [
        f"{name}: a policy that the plan does not show" for name in unknown_policies(plan) - set(UNKNOWN_POLICIES)
    ]
    for resource, statement in policy_statements(plan):
        everybody = any(_part(statement, "Principal", "*"))
        if everybody and statement["Effect"] == "Allow" and not statement.get("Condition"):
            found.append(f"{resource.address}: allows everybody, in {statement.get('Sid')}")
        if statement["Effect"] == "Allow" and {"NotAction", "NotResource", "NotPrincipal"} & set(statement):
            found.append(f"{resource.address}: allows all but some, in {statement.get('Sid')}")
    return found


def each_function_connects_as_its_own_user(plan: Plan) -> list[str]:
    """As the role in the contract, or as reconcile; versions of the release before as former.yaml says; nobody else."""
    found = []
    users = {user.value("user_id") for user in plan.of("aws_elasticache_user")}
    caches = [cache.value("name") for cache in plan.of("aws_elasticache_serverless_cache")]
    roles = {_function_role(plan, function): function for function in plan.of("aws_lambda_function")}
    granted: dict[str, set[str]] = {}
    for resource, statement in policy_statements(plan):
        if statement["Effect"] == "Allow" and any(
            fnmatchcase("elasticache:connect", action.lower()) for action in _many(statement.get("Action"))
        ):
            if resource.type == "aws_vpc_endpoint":  # allows nobody what their role does not
                continue
            name = str(resource.value("role"))
            granted.setdefault(name, set()).update(OURS.sub("", arn) for arn in _many(statement.get("Resource", "*")))
            if name not in roles:
                found.append(f"{resource.address}: may connect, but belongs to no function")
    for name, function in roles.items():
        own = contract.cache_role(str(function.key))
        former = [role for role, grants in _roles("former").items() if function.key in grants.get("functions", ())]
        wanted = {
            *(f"serverlesscache:{cache}" for cache in caches if own),
            *(f"user:{cache}-{role}" for cache in caches for role in (own, *former) if own),
        }
        if granted.get(name, set()) != wanted:
            found.append(f"{function.address}: may connect as {sorted(granted.get(name, set()))}")
        environment = function.value("environment", "variables") or {}
        user = environment.get("VALKEY_USER")
        if user != (f"{caches[0]}-{own}" if caches and own else None):
            found.append(f"{function.address}: connects as {user}")
        if caches and own and (user not in users or environment.get("VALKEY_IAM_CACHE") != caches[0]):
            found.append(f"{function.address}: {user} of {environment.get('VALKEY_IAM_CACHE')} does not exist")
    return found


def each_function_may_do_what_its_role_needs(plan: Plan) -> list[str]:
    """Whatever users it may connect as: their access strings have what the module's files say of their roles, and no
    word more. That functions of such a role need every word is seen on a Valkey, in test_access_strings.py."""
    strings = {user.value("user_id"): user.value("access_string") for user in plan.of("aws_elasticache_user")}
    caches = [cache.value("name") for cache in plan.of("aws_elasticache_serverless_cache")]
    found = []
    for cache, function in itertools.product(caches, plan.of("aws_lambda_function")):
        former = [role for role, grants in _roles("former").items() if function.key in grants.get("functions", ())]
        for role in filter(None, (contract.cache_role(str(function.key)), *former)):
            given, needed = set(strings.get(f"{cache}-{role}", "").split()), _words(role)
            if given != needed:
                words = f"{sorted(given - needed)} too much, {sorted(needed - given)} too little"
                found.append(f"{function.address}: as {role} it has {words}")
    return found


def users_change_one_after_the_other(plan: Plan) -> list[str]:
    """While ElastiCache changes a user it refuses to change another of its group, and for_each has no order: of any two
    users one waits for the other."""
    users = plan.of("aws_elasticache_user")
    waiting = {user.block: set(plan.awaited(user)) for user in users}
    found = [f"{user.address}: is one of several in its block" for user in users if user.key is not None]
    for one, other in itertools.combinations(waiting, 2):
        if other not in _all_before(one, waiting) and one not in _all_before(other, waiting):
            found.append(f"{one} and {other} change at once")
    return found


def permissions_name_the_alias_and_the_caller(plan: Plan) -> list[str]:
    """Whoever may call a function may only call its alias, and is one API or one rule."""
    aliases = _aliases(plan)
    found = []
    for permission in plan.of("aws_lambda_permission"):
        name, qualifier = permission.value("function_name"), permission.value("qualifier")
        if (name, qualifier) not in aliases:
            found.append(f"{permission.address}: on {name}:{qualifier}, which is not an alias")
        if permission.value("principal") not in ("apigateway.amazonaws.com", "events.amazonaws.com"):
            found.append(f"{permission.address}: for {permission.value('principal')}")
        if permission.value("action") != "lambda:InvokeFunction":
            found.append(f"{permission.address}: {permission.value('action')}")
        callers = plan.origins(permission.block, permission.expression("source_arn"))
        if not permission.value("source_arn") and not any("aws_api_gateway_rest_api" in block for block in callers):
            found.append(f"{permission.address}: from anywhere")
    return found


# Data


def everything_is_encrypted(plan: Plan) -> list[str]:
    """With a key of the plan that rotates. Arguments are found by their names, so that no new type is forgotten."""
    found = []
    for resource in plan.resources:
        if resource.value(BY_THE_SERVICE.get(resource.type, "")) is True:
            continue
        names = {name for name in {*resource.values, *resource.unknown} if "kms" in name} - NO_KEYS
        names |= {ENCRYPTED[resource.type]} if resource.type in ENCRYPTED else set()
        for name in names:
            keys = plan.origins(resource.block, resource.expression(name))
            made = any(".aws_kms_key." in f".{block}" for block in keys)
            if not (made and (resource.is_unknown(name) or resource.value(name))):
                found.append(f"{resource.address}: {name} is not one of our keys")
    keys_made = plan.of("aws_kms_key")
    found += [
        f"{key.address}: does not rotate"
        for key in keys_made
        if not key.value("enable_key_rotation") and any(key.value(name) != value for name, value in ASYMMETRIC.items())
    ]
    return found


def eventbridge_needs_no_key(plan: Plan) -> list[str]:
    """Where it puts what it could not deliver has no key of ours: refused one, it loses the event without a word."""
    arns = [target.value("dead_letter_config", "arn") for target in plan.of("aws_cloudwatch_event_target")]
    names = {arn.split(":")[-1] for arn in arns if arn}
    return [
        f"{queue.address}: EventBridge would need its key"
        for queue in plan.of("aws_sqs_queue")
        if queue.value("name") in names and (queue.value("kms_master_key_id") or queue.is_unknown("kms_master_key_id"))
    ]


def keys_are_for_the_log_groups(plan: Plan) -> list[str]:
    """CloudWatch Logs shows a key the group's ARN, and the key's policy has to know it, or no group can be made."""
    patterns = [
        pattern.partition(":log-group:")[2]
        for key in plan.of("aws_kms_key")
        for statement in _statements(key.value("policy"))
        for pattern in _many(statement.get("Condition", {}).get("ArnLike", {}).get(LOGS_CONTEXT, []))
    ]
    stages = [stage.value("stage_name") for stage in plan.of("aws_api_gateway_stage")]
    named = {
        group.address: group.value("name") or f"API-Gateway-Execution-Logs_abc123/{stages[0]}"
        for group in plan.of("aws_cloudwatch_log_group")
    }
    return [
        f"{address}: its key's policy does not know {name}"
        for address, name in named.items()
        if not any(fnmatchcase(name, pattern) for pattern in patterns)
    ]


def logs_end(plan: Plan) -> list[str]:
    """Every log group keeps its logs for a limited time, and every function writes to one that the plan makes."""
    found = [
        f"{group.address}: kept forever"
        for group in plan.of("aws_cloudwatch_log_group")
        if not group.value("retention_in_days")
    ]
    groups = {group.value("name") for group in plan.of("aws_cloudwatch_log_group")}
    found += [
        f"{function.address}: logs to a group that Lambda makes"
        for function in plan.of("aws_lambda_function")
        if function.value("logging_config", "log_group") not in groups
    ]
    found += [
        f"{stage.address}: no access log"
        for stage in plan.of("aws_api_gateway_stage")
        if not _writes_to_a_group(plan, stage, "access_log_settings", "destination_arn")
    ]
    vpcs = {vpc.address for log in plan.of("aws_flow_log") for vpc in plan.linked(log, "vpc_id")}
    found += [f"{vpc.address}: no flow log" for vpc in plan.of("aws_vpc") if vpc.address not in vpcs]
    return found


def nothing_is_public(plan: Plan) -> list[str]:
    """No bucket without its four blocks, no bucket ACL, and no function with a URL of its own."""
    found = [f"{url.address}: a function's own URL" for url in plan.of("aws_lambda_function_url")]
    blocks = plan.of("aws_s3_bucket_public_access_block")
    for bucket in plan.of("aws_s3_bucket"):
        on_it = [block for block in blocks if bucket in plan.linked(block, "bucket")]
        names = ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")
        if not any(all(block.value(name) is True for name in names) for block in on_it):
            found.append(f"{bucket.address}: may be public")
    found += [f"{acl.address}: an ACL of a bucket" for acl in plan.of("aws_s3_bucket_acl")]
    return found


def no_secret_is_written_down(plan: Plan) -> list[str]:
    """Not in an environment variable, not as the value of an API key, not as the password of a user of the cache."""
    found = []
    for function in plan.of("aws_lambda_function"):
        if function.is_unknown("environment", "variables"):
            found.append(f"{function.address}: an environment that the plan does not show")
        for name, value in (function.value("environment", "variables") or {}).items():
            allowed = name in NOT_SECRET and re.fullmatch(NOT_SECRET[name], value)
            if not allowed and (SECRET_NAME.search(name) or SECRET_VALUE.search(value)):
                found.append(f"{function.address}: {name} looks like a secret")
    api_keys = plan.of("aws_api_gateway_api_key")
    found += [f"{key.address}: a value is given" for key in api_keys if key.expression("value")]
    for user in plan.of("aws_elasticache_user"):
        if (
            user.value("authentication_mode", "type") != "iam"
            or user.value("passwords")
            or user.expression("passwords")
        ):
            found.append(f"{user.address}: lets in by other means than IAM")
        if "nopass" in user.value("access_string"):
            found.append(f"{user.address}: lets in without a password")
    found += [
        f"{settings.address}: logs bodies and keys"
        for settings in plan.of("aws_api_gateway_method_settings")
        if settings.value("settings", "data_trace_enabled") is not False
    ]
    return found


# The API


def each_route_calls_the_alias_of_its_function(plan: Plan) -> list[str]:
    """Every operation of the contract, and no other, is a proxy for the alias; reconcile has no route."""
    found = []
    for api in plan.of("aws_api_gateway_rest_api"):
        written = written_operations(api)
        wanted = {(one.path, one.method.lower()): one for one in contract.operations().values()}
        found += [f"{api.address}: no {method.upper()} {path}" for path, method in wanted.keys() - written.keys()]
        found += [f"{api.address}: {method.upper()} {path}?" for path, method in written.keys() - wanted.keys()]
        for route in wanted.keys() & written.keys():
            integration = written[route].get("x-amazon-apigateway-integration", {})
            uri = integration.get("uri", "")
            functions = [one for one in plan.of("aws_lambda_function") if one.key == wanted[route].function]
            called = re.fullmatch(r"arn:aws:apigateway:[^:]+:lambda:path/2015-03-31/functions/(\S+)/invocations", uri)
            arn = called[1].split(":") if called else [""] * 8
            if (
                (integration.get("type"), integration.get("httpMethod")) != ("aws_proxy", "POST")
                or len(arn) != 8
                or tuple(arn[6:]) not in _aliases(plan)
                or arn[6] not in [function.value("function_name") for function in functions]
            ):
                found.append(f"{api.address}: {route[1].upper()} {route[0]} calls {uri}")
    return found


def the_api_may_call_each_route(plan: Plan) -> list[str]:
    """There is a permission for each operation, on its own function."""
    names = {function.key: function.value("function_name") for function in plan.of("aws_lambda_function")}
    permitted = {
        (permission.key, permission.value("function_name"))
        for permission in plan.of("aws_lambda_permission")
        if permission.value("principal") == "apigateway.amazonaws.com"
    }
    return [
        f"aws_lambda_permission: none for {each.method} {each.path}"
        for each in contract.operations().values()
        if plan.of("aws_api_gateway_rest_api") and (f"{each.method} {each.path}", names[each.function]) not in permitted
    ]


def each_route_is_throttled(plan: Plan) -> list[str]:
    """By the setting for all methods, or by its own, for a route that exists; where no key is needed, by its own. Every
    tier and key has its limits."""
    found = []
    settings = plan.of("aws_api_gateway_method_settings")
    routes = {f"{one.path.replace('/', '~1')}/{one.method}": one for one in contract.operations().values()}
    paths = [one.value("method_path") for one in settings]
    if plan.of("aws_api_gateway_stage"):
        found += [] if "*/*" in paths else ["aws_api_gateway_method_settings: none for all methods"]
        found += [
            f"aws_api_gateway_method_settings: none for {one.method} {one.path}, which needs no key"
            for path, one in routes.items()
            if one.document.get("security") == [] and path not in paths
        ]
    for one in settings:
        if one.value("method_path") not in {"*/*", *routes}:
            found.append(f"{one.address}: there is no such route")
        found += _without_limits(one, "settings", "throttling_rate_limit", "throttling_burst_limit")
    for tier in plan.of("aws_api_gateway_usage_plan"):
        found += _without_limits(tier, "throttle_settings", "rate_limit", "burst_limit")
        found += _without_limits(tier, "quota_settings", "limit")
    in_a_tier = {one.key for one in plan.of("aws_api_gateway_usage_plan_key")}
    found += [f"{key.address}: in no tier" for key in plan.of("aws_api_gateway_api_key") if key.key not in in_a_tier]
    return found


def each_route_needs_a_key(plan: Plan) -> list[str]:
    """Except /health, and what a browser asks first."""
    found = []
    for api in plan.of("aws_api_gateway_rest_api"):
        body = json.loads(api.value("body"))
        schemes = body.get("components", {}).get("securitySchemes", {})
        keys = [name for name, scheme in schemes.items() if (scheme["in"], scheme["name"]) == ("header", "x-api-key")]
        for path, item in body["paths"].items():
            for method, operation in item.items():
                if method not in contract.METHODS:
                    continue
                free = path == "/health" or method == "options"
                asked = [one for one in operation.get("security", ()) if set(one) & set(keys)]
                if asked != ([] if free else [{name: []} for name in keys]) or not keys:
                    found.append(f"{api.address}: {method.upper()} {path} has security {operation.get('security')}")
    return found


def what_is_not_public_needs_a_token(plan: Plan) -> list[str]:
    """Where access is protected, each operation that lists scopes asks the authorizer, by its alias, and nothing else
    does; where it is open, there is no authorizer. Every function judges by the same access."""
    settings = [function.value("environment", "variables") or {} for function in plan.of("aws_lambda_function")]
    access = {one.get("ACCESS") for one in settings}
    is_protected = access == {"protected"}
    found = [f"the functions say that access is {sorted(map(str, access))}"] if len(access) != 1 else []
    by_id = {(one.path, one.method.lower()): one for one in contract.operations().values()}
    (pattern,) = (
        one["x-pattern"] for one in contract.document()["components"]["securitySchemes"].values() if "x-pattern" in one
    )
    for api in plan.of("aws_api_gateway_rest_api"):
        schemes = json.loads(api.value("body"))["components"]["securitySchemes"]
        asking = {name: one[AUTHORIZING] for name, one in schemes.items() if AUTHORIZING in one}
        for name, one in asking.items():
            functions = [f for f in plan.of("aws_lambda_function") if f.key == AUTHORIZER]
            called = [f":function:{f.value('function_name')}:live/invocations" for f in functions]
            if not any(one["authorizerUri"].endswith(end) for end in called):
                found.append(f"{api.address}: asks {one['authorizerUri']}")
            if (schemes[name]["in"], schemes[name]["name"], one["type"]) != ("header", "Authorization", "token"):
                found.append(f"{api.address}: {name} is not what the header Authorization says")
            if (one["identityValidationExpression"], one["authorizerResultTtlInSeconds"]) != (pattern, CACHED_SECONDS):
                found.append(f"{api.address}: {name} takes other tokens, or believes them for another time")
        for (path, method), operation in written_operations(api).items():
            needs = is_protected and bool(contract.scopes(by_id[path, method])) if (path, method) in by_id else False
            asks = [name for one in operation["security"] for name in one if name in asking]
            if len(asks) != int(needs):
                found.append(f"{api.address}: {method.upper()} {path} asks {asks or 'nobody'} for a token")
    return found


def the_authorizer_stands_apart(plan: Plan) -> list[str]:
    """API Gateway may call it, no flood of requests can take its concurrency, and there is none without need."""
    functions = [one for one in plan.of("aws_lambda_function") if one.key == AUTHORIZER]
    permitted = [one for one in plan.of("aws_lambda_permission") if one.block.endswith(f".{AUTHORIZER}")]
    asking = [api for api in plan.of("aws_api_gateway_rest_api") if AUTHORIZING in api.value("body")]
    found = [f"{one.address}: there is no authorizer" for one in asking if not functions]
    found += [f"{one.address}: nobody asks it" for one in functions if not asking]
    for one in functions:
        if [each.value("function_name") for each in permitted] != [one.value("function_name")]:
            found.append(f"{one.address}: API Gateway may not call it")
        if plan.of("aws_elasticache_serverless_cache") and one.value("reserved_concurrent_executions") < 1:
            found.append(f"{one.address}: no concurrency of its own")
    return found


def who_asks_no_cache_is_outside_the_vpc(plan: Plan) -> list[str]:
    """There it reaches KMS and an identity provider; its role cannot make a network interface. All others are in."""
    found = []
    inside = {_function_role(plan, one) for one in plan.of("aws_lambda_function") if contract.cache_role(str(one.key))}
    for function in plan.of("aws_lambda_function"):
        subnets = ("vpc_config", "subnet_ids")
        is_outside = not function.value(*subnets) and not function.is_unknown(*subnets)
        if is_outside == bool(contract.cache_role(str(function.key))):
            found.append(f"{function.address}: {'outside' if is_outside else 'in'} the VPC")
    for resource, statement in policy_statements(plan):
        may = [action for action in _many(statement.get("Action")) if action.startswith("ec2:")]
        name = resource.value("role")
        if resource.type == "aws_iam_role_policy" and statement["Effect"] == "Allow" and may and name not in inside:
            found.append(f"{resource.address}: may make network interfaces, and needs none")
    return found


def only_the_issuer_signs(plan: Plan) -> list[str]:
    """The role of the function that makes tokens, and no other of ours."""
    functions = {_function_role(plan, one): one.key for one in plan.of("aws_lambda_function")}
    signing = [one for one in plan.of("aws_iam_role_policy") if one.block.endswith(".sign")]
    found = [f"{one.address}: for {one.value('role')}" for one in signing if functions.get(one.value("role")) != ISSUER]
    found += ["aws_iam_role_policy: nobody may sign"] if not signing else []
    found += [
        f"{resource.address}: may sign, in {statement.get('Sid')}"
        for resource, statement in policy_statements(plan)
        if statement["Effect"] == "Allow"
        and resource.type == "aws_iam_role_policy"
        and any(fnmatchcase("kms:sign", action.lower()) for action in _many(statement.get("Action")))
    ]
    return found


def what_people_do_to_players_is_on_record(plan: Plan) -> list[str]:
    """Their functions' logs are the record, and are kept for a year at least, however short other logs are kept."""
    days = {one.value("name"): one.value("retention_in_days") or 0 for one in plan.of("aws_cloudwatch_log_group")}
    kept = {
        str(one.key): days.get(one.value("logging_config", "log_group"), 0) for one in plan.of("aws_lambda_function")
    }
    return [
        f"{key}: its log is kept for {number} days"
        for key, number in kept.items()
        if contract.cache_role(key) == AUDITED_ROLE and number < AUDIT_DAYS
    ]


def clients_speak_new_tls(plan: Plan) -> list[str]:
    """No API leaves the choice to AWS, whose default for them also takes TLS 1.0. An emulator has no TLS."""
    on_aws = plan.of("aws_elasticache_serverless_cache")
    return [
        f"{api.address}: also speaks TLS 1.0"
        for api in (plan.of("aws_api_gateway_rest_api") if on_aws else ())
        if "_TLS13_1_" not in json.loads(api.value("body")).get("x-amazon-apigateway-security-policy", "")
    ]


# Monitoring


def each_function_has_its_alarms(plan: Plan) -> list[str]:
    """For errors, throttles and duration, sent to a topic that exists."""
    topics = {topic.value("name") for topic in plan.of("aws_sns_topic")}
    found = []
    for function in plan.of("aws_lambda_function"):
        for metric in ("Errors", "Throttles", "Duration"):
            named = (metric, {"FunctionName": function.value("function_name")})
            if function.key == AUTHORIZER and metric == "Errors":
                named = (AUTHORIZER_FAILURES, {})
            alarms = [
                alarm
                for alarm in plan.of("aws_cloudwatch_metric_alarm")
                if (alarm.value("metric_name"), alarm.value("dimensions") or {}) == named
                and alarm.value("actions_enabled") is not False
                and any(action.split(":")[-1] in topics for action in alarm.value("alarm_actions") or ())
            ]
            if not alarms:
                found.append(f"{function.address}: no alarm that tells of {metric}")
    return found


def alarms_watch_what_exists(plan: Plan) -> list[str]:
    """Each alarm watches a metric that is measured, of a resource of the plan."""
    found = []
    for alarm in plan.of("aws_cloudwatch_metric_alarm"):
        queries = [query["metric"][0] for query in alarm.value("metric_query") or () if query["metric"]]
        for metric in queries or [alarm.values]:
            fault = _unmeasured(plan, metric["namespace"], metric["metric_name"], metric["dimensions"] or {})
            found += [f"{alarm.address}: {fault}"] if fault else []
    groups = {group.value("name") for group in plan.of("aws_cloudwatch_log_group")}
    found += [
        f"{one.address}: reads {one.value('log_group_name')}, which is not a log group"
        for one in plan.of("aws_cloudwatch_log_metric_filter")
        if one.value("log_group_name") not in groups
    ]
    return found


def a_standstill_comes_after_a_start(plan: Plan) -> list[str]:
    """An alarm on what does not come is made after the schedule that makes it come, and gives it a second period."""
    schedules = {target.block for target in plan.of("aws_cloudwatch_event_target")}
    found = []
    for alarm in plan.of("aws_cloudwatch_metric_alarm"):
        if alarm.value("treat_missing_data") == "breaching":
            if (alarm.value("evaluation_periods") or 0) < 2:
                found.append(f"{alarm.address}: one late figure sets it off")
            if not schedules & plan.awaited(alarm):
                found.append(f"{alarm.address}: made before any schedule")
    return found


def dashboards_show_what_exists(plan: Plan) -> list[str]:
    """Metrics as in alarms, and alarms of the plan."""
    found = []
    alarms = {alarm.value("alarm_name") for alarm in plan.of(*ALARMS)}
    groups = {group.value("name") for group in plan.of("aws_cloudwatch_log_group")}
    for dashboard in plan.of("aws_cloudwatch_dashboard"):
        for widget in json.loads(dashboard.value("dashboard_body"))["widgets"]:
            for namespace, name, *rest in (one for one in widget["properties"].get("metrics", ()) if len(one) > 1):
                texts = [text for text in rest if isinstance(text, str)]
                fault = _unmeasured(plan, namespace, name, dict(zip(texts[::2], texts[1::2], strict=True)))
                found += [f"{dashboard.address}: {fault}"] if fault else []
            found += [
                f"{dashboard.address}: no alarm {arn}"
                for arn in widget["properties"].get("alarms", ())
                if arn.split(":alarm:")[-1] not in alarms
            ]
            found += [
                f"{dashboard.address}: no log group {group}"
                for group in re.findall(r"SOURCE '([^']*)'", widget["properties"].get("query", ""))
                if group not in groups
            ]
    return found


def dashboards_are_well_formed(plan: Plan) -> list[str]:
    """CloudWatch takes the body, and shows it as it is meant: widgets side by side in a grid of 24 columns, each with
    its members, math of metrics that are there, and nothing that `make run` cannot draw."""
    found = []
    for dashboard in plan.of("aws_cloudwatch_dashboard"):
        widgets = json.loads(dashboard.value("dashboard_body"))["widgets"]
        cells: set[tuple[int, int]] = set()
        for widget in widgets:
            name = f"{dashboard.address}: {widget['type']} at {widget['x']}, {widget['y']}"
            needed, allowed = WIDGETS[widget["type"]]
            members = set(widget["properties"])
            if not needed <= members <= needed | allowed:
                found.append(f"{name}: has {sorted(members)}")
            covered = {
                (widget["x"] + column, widget["y"] + row)
                for column in range(widget["width"])
                for row in range(widget["height"])
            }
            if widget["x"] < 0 or widget["x"] + widget["width"] > COLUMNS or covered & cells:
                found.append(f"{name}: does not fit")
            cells |= covered
            if widget["type"] == "metric":
                found += [f"{name}: {fault}" for fault in _undrawable(widget["properties"]["metrics"])]
        if len(widgets) > MOST_WIDGETS:
            found.append(f"{dashboard.address}: {len(widgets)} widgets")
    return found


def _undrawable(metrics: list[list[Any]]) -> Iterator[str]:
    """What is wrong with the lines of a chart."""
    shown = [metric[-1] for metric in metrics]
    ids = {one["id"] for one in shown if "id" in one}
    if not any(one.get("visible", True) for one in shown) or len(metrics) > MOST_METRICS:
        yield f"draws {len(metrics)} metrics"
    for one in shown:
        if not set(one) <= SHOWN or ("expression" in one) == ("stat" in one):
            yield f"{one} cannot be drawn"
        yield from _uncountable(one.get("expression", ""), ids)


def _uncountable(expression: str, ids: set[str]) -> Iterator[str]:
    if expression and not MATH.fullmatch(expression):
        yield f"{expression} is more than plain math"
    if unknown := set(re.findall(r"\b[a-z]\w*", expression)) - ids:
        yield f"{expression} counts with {sorted(unknown)}"


def alarms_can_be_evaluated(plan: Plan) -> list[str]:
    """Within CloudWatch's limits: a day for short periods, seven for those of an hour or more; math of few metrics."""
    found = []
    for alarm in plan.of("aws_cloudwatch_metric_alarm"):
        queries = alarm.values.get("metric_query") or []
        metrics = [query["metric"][0] for query in queries if query["metric"]]
        periods = {metric["period"] for metric in metrics} or {alarm.value("period")}
        (period,) = periods
        span = period * alarm.value("evaluation_periods")
        if period % 60 or span > (7 if period >= HOUR_SECONDS else 1) * DAY_SECONDS:
            found.append(f"{alarm.address}: looks at {span} s in periods of {period} s")
        if len(alarm.value("alarm_description") or "") > LONGEST_TEXT:
            found.append(f"{alarm.address}: says too much")
        if queries:
            ids = {query["id"] for query in queries}
            told = [query for query in queries if query["return_data"]]
            if len(told) != 1 or len(queries) > MOST_QUERIES:
                found.append(f"{alarm.address}: {len(told)} of {len(queries)} queries are its figure")
            faults = [fault for query in queries for fault in _uncountable(query["expression"] or "", ids)]
            found += [f"{alarm.address}: {fault}" for fault in faults]
    return found


def one_alarm_pages(plan: Plan) -> list[str]:
    """Nobody is woken twice: one composite alarm of alarms that there are tells the topic that pages, and nothing else
    does. Where there are no composites, the windows that it would be made of do."""
    found = []
    composites, alarms = plan.of("aws_cloudwatch_composite_alarm"), plan.of("aws_cloudwatch_metric_alarm")
    names = {alarm.value("alarm_name") for alarm in alarms}
    pages = [alarm for alarm in (*composites, *alarms) if _topics(alarm) & {"page"}]
    if composites and [alarm.type for alarm in pages] != ["aws_cloudwatch_composite_alarm"]:
        found.append(f"these page: {', '.join(alarm.address for alarm in pages)}")
    found += [
        f"{alarm.address}: does not tell its end" for alarm in pages if composites and not alarm.value("ok_actions")
    ]
    if not pages:
        found.append("nothing pages")
    for composite in composites:
        read = re.findall(r'ALARM\("([^"]*)"\)', composite.value("alarm_rule"))
        found += [f"{composite.address}: no alarm {name}" for name in read if name not in names]
    topics = {topic.value("name") for topic in plan.of("aws_sns_topic")}
    found += [
        f"{alarm.address}: no topic {action}"
        for alarm in (*composites, *alarms)
        for action in alarm.value("alarm_actions") or ()
        if action.split(":")[-1] not in topics
    ]
    return found


def _topics(alarm: Resource) -> set[str]:
    """How urgent what an alarm tells is: the ends of its topics' names."""
    return {action.rpartition("-")[2] for action in alarm.value("alarm_actions") or ()}


def deployments_stop_on_alarms_that_exist(plan: Plan) -> list[str]:
    """Every function that CodeDeploy moves has alarms of the plan that roll it back, of its alias; and an alarm that
    tells nobody is one of these, or one that a composite reads."""
    alarms = {alarm.value("alarm_name"): alarm for alarm in plan.of("aws_cloudwatch_metric_alarm")}
    groups = plan.of("aws_codedeploy_deployment_group")
    read = {name for group in groups for name in group.value("alarm_configuration", "alarms") or []}
    for composite in plan.of("aws_cloudwatch_composite_alarm"):
        read |= set(re.findall(r'ALARM\("([^"]*)"\)', composite.value("alarm_rule")))
    found = [
        f"{alarm.address}: tells nobody, and nothing reads it"
        for name, alarm in alarms.items()
        if name not in read and not alarm.value("alarm_actions")
    ]
    for group in groups:
        names = group.value("alarm_configuration", "alarms") or []
        found += [f"{group.address}: no alarm {name}" for name in names if name not in alarms]
        resources = [(alarms[name].value("dimensions") or {}).get("Resource", "") for name in names if name in alarms]
        is_watched = any(tuple(one.split(":")) in _aliases(plan) for one in resources)
        if group.key == AUTHORIZER:
            is_watched = AUTHORIZER_FAILURES in [alarms[name].value("metric_name") for name in names if name in alarms]
        if not is_watched:
            found.append(f"{group.address}: no alarm of the alias stops it")
    if plan.of("aws_codedeploy_app"):
        moved = {group.key for group in groups}
        functions = plan.of("aws_lambda_function")
        found += [f"{one.address}: no deployment group" for one in functions if one.key not in moved]
    return found


RULES: tuple[Rule, ...] = (
    nothing_names_the_whole_world,
    network_rules_stay_in_the_vpc,
    network_rules_are_read,
    functions_reach_the_cache,
    only_valkey_reaches_the_cache,
    acls_alone_keep_strangers_out,
    endpoints_are_reached_by_https_only,
    there_is_no_way_out,
    each_function_has_a_role_of_its_own,
    no_star_without_a_reason,
    each_function_connects_as_its_own_user,
    each_function_may_do_what_its_role_needs,
    users_change_one_after_the_other,
    permissions_name_the_alias_and_the_caller,
    everything_is_encrypted,
    eventbridge_needs_no_key,
    keys_are_for_the_log_groups,
    logs_end,
    nothing_is_public,
    no_secret_is_written_down,
    each_route_calls_the_alias_of_its_function,
    the_api_may_call_each_route,
    each_route_is_throttled,
    each_route_needs_a_key,
    what_is_not_public_needs_a_token,
    the_authorizer_stands_apart,
    who_asks_no_cache_is_outside_the_vpc,
    only_the_issuer_signs,
    what_people_do_to_players_is_on_record,
    clients_speak_new_tls,
    each_function_has_its_alarms,
    alarms_watch_what_exists,
    a_standstill_comes_after_a_start,
    alarms_can_be_evaluated,
    one_alarm_pages,
    dashboards_show_what_exists,
    dashboards_are_well_formed,
    deployments_stop_on_alarms_that_exist,
)
"""The rules for every environment."""


def nothing_that_no_emulator_has(plan: Plan) -> list[str]:
    """Only for the emulated environment."""
    return [f"{one.address}: not emulated" for one in plan.resources if one.type.startswith(NOT_EMULATED)]


def differences_are_values(one: Plan, other: Plan) -> list[str]:
    """Two environments have the same blocks, however many instances each block makes."""
    blocks, others = ({resource.block for resource in plan.resources} for plan in (one, other))
    return [f"{block}: not in both" for block in sorted((blocks ^ others) - set(ONLY_SOMEWHERE))]


# What the rules read


def policy_statements(plan: Plan) -> list[tuple[Resource, Mapping[str, Any]]]:
    """Every statement of every policy that the plan shows."""
    return [
        (resource, statement)
        for resource in plan.resources
        for _, text in _texts(resource.values)
        if '"Statement"' in text
        for statement in _statements(text)
    ]


def unknown_policies(plan: Plan) -> set[str]:
    """The blocks whose policy is only known after apply."""
    return {
        resource.block
        for resource in plan.resources
        for name in POLICIES.get(resource.type, ())
        if resource.is_unknown(name)
    }


def stars(plan: Plan) -> list[tuple[Resource, str, tuple[str, str]]]:
    """Every star in what a policy allows: the resource, the statement, and the part of it with the value."""
    return [
        (resource, str(statement.get("Sid")), (part, value))
        for resource, statement in policy_statements(plan)
        if statement["Effect"] == "Allow"
        for part in ("Action", "Resource", "Principal")
        for value in _part(statement, part)
        if "*" in value
    ]


def allowed_by(sid: str, part: str, value: str) -> tuple[str, str, str] | None:
    """The entry of STARS that lets a star pass."""
    return next((entry for entry in STARS if entry[:2] == (sid, part) and fnmatchcase(value, _exactly(entry[2]))), None)


def _exactly(pattern: str) -> str:
    """A star alone means a star; within a text it means anything."""
    return "[*]" if pattern == "*" else pattern


def _part(statement: Mapping[str, Any], part: str, wanted: str | None = None) -> list[str]:
    value = statement.get(part, [])
    values = [text for kind in value.values() for text in _many(kind)] if isinstance(value, dict) else _many(value)
    return [text for text in values if wanted in (None, text)]


def _statements(text: str | None) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = _many(json.loads(text)["Statement"]) if text else []
    return found


def _many(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _texts(values: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(values, str):
        yield path, values
    elif isinstance(values, Mapping):
        for name, value in values.items():
            yield from _texts(value, (*path, name))
    elif isinstance(values, list):
        for value in values:
            yield from _texts(value, path)


def function_hosts(plan: Plan) -> list[packets.Host]:
    """The hosts where functions run: many functions share few of them."""
    found = [
        host for function in plan.of("aws_lambda_function") for host in packets.hosts(plan, function, "vpc_config")
    ]
    return list(dict.fromkeys(found))


def cache_hosts(plan: Plan) -> list[packets.Host]:
    """The hosts where the cache is."""
    return [host for cache in plan.of("aws_elasticache_serverless_cache") for host in packets.hosts(plan, cache)]


def _strangers(plan: Plan) -> Iterator[ipaddress.IPv4Address]:
    """One address in each sixteenth of the VPC that has no subnet, and one outside the VPC."""
    taken = [ipaddress.IPv4Network(subnet.value("cidr_block")) for subnet in plan.of("aws_subnet")]
    for vpc in plan.of("aws_vpc"):
        block = ipaddress.IPv4Network(vpc.value("cidr_block"))
        yield from (
            part[4] for part in block.subnets(prefixlen_diff=4) if not any(part.overlaps(other) for other in taken)
        )
    yield ipaddress.IPv4Address("203.0.113.7")


def _aliases(plan: Plan) -> set[tuple[str, ...]]:
    return {(alias.value("function_name"), alias.value("name")) for alias in plan.of("aws_lambda_alias")}


def _function_role(plan: Plan, function: Resource) -> str:
    """The name of a function's role, which is what `role` holds in a policy."""
    blocks = plan.origins(function.block, function.expression("role"))
    return next(
        (role.value("name") for role in plan.of("aws_iam_role") if role.block in blocks and role.key == function.key),
        "",
    )


def _all_before(block: str, waiting: Mapping[str, set[str]]) -> set[str]:
    """The blocks that come before one, directly or not."""
    before = waiting.get(block, set())
    return before.union(*(_all_before(one, waiting) for one in before))


@functools.cache
def _roles(file: str) -> Mapping[str, Mapping[str, list[str]]]:
    path = ROOT / "terraform" / "modules" / "cache" / f"{file}.yaml"
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))


def _words(role: str) -> set[str]:
    """The words of a role's access string."""
    signs = {"keys_to_read": "%R~", "keys": "~", "commands": "+"}
    parts = [_roles(file).get(role, {}) for file in ("access", "former")]
    return {"on", "-@all"} | {
        sign + one for part in parts for kind, sign in signs.items() for one in part.get(kind, ())
    }


def _writes_to_a_group(plan: Plan, resource: Resource, *path: str) -> bool:
    return any(linked.type == "aws_cloudwatch_log_group" for linked in plan.linked(resource, *path))


def written_operations(api: Resource) -> dict[tuple[str, str], Mapping[str, Any]]:
    """The operations in an API's body, by path and method, without those of the preflight."""
    paths = json.loads(api.value("body"))["paths"]
    return {
        (path, method): operation
        for path, item in paths.items()
        for method, operation in item.items()
        if method in contract.METHODS and method != "options"
    }


def _without_limits(resource: Resource, block: str, *names: str) -> list[str]:
    return [f"{resource.address}: no {name}" for name in names if (resource.value(block, name) or 0) <= 0]


def _unmeasured(plan: Plan, namespace: str, metric: str, dimensions: Mapping[str, str]) -> str | None:
    """What is wrong with a metric; None if it is measured."""
    if namespace not in METRICS:
        made = {
            (one.value("metric_transformation", "namespace"), one.value("metric_transformation", "name"))
            for one in plan.of("aws_cloudwatch_log_metric_filter")
        }
        if metric in OWN["metrics"]:
            return _uncounted(plan, namespace, metric, dimensions)
        if (namespace, metric) not in made or dimensions:
            return f"nobody writes {namespace} {metric} {dict(dimensions)}"
        return None
    if metric not in METRICS[namespace].split():
        return f"{namespace} has no {metric}"
    if set(dimensions) not in DIMENSIONS[namespace]:
        return f"{namespace} {metric} is not kept by {sorted(dimensions)}"
    for name, value in dimensions.items():
        if value not in _dimension_values(plan, name):
            return f"{namespace} {metric}: no {name} {value}"
    return None


def _uncounted(plan: Plan, namespace: str, metric: str, dimensions: Mapping[str, str]) -> str | None:
    """What is wrong with one of our own metrics, which the functions count: nothing if they do."""
    settings = [function.value("environment", "variables") or {} for function in plan.of("aws_lambda_function")]
    by, counted = OWN["metrics"][metric]["by"], f"{namespace} {metric} {dict(dimensions)}"
    if any(one.get("METRICS_NAMESPACE") != namespace for one in settings):
        return f"nobody writes {counted}"
    if not dimensions:
        return f"{counted}: its sum means nothing" if not OWN["metrics"][metric].get("total", True) else None
    if len(dimensions) > 1 or not set(dimensions) <= set(by):
        return f"{counted} is counted by {by}"
    ((name, value),) = dimensions.items()
    depths = {one["METRICS_DEPTH"] for one in settings}
    known = {
        "Route": {f"{one.method} {one.path}" for one in contract.operations().values()}
        if depths == {"routes"}
        else set(),
        "Code": contract.codes() | {"internal_error"},
        "Reason": contract.codes(),
        "Currency": {code for one in settings for code in one["CURRENCIES"].split(",")},
        "Kind": set(OWN["kinds"]),
    }
    return None if value in known[name] else f"{counted}: there is no such {name}"


def _dimension_values(plan: Plan, name: str) -> set[str]:
    written = [one for api in plan.of("aws_api_gateway_rest_api") for one in written_operations(api)]
    values = {
        "FunctionName": [one.value("function_name") for one in plan.of("aws_lambda_function")],
        "Resource": [*(":".join(alias) for alias in _aliases(plan)), *(path for path, _ in written)],
        "Method": [method.upper() for _, method in written],
        "ApiName": [one.value("name") for one in plan.of("aws_api_gateway_rest_api")],
        "Stage": [one.value("stage_name") for one in plan.of("aws_api_gateway_stage")],
        "clusterId": [one.value("name") for one in plan.of("aws_elasticache_serverless_cache")],
        "QueueName": [one.value("name") for one in plan.of("aws_sqs_queue")],
    }
    return set(values[name])
