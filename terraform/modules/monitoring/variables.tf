variable "name" {
  description = "Name of the deployment, e.g. `leaderboard-dev`: the prefix of every alarm, the dashboard's name, and the namespace of our own metrics."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,62}$", var.name))
    error_message = "name must be 1 to 63 lower-case letters, digits and dashes, beginning with a letter."
  }
}

variable "contract" {
  description = "The OpenAPI document, decoded: routes and problem codes are charted as it has them."
  type        = any
  nullable    = false
}

variable "metrics" {
  description = "functions/metrics.yaml, decoded: the table of our own metrics."
  type        = any
  nullable    = false
}

variable "metrics_depth" {
  description = "The functions' setting METRICS_DEPTH: with `totals`, no chart is by route."
  type        = string
  nullable    = false
}

variable "currencies" {
  description = "The functions' setting CURRENCIES: revenue is charted by currency."
  type        = list(string)
  nullable    = false
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
    error_message = "functions must have the key reconcile: half of the alarms are about what it heals."
  }

  validation {
    condition     = try(var.functions.reconcile.timeout_seconds > local.reconcile_reserve_seconds, true)
    error_message = "The timeout of reconcile must be more than the ${local.reconcile_reserve_seconds} seconds that it leaves unused."
  }
}

variable "codedeploy" {
  description = "Whether CodeDeploy moves the functions' aliases: then each function has an alarm that rolls its deployment back, and that nobody else hears of."
  type        = bool
  nullable    = false
}

variable "deadline_seconds" {
  description = "How long a request may work, in seconds: the functions' setting DEADLINE_SECONDS."
  type        = number
  nullable    = false
}

variable "reconcile_interval_minutes" {
  description = "Minutes from one run of reconcile to the next: the alarm on its backlog counts runs. All alarms are made after what this comes from, so it must come from the schedule."
  type        = number
  nullable    = false
}

variable "api" {
  description = "The REST API: its name (metrics do not know its id), its stage, the log group of its access log, and whether each method has metrics of its own."
  type = object({
    name                  = string
    stage_name            = string
    access_log_group_name = string
    detailed_metrics      = bool
  })
  nullable = false
}

variable "availability_percent" {
  description = "The objective for availability: the share of requests, in per cent, that are answered without a 5xx in 30 days."
  type        = number
  nullable    = false
  default     = 99.9

  validation {
    condition     = var.availability_percent >= 95 && var.availability_percent < 100
    error_message = "availability_percent must be at least 95 and below 100: with less no alarm could go off, and with 100 each failure would be one."
  }
}

variable "latency_percent" {
  description = "The objective for latency: the share of requests, in per cent, that are answered within the functions' setting SLOW_MILLISECONDS in 30 days."
  type        = number
  nullable    = false
  default     = 99

  validation {
    condition     = var.latency_percent >= 95 && var.latency_percent < 100
    error_message = "latency_percent must be at least 95 and below 100: with less no alarm could go off, and with 100 each slow request would be one."
  }
}

variable "slow_milliseconds" {
  description = "How long a request may take to be in time, in milliseconds within the function, by function: the lines in the charts. It counts where the functions have it, as their setting SLOW_MILLISECONDS."
  type        = map(number)
  nullable    = false
}

variable "composite_alarms" {
  description = "Whether there are composite alarms. Without them, as for an emulator that has none, each window of an objective tells its topic by itself."
  type        = bool
  nullable    = false
  default     = true
}

variable "concurrency_quota" {
  description = "How many calls at once Lambda lets the account have in this Region: the line in the chart."
  type        = number
  nullable    = false
  default     = 1000
}

variable "runbook_url" {
  description = "Where docs/operations.md can be read, for the links in alarms and on the dashboard, e.g. https://github.com/you/leaderboard/blob/main/docs/operations.md."
  type        = string
  nullable    = false
  default     = "docs/operations.md"

  validation {
    condition     = can(regex("^[^#[:space:]]{1,200}$", var.runbook_url))
    error_message = "runbook_url must be a URL or path of 1 to 200 characters, without a space or a fragment (#)."
  }
}

variable "thresholds" {
  description = "Thresholds to change in the table below, by name."
  type        = map(number)
  nullable    = false
  default     = {}

  validation {
    condition     = length(setsubtract(keys(var.thresholds), keys(local.threshold_defaults))) == 0
    error_message = "There is no threshold ${join(", ", setsubtract(keys(var.thresholds), keys(local.threshold_defaults)))}. There are ${join(", ", keys(local.threshold_defaults))}."
  }

  validation {
    condition     = alltrue([for name, number in var.thresholds : number > 0 && number < 100 if endswith(name, "_percent")])
    error_message = "A threshold in percent must be above 0 and below 100."
  }

  validation {
    condition     = alltrue([for name, number in var.thresholds : number >= 1 && floor(number) == number if !endswith(name, "_percent")])
    error_message = "A threshold that is not in percent must be a whole number, 1 or more."
  }

  validation {
    condition     = lookup(var.thresholds, "reconcile_standstill_minutes", 1) <= 1440
    error_message = "reconcile_standstill_minutes must be at most 1440: CloudWatch looks back no further than a day."
  }

  validation {
    condition     = try(var.thresholds.reconcile_standstill_minutes, local.threshold_defaults.reconcile_standstill_minutes) >= 2 * var.reconcile_interval_minutes
    error_message = "reconcile_standstill_minutes must be at least two intervals of reconcile's schedule: with less, a late run would set off the alarm."
  }
}

variable "duration_p99_milliseconds" {
  description = "How long one call in a hundred may take before an alarm goes off, in milliseconds within Lambda, by function; `default` stands for all others, reconcile among them. A function without a number may take function_duration_percent of its time."
  type        = map(number)
  nullable    = false
  default     = {}

  validation {
    condition     = length(setsubtract(keys(var.duration_p99_milliseconds), concat(["default"], keys(var.functions)))) == 0
    error_message = "duration_p99_milliseconds names no function: ${join(", ", setsubtract(keys(var.duration_p99_milliseconds), concat(["default"], keys(var.functions))))}. There are ${join(", ", keys(var.functions))}, and `default` for all others."
  }

  validation {
    condition     = alltrue([for milliseconds in values(var.duration_p99_milliseconds) : milliseconds > 0])
    error_message = "duration_p99_milliseconds must be numbers above 0."
  }

  validation {
    condition = alltrue([for key in keys(var.functions) :
      lookup(var.duration_p99_milliseconds, key, lookup(var.duration_p99_milliseconds, "default", 0)) < local.own_seconds[key] * 1000
    ])
    error_message = "duration_p99_milliseconds of a function must be less than the time it has: no call takes longer, so the alarm would never go off."
  }
}

variable "cache" {
  description = "The serverless cache: its name, the most data it may hold, in GB, and the most ElastiCache processing units (ECPU) a second. Null in an emulator: then it has no alarms and no charts."
  type = object({
    name                    = string
    data_storage_gb_maximum = number
    ecpu_per_second_maximum = number
  })
  default = null

  validation {
    condition     = try(var.cache.data_storage_gb_maximum >= 1 && var.cache.data_storage_gb_maximum <= 5000, var.cache == null)
    error_message = "cache.data_storage_gb_maximum must be from 1 to 5000."
  }

  validation {
    condition     = try(var.cache.ecpu_per_second_maximum >= 1000 && var.cache.ecpu_per_second_maximum <= 15000000, var.cache == null)
    error_message = "cache.ecpu_per_second_maximum must be from 1000 to 15000000."
  }
}

variable "reconcile_failures_queue_name" {
  description = "Name of the SQS queue for the events that reconcile failed on."
  type        = string
  nullable    = false
}

variable "emails" {
  description = "Addresses that get every alarm, and the end of each page, once their owners have followed the link in the confirmation mail. The budget's mails need no such link."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for email in var.emails : can(regex("^[^@[:space:],;<>]+@[^@[:space:],;<>]+\\.[^@[:space:],;<>.]+$", email))])
    error_message = "Each of emails must be a bare address such as on-call@example.com."
  }
}

variable "channels" {
  description = "Who else is told, by topic, `page` or `ticket`. `emails`: more addresses. `urls`: HTTPS endpoints, by a name of yours, that confirm SNS's subscriptions by themselves, as on-call tools do; a chat's own webhook cannot. `slack`: a channel of a workspace that somebody has once authorised in the console of Amazon Q Developer in chat applications."
  type = map(object({
    emails = optional(set(string), [])
    urls   = optional(map(string), {})
    slack  = optional(object({ workspace_id = string, channel_id = string }))
  }))
  nullable  = false
  default   = {}
  sensitive = true

  validation {
    condition     = length(setsubtract(keys(var.channels), ["page", "ticket"])) == 0
    error_message = "channels must be of page or ticket, not ${join(", ", nonsensitive(setsubtract(keys(var.channels), ["page", "ticket"])))}."
  }

  validation {
    condition     = alltrue(flatten([for channel in var.channels : [for url in values(channel.urls) : startswith(url, "https://")]]))
    error_message = "Each of the channels' urls must begin with https://: what SNS sends is not encrypted otherwise."
  }
}

variable "monthly_budget" {
  description = "What a month may cost, in US dollars: AWS mails `emails` at 80 % and at 100 % of it, and when it expects to reach it; null for no budget. It counts the whole account, or only what has a tag, e.g. { Environment = \"prod\" }, which somebody must have activated as a cost allocation tag: until then nothing is counted."
  type = object({
    usd = number
    tag = optional(map(string))
  })
  default = null

  validation {
    condition     = var.monthly_budget == null ? true : var.monthly_budget.usd > 0
    error_message = "monthly_budget.usd must be above 0."
  }

  validation {
    condition     = length(coalesce(try(var.monthly_budget.tag, null), { none = "" })) == 1
    error_message = "monthly_budget.tag must be one tag, such as { Environment = \"prod\" }."
  }

  validation {
    condition     = var.monthly_budget == null ? true : length(var.emails) >= 1 && length(var.emails) <= 10
    error_message = "monthly_budget needs somebody to tell: give 1 to 10 addresses in `emails`, since AWS takes no other number."
  }
}

variable "iam_role" {
  description = "What every IAM role here has: its path, and the ARN of the policy that bounds what it may do, or null."
  type        = object({ path = string, permissions_boundary_arn = string })
  nullable    = false
  default     = { path = "/", permissions_boundary_arn = null }
}

variable "kms_key_arn" {
  description = "ARN of the KMS key that encrypts notifications. Its policy must let cloudwatch.amazonaws.com decrypt and generate data keys, or alarms go off unheard."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/.+$", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a key (arn:aws:kms:…:key/…), not an id or an alias: CloudWatch cannot use the keys that AWS owns."
  }
}
