variable "name" {
  description = "Name of the deployment, e.g. `leaderboard-dev`: the prefix of every alarm, the dashboard's name, and the namespace of the metrics made of logs."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,62}$", var.name))
    error_message = "The name is from 1 to 63 lower-case letters, digits and dashes, and begins with a letter."
  }
}

variable "functions" {
  description = "What is watched, by function key (`update_score`, …), `reconcile` among them: the function's name, its live alias, its log group, and its timeout in seconds."
  type = map(object({
    name            = string
    alias           = string
    log_group_name  = string
    timeout_seconds = number
  }))
  nullable = false

  validation {
    condition     = contains(keys(var.functions), "reconcile")
    error_message = "functions needs the key reconcile: half of the alarms are about what it heals."
  }

  validation {
    condition     = try(var.functions.reconcile.timeout_seconds > local.reconcile_reserve_seconds, true)
    error_message = "The timeout of reconcile is above the ${local.reconcile_reserve_seconds} seconds that it leaves unused."
  }
}

variable "deadline_seconds" {
  description = "Longest work on a request, in seconds: the functions' setting DEADLINE_SECONDS. The alarm on durations is a share of it."
  type        = number
  nullable    = false
}

variable "reconcile_interval_minutes" {
  description = "Minutes from one run of reconcile to the next. The alarm on its backlog counts in runs."
  type        = number
  nullable    = false
}

variable "api" {
  description = "The REST API: its name (not its id, the metrics do not know that one) and its stage."
  type = object({
    name       = string
    stage_name = string
  })
  nullable = false
}

variable "latency_p99_milliseconds" {
  description = "The slowest that one request in a hundred may be, in milliseconds as the API Gateway measures it, before the alarm."
  type        = number
  default     = 1000
  nullable    = false

  validation {
    condition     = var.latency_p99_milliseconds > 0 && var.latency_p99_milliseconds <= 29000
    error_message = "The latency is from 1 to 29000 milliseconds, which is where the gateway gives up."
  }
}

variable "cache" {
  description = "The serverless cache: its name, the most data it may hold in GB, and the most ElastiCache processing units a second. Null where an emulator takes its place: no alarms and no charts of it."
  type = object({
    name                    = string
    data_storage_gb_maximum = number
    ecpu_per_second_maximum = number
  })
  default = null

  validation {
    condition     = try(var.cache.data_storage_gb_maximum >= 1 && var.cache.data_storage_gb_maximum <= 5000, var.cache == null)
    error_message = "The cache's data maximum is from 1 to 5000 GB."
  }

  validation {
    condition     = try(var.cache.ecpu_per_second_maximum >= 1000 && var.cache.ecpu_per_second_maximum <= 15000000, var.cache == null)
    error_message = "The cache's maximum is from 1000 to 15000000 ECPU a second."
  }
}

variable "reconcile_failures_queue_name" {
  description = "Name of the SQS queue that takes the events which reconcile failed on."
  type        = string
  nullable    = false
}

variable "emails" {
  description = "Addresses that get every alarm and its end, once their owner has followed the link in the confirmation mail."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for email in var.emails : can(regex("^[^@[:space:],;<>]+@[^@[:space:],;<>]+\\.[^@[:space:],;<>.]+$", email))])
    error_message = "Each of the emails is one bare address such as on-call@example.com."
  }
}

variable "kms_key_arn" {
  description = "ARN of the KMS key that encrypts notifications. Its policy must let cloudwatch.amazonaws.com decrypt and generate data keys: otherwise alarms go off and nobody hears."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/.+$", var.kms_key_arn))
    error_message = "The key is named by its ARN (arn:aws:kms:…:key/…), not by its id or an alias: CloudWatch cannot use the keys that AWS owns."
  }
}
