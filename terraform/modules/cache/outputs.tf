output "name" {
  description = "Name of the cache in use, in lower case. IAM tokens are signed for it, and it is the dimension clusterId of the cache's metrics."
  value       = local.in_use.name
}

output "arns" {
  description = "The ARNs of all caches, for elasticache:Connect: while functions move from one to another, both are used."
  value       = [for name in values(local.names) : "${local.elasticache_arn}:serverlesscache:${name}"]
}

output "host" {
  description = "Host name of the cache in use, for the primary and for reads alike."
  value       = local.in_use.endpoint[0].address
}

output "port" {
  description = "The primary's TCP port, with TLS."
  value       = local.in_use.endpoint[0].port
}

output "users" {
  description = "The users, by role (board, profiles, sessions, writes, reconcile): the name to connect as, and the ARN for elasticache:Connect."
  value       = { for role in keys(local.access) : role => { name = local.user_names[role], arn = local.user_arns[role] } }
}

output "former_users" {
  description = "By function, the ARNs of the users that its versions of the release before connect as, for elasticache:Connect."
  value       = { for function, roles in local.former_roles : function => [for role in roles : local.user_arns[role]] }
}
