# One role per function, for its own log group, its network interfaces, its traces, and the cache as its own user. Whoever is
# outside the VPC has neither interfaces nor the cache.

# No aws:SourceAccount condition: AWS documents none for Lambda, and if Lambda did not send it, no function would get its
# role. Only somebody who may pass the role within this account can give it to a function.
data "aws_iam_policy_document" "trust" {
  statement {
    sid     = "Lambda"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "function" {
  for_each = local.names

  name                 = each.value
  path                 = var.iam_role.path
  permissions_boundary = var.iam_role.permissions_boundary_arn
  description          = "What the function ${each.value} may do."
  assume_role_policy   = data.aws_iam_policy_document.trust.json
}

locals {
  # AWSLambdaVPCAccessExecutionRole without the logs. Lambda itself makes these calls, with the function's role.
  network_interface_changes = [
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:UnassignPrivateIpAddresses",
  ]
  network_interface_reads = [
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
  ]
}

data "aws_iam_policy_document" "function" {
  for_each = local.roles

  statement {
    sid       = "WriteOwnLogs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${local.log_group_arns[each.key]}:*"] # its streams, which Lambda names
  }

  # The interfaces do not exist yet, so only the account and Region can be named. Not narrower: AWS documents that with
  # network-interface/* in place of */* a function may be refused its VPC, and a condition could have the same effect.
  dynamic "statement" {
    for_each = each.value[*]

    content {
      sid       = "ChangeNetworkInterfaces"
      actions   = local.network_interface_changes
      resources = ["arn:${local.partition}:ec2:${local.region}:${local.account}:*/*"]
    }
  }

  dynamic "statement" {
    for_each = each.value[*]

    content {
      sid       = "ReadNetworkInterfaces"
      actions   = local.network_interface_reads
      resources = ["*"] # EC2's Describe* actions have no resource level
    }
  }

  # Lambda needs the interfaces, the function's code does not. This condition key is only set when the code is the caller.
  statement {
    sid       = "NoNetworkInterfacesForTheCode"
    effect    = "Deny"
    actions   = concat(local.network_interface_changes, local.network_interface_reads, ["ec2:DetachNetworkInterface"])
    resources = ["*"] # deny them all

    condition {
      test     = "ArnEquals"
      variable = "lambda:SourceFunctionArn"
      values   = [local.function_arns[each.key]]
    }
  }

  statement {
    sid       = "WriteTraces"
    actions   = ["xray:PutTelemetryRecords", "xray:PutTraceSegments"]
    resources = ["*"] # X-Ray has no resource level for these
  }

  dynamic "statement" {
    for_each = each.value == null ? [] : var.cache[*]

    content {
      sid     = "ConnectAsOwnUser"
      actions = ["elasticache:Connect"]

      # AWS requires the cache and the user. Versions that run have this IAM role, with the cache and the user of their time.
      resources = concat(
        statement.value.arns,
        [statement.value.users[each.value].arn],
        lookup(statement.value.former_users, each.key, []),
      )
    }
  }

  dynamic "statement" {
    for_each = each.key == local.reconcile ? [local.failures_queue_arn] : []

    content {
      sid       = "ReportFailures"
      actions   = ["sqs:SendMessage"]
      resources = [statement.value]
    }
  }
}

resource "aws_iam_role_policy" "function" {
  for_each = data.aws_iam_policy_document.function

  name   = "function"
  role   = aws_iam_role.function[each.key].name
  policy = each.value.json
}

# Lambda decrypts a function's settings as its role. It makes a grant for that when it is given the function, but the grant
# is for that role: one that was made again under the same name has lost it, and the function no longer starts.
# A document of its own: a new key's ARN is not known until apply, and would hide the rest of the policy in the plan.
data "aws_iam_policy_document" "settings_key" {
  for_each = local.function_arns

  statement {
    sid       = "DecryptOwnSettings"
    actions   = ["kms:Decrypt"]
    resources = [var.kms_key_arn]

    condition {
      test     = "ArnLike"
      variable = "kms:EncryptionContext:aws:lambda:FunctionArn"
      values   = [each.value, "${each.value}:*"]
    }
  }
}

resource "aws_iam_role_policy" "settings_key" {
  for_each = data.aws_iam_policy_document.settings_key

  name   = "settings-key"
  role   = aws_iam_role.function[each.key].name
  policy = each.value.json
}
