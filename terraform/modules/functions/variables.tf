variable "name" {
  description = "What every name begins with: project and environment, e.g. \"leaderboard-dev\"."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,38}[a-z0-9]$", var.name))
    error_message = "name must be 2 to 40 lower-case letters, digits and dashes: the names of functions and roles have at most 64 characters."
  }
}

variable "contract" {
  description = "The decoded OpenAPI document. Each operationId names the function that answers: up to the dot, it is a folder in functions/."
  type        = any
  nullable    = false

  validation {
    condition = alltrue(flatten([
      for item in values(var.contract.paths) : [
        for method, operation in item : can(regex("^[a-z][a-z_]*(\\.[a-z_]+)?$", operation.operationId)) && !can(regex("^(${local.reconcile}|${local.authorizer}|default)\\b", operation.operationId))
        if contains(local.http_methods, method)
      ]
    ]))
    error_message = "Every operation of the contract needs an operationId such as get_user or sessions.create. No route can be called reconcile or authorizer, which are no routes, or default, which stands for all other functions in maps by function."
  }

  validation {
    condition = alltrue(flatten([
      for item in values(var.contract.paths) : [
        for method, operation in item : can(regex("^[a-z]+$", try(operation["x-cache-role"], "none"))) if contains(local.http_methods, method)
      ]
    ]))
    error_message = "An operation's x-cache-role is the role of its function in the cache, one of modules/cache/access.yaml. Leave it out if the function asks the cache nothing."
  }
}

variable "with_authorizer" {
  description = "Whether there is a function `authorizer`, which API Gateway asks who is calling. It is no route and has no role in the cache."
  type        = bool
  nullable    = false
  default     = false
}

variable "build_path" {
  description = "Folder that `make build` wrote: layer.zip, and functions/<key>.zip for every function."
  type        = string
  nullable    = false
}

variable "architecture" {
  description = "Instruction set that the layer was built for: arm64 or x86_64."
  type        = string
  nullable    = false
  default     = "arm64"

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "architecture must be arm64 or x86_64."
  }
}

variable "runtime" {
  description = "Lambda runtime that the layer was built for."
  type        = string
  nullable    = false
  default     = "python3.13"

  validation {
    condition     = contains(["python3.11", "python3.12", "python3.13"], var.runtime)
    error_message = "runtime must be python3.11, python3.12 or python3.13: the code needs 3.11, and this provider knows nothing newer than 3.13."
  }
}

# Maps by function, in which `default` stands for every function that is not named.

variable "memory_mb" {
  description = "Memory in MB, by function. CPU is in proportion: a whole one at 1,769 MB."
  type        = map(number)
  nullable    = false

  validation {
    condition     = length(setsubtract(keys(var.memory_mb), local.named_in_maps)) == 0
    error_message = "memory_mb names no function: ${join(", ", setsubtract(keys(var.memory_mb), local.named_in_maps))}. ${local.naming}"
  }

  validation {
    condition     = alltrue([for key in local.keys : lookup(var.memory_mb, key, lookup(var.memory_mb, "default", null)) != null])
    error_message = "memory_mb needs a `default` for the functions that it does not name."
  }

  validation {
    condition     = alltrue([for mb in values(var.memory_mb) : mb >= 128 && mb <= 10240 && floor(mb) == mb])
    error_message = "memory_mb must be whole numbers from 128 to 10240."
  }
}

variable "timeout_seconds" {
  description = <<-EOT
    Seconds after which Lambda stops a run, by function. API Gateway gives up after 29 s in any case, and a request keeps to its own deadline
    (DEADLINE_SECONDS, at most 28): the rest is for reconcile.
  EOT
  type        = map(number)
  nullable    = false

  validation {
    condition     = length(setsubtract(keys(var.timeout_seconds), local.named_in_maps)) == 0
    error_message = "timeout_seconds names no function: ${join(", ", setsubtract(keys(var.timeout_seconds), local.named_in_maps))}. ${local.naming}"
  }

  validation {
    condition     = alltrue([for key in local.keys : lookup(var.timeout_seconds, key, lookup(var.timeout_seconds, "default", null)) != null])
    error_message = "timeout_seconds needs a `default` for the functions that it does not name."
  }

  validation {
    condition     = alltrue([for seconds in values(var.timeout_seconds) : seconds >= 10 && seconds <= 900 && floor(seconds) == seconds])
    error_message = "timeout_seconds must be whole numbers from 10 to 900."
  }
}

variable "subnet_ids" {
  description = "Private subnets for the functions, one per availability zone."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.subnet_ids) > 0
    error_message = "subnet_ids needs at least one subnet: outside the VPC, no function can reach the cache."
  }
}

variable "security_group_ids" {
  description = "Security groups for the functions, 1 to 5. All functions have the same, so that they share network interfaces."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.security_group_ids) >= 1 && length(var.security_group_ids) <= 5
    error_message = "security_group_ids must be 1 to 5 groups."
  }
}

variable "environment" {
  description = "Settings that all functions share, by environment variable. shared/config.py lists them."
  type        = map(string)
  nullable    = false
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.environment) : can(regex("^[A-Z][A-Z0-9_]+$", name)) && (!startswith(name, "AWS_") || startswith(name, "AWS_XRAY_"))])
    error_message = "environment must have names in upper case; those that begin with AWS_ are Lambda's own."
  }

  validation {
    condition     = length(setintersection(keys(var.environment), ["VALKEY_USER", "VALKEY_IAM_CACHE"])) == 0
    error_message = "VALKEY_USER and VALKEY_IAM_CACHE differ by function and come from `cache`."
  }

  validation {
    condition     = sum(concat([0], [for name, value in var.environment : length(name) + length(value)])) <= 3840
    error_message = "environment must have at most 3,840 characters: Lambda allows 4 KB, and each function adds settings of its own."
  }
}

variable "own_environment" {
  description = "More settings, by function: { authorizer = { TOKEN_PUBLIC_KEYS = \"…\" } }."
  type        = map(map(string))
  nullable    = false
  default     = {}
}

variable "cache" {
  description = <<-EOT
    The name of the cache in use, the ARNs of all caches, the users by role, and by function the ARNs of those that its versions of the
    release before connect as. Null in an emulator, where functions connect without IAM.
  EOT
  type = object({
    name         = string
    arns         = list(string)
    users        = map(object({ name = string, arn = string }))
    former_users = optional(map(list(string)), {})
  })
  default = null

  validation {
    condition     = var.cache == null ? true : length(setsubtract(values(local.inside), keys(var.cache.users))) == 0
    error_message = "cache.users must have every role that an operation names in its x-cache-role, and reconcile; it lacks ${try(join(", ", setsubtract(values(local.inside), keys(var.cache.users))), "")}."
  }
}

variable "writes_stopped" {
  description = "Whether every function that writes is stopped, reconcile too, by a reserved concurrency of 0: for the last snapshot of a cache that another is to replace."
  type        = bool
  nullable    = false
  default     = false

  validation {
    condition = !var.writes_stopped || alltrue([
      for key in local.writers : lookup(var.provisioned_concurrency, key, lookup(var.provisioned_concurrency, "default", 0)) == 0
    ])
    error_message = "writes_stopped needs functions that are not kept warm, and Lambda refuses to change both at once: take ${join(", ", local.writers)} out of provisioned_concurrency (or make them 0), apply, then stop the writes."
  }
}

variable "log_retention_days" {
  description = "How long logs are kept, in days."
  type        = number
  nullable    = false

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days must be a number that CloudWatch Logs takes: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653."
  }
}

variable "own_log_retention_days" {
  description = "How long logs are kept, in days, by function: of those whose log is kept as a record of what people did. All others keep log_retention_days."
  type        = map(number)
  nullable    = false
  default     = {}

  validation {
    condition     = length(setsubtract(keys(var.own_log_retention_days), local.keys)) == 0
    error_message = "own_log_retention_days names no function: ${join(", ", setsubtract(keys(var.own_log_retention_days), local.keys))}."
  }

  validation {
    condition     = length(setsubtract(values(var.own_log_retention_days), [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653])) == 0
    error_message = "own_log_retention_days must be numbers that CloudWatch Logs takes, such as 365, 400, 731, 1827 or 3653."
  }
}

variable "kms_key_arn" {
  description = <<-EOT
    ARN of the KMS key for logs and settings. Its policy must allow, for this account and Region: logs.<region>.amazonaws.com to
    Encrypt*, Decrypt*, ReEncrypt*, GenerateDataKey* and Describe* for the log groups; and the account's IAM policies to grant the rest
    (to the functions' roles, and to whoever applies).
  EOT
  type        = string
  nullable    = false
}

variable "alias_mover" {
  description = "Who moves the alias `live` to a new version: terraform (on apply) or codedeploy (gradually)."
  type        = string
  nullable    = false

  validation {
    condition     = contains(["terraform", "codedeploy"], var.alias_mover)
    error_message = "alias_mover must be terraform or codedeploy."
  }
}

# { reconcile = 2 } makes sense in an account with the usual 1,000: one run for the schedule, one for a rebuild. It is not
# the default because Lambda keeps 100 unreserved, and a new account may have only 10 in all.
variable "reserved_concurrency" {
  description = "How many concurrent runs are reserved for a function, which is also the most it can have, by function. Functions without a number share what the account has left; 0 stops a function. Free, but taken from the account's limit."
  type        = map(number)
  nullable    = false
  default     = {}

  validation {
    condition     = length(setsubtract(keys(var.reserved_concurrency), local.named_in_maps)) == 0
    error_message = "reserved_concurrency names no function: ${join(", ", setsubtract(keys(var.reserved_concurrency), local.named_in_maps))}. ${local.naming}"
  }

  validation {
    condition     = alltrue([for runs in values(var.reserved_concurrency) : runs >= 0 && floor(runs) == runs])
    error_message = "reserved_concurrency must be whole numbers, 0 or more."
  }

  validation {
    condition     = lookup(var.reserved_concurrency, local.reconcile, lookup(var.reserved_concurrency, "default", 2)) != 1
    error_message = "reserved_concurrency of reconcile must be at least 2, or 0 to stop it: with 1, the schedule and a rebuild block each other."
  }
}

variable "provisioned_concurrency" {
  description = "How many execution environments are kept warm behind the alias, by function. Functions without a number have none. They are billed by the hour."
  type        = map(number)
  nullable    = false
  default     = {}

  validation {
    condition     = length(setsubtract(keys(var.provisioned_concurrency), local.named_in_maps)) == 0
    error_message = "provisioned_concurrency names no function: ${join(", ", setsubtract(keys(var.provisioned_concurrency), local.named_in_maps))}. ${local.naming}"
  }

  validation {
    condition     = alltrue([for warm in values(var.provisioned_concurrency) : warm >= 0 && floor(warm) == warm])
    error_message = "provisioned_concurrency must be whole numbers, 0 or more."
  }

  validation {
    condition = alltrue([for key in local.keys :
      lookup(var.provisioned_concurrency, key, lookup(var.provisioned_concurrency, "default", 0)) <=
      lookup(var.reserved_concurrency, key, lookup(var.reserved_concurrency, "default", 10000000))
    ])
    error_message = "provisioned_concurrency of a function must not be more than its reserved_concurrency."
  }
}

variable "slow_milliseconds" {
  description = "How long a request may take to be in time, in milliseconds, by function: its setting SLOW_MILLISECONDS. Functions without a number have the setting's default."
  type        = map(number)
  nullable    = false
  default     = {}

  validation {
    condition     = length(setsubtract(keys(var.slow_milliseconds), local.named_in_maps)) == 0
    error_message = "slow_milliseconds names no function: ${join(", ", setsubtract(keys(var.slow_milliseconds), local.named_in_maps))}. ${local.naming}"
  }
}

variable "reconcile_schedule" {
  description = "How often reconcile runs: rate(1 minute), or rate(2 minutes) to rate(5 minutes)."
  type        = string
  nullable    = false
  default     = "rate(1 minute)"

  validation {
    condition     = can(regex("^rate\\((1 minute|[2-5] minutes)\\)$", var.reconcile_schedule))
    error_message = "reconcile_schedule must be rate(1 minute), or rate(2 minutes) to rate(5 minutes): the alarms take a slower one for a standstill."
  }
}

variable "iam_role" {
  description = "What every IAM role here has: its path, and the ARN of the policy that bounds what it may do, or null."
  type        = object({ path = string, permissions_boundary_arn = string })
  nullable    = false
  default     = { path = "/", permissions_boundary_arn = null }
}
