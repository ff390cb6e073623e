# The cache's own key, for its data at rest and its snapshots. To lose it is to lose both: AWS keeps it for 30 more days.

locals {
  key_administration = [
    "kms:CancelKeyDeletion",
    "kms:DescribeKey",
    "kms:DisableKey",
    "kms:DisableKeyRotation",
    "kms:EnableKey",
    "kms:EnableKeyRotation",
    "kms:GetKeyPolicy",
    "kms:GetKeyRotationStatus",
    "kms:ListGrants",
    "kms:ListKeyPolicies",
    "kms:ListKeyRotations",
    "kms:ListResourceTags",
    "kms:PutKeyPolicy",
    "kms:RetireGrant",
    "kms:RevokeGrant",
    "kms:RotateKeyOnDemand",
    "kms:ScheduleKeyDeletion",
    "kms:TagResource",
    "kms:UntagResource",
    "kms:UpdateKeyDescription",
    # These need a permission on the alias and on the key.
    "kms:CreateAlias",
    "kms:DeleteAlias",
    "kms:UpdateAlias",
  ]
}

resource "aws_kms_key" "this" {
  count = var.kms_key == null ? 1 : 0

  description             = "Data at rest and snapshots of the cache ${var.name}"
  enable_key_rotation     = true
  deletion_window_in_days = 30

  # In both statements, the account stands for those in it whose own IAM policies allow the same, and "*" for this key,
  # which has no ARN before it exists.
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "TheAccountAdministersTheKey"
        Effect    = "Allow"
        Principal = { AWS = "arn:${local.partition}:iam::${local.account_id}:root" }
        Action    = local.key_administration
        Resource  = "*" # this key
      },
      {
        # Nobody can decrypt with it directly, not even an administrator: only ElastiCache can, for those who may use it.
        Sid       = "ElastiCacheUsesTheKeyForTheAccount"
        Effect    = "Allow"
        Principal = { AWS = "arn:${local.partition}:iam::${local.account_id}:root" }
        Action    = ["kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"]
        Resource  = "*" # this key
        Condition = {
          StringEquals = {
            "kms:CallerAccount" = local.account_id
            "kms:ViaService"    = "elasticache.${local.region}.${data.aws_partition.current.dns_suffix}"
          }
        }
      },
    ]
  })
}

resource "aws_kms_alias" "this" {
  count = var.kms_key == null ? 1 : 0

  name          = "alias/${var.name}-cache"
  target_key_id = aws_kms_key.this[0].key_id
}

# Until a key could be given. Terraform adds an index by itself, but not to what comes from another module at the same time.
moved {
  from = aws_kms_key.this
  to   = aws_kms_key.this[0]
}

moved {
  from = aws_kms_alias.this
  to   = aws_kms_alias.this[0]
}
