# A caller gives what has no default. Where functions and contract come from is first, then what every studio sets.

variable "contract_path" {
  description = "File of the OpenAPI document, the only list of operations, with metrics.yaml beside it, e.g. \"$${path.root}/../functions/openapi.yaml\"."
  type        = string
  nullable    = false
}

variable "build_path" {
  description = "Folder in which `make build` wrote <architecture>-<runtime>/layer.zip and functions/, e.g. \"$${path.root}/../build\"."
  type        = string
  nullable    = false
}

variable "environment" {
  description = "The environment's name, e.g. \"dev\". It is part of every name, so several environments can share an account."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9]{0,11}$", var.environment))
    error_message = "environment must be 1 to 12 lower-case letters and digits, beginning with a letter."
  }
}

variable "alarm_emails" {
  description = "Addresses that get every alarm, and the end of each page, once their owners have followed the link in the confirmation mail."
  type        = set(string)
  nullable    = false
}

variable "cache_data_storage_gb" {
  description = "Limits on what the cache stores, in GB, 1 to 5,000. A million players take about half a GB. At the maximum, sessions are evicted, then writes fail. A minimum is billed whether it is used or not."
  type = object({
    minimum = optional(number)
    maximum = number
  })
  nullable = false
}

variable "cache_ecpu_per_second" {
  description = "Limits on the cache's work, in ElastiCache processing units (ECPU) a second, 1,000 to 15,000,000. One board is one slot, which does about 30,000. A minimum is kept ready, and billed whether it is used or not."
  type = object({
    minimum = optional(number)
    maximum = number
  })
  nullable = false
}

variable "access" {
  description = "`protected`: whatever is not public needs a bearer token with the right scope. `open`: an API key is enough for what the seed had, and what only servers and people may do is refused."
  type        = string
  nullable    = false

  validation {
    condition     = contains(["open", "protected"], var.access)
    error_message = "access must be open or protected."
  }
}

# Names

variable "project" {
  description = "What every name begins with, e.g. \"leaderboard\"."
  type        = string
  nullable    = false
  default     = "leaderboard"

  validation {
    condition     = can(regex("^[a-z][a-z0-9]*(-[a-z0-9]+)*$", var.project)) && length(var.project) <= 17
    error_message = "project must be 1 to 17 lower-case letters, digits and single dashes, beginning with a letter: with the environment, it is part of names of at most 40 characters."
  }
}

# Network

variable "cidr_block" {
  description = "The VPC's IPv4 addresses, in CIDR notation, /16 to /24."
  type        = string
  nullable    = false
  default     = "10.40.0.0/16"
}

variable "availability_zone_count" {
  description = "How many availability zones the functions use, 1 to 6. The cache uses as many, but at least 2; one that exists keeps its own."
  type        = number
  nullable    = false
  default     = 3
}

variable "gateway_endpoints" {
  description = "Services that the functions reach through a gateway endpoint, which is free: \"s3\", \"dynamodb\". None is needed."
  type        = set(string)
  nullable    = false
  default     = []
}

variable "interface_endpoints" {
  description = "Services that the functions reach through an interface endpoint, at about $7.30 per zone and month each (us-east-1, 2026). None is needed: \"elasticache\" is the control plane only, and commands to the cache do not go through it."
  type        = set(string)
  nullable    = false
  default     = []
}

# What an organisation has already

variable "vpc" {
  description = "A network of yours, or null to make one: private subnets for the functions, and for the cache in 2 zones or more; security groups of both, by which the functions reach TCP 6379 and 6380 of the cache. The variables above do nothing then."
  type = object({
    function_subnet_ids         = list(string)
    function_security_group_ids = list(string)
    cache_subnet_ids            = list(string)
    cache_security_group_ids    = list(string)
  })
  default = null

  validation {
    condition     = var.vpc == null || length(var.interface_endpoints) + length(var.gateway_endpoints) == 0
    error_message = "interface_endpoints and gateway_endpoints are for a network that is made here: leave them out beside vpc, whose endpoints are yours."
  }
}

variable "kms_key_arns" {
  description = "ARNs of two KMS keys of yours, or of one for both, or null to make two. `cache` is for the cache's data and snapshots and cannot be changed later; of its policy, ElastiCache needs nothing but that the account's IAM policies hold. `operations` is for logs, notifications, failed events and settings: its policy must let logs.<region>.amazonaws.com and cloudwatch.amazonaws.com do what modules/leaderboard/encryption.tf lets them."
  type        = object({ operations = string, cache = string })
  default     = null
}

variable "role_path" {
  description = "The path of every IAM role, e.g. \"/games/\"."
  type        = string
  nullable    = false
  default     = "/"

  validation {
    condition     = can(regex("^/([!-~]+/)?$", var.role_path)) && length(var.role_path) <= 512
    error_message = "role_path must begin and end with a slash, such as /games/."
  }
}

variable "permissions_boundary_arn" {
  description = "ARN of the IAM policy that bounds what every role may do, or null for none."
  type        = string
  default     = null
}

# Who may do what

variable "player_operators" {
  description = "With which operators players' own tokens may submit scores, e.g. [\"best\"]; none if only the game's servers may. It does nothing where access is open."
  type        = set(string)
  nullable    = false
  default     = []

  validation {
    condition     = length(setsubtract(var.player_operators, local.contract.components.schemas.Operator.enum)) == 0
    error_message = "player_operators must be some of the contract's operators: ${join(", ", local.contract.components.schemas.Operator.enum)}."
  }
}

variable "player_limits" {
  description = "What one player's tokens may do: submissions a minute and at once, sessions opened a minute and open at a time; 0 is no limit. What is left out has the setting's default: docs/operations.md lists them."
  type = object({
    submissions_per_minute = optional(number)
    submissions_burst      = optional(number)
    sessions_per_minute    = optional(number)
    sessions_open_max      = optional(number)
  })
  nullable = false
  default  = {}

  validation {
    condition = alltrue([for name, number in var.player_limits : number == null ? true :
      floor(number) == number && number >= (name == "submissions_burst" ? 1 : 0) && number <= (name == "sessions_open_max" ? 10000 : 60000)
    ])
    error_message = "player_limits must be whole numbers: 0 to 60000 a minute, a burst of 1 to 60000, and 0 to 10000 open sessions."
  }
}

variable "revoked_tokens" {
  description = "Ids (jti) of tokens that are refused before they expire. What the authorizer said of a token holds for 5 minutes, so it is refused that much later."
  type        = set(string)
  nullable    = false
  default     = []
}

variable "signing_key" {
  description = "Which of the two KMS keys signs new tokens, `a` or `b`; tokens of both are accepted. docs/operations.md says how they are rotated."
  type        = string
  nullable    = false
  default     = "a"
}

variable "oidc" {
  description = "Your own identity provider, whose tokens are accepted besides ours, or null: { issuer = \"https://id.example.com\", audience = \"leaderboard\", jwks_url = \"https://id.example.com/keys\", user_claim = \"sub\", scope_claim = \"scope\" }. Without scope_claim, all of its tokens are players'."
  type = object({
    issuer      = string
    audience    = string
    jwks_url    = string
    user_claim  = optional(string, "sub")
    scope_claim = optional(string)
  })
  default = null
}

variable "audit_retention_days" {
  description = "How long the logs of administrative operations are kept, in days: they are the record of who did what to whom. One of the values that CloudWatch Logs takes."
  type        = number
  nullable    = false
  default     = 400
}

# Cache

variable "caches" {
  description = "The caches, by what their names add after a dash, up to 9 small letters and digits; \"\" for the name alone. A second one is made beside the first from the snapshot whose ARN it names, such as `make snapshot` prints: { \"\" = {}, r1 = { restore_snapshot_arn = \"arn:aws:…\" } }."
  type        = map(object({ restore_snapshot_arn = optional(string) }))
  nullable    = false
  default     = { "" = {} }
}

variable "cache_in_use" {
  description = "Which of the caches the functions use."
  type        = string
  nullable    = false
  default     = ""
}

variable "writes_stopped" {
  description = "Whether whatever writes is stopped, sessions and reconcile too, for the last snapshot of a cache that another is to replace. Callers get a 429 meanwhile."
  type        = bool
  nullable    = false
  default     = false
}

variable "valkey_major_version" {
  description = "Valkey's major version. A plan refuses another than the cache has, and says how it is raised; it can never be lowered."
  type        = string
  nullable    = false
  default     = "8"
}

variable "snapshot_retention_days" {
  description = "How long each daily snapshot of the cache is kept, in days, 1 to 35."
  type        = number
  nullable    = false
  default     = 7
}

variable "daily_snapshot_time" {
  description = "When the daily snapshot is taken, HH:MM in UTC."
  type        = string
  nullable    = false
  default     = "03:00"
}

# How long a receipt, a session and a request may live. Each environment's file sets the three together.

variable "receipt_seconds" {
  description = "How long an Idempotency-Key is remembered, in seconds, 60 to 31,536,000; it can be up to twice as long. A game may repeat a request while its session lives, so this should be at least session_seconds."
  type        = number
  nullable    = false

  validation {
    condition     = var.receipt_seconds >= 60 && var.receipt_seconds <= 31536000 && floor(var.receipt_seconds) == var.receipt_seconds
    error_message = "receipt_seconds must be a whole number from 60 to 31536000, a year."
  }
}

variable "session_seconds" {
  description = "How long a session lives, in seconds, 1 to 31,536,000."
  type        = number
  nullable    = false

  validation {
    condition     = var.session_seconds >= 1 && var.session_seconds <= 31536000 && floor(var.session_seconds) == var.session_seconds
    error_message = "session_seconds must be a whole number from 1 to 31536000, a year."
  }
}

variable "deadline_seconds" {
  description = "How long a request may work with the cache, its own retry included, before it is answered 503, in seconds, 0.01 to 28."
  type        = number
  nullable    = false

  validation {
    condition     = var.deadline_seconds >= 0.01 && var.deadline_seconds <= 28
    error_message = "deadline_seconds must be from 0.01 to 28: API Gateway gives up after 29 s."
  }
}

# Functions

variable "architecture" {
  description = "Instruction set of the functions, arm64 or x86_64; `make build ARCH=` builds for it."
  type        = string
  nullable    = false
  default     = "arm64"
}

variable "runtime" {
  description = "Lambda runtime of the functions, e.g. \"python3.13\"; `make build PYTHON=` builds for it."
  type        = string
  nullable    = false
  default     = "python3.13"
}

# Maps by function, in which `default` stands for every function that is not named.

variable "memory_mb" {
  description = "Memory in MB, 128 to 10,240, by function: { default = 512, leaderboard = 1024 }. CPU is in proportion."
  type        = map(number)
  nullable    = false
  default     = { default = 512 }
}

variable "timeout_seconds" {
  description = "Seconds after which Lambda stops a run, 10 to 900, by function. A request ends far sooner, at deadline_seconds: the rest is for reconcile."
  type        = map(number)
  nullable    = false
  default     = { default = 60 }
}

variable "reserved_concurrency" {
  description = "How many concurrent runs are reserved for a function, which is also the most it can have, by function: { reconcile = 2 }. Functions without a number share what the account has left; 0 stops a function."
  type        = map(number)
  nullable    = false
  default     = {}
}

variable "provisioned_concurrency" {
  description = "How many execution environments are kept warm, by function: { update_score = 5 }. They are billed by the hour."
  type        = map(number)
  nullable    = false
  default     = {}
}

variable "duration_p99_milliseconds" {
  description = "How long one call in a hundred may take before an alarm goes off, in milliseconds within Lambda, by function: { leaderboard = 300 }. A function without a number may take function_duration_percent of its time (see alarm_thresholds)."
  type        = map(number)
  nullable    = false
  default     = {}
}

# The same for all functions

variable "default_operator" {
  description = "What a submission without an operator does: `set`, `best`, `increment` or `decrement`. Most games want `best`."
  type        = string
  nullable    = false
  default     = "set"

  validation {
    condition     = contains(local.contract.components.schemas.Operator.enum, var.default_operator)
    error_message = "default_operator must be one of the contract's operators: ${join(", ", local.contract.components.schemas.Operator.enum)}."
  }
}

variable "metrics_depth" {
  description = "How finely our own metrics are counted: `routes`, or `totals`, which leaves out what is by route and costs two fifths."
  type        = string
  nullable    = false
  default     = "routes"

  validation {
    condition     = contains(["totals", "routes"], var.metrics_depth)
    error_message = "metrics_depth must be totals or routes."
  }
}

variable "currencies" {
  description = "The currencies in which revenue is counted, as codes of ISO 4217. Each is a metric of its own."
  type        = list(string)
  nullable    = false
  default     = ["EUR", "USD"]

  validation {
    condition     = length(var.currencies) >= 1 && length(var.currencies) <= 10 && length(distinct(var.currencies)) == length(var.currencies) && alltrue([for code in var.currencies : can(regex("^[A-Z]{3}$", code))])
    error_message = "currencies must be 1 to 10 different codes of ISO 4217, such as [\"EUR\", \"USD\"]."
  }
}

variable "settings" {
  description = "Other settings of the leaderboard, by environment variable: { SCORE_MAX = \"1000000\" }. docs/operations.md lists them."
  type        = map(string)
  nullable    = false
  default     = {}

  validation {
    condition = alltrue([for name in keys(var.settings) :
      !contains(["METRICS_NAMESPACE", "SLOW_MILLISECONDS"], name) && !contains(concat(keys(local.settings), [for limit in keys(var.player_limits) : upper(limit)]), name)
      && !anytrue([for begin in ["VALKEY_", "TOKEN_", "OIDC_", "REVOKED_"] : startswith(name, begin)])
    ])
    error_message = "settings must not have VALKEY_… names, which come from the cache, TOKEN_…, OIDC_… and REVOKED_TOKENS, which come from the keys, oidc and revoked_tokens, nor METRICS_NAMESPACE, the name of all, nor SLOW_MILLISECONDS and ${join(", ", keys(local.settings))}, which have variables of their own, in lower case."
  }
}

variable "reconcile_schedule" {
  description = "How often reconcile runs: rate(1 minute), or rate(2 minutes) to rate(5 minutes)."
  type        = string
  nullable    = false
  default     = "rate(1 minute)"
}

# API

variable "stage_name" {
  description = "Name of the API's stage, the first part of every path on AWS's own host name."
  type        = string
  nullable    = false
  default     = "v1"
}

variable "throttling" {
  description = "How many requests per second, and at once, each method takes from all callers together; `without_key`, which has small numbers if it is left out, is for each that needs no API key, such as GET /health; `methods` overrides both by operation, e.g. \"PUT /users/{userId}/score\"."
  type = object({
    rate_per_second = number
    burst           = number
    without_key     = optional(object({ rate_per_second = number, burst = number }))
    methods         = optional(map(object({ rate_per_second = number, burst = number })), {})
  })
  nullable = false
}

variable "usage_plans" {
  description = "What one API key may use, by tier: requests per second, at once, and per month (null: no limit)."
  type = map(object({
    rate_per_second = number
    burst           = number
    quota_per_month = optional(number)
  }))
  nullable = false
}

variable "api_keys" {
  description = "API keys to make: each key's tier, by the key's name: { my-game = \"standard\" }."
  type        = map(string)
  nullable    = false
}

variable "waf" {
  description = "The firewall in front of the API, or null for none: how many requests one IP address may make in 5 minutes, at least as many as the fastest of usage_plans. It also stops bodies above 64 KiB."
  type        = object({ requests_per_5_minutes_per_ip = number })
  default     = null
}

variable "domain" {
  description = "A host name of your own, with the ARN of its certificate in this Region and, if Route 53 is to point it here, the id of its zone; null for AWS's name. With a name of your own, AWS's is switched off."
  type        = object({ name = string, certificate_arn = string, hosted_zone_id = optional(string) })
  default     = null
}

variable "tls_policy" {
  description = "Which TLS the API speaks: 1.3, and 1.2 with forward secrecy, unless it names another; null for AWS's default, which also takes 1.0. Not yet tried on AWS with this provider version."
  type        = string
  default     = "SecurityPolicy_TLS13_1_2_PFS_PQ_2025_09"
}

variable "detailed_metrics" {
  description = "Whether CloudWatch gets metrics for each method of the API, which cost extra."
  type        = bool
  nullable    = false
  default     = false
}

# Operations

variable "log_retention_days" {
  description = "How long all logs are kept, in days: one of the values that CloudWatch Logs takes."
  type        = number
  nullable    = false
  default     = 30
}

variable "availability_percent" {
  description = "What players are promised: the share of requests, in per cent, that are answered without a 5xx in 30 days. An alarm pages when failures use that up too fast."
  type        = number
  nullable    = false
  default     = 99.9
}

variable "latency_percent" {
  description = "What players are promised: the share of requests, in per cent, that take no longer than slow_milliseconds in 30 days. An alarm pages when slow ones use that up too fast."
  type        = number
  nullable    = false
  default     = 99
}

variable "slow_milliseconds" {
  description = "How long a request may take to be in time, in milliseconds within its function, by function; `default` stands for all others."
  type        = map(number)
  nullable    = false
  default = {
    health       = 35
    create_user  = 120
    update_score = 180
    leaderboard  = 150
    rank         = 95
    nearby       = 200
    sessions     = 110
    default      = 150
  }

  validation {
    condition     = contains(keys(var.slow_milliseconds), "default") && alltrue([for number in values(var.slow_milliseconds) : number >= 1 && number <= 28000])
    error_message = "slow_milliseconds must have a `default`, and be numbers from 1 to 28000: then API Gateway gives up."
  }
}

variable "concurrency_quota" {
  description = "How many calls at once Lambda lets your account have in this Region, for the line on the dashboard: see Service Quotas."
  type        = number
  nullable    = false
  default     = 1000
}

variable "runbook_url" {
  description = "Where people read docs/operations.md, for the links in alarms and on the dashboard: https://github.com/you/leaderboard/blob/main/docs/operations.md. Without one, they name the file."
  type        = string
  nullable    = false
  default     = "docs/operations.md"
}

variable "alarm_channels" {
  description = "Who else hears of alarms, by topic, `page` or `ticket`. `emails`: more addresses. `urls`: HTTPS endpoints, by a name of yours, that confirm SNS's subscriptions by themselves, as on-call tools do; a chat's own webhook cannot. `slack`: a channel of a workspace that somebody has once authorised in the console of Amazon Q Developer in chat applications. { page = { urls = { on-call = \"https://…\" } }, ticket = { slack = { workspace_id = \"T…\", channel_id = \"C…\" } } }"
  type = map(object({
    emails = optional(set(string), [])
    urls   = optional(map(string), {})
    slack  = optional(object({ workspace_id = string, channel_id = string }))
  }))
  nullable  = false
  default   = {}
  sensitive = true
}

variable "alarm_thresholds" {
  description = "Alarm thresholds to change, by name: { function_errors_per_5_minutes = 5 }. modules/monitoring/README.md has all names and defaults."
  type        = map(number)
  nullable    = false
  default     = {}
}

variable "monthly_budget" {
  description = "What a month may cost, in US dollars: AWS mails alarm_emails at 80 % and at 100 % of it, and when it expects to reach it; null for no budget. It counts the whole account, or only what has a tag, e.g. { usd = 200, tag = { Environment = \"prod\" } }, which somebody must have activated as a cost allocation tag: until then nothing is counted."
  type        = object({ usd = number, tag = optional(map(string)) })
  default     = null
}

variable "alias_mover" {
  description = "Who moves the functions' alias `live` to a new version: \"terraform\", at once on apply, or \"codedeploy\", gradually."
  type        = string
  nullable    = false
}

variable "deployment_config" {
  description = "How CodeDeploy shifts traffic, e.g. \"CodeDeployDefault.LambdaCanary10Percent5Minutes\"; only used if alias_mover is codedeploy."
  type        = string
  nullable    = false
  default     = "CodeDeployDefault.LambdaCanary10Percent5Minutes"
}

variable "emulator" {
  description = "Null on AWS. Otherwise the Valkey beside an AWS emulator, which has no ElastiCache, CodeDeploy, WAF or provisioned concurrency: these are left out, everything else is the same."
  type        = object({ valkey_host = string, valkey_port = number })
  default     = null

  validation {
    condition     = var.emulator == null ? true : var.emulator.valkey_port >= 1 && var.emulator.valkey_port <= 65535
    error_message = "emulator.valkey_port must be from 1 to 65535."
  }
}
