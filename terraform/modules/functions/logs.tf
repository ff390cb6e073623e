# Each function has its own log group, made before it. One made by Lambda would keep everything for ever, unencrypted.

resource "aws_cloudwatch_log_group" "function" {
  #checkov:skip=CKV_AWS_338:How long logs are kept is for each environment to say.
  for_each = local.names

  name              = "/aws/lambda/${each.value}"
  retention_in_days = lookup(var.own_log_retention_days, each.key, var.log_retention_days)
  kms_key_id        = var.kms_key_arn
}

locals {
  log_group_arns = {
    for key, name in local.names : key => "arn:${local.partition}:logs:${local.region}:${local.account}:log-group:/aws/lambda/${name}"
  }
}
