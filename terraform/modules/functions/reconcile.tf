# Reconcile is not a route: a schedule runs it, asynchronously. Events that never succeed go to a queue, which has an alarm.

locals {
  rule_name           = local.names[local.reconcile]
  rule_arn            = "arn:${local.partition}:events:${local.region}:${local.account}:rule/${local.rule_name}"
  failures_queue_name = "${local.names[local.reconcile]}-failures"
  failures_queue_arn  = "arn:${local.partition}:sqs:${local.region}:${local.account}:${local.failures_queue_name}"
}

resource "aws_cloudwatch_event_rule" "reconcile" {
  name                = local.rule_name
  description         = "Runs reconcile: finishes what a crash left half-done."
  schedule_expression = var.reconcile_schedule
}

resource "aws_cloudwatch_event_target" "reconcile" {
  rule      = aws_cloudwatch_event_rule.reconcile.name
  target_id = local.reconcile
  arn       = local.alias_arns[local.reconcile]

  # For events that Lambda did not take. The next event does the same work, so an old one is not worth much.
  retry_policy {
    maximum_event_age_in_seconds = 300
    maximum_retry_attempts       = 3
  }

  dead_letter_config {
    arn = local.failures_queue_arn
  }

  # Until both exist, an event would be lost.
  depends_on = [aws_lambda_permission.reconcile, aws_sqs_queue_policy.reconcile_failures]
}

resource "aws_lambda_permission" "reconcile" {
  statement_id  = "schedule"
  action        = "lambda:InvokeFunction"
  function_name = local.alias[local.reconcile].function_name
  qualifier     = local.alias[local.reconcile].name
  principal     = "events.amazonaws.com"
  source_arn    = local.rule_arn
}

resource "aws_lambda_function_event_invoke_config" "reconcile" {
  function_name = local.alias[local.reconcile].function_name
  qualifier     = local.alias[local.reconcile].name

  # For events that Lambda took and whose run failed or never began. A run is safe to repeat.
  maximum_retry_attempts       = 1
  maximum_event_age_in_seconds = 300

  destination_config {
    on_failure {
      destination = local.failures_queue_arn
    }
  }

  # Lambda checks that the role may send to the queue.
  depends_on = [aws_iam_role_policy.function, aws_sqs_queue.reconcile_failures]
}

# Lambda's default, written down: no function here may call itself in a loop.
resource "aws_lambda_function_recursion_config" "reconcile" {
  function_name  = aws_lambda_function.this[local.reconcile].function_name
  recursive_loop = "Terminate"
}

# Encrypted by SQS itself, which takes only HTTPS then. With a key of ours, its policy would have to let EventBridge in, and
# a rule that is refused a key loses the event without a word.
resource "aws_sqs_queue" "reconcile_failures" {
  name                      = local.failures_queue_name
  message_retention_seconds = 14 * 24 * 3600
  sqs_managed_sse_enabled   = true
}

# Reconcile sends by its role; the rule has no role.
data "aws_iam_policy_document" "reconcile_failures" {
  statement {
    sid       = "ScheduleMaySend"
    actions   = ["sqs:SendMessage"]
    resources = [local.failures_queue_arn]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [local.rule_arn]
    }
  }
}

resource "aws_sqs_queue_policy" "reconcile_failures" {
  queue_url = aws_sqs_queue.reconcile_failures.url
  policy    = data.aws_iam_policy_document.reconcile_failures.json
}
