output "invoke_url" {
  description = "URL of the API, without a slash at the end: the domain's, or AWS's with the stage."
  value       = var.domain == null ? aws_api_gateway_stage.this.invoke_url : "https://${var.domain.name}"
}

output "rest_api_id" {
  description = "Id of the REST API."
  value       = aws_api_gateway_rest_api.this.id
}

output "name" {
  description = "Name of the REST API, which is the dimension ApiName of its metrics."
  value       = aws_api_gateway_rest_api.this.name
}

output "stage_name" {
  description = "Name of the stage, which is the dimension Stage of its metrics."
  value       = aws_api_gateway_stage.this.stage_name
}

output "api_key_values" {
  description = "The API keys' values, by name, for the header x-api-key."
  value       = { for name, key in aws_api_gateway_api_key.this : name => key.value }
  sensitive   = true
}

output "access_log_group_name" {
  description = "Name of the log group that has a line of JSON for each request."
  value       = aws_cloudwatch_log_group.access.name
}

output "web_acl_arn" {
  description = "ARN of the firewall; null if there is none."
  value       = one(aws_wafv2_web_acl.this[*].arn)
}
