# What must be there before the first environment, once for an account and Region: the bucket that keeps Terraform's
# state, and the role by which API Gateway writes logs. Its own state stays in this folder (the bucket cannot hold the
# record of its own making); a second Region takes a workspace of its own: `terraform workspace new <region>`. Is the
# state lost, nothing else is: `terraform import` takes the bucket, the key and the rest back by their names.

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

  # Bucket names are shared with everybody else's; the account and the Region make it ours.
  bucket_name = "${var.project}-tfstate-${local.account_id}-${var.region}"
  bucket_arn  = "arn:${local.partition}:s3:::${local.bucket_name}"
}
