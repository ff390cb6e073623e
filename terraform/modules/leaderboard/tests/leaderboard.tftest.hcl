# Offline: the real provider with dummy keys plans the whole system, and asks AWS nothing.

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

override_data {
  target = module.network[0].data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_data {
  target = module.network[0].data.aws_availability_zones.available
  values = { names = ["eu-central-1a", "eu-central-1b", "eu-central-1c"] }
}

override_data {
  target = module.cache[0].data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_data {
  target = module.access.data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_data {
  target = module.functions.data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_data {
  target = module.monitoring.data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_data {
  target = module.delivery[0].data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

variables {
  contract_path         = "../../../functions/openapi.yaml"
  build_path            = "../../../build"
  environment           = "test"
  access                = "open"
  alarm_emails          = ["on-call@example.com"]
  cache_data_storage_gb = { maximum = 2 }
  cache_ecpu_per_second = { maximum = 5000 }
  receipt_seconds       = 86400
  session_seconds       = 3600
  deadline_seconds      = 2.5
  throttling            = { rate_per_second = 100, burst = 200 }
  usage_plans           = { standard = { rate_per_second = 50, burst = 100 } }
  api_keys              = { developers = "standard" }
  alias_mover           = "terraform"
}

run "the_whole_system_is_planned" {
  command = plan

  # Every name begins with project and environment.
  assert {
    condition     = alltrue([for name in values(output.function_names) : startswith(name, "leaderboard-test-")])
    error_message = "A function's name should begin with project and environment."
  }

  assert {
    condition     = output.function_names.update_score == "leaderboard-test-update-score" && output.cache_name == "leaderboard-test"
    error_message = "Names should be made of project, environment and key."
  }

  assert {
    condition     = output.log_group_names.rank == "/aws/lambda/leaderboard-test-rank"
    error_message = "A function's log group should have the name that Lambda would give it."
  }

  # Every function of the contract is there, and reconcile.
  assert {
    condition = toset(keys(output.function_names)) == toset(concat(["reconcile"], flatten([
      for path, item in yamldecode(file(var.contract_path)).paths : [
        for method, operation in item : split(".", operation.operationId)[0] if can(operation.operationId)
      ]
    ])))
    error_message = "The functions should be those that the contract names, and reconcile."
  }

  # Terraform moves the alias without CodeDeploy.
  assert {
    condition     = output.deployment == null
    error_message = "There should be no CodeDeploy where Terraform moves the alias."
  }

  # The key serves the logs of this system only.
  assert {
    condition = one([
      for statement in jsondecode(aws_kms_key.operations[0].policy).Statement : tolist(statement.Condition.ArnLike["kms:EncryptionContext:aws:logs:arn"])
      if statement.Sid == "LogGroupsOfThisSystem"
      ]) == tolist([
      "arn:aws:logs:eu-central-1:123456789012:log-group:*leaderboard-test*",
      "arn:aws:logs:eu-central-1:123456789012:log-group:API-Gateway-Execution-Logs_*/v1",
    ])
    error_message = "CloudWatch Logs should use the key for this system's log groups only."
  }
}

run "codedeploy_has_a_group_for_every_function" {
  command = plan

  variables {
    alias_mover = "codedeploy"
    access      = "protected"
  }

  assert {
    condition     = toset(keys(output.deployment.group_names)) == toset(keys(output.function_names))
    error_message = "Every function should have a deployment group."
  }

  assert {
    condition     = contains(keys(output.function_names), "authorizer") && output.signing_key_alias == "alias/leaderboard-test-tokens"
    error_message = "Where access is protected there should be somebody who knows who a token is of."
  }
}

run "an_emulator_has_no_cache_and_no_codedeploy" {
  command = plan

  variables {
    alias_mover = "codedeploy"
    emulator    = { valkey_host = "127.0.0.1", valkey_port = 6379 }
    waf         = { requests_per_5_minutes_per_ip = 1000 }
  }

  assert {
    condition     = output.cache_name == null && output.cache_host == null && output.deployment == null
    error_message = "An emulator has neither ElastiCache nor CodeDeploy."
  }
}

run "names_that_aws_would_cut_or_refuse_and_another_cache_are_refused" {
  command = plan

  variables {
    project     = "a-name-of-eighteen"
    environment = "Production"
    settings    = { VALKEY_HOST = "elsewhere" }
  }

  expect_failures = [var.project, var.environment, var.settings]
}

run "settings_that_have_a_variable_are_refused_and_what_is_no_port" {
  command = plan

  variables {
    settings = { DEFAULT_OPERATOR = "best", SUBMISSIONS_PER_MINUTE = "10" }
    emulator = { valkey_host = "127.0.0.1", valkey_port = 70000 }
  }

  expect_failures = [var.settings, var.emulator]
}

run "what_the_functions_would_refuse_is_refused" {
  command = plan

  variables {
    default_operator = "Best"
    receipt_seconds  = 59
    session_seconds  = 31536001
    deadline_seconds = 29

    access           = "closed"
    player_operators = ["best", "worst"]
    player_limits    = { submissions_per_minute = 0.5 }

    metrics_depth     = "users"
    currencies        = ["EUR", "eur"]
    slow_milliseconds = { update_score = 180 } # and all others?
  }

  expect_failures = [
    var.access, var.player_operators, var.player_limits,
    var.default_operator, var.receipt_seconds, var.session_seconds, var.deadline_seconds, var.metrics_depth, var.currencies, var.slow_milliseconds,
  ]
}
