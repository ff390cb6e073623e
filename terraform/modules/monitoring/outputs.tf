output "topic_arn" {
  description = "ARN of the SNS topic that alarms are published to. Subscribe your chat or on-call tool to it."
  value       = aws_sns_topic.alarms.arn
}

output "dashboard_name" {
  description = "Name of the CloudWatch dashboard."
  value       = aws_cloudwatch_dashboard.this.dashboard_name
}

output "rollback_alarm_names" {
  description = "The names of the alarms that stop a function's deployment and roll it back, by function key; none without CodeDeploy."
  value = {
    for key in keys(var.functions) : key => [
      for column in local.rollback_columns : aws_cloudwatch_metric_alarm.this["${local.dashed[key]}-${column}"].alarm_name
      if contains(keys(local.alarms), "${local.dashed[key]}-${column}")
    ] if var.codedeploy
  }
}
