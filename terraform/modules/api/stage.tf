# Access and execution logs need the role that terraform/bootstrap gives API Gateway, once per account and Region.

resource "aws_cloudwatch_log_group" "access" {
  name              = "/aws/api-gateway/${var.name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

# API Gateway chooses this name. Made before it writes, so that the log is encrypted and not kept for ever.
resource "aws_cloudwatch_log_group" "execution" {
  name              = "API-Gateway-Execution-Logs_${aws_api_gateway_rest_api.this.id}/${var.stage_name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

locals {
  # A line per request. API Gateway inserts text without escaping it, and "-" where there is none: so every value is in
  # quotes, and none is the client's own text (path, user agent, error messages that repeat a header). The message that
  # belongs to an error type is in the execution log, under the same requestId. The key's id, never the key. At most 3 KB.
  access_log = {
    requestId         = "$context.requestId"
    extendedRequestId = "$context.extendedRequestId"
    traceId           = "$context.xrayTraceId"
    time              = "$context.requestTimeEpoch"
    apiKeyId          = "$context.identity.apiKeyId"
    sourceIp          = "$context.identity.sourceIp"
    method            = "$context.httpMethod"
    route             = "$context.resourcePath"
    status            = "$context.status"
    responseBytes     = "$context.responseLength"
    responseMs        = "$context.responseLatency"
    integrationMs     = "$context.integrationLatency"
    integrationStatus = "$context.integrationStatus"  # Lambda's answer to API Gateway
    functionStatus    = "$context.integration.status" # the function's answer
    errorType         = "$context.error.responseType"
    scope             = "$context.authorizer.scope" # one of three words that the authorizer knows
    authorizerStatus  = "$context.authorizer.status"
    authorizerMs      = "$context.authorizer.integrationLatency"
    tlsVersion        = "$context.tlsVersion"
    cipherSuite       = "$context.cipherSuite"
  }

  # Whoever needs no key has no tier that limits them.
  throttled_apart = merge(
    { for key, operation in local.operations : key => var.throttling.without_key if !operation.key },
    var.throttling.methods,
    { for key in var.closed_operations : key => { rate_per_second = 0, burst = 0 } },
  )

  # Settings by method. A method with a throttle of its own inherits nothing and gets all settings again.
  methods_throttled = merge(
    { "*/*" = { rate_per_second = var.throttling.rate_per_second, burst = var.throttling.burst } },
    # "PUT /users/{userId}/score" is ~1users~1{userId}~1score/PUT: every slash of the path, the first one too, as in a JSON
    # pointer. If API Gateway does not know a path, it keeps the setting and applies it to nothing.
    {
      for key, throttle in local.throttled_apart :
      "${replace(split(" ", key)[1], "/", "~1")}/${split(" ", key)[0]}" => { rate_per_second = throttle.rate_per_second, burst = throttle.burst }
    },
  )
}

resource "aws_api_gateway_stage" "this" {
  #checkov:skip=CKV_AWS_120:Replies are never cached (Cache-Control: no-store): ranks change with every score, and a cache is billed by the hour.
  #checkov:skip=CKV2_AWS_51:Client certificates are for HTTP back ends; these are Lambda functions, which IAM guards.
  #checkov:skip=CKV2_AWS_77:The firewall has the rule set against Log4j, from local.managed_rules, which the check cannot read.
  rest_api_id          = aws_api_gateway_rest_api.this.id
  deployment_id        = aws_api_gateway_deployment.this.id
  stage_name           = var.stage_name
  xray_tracing_enabled = true

  access_log_settings {
    destination_arn = aws_cloudwatch_log_group.access.arn
    format          = jsonencode(local.access_log)
  }
}

resource "aws_api_gateway_method_settings" "this" {
  #checkov:skip=CKV_AWS_225:Replies are never cached, see the stage.
  for_each = local.methods_throttled

  rest_api_id = aws_api_gateway_rest_api.this.id
  stage_name  = aws_api_gateway_stage.this.stage_name
  method_path = each.key

  settings {
    throttling_rate_limit  = each.value.rate_per_second
    throttling_burst_limit = each.value.burst
    metrics_enabled        = var.detailed_metrics
    logging_level          = "ERROR"
    data_trace_enabled     = false # it would log bodies and keys
    caching_enabled        = false
  }

  depends_on = [aws_cloudwatch_log_group.execution]
}
