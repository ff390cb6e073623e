variable "name" {
  description = "What every name begins with: project and environment, e.g. \"leaderboard-dev\"."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,38}[a-z0-9]$", var.name))
    error_message = "name must be 2 to 40 lower-case letters, digits and dashes: a role's name has at most 64 characters."
  }
}

variable "functions" {
  description = "The functions, by key: name, ARN without a version, and the ARN of the alias that deployments move."
  type        = map(object({ name = string, arn = string, alias_arn = string }))
  nullable    = false
}

variable "deployment_config" {
  description = "How traffic moves to a new version: CodeDeployDefault.LambdaCanary10Percent5Minutes sends it a tenth of the calls for 5 minutes, then all of them; Linear moves a tenth at a time; AllAtOnce does not wait."
  type        = string
  nullable    = false
  default     = "CodeDeployDefault.LambdaCanary10Percent5Minutes"

  validation {
    condition = contains([
      "CodeDeployDefault.LambdaAllAtOnce",
      "CodeDeployDefault.LambdaCanary10Percent5Minutes",
      "CodeDeployDefault.LambdaCanary10Percent10Minutes",
      "CodeDeployDefault.LambdaCanary10Percent15Minutes",
      "CodeDeployDefault.LambdaCanary10Percent30Minutes",
      "CodeDeployDefault.LambdaLinear10PercentEvery1Minute",
      "CodeDeployDefault.LambdaLinear10PercentEvery2Minutes",
      "CodeDeployDefault.LambdaLinear10PercentEvery3Minutes",
      "CodeDeployDefault.LambdaLinear10PercentEvery10Minutes",
    ], var.deployment_config)
    error_message = "deployment_config must be CodeDeployDefault.Lambda followed by AllAtOnce, Canary10Percent5Minutes (or 10, 15, 30), or Linear10PercentEvery1Minute (or 2Minutes, 3Minutes, 10Minutes)."
  }
}

variable "rollback_alarm_names" {
  description = "Alarms that stop a function's deployment and move its alias back, by function key: 1 to 10 for each."
  type        = map(list(string))
  nullable    = false

  validation {
    condition     = toset(keys(var.rollback_alarm_names)) == toset(keys(var.functions))
    error_message = "rollback_alarm_names must have every function, and no other: without alarms, nothing would stop a bad deployment."
  }

  validation {
    condition     = alltrue([for names in values(var.rollback_alarm_names) : length(names) >= 1 && length(names) <= 10])
    error_message = "rollback_alarm_names must have 1 to 10 alarms for each function: CodeDeploy takes no more."
  }
}

variable "iam_role" {
  description = "What every IAM role here has: its path, and the ARN of the policy that bounds what it may do, or null."
  type        = object({ path = string, permissions_boundary_arn = string })
  nullable    = false
  default     = { path = "/", permissions_boundary_arn = null }
}
