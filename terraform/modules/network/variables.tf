variable "name" {
  description = "What every name begins with: project and environment, e.g. \"leaderboard-dev\"."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,46}[a-z0-9]$", var.name))
    error_message = "name must be 2 to 48 lower-case letters, digits and dashes, beginning with a letter and not ending with a dash."
  }
}

variable "cidr_block" {
  description = "The VPC's IPv4 addresses, in CIDR notation, /16 to /24. Each subnet gets a sixteenth: /20 to /28, the smallest that AWS makes."
  type        = string
  nullable    = false
  default     = "10.40.0.0/16"

  validation {
    condition     = can(regex("^[0-9.]+/(1[6-9]|2[0-4])$", var.cidr_block)) && can(cidrhost(var.cidr_block, 0))
    error_message = "cidr_block must be an IPv4 block from /16 to /24, such as 10.40.0.0/16: a VPC can be no larger, and with less, subnets would be smaller than /28."
  }

  validation {
    condition     = !can(cidrhost(var.cidr_block, 0)) || try(cidrsubnet(var.cidr_block, 0, 0), null) == var.cidr_block
    error_message = "cidr_block must begin at the block's first address: ${try(cidrsubnet(var.cidr_block, 0, 0), "")}."
  }
}

variable "availability_zone_count" {
  description = "How many availability zones the functions use, 1 to 6. The cache uses as many, but at least 2."
  type        = number
  nullable    = false
  default     = 3

  validation {
    condition     = contains([1, 2, 3, 4, 5, 6], var.availability_zone_count)
    error_message = "availability_zone_count must be a whole number from 1 to 6."
  }
}

variable "excluded_zone_ids" {
  description = "Ids of availability zones not to use (not names, which differ from account to account). The default is a zone of us-east-1 in which Lambda takes no subnet; in other Regions it excludes nothing."
  type        = set(string)
  nullable    = false
  default     = ["use1-az3"]

  validation {
    condition     = alltrue([for id in var.excluded_zone_ids : can(regex("^[a-z]+[0-9]+-az[0-9]+$", id))])
    error_message = "excluded_zone_ids must be zone ids such as \"use1-az3\", not zone names such as \"us-east-1a\"."
  }
}

variable "gateway_endpoints" {
  description = "Services that the functions reach through a gateway endpoint, which is free: \"s3\", \"dynamodb\". The functions of this system call neither."
  type        = set(string)
  nullable    = false
  default     = []

  validation {
    condition     = length(setsubtract(var.gateway_endpoints, ["s3", "dynamodb"])) == 0
    error_message = "gateway_endpoints can only be \"s3\" and \"dynamodb\": no other service has a gateway endpoint."
  }
}

variable "interface_endpoints" {
  description = <<-TEXT
    Services that the functions reach through an interface endpoint: the last part of the endpoint's name, e.g. "secretsmanager" or "ecr.api".
    Each costs $0.01 per hour and zone, used or not, and $0.01 per GB (us-east-1, 2026): one service in three zones is about $22 a month.
    The functions of this system need none. "elasticache" is only the control plane (to describe, create or modify a cache); commands to the
    cache go through the endpoint that the cache puts into its own subnets, so it changes neither their path nor their latency nor their security.
  TEXT
  type        = set(string)
  nullable    = false
  default     = []

  validation {
    condition     = alltrue([for service in var.interface_endpoints : can(regex("^[a-z][a-z0-9-]*(\\.[a-z][a-z0-9-]*)*$", service)) && !startswith(service, "com.")])
    error_message = "interface_endpoints must be the last part of endpoint names, such as \"elasticache\" or \"ecr.api\", without \"com.amazonaws.<region>.\"."
  }

  validation {
    condition     = length(setintersection(var.interface_endpoints, ["s3", "dynamodb"])) == 0
    error_message = "s3 and dynamodb have gateway endpoints, which cost nothing: name them in gateway_endpoints."
  }
}

variable "network_acl_rule_quota" {
  description = "How many rules the account allows in one direction of a network ACL: 20, and up to 40 on request. It is only checked, so that the plan fails and not the apply."
  type        = number
  nullable    = false
  default     = 20

  validation {
    condition     = var.network_acl_rule_quota >= 20 && var.network_acl_rule_quota <= 40
    error_message = "network_acl_rule_quota must be from 20 to 40."
  }
}

variable "flow_log_retention_days" {
  description = "How long the records of connections are kept, in days: one of the values that CloudWatch Logs takes."
  type        = number
  nullable    = false

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.flow_log_retention_days)
    error_message = "flow_log_retention_days must be one of 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653."
  }
}

variable "kms_key_arn" {
  description = "ARN of the KMS key for the flow logs. Its policy must let CloudWatch Logs in this Region use it."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/.+$", var.kms_key_arn))
    error_message = "kms_key_arn must be a key's ARN (arn:aws:kms:<region>:<account>:key/<id>), not an id or an alias."
  }
}

variable "iam_role" {
  description = "What every IAM role here has: its path, and the ARN of the policy that bounds what it may do, or null."
  type        = object({ path = string, permissions_boundary_arn = string })
  nullable    = false
  default     = { path = "/", permissions_boundary_arn = null }
}
