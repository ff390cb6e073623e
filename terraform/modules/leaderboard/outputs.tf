output "api_url" {
  description = "URL of the API, without a slash at the end."
  value       = module.api.invoke_url
}

output "api_key_values" {
  description = "The API keys' values, by name, for the header x-api-key."
  value       = module.api.api_key_values
  sensitive   = true
}

output "function_names" {
  description = "The Lambda functions' names, by key, e.g. update_score."
  value       = { for key, function in module.functions.functions : key => function.name }
}

output "log_group_names" {
  description = "The functions' log groups, by key, and the API's access log as `api`."
  value = merge(
    { for key, function in module.functions.functions : key => function.log_group_name },
    { api = module.api.access_log_group_name },
  )
}

output "signing_key_alias" {
  description = "Alias of the KMS key that signs new tokens."
  value       = module.access.signing_key_alias
}

output "dashboard_name" {
  description = "Name of the CloudWatch dashboard."
  value       = module.monitoring.dashboard_name
}

output "alarm_topic_arns" {
  description = "ARNs of the SNS topics that alarms are published to: `page`, which wakes somebody, and `ticket`, which waits for the morning."
  value       = module.monitoring.topic_arns
}

output "page_alarm_name" {
  description = "Name of the alarm that pages; in an emulator, of the first that does."
  value       = module.monitoring.page_alarm_name
}

output "cache_host" {
  description = "The cache's host name in the VPC; null in an emulator."
  value       = one(module.cache[*].host)
}

output "cache_name" {
  description = "The cache's name; null in an emulator."
  value       = one(module.cache[*].name)
}

output "vpc_id" {
  description = "The VPC's id; null if it is one of yours."
  value       = one(module.network[*].vpc_id)
}

output "deployment" {
  description = "If CodeDeploy moves the alias: its application, and its deployment groups by function. Null if Terraform does."
  value       = one([for delivery in module.delivery : { application_name = delivery.application_name, group_names = delivery.deployment_group_names }])
}
