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
