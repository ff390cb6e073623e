variable "name" {
  description = "What every name begins with: project and environment, e.g. \"leaderboard-dev\"."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,62}$", var.name))
    error_message = "name must be 2 to 63 lower-case letters, digits and dashes, beginning with a letter."
  }
}

variable "stage_name" {
  description = "Name of the stage, the first part of every path on AWS's own host name."
  type        = string
  default     = "v1"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,128}$", var.stage_name))
    error_message = "stage_name must be 1 to 128 letters, digits, dashes and underscores."
  }
}

variable "contract" {
  description = "The decoded OpenAPI document. It alone says which operations there are, which functions answer and who needs a key."
  type        = any # as deep and as uneven as OpenAPI
  nullable    = false

  validation {
    condition = alltrue([
      for name, scheme in var.contract.components.securitySchemes :
      scheme.type == "apiKey" ? try(scheme.in, "") == "header" && lower(try(scheme.name, "")) == "x-api-key" : scheme.type == "http" && try(scheme.scheme, "") == "bearer" && can(regex(".+", scheme["x-pattern"]))
    ]) && length([for scheme in var.contract.components.securitySchemes : scheme if scheme.type == "apiKey"]) == 1
    error_message = "API Gateway reads keys only from the header x-api-key, and tokens only from Authorization: the contract must have one security scheme of the type apiKey with the former, and no other but one of the type http with the scheme bearer, whose x-pattern says what the header looks like."
  }

  validation {
    condition     = var.authorizer == null || length([for scheme in var.contract.components.securitySchemes : scheme if scheme.type == "http"]) == 1
    error_message = "With an authorizer, the contract must have a security scheme of the type http."
  }
}

variable "functions" {
  description = "The functions, by key: name, alias, and the alias's invoke ARN."
  type = map(object({
    name       = string
    alias      = string
    invoke_arn = string
  }))
  nullable = false

  validation {
    condition     = alltrue([for one in local.operations : contains(keys(var.functions), one.function)])
    error_message = "Every operationId must begin with the key of the function that answers, one of ${join(", ", keys(var.functions))}."
  }

  validation {
    condition     = var.authorizer == null ? true : contains(keys(var.functions), var.authorizer)
    error_message = "authorizer must be the key of one of the functions: ${join(", ", keys(var.functions))}."
  }

  validation {
    condition     = alltrue([for one in var.functions : endswith(one.invoke_arn, ":function:${one.name}:${one.alias}/invocations")])
    error_message = "Every invoke_arn must be that of the function's alias: otherwise calls would bypass the alias, and the permission would not cover them."
  }
}

variable "authorizer" {
  description = "Key of the function that says who a bearer token is of, for the operations with x-scopes; null if nobody is asked and they are open."
  type        = string
  default     = null
}

variable "throttling" {
  description = "How many requests per second, and at once, each method takes from all callers together, before it answers 429; `without_key` is for each that needs no API key, such as GET /health; `methods` overrides both by operation, e.g. \"PUT /users/{userId}/score\"."
  type = object({
    rate_per_second = number
    burst           = number
    without_key = optional(object({
      rate_per_second = number
      burst           = number
    }), { rate_per_second = 10, burst = 20 })
    methods = optional(map(object({
      rate_per_second = number
      burst           = number
    })), {})
  })
  nullable = false

  validation {
    condition     = alltrue([for one in concat([var.throttling, var.throttling.without_key], values(var.throttling.methods)) : one.rate_per_second > 0 && one.burst >= 1])
    error_message = "A rate must be above 0 requests per second, and a burst at least 1 request: 0 would close the API."
  }

  validation {
    condition     = alltrue([for one in concat([var.throttling, var.throttling.without_key], values(var.throttling.methods)) : floor(one.burst) == one.burst])
    error_message = "A burst must be a whole number of requests."
  }

  validation {
    condition     = alltrue([for key in keys(var.throttling.methods) : contains(keys(local.operations), key)])
    error_message = "Every key of throttling.methods must be an operation of the contract: the method in capitals, a space, and the path as in the contract, e.g. \"PUT /users/{userId}/score\"."
  }
}

variable "closed_operations" {
  description = "Operations that answer 429 to everybody, because nobody is there to answer them, e.g. \"POST /users\"."
  type        = set(string)
  nullable    = false
  default     = []
}

variable "usage_plans" {
  description = "What one API key may use, by tier: requests per second, at once, and per month (null: no limit)."
  type = map(object({
    rate_per_second = number
    burst           = number
    quota_per_month = optional(number)
  }))
  nullable = false

  validation {
    condition     = alltrue([for one in var.usage_plans : one.rate_per_second > 0 && one.burst >= 1 && floor(one.burst) == one.burst])
    error_message = "A tier's rate must be above 0 requests per second, and its burst a whole number, 1 or more."
  }

  validation {
    condition     = alltrue([for one in var.usage_plans : one.quota_per_month == null ? true : one.quota_per_month >= 1 && floor(one.quota_per_month) == one.quota_per_month])
    error_message = "A tier's quota must be a whole number of requests per month, 1 or more, or null for no limit."
  }
}

variable "api_keys" {
  description = "API keys to make: each key's tier, by the key's name. AWS makes up the values, which are also in Terraform's state."
  type        = map(string)
  nullable    = false

  validation {
    condition     = alltrue([for tier in values(var.api_keys) : contains(keys(var.usage_plans), tier)])
    error_message = "The tier of every API key must be one of usage_plans: ${join(", ", keys(var.usage_plans))}."
  }
}

variable "log_retention_days" {
  description = "How long access, execution and firewall logs are kept, in days."
  type        = number
  nullable    = false

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days must be a number that CloudWatch Logs takes: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653."
  }
}

variable "kms_key_arn" {
  description = "ARN of the KMS key for the logs. Its policy must let CloudWatch Logs use it."
  type        = string
  nullable    = false
}

variable "waf" {
  description = "The firewall, or null for none: how many requests one IP address may make in 5 minutes, at least as many as the fastest of usage_plans. It also stops bodies above 64 KiB."
  type = object({
    requests_per_5_minutes_per_ip = number
  })
  default = null

  validation {
    condition     = var.waf == null ? true : var.waf.requests_per_5_minutes_per_ip >= 10 && var.waf.requests_per_5_minutes_per_ip <= 2000000000
    error_message = "waf.requests_per_5_minutes_per_ip must be from 10 to 2000000000: WAF takes no other."
  }

  # A game's own server may call with its key from one address.
  validation {
    condition     = var.waf == null ? true : var.waf.requests_per_5_minutes_per_ip >= local.fastest_tier_per_5_minutes
    error_message = "waf.requests_per_5_minutes_per_ip must be at least ${local.fastest_tier_per_5_minutes}, which the fastest of usage_plans allows in 5 minutes: otherwise the firewall would stop a key that keeps to its tier."
  }
}

variable "domain" {
  description = "A host name of your own, with the ARN of its certificate in this Region and, if Route 53 is to point it here, the id of its public zone; null for AWS's name."
  type = object({
    name            = string
    certificate_arn = string
    hosted_zone_id  = optional(string)
  })
  default = null

  validation {
    condition     = var.domain == null ? true : can(regex("^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]{2,63}$", var.domain.name))
    error_message = "domain.name must be a full host name in lower case, e.g. scores.example.com."
  }

  validation {
    condition     = var.domain == null ? true : can(regex("^arn:[a-z-]+:acm:[a-z0-9-]+:[0-9]{12}:certificate/", var.domain.certificate_arn))
    error_message = "domain.certificate_arn must be the ARN of a certificate in AWS Certificate Manager."
  }
}

variable "tls_policy" {
  description = "Which TLS the API speaks, e.g. SecurityPolicy_TLS13_1_3_2025_09 (1.3 only) or SecurityPolicy_TLS13_1_2_PFS_PQ_2025_09; null leaves AWS's default, which also takes TLS 1.0. Provider 5.100 has no argument for it, so it goes into the OpenAPI document. Not yet tried on AWS: watch tlsVersion in the access log. A change takes about 15 minutes."
  type        = string
  default     = null

  validation {
    condition     = var.tls_policy == null ? true : can(regex("^SecurityPolicy_TLS13_1_[23]_", var.tls_policy))
    error_message = "tls_policy must begin with SecurityPolicy_TLS13_1_2_ or SecurityPolicy_TLS13_1_3_."
  }
}

variable "detailed_metrics" {
  description = "Whether CloudWatch gets metrics for each method, which cost extra, besides those of the whole API."
  type        = bool
  nullable    = false
}
