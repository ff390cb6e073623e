output "vpc_id" {
  description = "Id of the VPC."
  value       = aws_vpc.this.id
}

output "function_subnet_ids" {
  description = "Ids of the functions' subnets, one per zone, in the order of the zones' names."
  value       = [for zone in local.function_zones : aws_subnet.function[zone].id]
}

output "cache_subnet_ids" {
  description = "Ids of the cache's subnets, one per zone, in the order of the zones' names."
  value       = [for zone in local.cache_zones : aws_subnet.cache[zone].id]
}

output "valkey_security_group_id" {
  description = "Id of the security group whose members speak Valkey to each other, on ports 6379 and 6380."
  value       = aws_security_group.valkey.id
}

output "function_security_group_ids" {
  description = "Ids of the security groups for the functions: Valkey's and, if there are endpoints, that of their clients."
  value       = concat([aws_security_group.valkey.id], aws_security_group.endpoint_client[*].id)
}

output "cache_security_group_ids" {
  description = "Ids of the security groups for the cache."
  value       = [aws_security_group.valkey.id]
}
