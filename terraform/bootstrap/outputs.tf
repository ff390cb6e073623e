output "state_bucket_name" {
  description = "Name of the bucket for the states."
  value       = aws_s3_bucket.state.bucket
}

output "state_kms_key_arn" {
  description = "ARN of the KMS key for the states."
  value       = aws_kms_key.state.arn
}

output "api_gateway_logs_role_arn" {
  description = "ARN of the role with which API Gateway writes logs; null if this account has another."
  value       = one(aws_iam_role.api_gateway_logs[*].arn)
}

output "backend_config" {
  description = "The file for `terraform init -backend-config=<file>`, to which an environment adds only `-backend-config=key=<environment>.tfstate`."
  value       = <<-TEXT
    bucket       = "${aws_s3_bucket.state.bucket}"
    region       = "${var.region}"
    kms_key_id   = "${aws_kms_key.state.arn}"
    encrypt      = true
    use_lockfile = true
  TEXT
}
