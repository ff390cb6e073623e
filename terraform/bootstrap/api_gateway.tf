# The role by which API Gateway writes every API's logs in this account and Region: one setting for all of them. A stack
# that has it in its own Terraform takes it from all others when it is destroyed, so it stands here and no module has it.

resource "aws_iam_role" "api_gateway_logs" {
  count = var.api_gateway_logs ? 1 : 0

  name        = "${var.project}-api-gateway-logs-${var.region}" # roles are the account's, the setting is the Region's
  description = "API Gateway writes the logs of all APIs in ${var.region}"

  # No aws:SourceAccount condition: AWS documents none for this role, API Gateway tries it before it takes it, and
  # only who may pass a role of this account can name it.
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "apigateway.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

# AWS's own policy for exactly this: API Gateway refuses a role that lacks any of its actions, and AWS keeps it current.
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
