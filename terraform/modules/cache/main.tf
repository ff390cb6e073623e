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
  names           = { for suffix in keys(var.caches) : suffix => suffix == "" ? var.name : "${var.name}-${suffix}" }
  in_use          = aws_elasticache_serverless_cache.this[var.in_use]
}

# The API takes one changed field per request: change one of these in each apply. This provider cannot remove the limits
# altogether, and another engine replaces the cache, data and all. It would also replace a cache for another version or other
# subnets, where AWS changes the version in place and the subnets never: so neither is changed here, and who asks for it is
# told how it is done.
resource "aws_elasticache_serverless_cache" "this" {
  for_each = var.caches

  name                 = local.names[each.key]
  description          = "Players, sessions and the board of ${var.name}"
  engine               = "valkey"
  major_engine_version = var.major_engine_version

  subnet_ids         = var.subnet_ids
  security_group_ids = var.security_group_ids
  user_group_id      = aws_elasticache_user_group.this.user_group_id                   # without one, whoever can connect can do everything
  kms_key_id         = var.kms_key == null ? aws_kms_key.this[0].arn : var.kms_key.arn # cannot be changed later

  snapshot_arns_to_restore = each.value.restore_snapshot_arn == null ? null : [each.value.restore_snapshot_arn]
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
    prevent_destroy = true # the profiles are here and nowhere else; `make destroy` and `make retire` take a last snapshot
    ignore_changes  = [major_engine_version, subnet_ids, snapshot_arns_to_restore]

    postcondition {
      condition     = self.major_engine_version == var.major_engine_version
      error_message = "${self.name} runs Valkey ${self.major_engine_version}, and the value says ${var.major_engine_version}. Terraform would replace the cache. To raise it in place, run `aws elasticache modify-serverless-cache --serverless-cache-name ${self.name} --engine valkey --major-engine-version ${var.major_engine_version}`, wait until it is available, and plan again; it cannot be lowered: then write ${self.major_engine_version} again."
    }

    # The ids of new subnets are not known at plan, but how many there are is. Beside another cache, this one may be the old.
    postcondition {
      condition     = length(var.caches) > 1 || length(self.subnet_ids) == length(var.subnet_ids)
      error_message = "${self.name} has ${length(self.subnet_ids)} availability zones, and the value says ${length(var.subnet_ids)}. AWS cannot change them. Restore a snapshot into a second cache, which has the new zones (terraform/README.md, Restoring), or write the old number again."
    }

    postcondition {
      condition     = alltrue([for id in self.subnet_ids : contains(var.subnet_ids, id)])
      error_message = "${self.name} is in subnets that are to go. AWS cannot move it: write the old number of zones again. Zones can only be added, with a second cache (terraform/README.md, Restoring)."
    }
  }
}

# Until there could be two.
moved {
  from = aws_elasticache_serverless_cache.this
  to   = aws_elasticache_serverless_cache.this[""]
}
