# Plans only, by the real provider, without an account: what AWS would answer is given here.

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

override_resource {
  target          = aws_kms_key.state
  override_during = plan
  values          = { arn = "arn:aws:kms:eu-central-1:111122223333:key/00000000-0000-0000-0000-000000000000" }
}

override_resource {
  target          = aws_s3_bucket.state
  override_during = plan
  values          = { id = "the-bucket" }
}

override_resource {
  target          = aws_iam_role.api_gateway_logs
  override_during = plan
  values          = { arn = "arn:aws:iam::111122223333:role/leaderboard-api-gateway-logs-eu-central-1" }
}

variables {
  region = "eu-central-1"
}

run "the_state_is_versioned_encrypted_and_private_and_api_gateway_gets_its_role" {
  command = plan

  # The state is versioned, encrypted and private.
  assert {
    condition     = aws_s3_bucket.state.bucket == "leaderboard-tfstate-111122223333-eu-central-1"
    error_message = "The bucket's name should hold the account and the Region, or somebody else has it."
  }

  assert {
    condition = alltrue([for id in [
      aws_s3_bucket_versioning.state.bucket, aws_s3_bucket_server_side_encryption_configuration.state.bucket, aws_s3_bucket_public_access_block.state.bucket,
      aws_s3_bucket_ownership_controls.state.bucket, aws_s3_bucket_policy.state.bucket, aws_s3_bucket_lifecycle_configuration.state.bucket,
    ] : id == "the-bucket"])
    error_message = "A setting goes to another bucket."
  }

  assert {
    condition     = aws_s3_bucket_versioning.state.versioning_configuration[0].status == "Enabled"
    error_message = "Without versions a broken state cannot be rolled back."
  }

  assert {
    condition = alltrue([
      for rule in aws_s3_bucket_server_side_encryption_configuration.state.rule :
      rule.bucket_key_enabled && rule.apply_server_side_encryption_by_default[0].sse_algorithm == "aws:kms" &&
      rule.apply_server_side_encryption_by_default[0].kms_master_key_id == aws_kms_key.state.arn
    ]) && aws_kms_key.state.enable_key_rotation
    error_message = "The state should be encrypted with a key of ours, which rotates."
  }

  assert {
    condition = (
      aws_s3_bucket_public_access_block.state.block_public_acls && aws_s3_bucket_public_access_block.state.block_public_policy &&
      aws_s3_bucket_public_access_block.state.ignore_public_acls && aws_s3_bucket_public_access_block.state.restrict_public_buckets &&
      aws_s3_bucket_ownership_controls.state.rule[0].object_ownership == "BucketOwnerEnforced"
    )
    error_message = "The state could be made public."
  }

  assert {
    condition     = aws_s3_bucket_lifecycle_configuration.state.rule[0].status == "Enabled" && aws_s3_bucket_lifecycle_configuration.state.rule[0].noncurrent_version_expiration[0].noncurrent_days == 90
    error_message = "Old versions should go after 90 days."
  }

  assert {
    condition     = length(aws_s3_bucket_lifecycle_configuration.state.rule) == 1 && aws_s3_bucket_lifecycle_configuration.state.rule[0].expiration[0].days == 0 && aws_s3_bucket_lifecycle_configuration.state.rule[0].expiration[0].expired_object_delete_marker
    error_message = "A rule lets the state itself expire."
  }

  # The bucket policy only refuses.
  assert {
    condition     = alltrue([for statement in jsondecode(aws_s3_bucket_policy.state.policy).Statement : statement.Effect == "Deny" && statement.Principal == "*"])
    error_message = "The bucket's policy should grant nothing: who may is said by IAM."
  }

  assert {
    condition = anytrue([for statement in jsondecode(aws_s3_bucket_policy.state.policy).Statement :
      jsonencode(statement.Condition) == jsonencode({ Bool = { "aws:SecureTransport" = "false" } }) && statement.Action == "s3:*" &&
      toset(flatten([statement.Resource])) == toset(["arn:aws:s3:::leaderboard-tfstate-111122223333-eu-central-1", "arn:aws:s3:::leaderboard-tfstate-111122223333-eu-central-1/*"])
    ])
    error_message = "Plain HTTP should be refused, for the bucket and for all that is in it."
  }

  assert {
    condition     = anytrue([for statement in jsondecode(aws_s3_bucket_policy.state.policy).Statement : jsonencode(statement.Condition) == jsonencode({ NumericLessThan = { "s3:TlsVersion" = "1.2" } })])
    error_message = "TLS before 1.2 should be refused."
  }

  assert {
    condition = anytrue([for statement in jsondecode(aws_s3_bucket_policy.state.policy).Statement :
      try(statement.Condition.StringNotEquals["s3:x-amz-server-side-encryption"] == "aws:kms" && statement.Condition.Null["s3:x-amz-server-side-encryption"] == "false", false)
    ])
    error_message = "A state written with another kind of encryption should be refused, one written with the bucket's default should not."
  }

  # The output is the backend's configuration.
  assert {
    condition     = output.backend_config == <<-TEXT
      bucket       = "leaderboard-tfstate-111122223333-eu-central-1"
      region       = "eu-central-1"
      kms_key_id   = "arn:aws:kms:eu-central-1:111122223333:key/00000000-0000-0000-0000-000000000000"
      encrypt      = true
      use_lockfile = true
    TEXT
    error_message = "The backend should get bucket, Region, key and S3's own lock."
  }

  assert {
    condition     = output.state_bucket_name == aws_s3_bucket.state.bucket && output.state_kms_key_arn == aws_kms_key.state.arn
    error_message = "The outputs should name the bucket and the key."
  }

  # API Gateway gets its role for logs.
  assert {
    condition     = aws_api_gateway_account.this[0].cloudwatch_role_arn == "arn:aws:iam::111122223333:role/leaderboard-api-gateway-logs-eu-central-1" && output.api_gateway_logs_role_arn == aws_api_gateway_account.this[0].cloudwatch_role_arn
    error_message = "The Region's setting should be the role."
  }

  assert {
    condition = [for statement in jsondecode(aws_iam_role.api_gateway_logs[0].assume_role_policy).Statement : [statement.Principal, statement.Action]] == [
      [{ Service = "apigateway.amazonaws.com" }, "sts:AssumeRole"]
    ]
    error_message = "Only API Gateway should take the role."
  }

  assert {
    condition = (
      aws_iam_role_policy_attachment.api_gateway_logs[0].policy_arn == "arn:aws:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs" &&
      aws_iam_role_policy_attachment.api_gateway_logs[0].role == aws_iam_role.api_gateway_logs[0].name
    )
    error_message = "The role should have AWS's policy for it."
  }
}

run "an_account_that_has_the_role_keeps_it" {
  command = plan

  variables {
    api_gateway_logs = false
  }

  assert {
    condition     = length(aws_api_gateway_account.this) == 0 && length(aws_iam_role.api_gateway_logs) == 0 && output.api_gateway_logs_role_arn == null
    error_message = "Nothing of API Gateway's should be touched."
  }
}

run "what_aws_would_refuse_or_lose_is_refused" {
  command = plan

  variables {
    project                      = "a-name-that-is-far-too-long-here" # for a bucket
    region                       = "eu-central-1a"                    # a zone
    state_version_retention_days = 0                                  # old versions would go at once
  }

  expect_failures = [var.project, var.region, var.state_version_retention_days]
}
