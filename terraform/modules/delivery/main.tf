# How a new version gets its traffic. Terraform publishes versions and makes what is here, but never starts a deployment:
# `aws deploy create-deployment` does, with an AppSpec that names a function, its alias and two versions.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.id
}

resource "aws_codedeploy_app" "this" {
  name             = var.name
  compute_platform = "Lambda"
}

resource "aws_codedeploy_deployment_group" "this" {
  for_each = var.functions

  app_name               = aws_codedeploy_app.this.name
  deployment_group_name  = each.value.name
  deployment_config_name = var.deployment_config
  service_role_arn       = aws_iam_role.this.arn

  deployment_style {
    deployment_type   = "BLUE_GREEN"
    deployment_option = "WITH_TRAFFIC_CONTROL"
  }

  auto_rollback_configuration {
    enabled = true
    events  = ["DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM", "DEPLOYMENT_STOP_ON_REQUEST"]
  }

  # An alarm that cannot be read also stops the deployment.
  alarm_configuration {
    enabled                   = true
    alarms                    = var.rollback_alarm_names[each.key]
    ignore_poll_alarm_failure = false
  }

  depends_on = [aws_iam_role_policy.this]
}

# Instead of AWSCodeDeployRoleForLambda, which may move any alias, read S3 and call hooks: here, an AppSpec is sent inline,
# and there are no hooks.
data "aws_iam_policy_document" "trust" {
  statement {
    sid     = "DeploymentsOfThisApplication"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["codedeploy.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["arn:${local.partition}:codedeploy:${local.region}:${local.account}:deploymentgroup:${var.name}/*"]
    }
  }
}

resource "aws_iam_role" "this" {
  name                 = "${var.name}-delivery"
  path                 = var.iam_role.path
  permissions_boundary = var.iam_role.permissions_boundary_arn
  description          = "What CodeDeploy may do to move the aliases of ${var.name}."
  assume_role_policy   = data.aws_iam_policy_document.trust.json
}

data "aws_iam_policy_document" "this" {
  #checkov:skip=CKV_AWS_356:DescribeAlarms shows composite alarms only to those who may read all alarms.
  statement {
    sid       = "MoveAliases"
    actions   = ["lambda:GetAlias", "lambda:GetProvisionedConcurrencyConfig", "lambda:UpdateAlias"]
    resources = flatten([for function in var.functions : [function.arn, function.alias_arn]]) # the first two need the function, the third the alias
  }

  statement {
    sid       = "WatchAlarms"
    actions   = ["cloudwatch:DescribeAlarms"]
    resources = ["*"] # with less, composite alarms are not shown
  }
}

resource "aws_iam_role_policy" "this" {
  name   = "delivery"
  role   = aws_iam_role.this.name
  policy = data.aws_iam_policy_document.this.json
}
