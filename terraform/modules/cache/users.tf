# Who may connect, and what each may do: one user per role, let in by an IAM token. There is no password to leak or to
# rotate. A group of the engine "valkey" needs no user named `default`, so nobody gets in without a name.

locals {
  user_names = { for role in keys(local.access) : role => "${var.name}-${role}" }
}

resource "aws_elasticache_user" "this" {
  for_each = local.user_names

  user_id       = each.value
  user_name     = each.value # with IAM, both must be the same
  engine        = "valkey"
  access_string = local.access_strings[each.key]

  authentication_mode {
    type = "iam"
  }
}

resource "aws_elasticache_user_group" "this" {
  user_group_id = var.name
  engine        = "valkey"
  user_ids      = [for user in aws_elasticache_user.this : user.user_id]
}
