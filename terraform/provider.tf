# Whose AWS, where, and what everything there is tagged with. A module has none of this: whoever calls one gives it a provider.

provider "aws" {
  region              = var.region
  allowed_account_ids = var.account_id[*] # of credentials for another account, nothing is even read

  # An emulator knows no real account. On AWS, all of these are false and do nothing.
  skip_credentials_validation = var.emulator != null
  skip_metadata_api_check     = var.emulator != null
  skip_region_validation      = var.emulator != null
  s3_use_path_style           = var.emulator != null

  default_tags {
    tags = merge({ Project = var.project, Environment = var.environment, ManagedBy = "terraform" }, var.tags)
  }
}

variable "region" {
  description = "AWS Region to build everything in, e.g. \"eu-central-1\"."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be a Region's code such as eu-central-1, not that of a zone, and not a name."
  }
}

variable "account_id" {
  description = "The AWS account to build everything in, by its 12 digits: with credentials for another one, a plan is refused. Null allows any."
  type        = string
  default     = null

  validation {
    condition     = var.account_id == null ? true : can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id must be an account's 12 digits, in quotes, or null for any."
  }
}

variable "tags" {
  description = "Tags for everything, besides Project, Environment and ManagedBy."
  type        = map(string)
  nullable    = false
  default     = {}
}
