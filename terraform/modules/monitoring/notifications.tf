# Who is told: `page` wakes somebody, `ticket` waits for the morning.

data "aws_caller_identity" "current" {}
data "aws_region" "current" {}
data "aws_partition" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  region    = data.aws_region.current.id
  partition = data.aws_partition.current.partition

  # The ticket topic has the name that the only one had: whoever has confirmed is still told.
  topic_names = { page = "${var.name}-page", ticket = "${var.name}-alarms" }
  topic_arns  = { for key, name in local.topic_names : key => "arn:${local.partition}:sns:${local.region}:${local.account}:${name}" }
  alarm_arn   = "arn:${local.partition}:cloudwatch:${local.region}:${local.account}:alarm:${var.name}"

  # Whoever knows an endpoint's URL can write there, and a plan is read by many: it shows the names alone.
  channels = nonsensitive(var.channels)

  # A ticket's are keyed by the address alone, as they were when there was one topic.
  emails = merge([for topic in keys(local.topic_names) : {
    for email in setunion(var.emails, try(local.channels[topic].emails, [])) :
    "${topic == "ticket" ? "" : "${topic} "}${email}" => { topic = topic, endpoint = email }
  }]...)
  urls = merge([for topic in keys(local.topic_names) : {
    for name, url in try(local.channels[topic].urls, {}) : "${topic} ${name}" => { topic = topic, endpoint = sensitive(url) }
  }]...)
  slack = { for topic, channel in local.channels : topic => channel.slack if channel.slack != null }
}

resource "aws_sns_topic" "this" {
  for_each = local.topic_names

  name              = each.value
  kms_master_key_id = var.kms_key_arn
}

moved {
  from = aws_sns_topic.alarms
  to   = aws_sns_topic.this["ticket"]
}

resource "aws_sns_topic_policy" "this" {
  for_each = local.topic_names

  arn    = aws_sns_topic.this[each.key].arn
  policy = data.aws_iam_policy_document.topic[each.key].json
}

moved {
  from = aws_sns_topic_policy.alarms
  to   = aws_sns_topic_policy.this["ticket"]
}

data "aws_iam_policy_document" "topic" {
  for_each = local.topic_arns

  statement {
    sid       = "AlarmsOfThisDeployment"
    actions   = ["sns:Publish"]
    resources = [each.value]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com"]
    }

    # Without these, CloudWatch could publish here for any account.
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["${local.alarm_arn}-*"]
    }
  }
}

resource "aws_sns_topic_subscription" "email" {
  for_each = local.emails

  topic_arn = aws_sns_topic.this[each.value.topic].arn
  protocol  = "email"
  endpoint  = each.value.endpoint
}

resource "aws_sns_topic_subscription" "url" {
  for_each = local.urls

  topic_arn              = aws_sns_topic.this[each.value.topic].arn
  protocol               = "https"
  endpoint               = each.value.endpoint
  endpoint_auto_confirms = true
}

# A chat's own webhook cannot confirm a subscription, and does not understand what SNS sends. AWS's chat service does both.
resource "aws_chatbot_slack_channel_configuration" "this" {
  for_each = local.slack

  configuration_name = local.topic_names[each.key]
  iam_role_arn       = aws_iam_role.chat[0].arn
  slack_team_id      = each.value.workspace_id
  slack_channel_id   = each.value.channel_id
  sns_topic_arns     = [aws_sns_topic.this[each.key].arn]
  logging_level      = "NONE"
}

# It may do nothing: the channel is told, and asks AWS nothing. So it matters little who else could take it.
resource "aws_iam_role" "chat" {
  count = length(local.slack) > 0 ? 1 : 0

  name                 = "${var.name}-chat"
  path                 = var.iam_role.path
  permissions_boundary = var.iam_role.permissions_boundary_arn
  assume_role_policy   = data.aws_iam_policy_document.chat.json
}

data "aws_iam_policy_document" "chat" {
  statement {
    sid     = "ChatService"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["chatbot.amazonaws.com"]
    }
  }
}
