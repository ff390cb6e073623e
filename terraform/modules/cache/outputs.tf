output "name" {
  description = "The cache's name, in lower case. IAM tokens are signed for it, and it is the dimension clusterId of the cache's metrics."
  value       = aws_elasticache_serverless_cache.this.name
}

output "arn" {
  description = "The cache's ARN, for elasticache:Connect."
  value       = local.cache_arn
}

output "host" {
  description = "The cache's host name, for the primary and for reads alike."
  value       = aws_elasticache_serverless_cache.this.endpoint[0].address
}

output "port" {
  description = "The primary's TCP port, with TLS."
  value       = aws_elasticache_serverless_cache.this.endpoint[0].port
}

output "users" {
  description = "The users, by role (board, profiles, sessions, writes, reconcile): the name to connect as, and the ARN for elasticache:Connect."
  value       = { for role in keys(local.access) : role => { name = local.user_names[role], arn = local.user_arns[role] } }
}

output "former_users" {
  description = "By function, the ARNs of the users that its versions of the release before connect as, for elasticache:Connect."
  value       = { for function, roles in local.former_roles : function => [for role in roles : local.user_arns[role]] }
}
