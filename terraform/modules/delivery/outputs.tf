output "application_name" {
  description = "Name of the CodeDeploy application."
  value       = aws_codedeploy_app.this.name
}

output "deployment_group_names" {
  description = "Name of each function's deployment group, by function key."
  value       = { for key, group in aws_codedeploy_deployment_group.this : key => group.deployment_group_name }
}
