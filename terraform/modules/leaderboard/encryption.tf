# The key for logs, notifications and the functions' settings. The cache's data has a key of its own, in
# ../cache.

resource "aws_kms_key" "operations" {
  count = var.kms_key_arns == null ? 1 : 0

  description             = "Logs, notifications and settings of ${local.name}"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = data.aws_iam_policy_document.operations_key.json
}

resource "aws_kms_alias" "operations" {
  count = var.kms_key_arns == null ? 1 : 0

  name          = "alias/${local.name}-operations"
  target_key_id = aws_kms_key.operations[0].key_id
}

# In a key's policy, the resource "*" is the key itself, which has no ARN before it exists.
data "aws_iam_policy_document" "operations_key" {
  #checkov:skip=CKV_AWS_109:The account administers its own key, through the IAM policies of its roles.
  #checkov:skip=CKV_AWS_111:The only resource in a key's policy is the key.
  #checkov:skip=CKV_AWS_356:The only resource in a key's policy is the key.

  # Without this, nobody could ever change the key again. IAM policies say who in the account may do what.
  statement {
    sid       = "TheAccountAdministersTheKey"
    actions   = ["kms:*"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:${local.partition}:iam::${local.account_id}:root"]
    }
  }

  statement {
    sid       = "LogGroupsOfThisSystem"
    actions   = ["kms:Encrypt*", "kms:Decrypt*", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:Describe*"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["logs.${local.region}.${data.aws_partition.current.dns_suffix}"]
    }

    condition {
      test     = "ArnLike"
      variable = "kms:EncryptionContext:aws:logs:arn"
      values = [
        "arn:${local.partition}:logs:${local.region}:${local.account_id}:log-group:*${local.name}*",
        # API Gateway names its execution log after the API's id, which is not known yet.
        "arn:${local.partition}:logs:${local.region}:${local.account_id}:log-group:API-Gateway-Execution-Logs_*/${var.stage_name}",
      ]
    }
  }

  statement {
    sid       = "AlarmsOfThisAccount"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey*"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account_id]
    }
  }
}
