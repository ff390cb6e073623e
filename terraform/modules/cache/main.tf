# The cache: ElastiCache Serverless for Valkey. It scales by itself, spans several zones, speaks only TLS and lets in only
# the users of users.tf.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account_id = data.aws_caller_identity.current.account_id
  partition  = data.aws_partition.current.partition
  region     = data.aws_region.current.id

  # ARNs are built from names so that a plan shows policies in full.
  elasticache_arn = "arn:${local.partition}:elasticache:${local.region}:${local.account_id}"
  cache_arn       = "${local.elasticache_arn}:serverlesscache:${var.name}"
}

# The API takes one changed field per request: change one of these in each apply. This provider cannot remove the limits
# altogether, and another engine replaces the cache, data and all.
resource "aws_elasticache_serverless_cache" "this" {
  name                 = var.name
  description          = "Players, sessions and the board of ${var.name}"
  engine               = "valkey"
  major_engine_version = var.major_engine_version

  subnet_ids         = var.subnet_ids
  security_group_ids = var.security_group_ids
  user_group_id      = aws_elasticache_user_group.this.user_group_id                   # without one, whoever can connect can do everything
  kms_key_id         = var.kms_key == null ? aws_kms_key.this[0].arn : var.kms_key.arn # cannot be changed later

  snapshot_retention_limit = var.snapshot_retention_days
  daily_snapshot_time      = var.daily_snapshot_time

  cache_usage_limits {
    data_storage {
      minimum = var.data_storage_gb.minimum
      maximum = var.data_storage_gb.maximum
      unit    = "GB"
    }

    ecpu_per_second {
      minimum = var.ecpu_per_second.minimum
      maximum = var.ecpu_per_second.maximum
    }
  }

  lifecycle {
    prevent_destroy = true # the profiles are here and nowhere else: to destroy the cache, remove this line first
  }
}
