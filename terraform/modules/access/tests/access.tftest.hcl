# Offline: the real provider with dummy keys plans the module, and asks AWS nothing. The public keys are not known before an
# apply: that the authorizer gets both, each by its kid, is seen on the emulated AWS (tests/emulated).

provider "aws" {
  region                      = "eu-central-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

override_data {
  target = data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_resource {
  target          = aws_kms_key.signing["a"]
  override_during = plan
  values = {
    key_id = "1a000000-0000-4000-8000-000000000000"
    arn    = "arn:aws:kms:eu-central-1:123456789012:key/1a000000-0000-4000-8000-000000000000"
  }
}

override_resource {
  target          = aws_kms_key.signing["b"]
  override_during = plan
  values = {
    key_id = "2b000000-0000-4000-8000-000000000000"
    arn    = "arn:aws:kms:eu-central-1:123456789012:key/2b000000-0000-4000-8000-000000000000"
  }
}

variables {
  name             = "leaderboard-test"
  issuer_role_name = "leaderboard-test-issue-token"
}

run "one_key_signs_and_both_are_believed" {
  command = plan

  assert {
    condition = alltrue([
      for key in aws_kms_key.signing : key.customer_master_key_spec == "ECC_NIST_P256" && key.key_usage == "SIGN_VERIFY" && key.deletion_window_in_days == 30
    ]) && length(aws_kms_key.signing) == 2
    error_message = "There should be two keys for ES256, and time to change one's mind."
  }

  assert {
    condition = output.issuer_environment == {
      TOKEN_ISSUER = "leaderboard-test"
      TOKEN_KEY    = "arn:aws:kms:eu-central-1:123456789012:key/1a000000-0000-4000-8000-000000000000"
    }
    error_message = "The first key should sign, unless a value says otherwise."
  }

  assert {
    condition     = output.authorizer_environment.TOKEN_ISSUER == output.issuer_environment.TOKEN_ISSUER && output.authorizer_environment.REVOKED_TOKENS == ""
    error_message = "Whoever makes tokens and whoever believes them should name one issuer."
  }

  assert {
    condition = jsondecode(aws_iam_role_policy.sign.policy).Statement == [{
      Sid      = "SignTokens"
      Effect   = "Allow"
      Action   = "kms:Sign"
      Resource = "arn:aws:kms:eu-central-1:123456789012:key/1a000000-0000-4000-8000-000000000000"
      Condition = {
        StringEquals = { "kms:SigningAlgorithm" = "ECDSA_SHA_256", "kms:MessageType" = "RAW" }
      }
    }] && aws_iam_role_policy.sign.role == "leaderboard-test-issue-token"
    error_message = "The issuer should sign tokens with the current key, and do nothing else with any."
  }

  assert {
    condition     = aws_kms_alias.signing.name == "alias/leaderboard-test-tokens" && aws_kms_alias.signing.target_key_id == "1a000000-0000-4000-8000-000000000000"
    error_message = "The alias should lead to the key that signs."
  }
}

run "the_other_key_signs_and_a_provider_and_revoked_tokens_are_known" {
  command = plan

  variables {
    signing_key    = "b"
    revoked_tokens = ["9c1f6c1e-4b7e-4c57-8a35-0a1d7c2e8f64", "1c1f6c1e-4b7e-4c57-8a35-0a1d7c2e8f64"]
    oidc           = { issuer = "https://id.example.com", audience = "leaderboard", jwks_url = "https://id.example.com/keys" }
  }

  assert {
    condition = (
      endswith(output.issuer_environment.TOKEN_KEY, "/2b000000-0000-4000-8000-000000000000")
      && endswith(jsondecode(aws_iam_role_policy.sign.policy).Statement[0].Resource, "/2b000000-0000-4000-8000-000000000000")
    )
    error_message = "The other key should sign, the right to sign should follow, and nothing else."
  }

  assert {
    condition = { for name, value in output.authorizer_environment : name => value if !startswith(name, "TOKEN_") } == {
      REVOKED_TOKENS  = "1c1f6c1e-4b7e-4c57-8a35-0a1d7c2e8f64,9c1f6c1e-4b7e-4c57-8a35-0a1d7c2e8f64"
      OIDC_ISSUER     = "https://id.example.com"
      OIDC_AUDIENCE   = "leaderboard"
      OIDC_JWKS_URL   = "https://id.example.com/keys"
      OIDC_USER_CLAIM = "sub"
    }
    error_message = "What the provider does not say should be left to the functions."
  }
}

run "what_could_not_work_is_refused" {
  command = plan

  variables {
    signing_key    = "c"
    revoked_tokens = ["eyJhbGciOiJFUzI1NiJ9,eyJzdWIiOiJ1c2VyLTEyMyJ9"]
    oidc           = { issuer = "https://id.example.com", audience = "leader board", jwks_url = "http://id.example.com/keys" }
  }

  expect_failures = [var.signing_key, var.revoked_tokens, var.oidc]
}
