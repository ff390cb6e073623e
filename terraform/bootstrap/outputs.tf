output "state_bucket_name" {
  description = "Name of the bucket that keeps the states."
  value       = aws_s3_bucket.state.bucket
}

output "state_kms_key_arn" {
  description = "ARN of the KMS key that the states are encrypted with."
  value       = aws_kms_key.state.arn
}

output "api_gateway_logs_role_arn" {
  description = "ARN of the role by which API Gateway writes logs; null where this account has another."
  value       = one(aws_iam_role.api_gateway_logs[*].arn)
}

output "backend_config" {
  description = "The file for `terraform init -backend-config=<file>`; only the environment's own `-backend-config=key=<environment>.tfstate` goes with it."
  value       = <<-TEXT
    bucket       = "${aws_s3_bucket.state.bucket}"
    region       = "${var.region}"
    kms_key_id   = "${aws_kms_key.state.arn}"
    encrypt      = true
    use_lockfile = true
  TEXT
}
