output "topic_arns" {
  description = "ARNs of the SNS topics by how urgent they are: `page` and `ticket`."
  value       = { for key, topic in aws_sns_topic.this : key => topic.arn }
}

output "page_alarm_name" {
  description = "Name of the alarm that pages; where there are no composite alarms, of the first that does."
  value       = var.composite_alarms ? aws_cloudwatch_composite_alarm.this["slo-page"].alarm_name : aws_cloudwatch_metric_alarm.window["availability-fast-5m"].alarm_name
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
