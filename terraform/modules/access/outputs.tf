output "authorizer_environment" {
  description = "The settings of the function that checks tokens."
  value = merge(
    {
      TOKEN_ISSUER      = var.name
      TOKEN_PUBLIC_KEYS = jsonencode({ for slot, key in aws_kms_key.signing : key.key_id => data.aws_kms_public_key.signing[slot].public_key_pem })
      REVOKED_TOKENS    = join(",", sort(var.revoked_tokens))
    },
    var.oidc == null ? {} : { for name, value in var.oidc : "OIDC_${upper(name)}" => value if value != null },
  )
}

output "issuer_environment" {
  description = "The settings of the function that makes tokens."
  value = {
    TOKEN_ISSUER = var.name
    TOKEN_KEY    = aws_kms_key.signing[var.signing_key].arn
  }
}

output "signing_key_alias" {
  description = "Alias of the key that signs new tokens, for `make token`."
  value       = aws_kms_alias.signing.name
}

output "signing_key_arn" {
  description = "ARN of the key that signs new tokens."
  value       = aws_kms_key.signing[var.signing_key].arn
}
