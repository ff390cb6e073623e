# Who may call, and how it is proved: the keys that sign tokens, and what the functions that make and check tokens are told.
# Both functions are in ../functions; the private halves of the keys never leave KMS.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

locals {
  # Two keys, so that the one that signs can be changed without an outage: every authorizer knows both long before that.
  slots = toset(["a", "b"])

  account_id = data.aws_caller_identity.current.account_id
  partition  = data.aws_partition.current.partition
}

# KMS does not rotate asymmetric keys by itself.
resource "aws_kms_key" "signing" {
  #checkov:skip=CKV_AWS_7:KMS cannot rotate an asymmetric key; signing_key changes to the other one.
  for_each = local.slots

  description              = "Signs tokens of ${var.name}, key ${each.key}"
  customer_master_key_spec = "ECC_NIST_P256"
  key_usage                = "SIGN_VERIFY"
  deletion_window_in_days  = 30
  policy                   = data.aws_iam_policy_document.signing_key.json
}

# What `make token` signs with, whichever key that is.
resource "aws_kms_alias" "signing" {
  name          = "alias/${var.name}-tokens"
  target_key_id = aws_kms_key.signing[var.signing_key].key_id
}

# In a key's policy, the resource "*" is the key itself, which has no ARN before it exists.
data "aws_iam_policy_document" "signing_key" {
  #checkov:skip=CKV_AWS_109:The account administers its own key, through the IAM policies of its roles.
  #checkov:skip=CKV_AWS_111:The only resource in a key's policy is the key.
  #checkov:skip=CKV_AWS_356:The only resource in a key's policy is the key.

  # Without this, nobody could ever change the key again. IAM policies say who in the account may sign.
  statement {
    sid       = "TheAccountAdministersTheKey"
    actions   = ["kms:*"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:${local.partition}:iam::${local.account_id}:root"]
    }
  }
}

# Read while planning, so whoever plans needs kms:GetPublicKey. It refers to the key's id and does not depend on the key: a
# change of its tags leaves the public key known, and the authorizer as it is.
data "aws_kms_public_key" "signing" {
  for_each = local.slots

  key_id = aws_kms_key.signing[each.key].key_id
}

# The current key only, and what a token is: a text that KMS hashes itself. Written here and not as a document, whose text no
# plan would show before there is a key.
resource "aws_iam_role_policy" "sign" {
  name = "sign"
  role = var.issuer_role_name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid      = "SignTokens"
      Effect   = "Allow"
      Action   = "kms:Sign"
      Resource = aws_kms_key.signing[var.signing_key].arn
      Condition = {
        StringEquals = { "kms:MessageType" = "RAW", "kms:SigningAlgorithm" = "ECDSA_SHA_256" }
      }
    }]
  })
}
