terraform {
  required_version = ">= 1.11" # locks a state in S3 without a table

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }

  # The bucket is the account's: bootstrap/ makes it, `make plan ENV=…` names it.
  backend "s3" {}
}

provider "aws" {
  region = var.region

  # An emulator knows no real account. On AWS, all of these are false and do nothing.
  skip_credentials_validation = local.emulated
  skip_metadata_api_check     = local.emulated
  skip_region_validation      = local.emulated
  s3_use_path_style           = local.emulated

  default_tags {
    tags = merge({ Project = var.project, Environment = var.environment, ManagedBy = "terraform" }, var.tags)
  }
}
