# Plans only, by the real provider, without an account: what a plan would ask AWS is given here.

provider "aws" {
  region                      = "eu-central-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
  skip_region_validation      = true
}

override_data {
  target = data.aws_caller_identity.current
  values = { account_id = "111122223333" }
}

# What AWS alone knows before the apply, so that one can see where it goes.
override_resource {
  target          = aws_kms_key.this
  override_during = plan
  values = {
    arn    = "arn:aws:kms:eu-central-1:111122223333:key/00000000-0000-0000-0000-000000000000"
    key_id = "00000000-0000-0000-0000-000000000000"
  }
}

override_resource {
  target          = aws_elasticache_serverless_cache.this
  override_during = plan
  values          = { endpoint = [{ address = "leaderboard-test.serverless.euc1.cache.amazonaws.com", port = 6379 }] }
}

variables {
  name               = "leaderboard-test"
  subnet_ids         = ["subnet-a", "subnet-b", "subnet-c"]
  security_group_ids = ["sg-valkey"]
  data_storage_gb    = { maximum = 10 }
  ecpu_per_second    = { maximum = 20000 }
}

run "a_valkey_with_a_key_of_its_own_and_a_user_for_each_role" {
  command = plan

  # The cache.
  assert {
    condition     = aws_elasticache_serverless_cache.this[""].engine == "valkey" && aws_elasticache_serverless_cache.this[""].major_engine_version == "8"
    error_message = "The cache should be Valkey 8."
  }

  assert {
    condition = (
      aws_elasticache_serverless_cache.this[""].subnet_ids == toset(["subnet-a", "subnet-b", "subnet-c"]) &&
      aws_elasticache_serverless_cache.this[""].security_group_ids == toset(["sg-valkey"])
    )
    error_message = "The cache should be in the subnets and security groups given, and no others."
  }

  assert {
    condition     = aws_elasticache_serverless_cache.this[""].user_group_id == "leaderboard-test"
    error_message = "Without its user group the cache would let everybody in."
  }

  assert {
    condition     = aws_elasticache_serverless_cache.this[""].kms_key_id == "arn:aws:kms:eu-central-1:111122223333:key/00000000-0000-0000-0000-000000000000"
    error_message = "The cache should be encrypted with its own key."
  }

  assert {
    condition     = aws_elasticache_serverless_cache.this[""].snapshot_retention_limit == 7 && aws_elasticache_serverless_cache.this[""].daily_snapshot_time == "03:00"
    error_message = "There should be daily snapshots."
  }

  assert {
    condition = (
      aws_elasticache_serverless_cache.this[""].cache_usage_limits[0].data_storage[0].unit == "GB" &&
      aws_elasticache_serverless_cache.this[""].cache_usage_limits[0].data_storage[0].maximum == 10 &&
      aws_elasticache_serverless_cache.this[""].cache_usage_limits[0].data_storage[0].minimum == null &&
      aws_elasticache_serverless_cache.this[""].cache_usage_limits[0].ecpu_per_second[0].maximum == 20000 &&
      aws_elasticache_serverless_cache.this[""].cache_usage_limits[0].ecpu_per_second[0].minimum == null
    )
    error_message = "The limits should be those given, and there should be no minimum that nobody asked for: it costs."
  }

  # Its key.
  assert {
    condition     = aws_kms_key.this[0].enable_key_rotation && aws_kms_key.this[0].deletion_window_in_days == 30
    error_message = "The key should be rotated, and be kept as long as possible when it is deleted."
  }

  assert {
    condition     = aws_kms_alias.this[0].name == "alias/leaderboard-test-cache" && aws_kms_alias.this[0].target_key_id == aws_kms_key.this[0].key_id
    error_message = "The key should be found by its alias."
  }

  assert {
    condition = alltrue([
      for statement in jsondecode(aws_kms_key.this[0].policy).Statement :
      statement.Effect == "Allow" && statement.Principal == { AWS = "arn:aws:iam::111122223333:root" }
    ])
    error_message = "The key should be for its own account and nobody else."
  }

  assert {
    condition = alltrue([
      for statement in jsondecode(aws_kms_key.this[0].policy).Statement : try(
        statement.Condition.StringEquals["kms:ViaService"] == "elasticache.eu-central-1.amazonaws.com",
        false,
      ) if length(regexall("kms:\\*|Encrypt|Decrypt|DataKey|CreateGrant", join(" ", flatten([statement.Action])))) > 0
    ])
    error_message = "The key should be used by ElastiCache alone."
  }

  assert {
    condition = anytrue([
      for statement in jsondecode(aws_kms_key.this[0].policy).Statement : contains(flatten([statement.Action]), "kms:PutKeyPolicy")
    ])
    error_message = "Someone should be able to change the key's policy, or AWS refuses it."
  }

  # Its users.
  assert {
    condition     = toset(keys(local.users)) == toset(["board", "profiles", "sessions", "writes", "reconcile", "people", "read", "write"])
    error_message = "There should be a user for each role, and for those of the release before."
  }

  assert {
    condition = alltrue([
      for role, user in local.users :
      user.user_id == "leaderboard-test-${role}" && user.user_name == user.user_id && user.engine == "valkey" && user.access_string == local.access_strings[role]
    ])
    error_message = "A user of IAM should have the same id and name, and the access string of its role."
  }

  assert {
    condition = alltrue([
      for user in local.users :
      user.authentication_mode[0].type == "iam" && user.authentication_mode[0].passwords == null && user.passwords == null && user.no_password_required != true
    ])
    error_message = "Only IAM should let a user in."
  }

  assert {
    condition     = aws_elasticache_user_group.this.engine == "valkey" && aws_elasticache_user_group.this.user_ids == toset([for user in local.users : user.user_id])
    error_message = "The group should be of the engine valkey, which needs no default user, with these users and no others."
  }

  assert {
    condition = alltrue([
      for user in local.users : can(regex("^on ((%R)?~\\S+ )+-@all( [+][a-z_]+)+$", user.access_string))
    ])
    error_message = "An access string should name its keys and its commands one by one: no category, no subcommand, no password."
  }

  assert {
    condition = alltrue([
      for user in local.users : !can(regex("~[*]| (allkeys|allcommands|nopass|reset)( |$)", user.access_string))
    ])
    error_message = "No user should have all keys or all commands."
  }

  assert {
    condition     = local.users["sessions"].access_string == "on %R~user:* ~{user:*}:sessions ~{user:*}:pace ~session:* ~{session:*}:opened ~{leaderboard:global}:active:* -@all +eval +evalsha +exists +expireat +expiretime +get +getdel +pfadd +set +time +zadd +zcount +zrange +zrem +zremrangebyscore +zscore"
    error_message = "This is what an access string looks like, hash tags and all."
  }

  # As every version of the release before knows it: nobody may change what a running version rests on.
  assert {
    condition     = local.users["read"].access_string == "on ~user:* ~leaderboard:global ~{leaderboard:global}:players ~{leaderboard:global}:totals -@all +eval_ro +evalsha_ro +hmget +ping +zcard +zrange +zrevrank"
    error_message = "A user of the release before should stay what it was."
  }

  # Its outputs.
  assert {
    condition     = output.name == "leaderboard-test" && output.arns == ["arn:aws:elasticache:eu-central-1:111122223333:serverlesscache:leaderboard-test"]
    error_message = "Name and ARN should be known before the cache is."
  }

  assert {
    condition     = output.host == "leaderboard-test.serverless.euc1.cache.amazonaws.com" && output.port == 6379
    error_message = "Host and port should be those of the cache's endpoint."
  }

  assert {
    condition = output.users == {
      for role in ["board", "profiles", "sessions", "writes", "reconcile", "people"] : role => {
        name = "leaderboard-test-${role}"
        arn  = "arn:aws:elasticache:eu-central-1:111122223333:user:leaderboard-test-${role}"
      }
    }
    error_message = "The users should be listed by role."
  }

  assert {
    condition = output.former_users["stats"] == ["arn:aws:elasticache:eu-central-1:111122223333:user:leaderboard-test-read"] && (
      output.former_users["sessions"] == ["arn:aws:elasticache:eu-central-1:111122223333:user:leaderboard-test-write"]
    )
    error_message = "Versions of the release before should be let in as whom they were let in before."
  }
}

run "minimum" {
  command = plan

  variables {
    data_storage_gb = { minimum = 5000, maximum = 5000 }
    ecpu_per_second = { minimum = 1000, maximum = 15000000 }
  }

  assert {
    condition = (
      aws_elasticache_serverless_cache.this[""].cache_usage_limits[0].data_storage[0].minimum == 5000 &&
      aws_elasticache_serverless_cache.this[""].cache_usage_limits[0].ecpu_per_second[0].minimum == 1000
    )
    error_message = "A minimum should arrive."
  }
}

run "longest_name" {
  command = plan

  variables {
    name   = "a-name-of-thirty-characters-30"
    caches = { "" = {}, "ninechars" = {} }
  }

  assert {
    condition     = alltrue([for cache in aws_elasticache_serverless_cache.this : length(cache.name) <= 40])
    error_message = "A cache's name should have 40 characters at most."
  }

  assert {
    condition     = alltrue([for user in local.users : length(user.user_id) <= 40])
    error_message = "A user's id should have 40 characters at most, whatever name is accepted."
  }
}

run "refuses_what_is_too_little" {
  command = plan

  variables {
    subnet_ids              = ["subnet-a"]
    security_group_ids      = []
    data_storage_gb         = { maximum = 0 }
    ecpu_per_second         = { maximum = 999 }
    snapshot_retention_days = 0
    in_use                  = "r1"
  }

  expect_failures = [var.in_use, var.subnet_ids, var.security_group_ids, var.data_storage_gb, var.ecpu_per_second, var.snapshot_retention_days]
}

run "refuses_what_is_too_much" {
  command = plan

  variables {
    name                    = "a-name-of-thirty-one-characters"
    data_storage_gb         = { maximum = 5001 }
    ecpu_per_second         = { maximum = 15000001 }
    snapshot_retention_days = 36
  }

  expect_failures = [var.name, var.data_storage_gb, var.ecpu_per_second, var.snapshot_retention_days]
}

run "refuses_what_is_malformed" {
  command = plan

  variables {
    name                 = "Leaderboard-test"
    caches               = { second-cache = {} }
    major_engine_version = "8.1"
    data_storage_gb      = { maximum = 1.5 }
    daily_snapshot_time  = "24:00"
  }

  expect_failures = [var.name, var.caches, var.major_engine_version, var.data_storage_gb, var.daily_snapshot_time]
}

run "refuses_minimums_too_low_and_two_dashes" {
  command = plan

  variables {
    name            = "leaderboard--test"
    caches          = { "" = { restore_snapshot_arn = "the-last-one" } }
    data_storage_gb = { minimum = 0, maximum = 10 }
    ecpu_per_second = { minimum = 999, maximum = 20000 }
  }

  expect_failures = [var.name, var.caches, var.data_storage_gb, var.ecpu_per_second]
}

run "refuses_minimums_above_the_maximum_and_a_dash_at_the_end" {
  command = plan

  variables {
    name            = "leaderboard-"
    data_storage_gb = { minimum = 11, maximum = 10 }
    ecpu_per_second = { minimum = 20001, maximum = 20000 }
  }

  expect_failures = [var.name, var.data_storage_gb, var.ecpu_per_second]
}
