# Offline: the real provider with dummy keys plans, and asks AWS nothing.

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

variables {
  name = "game-test"
  functions = {
    rank = {
      name      = "game-test-rank"
      arn       = "arn:aws:lambda:eu-central-1:123456789012:function:game-test-rank"
      alias_arn = "arn:aws:lambda:eu-central-1:123456789012:function:game-test-rank:live"
    }
    reconcile = {
      name      = "game-test-reconcile"
      arn       = "arn:aws:lambda:eu-central-1:123456789012:function:game-test-reconcile"
      alias_arn = "arn:aws:lambda:eu-central-1:123456789012:function:game-test-reconcile:live"
    }
  }
  rollback_alarm_names = {
    rank      = ["game-test-rank-errors", "game-test-rank-duration"]
    reconcile = ["game-test-reconcile-errors"]
  }
}

run "each_function_is_deployed_on_its_own_and_rolled_back_by_its_alarms" {
  command = plan

  # Each function is deployed on its own.
  assert {
    condition     = aws_codedeploy_app.this.name == "game-test" && aws_codedeploy_app.this.compute_platform == "Lambda" && output.application_name == "game-test"
    error_message = "There should be one application, for Lambda."
  }

  assert {
    condition     = output.deployment_group_names == { rank = "game-test-rank", reconcile = "game-test-reconcile" }
    error_message = "There should be a deployment group for each function, named like it."
  }

  assert {
    condition = alltrue([for group in aws_codedeploy_deployment_group.this : alltrue([
      group.app_name == "game-test",
      group.deployment_config_name == "CodeDeployDefault.LambdaCanary10Percent5Minutes",
      group.deployment_style[0].deployment_type == "BLUE_GREEN",
      group.deployment_style[0].deployment_option == "WITH_TRAFFIC_CONTROL",
    ])])
    error_message = "Traffic should move bit by bit: a tenth for 5 minutes by default."
  }

  # Alarms and failures roll back.
  assert {
    condition = alltrue([for group in aws_codedeploy_deployment_group.this : (
      group.auto_rollback_configuration[0].enabled
      && group.auto_rollback_configuration[0].events == toset(["DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM", "DEPLOYMENT_STOP_ON_REQUEST"])
    )])
    error_message = "A deployment that fails, alarms or is stopped should be rolled back."
  }

  assert {
    condition = alltrue([for key, group in aws_codedeploy_deployment_group.this : alltrue([
      group.alarm_configuration[0].enabled,
      !group.alarm_configuration[0].ignore_poll_alarm_failure,
      group.alarm_configuration[0].alarms == toset(var.rollback_alarm_names[key]),
    ])])
    error_message = "A function's own alarms should stop its deployment, and so should alarms that cannot be read."
  }

  # CodeDeploy moves our aliases and does nothing else.
  assert {
    condition = toset(flatten([for statement in jsondecode(aws_iam_role_policy.this.policy).Statement : statement.Action])) == toset([
      "cloudwatch:DescribeAlarms", "lambda:GetAlias", "lambda:GetProvisionedConcurrencyConfig", "lambda:UpdateAlias",
    ])
    error_message = "The role should move aliases and read alarms."
  }

  assert {
    condition = toset(flatten([for statement in jsondecode(aws_iam_role_policy.this.policy).Statement : statement.Resource if statement.Sid == "MoveAliases"])) == toset([
      "arn:aws:lambda:eu-central-1:123456789012:function:game-test-rank",
      "arn:aws:lambda:eu-central-1:123456789012:function:game-test-rank:live",
      "arn:aws:lambda:eu-central-1:123456789012:function:game-test-reconcile",
      "arn:aws:lambda:eu-central-1:123456789012:function:game-test-reconcile:live",
    ])
    error_message = "The role should move the aliases of our functions only."
  }

  assert {
    condition     = [for statement in jsondecode(aws_iam_role_policy.this.policy).Statement : statement.Action if statement.Resource == "*"] == ["cloudwatch:DescribeAlarms"]
    error_message = "Only alarms should be open to the role in general."
  }

  assert {
    condition = aws_iam_role_policy.this.role == aws_iam_role.this.name && jsondecode(aws_iam_role.this.assume_role_policy).Statement == [{
      Sid       = "DeploymentsOfThisApplication"
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "codedeploy.amazonaws.com" }
      Condition = {
        StringEquals = { "aws:SourceAccount" = "123456789012" }
        ArnLike      = { "aws:SourceArn" = "arn:aws:codedeploy:eu-central-1:123456789012:deploymentgroup:game-test/*" }
      }
    }]
    error_message = "Only CodeDeploy, for our application, should take the role."
  }
}

run "the_way_is_a_value" {
  command = plan

  variables {
    deployment_config = "CodeDeployDefault.LambdaLinear10PercentEvery1Minute"
  }

  assert {
    condition     = alltrue([for group in aws_codedeploy_deployment_group.this : group.deployment_config_name == "CodeDeployDefault.LambdaLinear10PercentEvery1Minute"])
    error_message = "The value should become every group's own."
  }
}

run "refuses_an_unknown_way_and_a_function_without_an_entry" {
  command = plan

  variables {
    deployment_config    = "CodeDeployDefault.LambdaCanary20Percent5Minutes"
    rollback_alarm_names = { rank = ["game-test-rank-errors"] }
  }

  expect_failures = [var.deployment_config, var.rollback_alarm_names]
}

run "refuses_a_function_without_an_alarm" {
  command = plan

  variables {
    rollback_alarm_names = { rank = ["game-test-rank-errors"], reconcile = [] }
  }

  expect_failures = [var.rollback_alarm_names]
}
