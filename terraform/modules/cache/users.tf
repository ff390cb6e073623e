# Who may connect, and what each may do: one user per role, let in by an IAM token. There is no password to leak or to
# rotate. A group of the engine "valkey" needs no user named `default`, so nobody gets in without a name.
#
# One block for each, since for_each has no order: while one user is changed, ElastiCache refuses to change another of its
# group (terraform-provider-aws#49726). So each waits for the one before it, and the group and the cache for all of them.

locals {
  user_names = { for role in keys(local.grants) : role => "${var.name}-${role}" }
  user_arns  = { for role, name in local.user_names : role => "${local.elasticache_arn}:user:${name}" }

  users = {
    board     = aws_elasticache_user.board
    profiles  = aws_elasticache_user.profiles
    sessions  = aws_elasticache_user.sessions
    writes    = aws_elasticache_user.writes
    reconcile = aws_elasticache_user.reconcile
    people    = aws_elasticache_user.people
    read      = aws_elasticache_user.read
    write     = aws_elasticache_user.write
  }
}

resource "aws_elasticache_user" "board" {
  user_id       = local.user_names["board"]
  user_name     = local.user_names["board"] # with IAM, both must be the same
  engine        = "valkey"
  access_string = local.access_strings["board"]

  authentication_mode {
    type = "iam"
  }
}

resource "aws_elasticache_user" "profiles" {
  user_id       = local.user_names["profiles"]
  user_name     = local.user_names["profiles"] # with IAM, both must be the same
  engine        = "valkey"
  access_string = local.access_strings["profiles"]

  authentication_mode {
    type = "iam"
  }

  depends_on = [aws_elasticache_user.board]
}

resource "aws_elasticache_user" "sessions" {
  user_id       = local.user_names["sessions"]
  user_name     = local.user_names["sessions"] # with IAM, both must be the same
  engine        = "valkey"
  access_string = local.access_strings["sessions"]

  authentication_mode {
    type = "iam"
  }

  depends_on = [aws_elasticache_user.profiles]
}

resource "aws_elasticache_user" "writes" {
  user_id       = local.user_names["writes"]
  user_name     = local.user_names["writes"] # with IAM, both must be the same
  engine        = "valkey"
  access_string = local.access_strings["writes"]

  authentication_mode {
    type = "iam"
  }

  depends_on = [aws_elasticache_user.sessions]
}

resource "aws_elasticache_user" "reconcile" {
  user_id       = local.user_names["reconcile"]
  user_name     = local.user_names["reconcile"] # with IAM, both must be the same
  engine        = "valkey"
  access_string = local.access_strings["reconcile"]

  authentication_mode {
    type = "iam"
  }

  depends_on = [aws_elasticache_user.writes]
}

resource "aws_elasticache_user" "people" {
  user_id       = local.user_names["people"]
  user_name     = local.user_names["people"] # with IAM, both must be the same
  engine        = "valkey"
  access_string = local.access_strings["people"]

  authentication_mode {
    type = "iam"
  }

  depends_on = [aws_elasticache_user.reconcile]
}

# Those of former.yaml come last, where they can be taken out without touching the others.

resource "aws_elasticache_user" "read" {
  user_id       = local.user_names["read"]
  user_name     = local.user_names["read"] # with IAM, both must be the same
  engine        = "valkey"
  access_string = local.access_strings["read"]

  authentication_mode {
    type = "iam"
  }

  depends_on = [aws_elasticache_user.people]
}

resource "aws_elasticache_user" "write" {
  user_id       = local.user_names["write"]
  user_name     = local.user_names["write"] # with IAM, both must be the same
  engine        = "valkey"
  access_string = local.access_strings["write"]

  authentication_mode {
    type = "iam"
  }

  depends_on = [aws_elasticache_user.read]
}

resource "aws_elasticache_user_group" "this" {
  user_group_id = var.name
  engine        = "valkey"
  user_ids      = [for user in local.users : user.user_id]

  lifecycle {
    precondition {
      condition     = toset(keys(local.users)) == toset(keys(local.grants))
      error_message = "users.tf needs a user for each role of access.yaml and former.yaml, and no other: they have ${join(", ", keys(local.grants))}, it has ${join(", ", keys(local.users))}."
    }
  }
}

# Until they had an order, the users were one block.

moved {
  from = aws_elasticache_user.this["read"]
  to   = aws_elasticache_user.read
}

moved {
  from = aws_elasticache_user.this["write"]
  to   = aws_elasticache_user.write
}

moved {
  from = aws_elasticache_user.this["reconcile"]
  to   = aws_elasticache_user.reconcile
}
