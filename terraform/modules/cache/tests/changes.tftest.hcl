# What a plan says to changes of a cache that exists. The provider is mocked: there has to be a cache, and it is only planned.

mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "111122223333" }
  }

  mock_data "aws_region" {
    defaults = { id = "eu-central-1" }
  }

  mock_data "aws_partition" {
    defaults = { partition = "aws", dns_suffix = "amazonaws.com" }
  }

  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:eu-central-1:111122223333:key/00000000-0000-0000-0000-000000000000" }
  }

  mock_resource "aws_elasticache_serverless_cache" {
    defaults = { endpoint = [{ address = "cache.invalid", port = 6379 }] }
  }
}

variables {
  name               = "leaderboard-test"
  subnet_ids         = ["subnet-a", "subnet-b"]
  security_group_ids = ["sg-valkey"]
  data_storage_gb    = { maximum = 10 }
  ecpu_per_second    = { maximum = 20000 }
}

run "there_is_a_cache" {}

run "another_version_is_refused" {
  command = plan

  variables {
    major_engine_version = "9"
  }

  expect_failures = [aws_elasticache_serverless_cache.this]
}

run "a_zone_more_is_refused" {
  command = plan

  variables {
    subnet_ids = ["subnet-a", "subnet-b", "subnet-c"]
  }

  expect_failures = [aws_elasticache_serverless_cache.this]
}

run "a_zone_less_is_refused_while_a_cache_is_in_it" {
  command = plan

  variables {
    subnet_ids = ["subnet-a", "subnet-d"]
    caches     = { "" = {}, r1 = { restore_snapshot_arn = "arn:aws:elasticache:eu-central-1:111122223333:serverlesscachesnapshot:last" } }
  }

  expect_failures = [aws_elasticache_serverless_cache.this]
}

# The drill: a second cache beside the first, then the functions use it.
run "a_snapshot_becomes_a_second_cache" {
  variables {
    subnet_ids = ["subnet-a", "subnet-b", "subnet-c"] # a new cache can have other zones
    caches     = { "" = {}, r1 = { restore_snapshot_arn = "arn:aws:elasticache:eu-central-1:111122223333:serverlesscachesnapshot:last" } }
  }

  assert {
    condition     = aws_elasticache_serverless_cache.this["r1"].name == "leaderboard-test-r1" && aws_elasticache_serverless_cache.this["r1"].snapshot_arns_to_restore == tolist(["arn:aws:elasticache:eu-central-1:111122223333:serverlesscachesnapshot:last"])
    error_message = "The second cache should be made from the snapshot."
  }

  assert {
    condition     = aws_elasticache_serverless_cache.this["r1"].user_group_id == aws_elasticache_serverless_cache.this[""].user_group_id && aws_elasticache_serverless_cache.this["r1"].kms_key_id == aws_elasticache_serverless_cache.this[""].kms_key_id
    error_message = "Both should have the same users and the same key."
  }

  assert {
    condition     = aws_elasticache_serverless_cache.this[""].subnet_ids == toset(["subnet-a", "subnet-b"]) && length(aws_elasticache_serverless_cache.this["r1"].subnet_ids) == 3
    error_message = "The first should stay where it is."
  }

  assert {
    condition     = output.name == "leaderboard-test" && toset(output.arns) == toset([for name in ["leaderboard-test", "leaderboard-test-r1"] : "arn:aws:elasticache:eu-central-1:111122223333:serverlesscache:${name}"])
    error_message = "The first should be in use, and both open to the functions that move."
  }
}

run "then_the_second_is_used_and_the_snapshot_is_forgotten" {
  command = plan

  variables {
    subnet_ids = ["subnet-a", "subnet-b", "subnet-c"]
    caches     = { "" = {}, r1 = {} }
    in_use     = "r1"
  }

  assert {
    condition     = output.name == "leaderboard-test-r1"
    error_message = "The second should be in use."
  }

  assert {
    condition     = aws_elasticache_serverless_cache.this["r1"].snapshot_arns_to_restore == tolist(["arn:aws:elasticache:eu-central-1:111122223333:serverlesscachesnapshot:last"])
    error_message = "What the cache was made from should not be changed any more: that would make it anew."
  }
}
