output "functions" {
  description = "Every function, by key (`update_score`, …, `reconcile`): its name, its role's name, its ARN without a version, its alias `live` with the ARN to call and the URI for API Gateway, its log group, and its timeout in seconds."
  value = {
    for key, function in aws_lambda_function.this : key => {
      name            = function.function_name
      role_name       = aws_iam_role.function[key].name
      arn             = local.function_arns[key]
      alias           = local.alias[key].name
      alias_arn       = local.alias_arns[key]
      invoke_arn      = "arn:${local.partition}:apigateway:${local.region}:lambda:path/2015-03-31/functions/${local.alias_arns[key]}/invocations"
      log_group_name  = aws_cloudwatch_log_group.function[key].name
      timeout_seconds = local.of_function.timeout_seconds[key]
    }
  }
}

output "reconcile_interval_minutes" {
  description = "Minutes from one run of reconcile to the next."
  value       = tonumber(regex("[1-5]", var.reconcile_schedule))

  # Whoever waits for runs comes after what begins them.
  depends_on = [aws_cloudwatch_event_target.reconcile]
}

output "layer_arn" {
  description = "ARN of the layer version that the newest function versions use."
  value       = aws_lambda_layer_version.this.arn
}

output "reconcile_failures_queue" {
  description = "The SQS queue for reconcile's failed runs and undelivered events: name, ARN and URL."
  value = {
    name = aws_sqs_queue.reconcile_failures.name
    arn  = local.failures_queue_arn
    url  = aws_sqs_queue.reconcile_failures.url
  }
}

output "stopped_operations" {
  description = "The operations whose functions are stopped, e.g. \"POST /users\"."
  value       = flatten([for key in local.stopped : try(local.operations[key][*].name, [])])
}
