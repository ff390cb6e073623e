# Who may connect, and what each may do: one user a role, let in by a token that IAM vouches for. There is no password to
# leak or to rotate. A group of the engine "valkey" needs no user named `default`: it is off, nobody is let in unnamed.

locals {
  user_names = { for role in keys(local.access) : role => "${var.name}-${role}" }
}

resource "aws_elasticache_user" "this" {
  for_each = local.user_names

  user_id       = each.value
  user_name     = each.value # IAM lets a user in only where both are the same
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
