variable "project" {
  description = "What every name begins with, e.g. \"leaderboard\"."
  type        = string
  nullable    = false
  default     = "leaderboard"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,22}[a-z0-9]$", var.project))
    error_message = "project must be 2 to 24 lower-case letters, digits and dashes, beginning with a letter and not ending with a dash: a bucket's name has at most 63 characters, with the account and the Region."
  }
}

variable "region" {
  description = "The Region to prepare, e.g. \"eu-central-1\"."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be a Region's code, such as \"eu-central-1\"."
  }
}

variable "state_version_retention_days" {
  description = "How long an overwritten version of a state is kept, in days, 1 to 3650; the last ten are kept however old they are."
  type        = number
  nullable    = false
  default     = 90

  validation {
    condition     = var.state_version_retention_days >= 1 && var.state_version_retention_days <= 3650 && floor(var.state_version_retention_days) == var.state_version_retention_days
    error_message = "state_version_retention_days must be a whole number from 1 to 3650."
  }
}

variable "api_gateway_logs" {
  description = "Whether to make the role with which API Gateway writes logs. False if the account already has one in this Region: there is one for all APIs."
  type        = bool
  nullable    = false
  default     = true
}
