# The role with which API Gateway writes the logs of every API in this account and Region: one setting for all of them. If
# it were part of an environment, destroying that would take it from all others, so it is here and in no module.

resource "aws_iam_role" "api_gateway_logs" {
  count = var.api_gateway_logs ? 1 : 0

  name        = "${var.project}-api-gateway-logs-${var.region}" # roles are the account's, the setting is the Region's
  description = "API Gateway writes the logs of all APIs in ${var.region}"

  # No aws:SourceAccount condition: AWS documents none for this role, API Gateway tries a role before it takes it, and only
  # somebody who may pass a role of this account can name it.
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "apigateway.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

# AWS's own policy for exactly this: API Gateway refuses a role that lacks any of its actions, and AWS keeps it up to date.
resource "aws_iam_role_policy_attachment" "api_gateway_logs" {
  count = var.api_gateway_logs ? 1 : 0

  role       = aws_iam_role.api_gateway_logs[0].name
  policy_arn = "arn:${local.partition}:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs"
}

resource "aws_api_gateway_account" "this" {
  count = var.api_gateway_logs ? 1 : 0

  cloudwatch_role_arn = aws_iam_role.api_gateway_logs[0].arn

  depends_on = [aws_iam_role_policy_attachment.api_gateway_logs]
}
