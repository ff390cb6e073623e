# What the plan says for a small contract. tests/terraform/test_gateway_templates.py looks at the body made from the real one.

provider "aws" {
  region                      = "eu-central-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_region_validation      = true
  skip_requesting_account_id  = true
}

override_resource {
  target          = aws_api_gateway_rest_api.this
  override_during = plan
  values = {
    id            = "abc123"
    execution_arn = "arn:aws:execute-api:eu-central-1:123456789012:abc123"
  }
}

variables {
  name = "leaderboard-test"

  contract = {
    openapi  = "3.0.3"
    info     = { title = "Scores", version = "1.2.3" }
    security = [{ ApiKey = [] }]
    paths = {
      "/health" = {
        get  = { operationId = "health", security = [], responses = {} }
        head = { operationId = "health.head", security = [], responses = {} }
      }
      "/users/{userId}/score" = {
        parameters = [{ "$ref" = "#/components/parameters/UserId" }]
        put        = { operationId = "scores.update", requestBody = { required = true }, responses = {} }
        get        = { operationId = "scores.get", responses = {} }
      }
    }
    components = {
      parameters      = { UserId = { name = "userId", in = "path", required = true, schema = { type = "string", pattern = "^.$" } } }
      securitySchemes = { ApiKey = { type = "apiKey", in = "header", name = "x-api-key", description = "A key" } }
    }
  }

  functions = {
    health = {
      name       = "leaderboard-test-health"
      alias      = "live"
      invoke_arn = "arn:aws:apigateway:eu-central-1:lambda:path/2015-03-31/functions/arn:aws:lambda:eu-central-1:123456789012:function:leaderboard-test-health:live/invocations"
    }
    scores = {
      name       = "leaderboard-test-scores"
      alias      = "live"
      invoke_arn = "arn:aws:apigateway:eu-central-1:lambda:path/2015-03-31/functions/arn:aws:lambda:eu-central-1:123456789012:function:leaderboard-test-scores:live/invocations"
    }
  }

  throttling = {
    rate_per_second = 500
    burst           = 250
    methods         = { "PUT /users/{userId}/score" = { rate_per_second = 100, burst = 50 } }
  }

  usage_plans = {
    game    = { rate_per_second = 200, burst = 100 }
    partner = { rate_per_second = 5, burst = 10, quota_per_month = 100000 }
  }

  api_keys           = { client = "game", website = "partner", forum = "partner" }
  log_retention_days = 30
  kms_key_arn        = "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555555"
  waf                = null # but where it is looked at: Terraform takes many seconds for the nested schema of a web ACL
  detailed_metrics   = true
}

run "the_contract_becomes_an_api_on_the_aliases_of_its_functions" {
  command = plan

  # Each operation reaches the alias of its function and no further.
  assert {
    condition = { for key, one in aws_lambda_permission.this : key => "${one.function_name}:${one.qualifier} ${one.source_arn}" } == {
      "GET /health"               = "leaderboard-test-health:live arn:aws:execute-api:eu-central-1:123456789012:abc123/v1/GET/health"
      "HEAD /health"              = "leaderboard-test-health:live arn:aws:execute-api:eu-central-1:123456789012:abc123/v1/HEAD/health"
      "GET /users/{userId}/score" = "leaderboard-test-scores:live arn:aws:execute-api:eu-central-1:123456789012:abc123/v1/GET/users/*/score"
      "PUT /users/{userId}/score" = "leaderboard-test-scores:live arn:aws:execute-api:eu-central-1:123456789012:abc123/v1/PUT/users/*/score"
    }
    error_message = "A permission is missing, too wide or not on the alias."
  }

  assert {
    condition     = alltrue([for one in aws_lambda_permission.this : one.principal == "apigateway.amazonaws.com" && one.action == "lambda:InvokeFunction"])
    error_message = "Somebody other than API Gateway may call a function, or may do more."
  }

  assert {
    condition     = length(distinct([for one in aws_lambda_permission.this : one.statement_id])) == 4
    error_message = "Two permissions have one statement id."
  }

  # The body is the contract with integrations.
  assert {
    condition = { for path, item in jsondecode(aws_api_gateway_rest_api.this.body).paths : path => keys(item) } == {
      "/health"               = ["get", "head", "options"]
      "/users/{userId}/score" = ["get", "options", "put"]
    }
    error_message = "The body's methods are not the contract's and OPTIONS."
  }

  assert {
    condition     = endswith(jsondecode(aws_api_gateway_rest_api.this.body).paths["/health"].get["x-amazon-apigateway-integration"].uri, "leaderboard-test-health:live/invocations")
    error_message = "An integration does not call the alias."
  }

  assert {
    condition     = jsondecode(aws_api_gateway_rest_api.this.body).paths["/health"].get.security == [] && length(jsondecode(aws_api_gateway_rest_api.this.body).paths["/users/{userId}/score"].put.security) == 1
    error_message = "A key is asked for where the contract asks for none, or the other way round."
  }

  assert {
    condition     = aws_api_gateway_deployment.this.triggers.redeployment == sha1(jsonencode(jsondecode(aws_api_gateway_rest_api.this.body)))
    error_message = "The deployment does not follow the body."
  }

  assert {
    condition     = aws_api_gateway_rest_api.this.endpoint_configuration[0].types == tolist(["REGIONAL"]) && !aws_api_gateway_rest_api.this.disable_execute_api_endpoint
    error_message = "Without a domain, the Regional endpoint is the way in."
  }

  # Each method is throttled.
  assert {
    condition = { for key, one in aws_api_gateway_method_settings.this : key => "${one.settings[0].throttling_rate_limit}/${one.settings[0].throttling_burst_limit}" } == {
      "*/*"                          = "500/250"
      "~1health/GET"                 = "10/20"
      "~1health/HEAD"                = "10/20"
      "~1users~1{userId}~1score/PUT" = "100/50"
    }
    error_message = "A throttle is missing, wrong or under a path that API Gateway does not know: each method that needs no key has its own."
  }

  assert {
    condition = alltrue([
      for one in aws_api_gateway_method_settings.this :
      one.settings[0].data_trace_enabled == false && one.settings[0].logging_level == "ERROR" && one.settings[0].metrics_enabled && one.settings[0].caching_enabled == false
    ])
    error_message = "Bodies are logged, or errors are not, or a method with a throttle of its own lost its metrics."
  }

  # Keys belong to tiers.
  assert {
    condition     = jsonencode({ for key, one in aws_api_gateway_usage_plan.this : key => one.quota_settings[*].limit }) == jsonencode({ game = [], partner = [100000] })
    error_message = "A tier's quota is wrong."
  }

  assert {
    condition     = alltrue([for one in aws_api_gateway_usage_plan.this : length(one.api_stages) == 1 && [for stage in one.api_stages : stage.stage][0] == "v1"])
    error_message = "A tier does not open the stage."
  }

  assert {
    condition     = { for key, one in aws_api_gateway_api_key.this : key => one.name } == { client = "leaderboard-test-client", forum = "leaderboard-test-forum", website = "leaderboard-test-website" }
    error_message = "A key is missing."
  }

  assert {
    condition     = toset(keys(aws_api_gateway_usage_plan_key.this)) == toset(["client", "forum", "website"])
    error_message = "A key has no tier."
  }

  # Everything is logged, is encrypted, and ends.
  assert {
    condition = alltrue([
      for one in [aws_cloudwatch_log_group.access, aws_cloudwatch_log_group.execution] :
      one.retention_in_days == 30 && one.kms_key_id == var.kms_key_arn
    ])
    error_message = "A log group is not encrypted with the key, or keeps its lines for ever."
  }

  assert {
    condition     = aws_cloudwatch_log_group.execution.name == "API-Gateway-Execution-Logs_abc123/v1"
    error_message = "A log group has not the name under which AWS looks for it."
  }

  assert {
    condition     = length(aws_api_gateway_stage.this.access_log_settings[0].format) <= 3000 && !strcontains(aws_api_gateway_stage.this.access_log_settings[0].format, "identity.apiKey\"")
    error_message = "The access log's template is longer than API Gateway takes, or shows API keys."
  }

  assert {
    condition     = aws_api_gateway_stage.this.xray_tracing_enabled
    error_message = "Requests are not traced."
  }

  # Without a firewall there is nothing of it.
  assert {
    condition     = length(aws_wafv2_web_acl.this) + length(aws_wafv2_web_acl_association.this) + length(aws_wafv2_web_acl_logging_configuration.this) + length(aws_cloudwatch_log_group.waf) == 0
    error_message = "A part of the firewall is left."
  }

  assert {
    condition     = output.web_acl_arn == null
    error_message = "There is an ARN of nothing."
  }
}

run "the_firewall_limits_addresses_and_lets_the_contracts_bodies_through" {
  command = plan

  variables {
    waf = { requests_per_5_minutes_per_ip = 60000 } # 300 seconds at 200 a second
  }

  assert {
    condition     = one([for rule in aws_wafv2_web_acl.this[0].rule : rule.statement[0].rate_based_statement[0].limit if rule.name == "requests-per-ip"]) == 60000
    error_message = "The limit per address is not the given one."
  }

  assert {
    condition = jsonencode({ for rule in aws_wafv2_web_acl.this[0].rule : rule.name => rule.statement[0].managed_rule_group_statement[0].rule_action_override[*].name if startswith(rule.name, "AWS") }) == jsonencode({
      AWSManagedRulesCommonRuleSet         = ["SizeRestrictions_BODY", "NoUserAgent_HEADER"]
      AWSManagedRulesKnownBadInputsRuleSet = []
    })
    error_message = "A managed rule set is missing, or more or fewer of its rules are softened than the contract needs."
  }

  assert {
    condition = one([
      for rule in aws_wafv2_web_acl.this[0].rule : [
        length(rule.action[0].block), rule.statement[0].size_constraint_statement[0].comparison_operator, rule.statement[0].size_constraint_statement[0].size,
        rule.statement[0].size_constraint_statement[0].field_to_match[0].body[0].oversize_handling, aws_wafv2_web_acl.this[0].association_config[0].request_body[0].api_gateway[0].default_size_inspection_limit,
      ] if rule.name == "body-size"
    ]) == [1, "GT", 65536, "MATCH", "KB_64"]
    error_message = "A body above 64 KiB, of which the firewall sees no more, passes, or one of 64 KiB does not."
  }

  assert {
    condition     = length(distinct([for rule in aws_wafv2_web_acl.this[0].rule : rule.priority])) == length(aws_wafv2_web_acl.this[0].rule)
    error_message = "Two rules have one priority."
  }

  assert {
    condition     = toset(flatten(aws_wafv2_web_acl_logging_configuration.this[0].redacted_fields[*].single_header[*].name)) == toset(["authorization", "cookie", "idempotency-key", "x-api-key"])
    error_message = "A header that only its sender should know is logged."
  }

  assert {
    condition     = alltrue([for rule in aws_wafv2_web_acl.this[0].rule : !rule.visibility_config[0].sampled_requests_enabled])
    error_message = "Samples would show API keys in the console."
  }

  assert {
    condition     = aws_cloudwatch_log_group.waf[0].name == "aws-waf-logs-leaderboard-test" && aws_cloudwatch_log_group.waf[0].retention_in_days == 30 && aws_cloudwatch_log_group.waf[0].kms_key_id == var.kms_key_arn
    error_message = "The firewall's log group has not the name under which AWS looks for it, is not encrypted, or keeps its lines for ever."
  }
}

run "a_domain_of_ones_own_is_the_only_way_in" {
  command = plan

  variables {
    closed_operations = ["PUT /users/{userId}/score"]
    domain = {
      name            = "scores.example.com"
      certificate_arn = "arn:aws:acm:eu-central-1:123456789012:certificate/11111111-2222-3333-4444-555555555555"
      hosted_zone_id  = "Z0123456789ABCDEFGHIJ"
    }

    # And there is somebody to ask who a token is of. Any function will do here.
    authorizer = "health"
    contract = {
      openapi  = "3.0.3"
      info     = { title = "Scores", version = "1.2.3" }
      security = [{ ApiKey = [] }]
      paths = {
        "/health" = { get = { operationId = "health", security = [], responses = {} } }
        "/users/{userId}/score" = {
          put = { operationId = "scores.update", x-scopes = ["server"], security = [{ ApiKey = [], Bearer = [] }], requestBody = { required = true }, responses = {} }
          get = { operationId = "scores.get", x-scopes = [], responses = {} }
        }
      }
      components = {
        securitySchemes = {
          ApiKey = { type = "apiKey", in = "header", name = "x-api-key" }
          Bearer = { type = "http", scheme = "bearer", x-pattern = "^Bearer .+$" }
        }
      }
    }
  }

  assert {
    condition = jsondecode(aws_api_gateway_rest_api.this.body).components.securitySchemes == {
      ApiKey = { type = "apiKey", in = "header", name = "x-api-key" }
      Token = {
        type                           = "apiKey"
        in                             = "header"
        name                           = "Authorization"
        "x-amazon-apigateway-authtype" = "custom"
        "x-amazon-apigateway-authorizer" = {
          type                         = "token"
          authorizerUri                = var.functions.health.invoke_arn
          identityValidationExpression = "^Bearer .+$"
          authorizerResultTtlInSeconds = 300
        }
      }
    }
    error_message = "API Gateway should ask the authorizer's alias about the header Authorization, and remember what it says."
  }

  assert {
    condition = { for path, item in jsondecode(aws_api_gateway_rest_api.this.body).paths : path => { for method, one in item : method => flatten([for each in one.security : keys(each)]) } } == {
      "/health"               = { get = [], options = [] }
      "/users/{userId}/score" = { get = ["ApiKey"], options = [], put = ["ApiKey", "Token"] }
    }
    error_message = "Only what lists scopes should need a token."
  }

  assert {
    condition     = [for one in aws_lambda_permission.authorizer : "${one.function_name}:${one.qualifier} ${one.source_arn}"] == ["leaderboard-test-health:live arn:aws:execute-api:eu-central-1:123456789012:abc123/authorizers/*"]
    error_message = "API Gateway should be allowed to ask, as an authorizer of this API."
  }

  assert {
    condition     = aws_api_gateway_rest_api.this.disable_execute_api_endpoint
    error_message = "AWS's own host name goes around the domain."
  }

  assert {
    condition     = aws_api_gateway_method_settings.this["~1users~1{userId}~1score/PUT"].settings[0].throttling_rate_limit == 0 && aws_api_gateway_method_settings.this["~1users~1{userId}~1score/PUT"].settings[0].throttling_burst_limit == 0
    error_message = "An operation that nobody answers should be closed, whatever its throttle is."
  }

  assert {
    condition     = aws_api_gateway_domain_name.this[0].security_policy == "TLS_1_2" && aws_api_gateway_base_path_mapping.this[0].stage_name == "v1"
    error_message = "The domain takes old TLS, or leads nowhere."
  }

  assert {
    condition     = aws_route53_record.this[0].name == "scores.example.com" && output.invoke_url == "https://scores.example.com"
    error_message = "Nobody finds the domain."
  }

  assert {
    condition     = jsondecode(aws_api_gateway_rest_api.this.body).servers[0]["x-amazon-apigateway-endpoint-configuration"].disableExecuteApiEndpoint
    error_message = "Closing the old way in needs a deployment, which follows the body, and an import must not open it."
  }
}

run "a_tls_policy_goes_into_the_body_and_a_domain_without_a_zone_makes_no_record" {
  command = plan

  variables {
    tls_policy = "SecurityPolicy_TLS13_1_3_2025_09"
    domain = {
      name            = "scores.example.com"
      certificate_arn = "arn:aws:acm:eu-central-1:123456789012:certificate/11111111-2222-3333-4444-555555555555"
    }
  }

  assert {
    condition     = jsondecode(aws_api_gateway_rest_api.this.body)["x-amazon-apigateway-security-policy"] == "SecurityPolicy_TLS13_1_3_2025_09"
    error_message = "The policy is not in the body."
  }

  assert {
    condition     = length(aws_api_gateway_domain_name.this) == 1 && length(aws_route53_record.this) == 0
    error_message = "There is a record without a zone."
  }
}

run "values_that_aws_would_refuse_late_are_refused_now" {
  command = plan

  variables {
    name       = "Leaderboard"
    stage_name = "v1/x"
    functions = { # none answers the operations of /users/{userId}/score
      health = {
        name       = "leaderboard-test-health"
        alias      = "live"
        invoke_arn = "arn:aws:apigateway:eu-central-1:lambda:path/2015-03-31/functions/arn:aws:lambda:eu-central-1:123456789012:function:leaderboard-test-health:live/invocations"
      }
    }
    throttling = {
      rate_per_second = 500
      burst           = 250
      methods         = { "POST /users/{userId}/score" = { rate_per_second = 100, burst = 50 } } # the contract has no such method
    }
    usage_plans        = { game = { rate_per_second = 200, burst = 100, quota_per_month = 0 }, partner = { rate_per_second = 5, burst = 10 } }
    log_retention_days = 31
    domain             = { name = "https://scores.example.com", certificate_arn = "scores" }
    tls_policy         = "TLS_1_0"
  }

  expect_failures = [
    var.name, var.stage_name, var.functions, var.throttling, var.usage_plans, var.log_retention_days, var.domain, var.tls_policy,
  ]
}

run "ways_past_the_alias_closed_methods_and_keys_without_a_tier_are_refused" {
  command = plan

  variables {
    functions = {
      health = { # no alias in its ARN
        name       = "leaderboard-test-health"
        alias      = "live"
        invoke_arn = "arn:aws:apigateway:eu-central-1:lambda:path/2015-03-31/functions/arn:aws:lambda:eu-central-1:123456789012:function:leaderboard-test-health/invocations"
      }
      scores = {
        name       = "leaderboard-test-scores"
        alias      = "live"
        invoke_arn = "arn:aws:apigateway:eu-central-1:lambda:path/2015-03-31/functions/arn:aws:lambda:eu-central-1:123456789012:function:leaderboard-test-scores:live/invocations"
      }
    }
    throttling = {
      rate_per_second = 500
      burst           = 250
      methods         = { "PUT /users/{userId}/score" = { rate_per_second = 0, burst = 50 } } # nobody would get through
    }
    api_keys = { client = "gold" }                       # no such tier
    waf      = { requests_per_5_minutes_per_ip = 59999 } # the tier `game` allows 60,000
  }

  expect_failures = [var.functions, var.throttling, var.api_keys, var.waf]
}

run "a_contract_with_another_kind_of_key_is_refused_and_more_requests_than_a_firewall_counts" {
  command = plan

  variables {
    waf = { requests_per_5_minutes_per_ip = 2000000001 }
    contract = {
      openapi    = "3.0.3"
      info       = { title = "Scores", version = "1.2.3" }
      security   = [{ Bearer = [] }]
      paths      = { "/users/{userId}/score" = { put = { operationId = "scores.update", responses = {} } } }
      components = { securitySchemes = { Bearer = { type = "http", scheme = "bearer" } } }
    }
  }

  expect_failures = [var.contract, var.waf]
}
