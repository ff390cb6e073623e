# The REST API as one document. body.tf makes it from the contract, gateway_responses.tf adds what API Gateway answers by
# itself; stage.tf deploys it, keys.tf says who may call how often, waf.tf and domain.tf stand in front of it.

resource "aws_api_gateway_rest_api" "this" {
  #checkov:skip=CKV_AWS_237:The stage follows every new deployment at once, and nothing but the stage uses this API; a second one of the same name would only leave clients and alarms with two.
  name        = var.name
  description = "The leaderboard's API, made from the contract"
  body        = jsonencode(local.body)

  # With a name of one's own there is one way in: AWS's own host name would go around it.
  disable_execute_api_endpoint = var.domain != null

  endpoint_configuration {
    types = ["REGIONAL"]
  }
}

resource "aws_api_gateway_deployment" "this" {
  rest_api_id = aws_api_gateway_rest_api.this.id
  description = "Contract ${var.contract.info.version}"

  # All that a deployment freezes, as values: a resource's attributes are unknown while it changes, and would deploy anew
  # every time, or too late. Methods, validators, models and gateway responses are all in the body.
  triggers = {
    redeployment = sha1(jsonencode([local.body, var.domain != null]))
  }

  lifecycle {
    create_before_destroy = true # the stage points at the old one until the new one is there
  }
}

# One permission an operation, on the alias that the integration calls: an unqualified one would not cover it, and a
# wider one would let other stages and methods in. A function's policy may have 20 KB, which is about fifty of these.
resource "aws_lambda_permission" "this" {
  for_each = local.operations

  statement_id  = replace("api-${var.stage_name}-${each.value.id}", "/[^A-Za-z0-9_-]/", "-")
  action        = "lambda:InvokeFunction"
  principal     = "apigateway.amazonaws.com"
  function_name = var.functions[each.value.function].name
  qualifier     = var.functions[each.value.function].alias
  source_arn    = "${aws_api_gateway_rest_api.this.execution_arn}/${var.stage_name}/${upper(each.value.method)}${local.any_value[each.value.path]}"
}

locals {
  # A path parameter of a source ARN is written as a star.
  any_value = { for path in keys(var.contract.paths) : path => replace(path, "/\\{[^}]+\\}/", "*") }
}
