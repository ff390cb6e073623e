# Made from modules/leaderboard/outputs.tf by `make format`: change that.

output "api_url" {
  description = "URL of the API, without a slash at the end."
  value       = module.leaderboard.api_url
}

output "api_key_values" {
  description = "The API keys' values, by name, for the header x-api-key."
  value       = module.leaderboard.api_key_values
  sensitive   = true
}

output "function_names" {
  description = "The Lambda functions' names, by key, e.g. update_score."
  value       = module.leaderboard.function_names
}

output "log_group_names" {
  description = "The functions' log groups, by key, and the API's access log as `api`."
  value       = module.leaderboard.log_group_names
}

output "signing_key_alias" {
  description = "Alias of the KMS key that signs new tokens."
  value       = module.leaderboard.signing_key_alias
}

output "dashboard_name" {
  description = "Name of the CloudWatch dashboard."
  value       = module.leaderboard.dashboard_name
}

output "alarm_topic_arns" {
  description = "ARNs of the SNS topics that alarms are published to: `page`, which wakes somebody, and `ticket`, which waits for the morning."
  value       = module.leaderboard.alarm_topic_arns
}

output "page_alarm_name" {
  description = "Name of the alarm that pages; in an emulator, of the first that does."
  value       = module.leaderboard.page_alarm_name
}

output "cache_host" {
  description = "The cache's host name in the VPC; null in an emulator."
  value       = module.leaderboard.cache_host
}

output "cache_name" {
  description = "The cache's name; null in an emulator."
  value       = module.leaderboard.cache_name
}

output "vpc_id" {
  description = "The VPC's id; null if it is one of yours."
  value       = module.leaderboard.vpc_id
}

output "deployment" {
  description = "If CodeDeploy moves the alias: its application, and its deployment groups by function. Null if Terraform does."
  value       = module.leaderboard.deployment
}
