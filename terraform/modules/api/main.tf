# The REST API as one document. body.tf makes it from the contract, and gateway_responses.tf adds what API Gateway answers
# by itself; stage.tf deploys it, keys.tf says who may call how often, and waf.tf and domain.tf are in front of it.

locals {
  description     = "The leaderboard's API, made from the contract"
  only_own_domain = var.domain != null # with a host name of your own, that is the only way in
}

# After an import, the provider compares it with the arguments, and updates what differs. With a security policy AWS is at
# work on the import for a quarter of an hour, and refuses the update. So the body says all that the arguments say.
resource "aws_api_gateway_rest_api" "this" {
  #checkov:skip=CKV_AWS_237:The stage follows each new deployment at once, and only the stage uses this API; a second API of this name would only confuse clients and alarms.
  name        = var.name
  description = local.description
  body        = jsonencode(local.body)

  disable_execute_api_endpoint = local.only_own_domain

  endpoint_configuration {
    types = ["REGIONAL"]
  }
}

resource "aws_api_gateway_deployment" "this" {
  rest_api_id = aws_api_gateway_rest_api.this.id
  description = "Contract ${var.contract.info.version}"

  # Everything that a deployment freezes, as values: a resource's attributes are unknown while it changes, so they would
  # deploy every time, or too late. Methods, validators, models and gateway responses are all in the body.
  triggers = {
    redeployment = sha1(jsonencode(local.body))
  }

  lifecycle {
    create_before_destroy = true # the stage points to the old one until the new one is there
  }
}

# One permission per operation, on the alias that the integration calls: one without the alias would not cover it, and a
# wider one would let in other stages and methods. A function's policy can have 20 KB, about fifty of these.
resource "aws_lambda_permission" "this" {
  for_each = local.operations

  statement_id  = replace("api-${var.stage_name}-${each.value.id}", "/[^A-Za-z0-9_-]/", "-")
  action        = "lambda:InvokeFunction"
  principal     = "apigateway.amazonaws.com"
  function_name = var.functions[each.value.function].name
  qualifier     = var.functions[each.value.function].alias
  source_arn    = "${aws_api_gateway_rest_api.this.execution_arn}/${var.stage_name}/${upper(each.value.method)}${local.any_value[each.value.path]}"
}

# An authorizer that is made from the document has an id that nobody knows before: hence the star, which stands for any of this
# API's.
resource "aws_lambda_permission" "authorizer" {
  for_each = toset(var.authorizer[*])

  statement_id  = "api-authorizer"
  action        = "lambda:InvokeFunction"
  principal     = "apigateway.amazonaws.com"
  function_name = var.functions[each.key].name
  qualifier     = var.functions[each.key].alias
  source_arn    = "${aws_api_gateway_rest_api.this.execution_arn}/authorizers/*"
}

locals {
  # In a source ARN, a path parameter is a star.
  any_value = { for path in keys(var.contract.paths) : path => replace(path, "/\\{[^}]+\\}/", "*") }
}
