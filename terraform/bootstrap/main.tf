# What must exist before the first environment, once per account and Region: the bucket for Terraform's state, and the role
# with which API Gateway writes logs. Its own state stays in this folder, since the bucket cannot hold the record of its own
# making; a second Region needs a workspace of its own: `terraform workspace new <region>`. If that state is lost, nothing
# else is: `terraform import` takes back the bucket, the key and the rest by their names.

provider "aws" {
  region = var.region

  default_tags {
    tags = {
      Project   = var.project
      ManagedBy = "terraform/bootstrap"
    }
  }
}

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

locals {
  account_id = data.aws_caller_identity.current.account_id
  partition  = data.aws_partition.current.partition

  # Bucket names are global: the account and the Region make this one ours.
  bucket_name = "${var.project}-tfstate-${local.account_id}-${var.region}"
  bucket_arn  = "arn:${local.partition}:s3:::${local.bucket_name}"
}
