variable "name" {
  description = "Name of the first cache and of the user group, e.g. \"leaderboard-dev\"; its users' names add a dash and the role."
  type        = string
  nullable    = false

  # The names of a cache, of the user group and of a user have at most 40 characters.
  validation {
    condition     = can(regex("^[a-z](-?[a-z0-9])*$", var.name)) && length("${var.name}-reconcile") <= 40
    error_message = "name must be 1 to 30 lower-case letters, digits and single dashes, beginning with a letter and not ending with a dash: ElastiCache would make capitals small, while IAM tokens and alarms need the exact name, and \"<name>-reconcile\" has at most 40 characters."
  }
}

variable "caches" {
  description = "The caches, by what their names add to `name` after a dash, up to 9 small letters and digits; \"\" for the name alone. Each with the ARN of the snapshot that it is made from, or none: it is read when the cache is made, and never again."
  type        = map(object({ restore_snapshot_arn = optional(string) }))
  nullable    = false
  default     = { "" = {} }

  validation {
    condition     = alltrue([for suffix in keys(var.caches) : can(regex("^[a-z0-9]{0,9}$", suffix))])
    error_message = "caches must have at most 9 lower-case letters and digits before each `=`: with the name and a dash they are a cache's name, which has at most 40 characters."
  }

  validation {
    condition = alltrue([
      for cache in values(var.caches) : cache.restore_snapshot_arn == null ? true : can(regex("^arn:[a-z-]+:elasticache:[a-z0-9-]+:[0-9]{12}:(serverless(cache)?)?snapshot:[A-Za-z0-9.-]+$", cache.restore_snapshot_arn))
    ])
    error_message = "restore_snapshot_arn must be the ARN of a snapshot of a serverless cache, such as `make snapshot` prints."
  }
}

variable "in_use" {
  description = "Which of the caches the functions use."
  type        = string
  nullable    = false
  default     = ""

  validation {
    condition     = contains(keys(var.caches), var.in_use)
    error_message = "The cache in use must be one of the caches: ${join(", ", [for suffix in keys(var.caches) : "\"${suffix}\""])}."
  }
}

variable "subnet_ids" {
  description = "Subnets for the cache's endpoints, one in each of its availability zones, at least 2."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.subnet_ids) >= 2
    error_message = "subnet_ids must be 2 or more: a serverless cache spans availability zones."
  }
}

variable "security_group_ids" {
  description = "Security groups for the cache's endpoints, 1 to 5. They must let the functions reach TCP 6379 (the primary) and 6380 (reads)."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.security_group_ids) >= 1 && length(var.security_group_ids) <= 5
    error_message = "security_group_ids must be 1 to 5: without one, AWS takes the VPC's default group, which lets nothing through here."
  }
}

variable "major_engine_version" {
  description = "Valkey's major version. AWS chooses the minor one. A plan refuses another than the cache has, and says how it is raised; it can never be lowered."
  type        = string
  nullable    = false
  default     = "8"

  validation {
    condition     = contains(["7", "8", "9"], var.major_engine_version)
    error_message = "major_engine_version must be \"7\", \"8\" or \"9\"."
  }
}

variable "data_storage_gb" {
  description = "Limits on what is stored, in GB, 1 to 5,000. At the maximum, sessions are evicted, then writes fail. A minimum is billed whether it is used or not; without one, AWS bills what is stored (100 MB at least)."
  type = object({
    minimum = optional(number)
    maximum = number
  })
  nullable = false

  validation {
    condition = alltrue([
      for limit in [var.data_storage_gb.maximum, coalesce(var.data_storage_gb.minimum, 1)] :
      limit >= 1 && limit <= 5000 && floor(limit) == limit
    ])
    error_message = "data_storage_gb must have whole numbers from 1 to 5000."
  }

  validation {
    condition     = coalesce(var.data_storage_gb.minimum, 1) <= var.data_storage_gb.maximum
    error_message = "data_storage_gb.minimum must not be above its maximum."
  }
}

variable "ecpu_per_second" {
  description = "Limits on the work, in ElastiCache processing units (ECPU) a second, 1,000 to 15,000,000; a simple command of up to 1 KB is one. Beyond the maximum, commands are throttled. A minimum is kept ready, and billed whether it is used or not."
  type = object({
    minimum = optional(number)
    maximum = number
  })
  nullable = false

  validation {
    condition = alltrue([
      for limit in [var.ecpu_per_second.maximum, coalesce(var.ecpu_per_second.minimum, 1000)] :
      limit >= 1000 && limit <= 15000000 && floor(limit) == limit
    ])
    error_message = "ecpu_per_second must have whole numbers from 1000 to 15000000."
  }

  validation {
    condition     = coalesce(var.ecpu_per_second.minimum, 1000) <= var.ecpu_per_second.maximum
    error_message = "ecpu_per_second.minimum must not be above its maximum."
  }
}

variable "snapshot_retention_days" {
  description = "How long each daily snapshot is kept, in days, 1 to 35. Between two snapshots the data is in memory only."
  type        = number
  nullable    = false
  default     = 7

  validation {
    condition     = var.snapshot_retention_days >= 1 && var.snapshot_retention_days <= 35 && floor(var.snapshot_retention_days) == var.snapshot_retention_days
    error_message = "snapshot_retention_days must be a whole number from 1 to 35."
  }
}

variable "daily_snapshot_time" {
  description = "When the daily snapshot is taken, as HH:MM in UTC."
  type        = string
  nullable    = false
  default     = "03:00"

  validation {
    condition     = can(regex("^([01][0-9]|2[0-3]):[0-5][0-9]$", var.daily_snapshot_time))
    error_message = "daily_snapshot_time must be a time such as \"03:00\", from 00:00 to 23:59."
  }
}

variable "kms_key" {
  description = "ARN of a KMS key for the data and its snapshots, which cannot be changed later; null to make one. An object, because whether there is one must be known at plan, where the ARN of a new key is not."
  type        = object({ arn = string })
  default     = null
}
