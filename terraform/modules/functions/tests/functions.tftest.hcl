# Offline: the real provider with dummy keys plans, and asks AWS nothing. The contract is a small one, so that a new route
# breaks nothing here; the plans of the root are made from the real one.

provider "aws" {
  region                      = "eu-central-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

override_data {
  target = data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

variables {
  name = "game-test"
  contract = {
    paths = {
      "/users/{userId}" = {
        summary    = "no operation"
        parameters = [{ name = "userId" }]
        get        = { operationId = "get_user", x-cache-role = "profiles" }
        head       = { operationId = "get_user.head", x-cache-role = "profiles" }
      }
      "/users/{userId}/score" = { put = { operationId = "update_score", x-cache-role = "writes" } }
      "/sessions"             = { get = { operationId = "sessions.list", x-cache-role = "sessions" } }
      "/sessions/{sessionId}" = {
        get    = { operationId = "sessions.get", x-cache-role = "sessions" }
        delete = { operationId = "sessions.delete", x-cache-role = "sessions" }
      }
    }
  }
  build_path         = "./tests/fixtures/build"
  subnet_ids         = ["subnet-a", "subnet-b", "subnet-c"]
  security_group_ids = ["sg-a"]
  environment        = { VALKEY_HOST = "cache.example", VALKEY_TLS = "1" }
  cache = {
    name = "game-test"
    arns = [
      "arn:aws:elasticache:eu-central-1:123456789012:serverlesscache:game-test",
      "arn:aws:elasticache:eu-central-1:123456789012:serverlesscache:game-test-r1",
    ]
    users = {
      profiles  = { name = "game-test-profiles", arn = "arn:aws:elasticache:eu-central-1:123456789012:user:game-test-profiles" }
      sessions  = { name = "game-test-sessions", arn = "arn:aws:elasticache:eu-central-1:123456789012:user:game-test-sessions" }
      writes    = { name = "game-test-writes", arn = "arn:aws:elasticache:eu-central-1:123456789012:user:game-test-writes" }
      reconcile = { name = "game-test-reconcile", arn = "arn:aws:elasticache:eu-central-1:123456789012:user:game-test-reconcile" }
    }
    former_users = {
      get_user = ["arn:aws:elasticache:eu-central-1:123456789012:user:game-test-read"]
      gone     = ["arn:aws:elasticache:eu-central-1:123456789012:user:game-test-read"] # a route of the release before
    }
  }
  memory_mb          = { default = 512 }
  timeout_seconds    = { default = 60 }
  log_retention_days = 365
  kms_key_arn        = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-0000-0000-000000000000"
  alias_mover        = "terraform"
}

run "functions_follow_from_the_contract_with_roles_logs_alias_and_schedule" {
  command = plan

  # There is a function for each folder of the contract.
  assert {
    condition = { for key, function in aws_lambda_function.this : key => function.function_name } == {
      get_user     = "game-test-get-user"
      update_score = "game-test-update-score"
      sessions     = "game-test-sessions"
      reconcile    = "game-test-reconcile"
    }
    error_message = "There should be a function for each folder that the contract names, and reconcile."
  }

  assert {
    condition     = alltrue([for key, function in aws_lambda_function.this : function.handler == "functions.${key}.handler.handler"])
    error_message = "A function's handler lies in the folder that its key names."
  }

  assert {
    condition     = alltrue([for key, function in aws_lambda_function.this : function.source_code_hash == filebase64sha256("tests/fixtures/build/functions/${key}.zip")])
    error_message = "A change of a function's zip should change the function."
  }

  assert {
    condition     = aws_lambda_layer_version.this.source_code_hash == filebase64sha256("tests/fixtures/build/layer.zip")
    error_message = "A change of the layer's zip should make a new version of it."
  }

  assert {
    condition     = aws_lambda_function.this["sessions"].description == "GET /sessions, DELETE /sessions/{sessionId}, GET /sessions/{sessionId}"
    error_message = "A function's description should list its routes."
  }

  # Every function is published, traced and inside the VPC.
  assert {
    condition = alltrue([for function in aws_lambda_function.this : alltrue([
      function.publish,
      function.architectures == tolist(["arm64"]),
      function.runtime == "python3.13",
      function.memory_size == 512,
      function.timeout == 60,
      function.tracing_config[0].mode == "Active",
      function.vpc_config[0].subnet_ids == toset(var.subnet_ids),
      function.vpc_config[0].security_group_ids == toset(var.security_group_ids),
      function.kms_key_arn == var.kms_key_arn,
      function.reserved_concurrent_executions == -1,
    ])])
    error_message = "Every function should be published, traced, encrypted and in the VPC, with the default size."
  }

  assert {
    condition     = aws_lambda_layer_version.this.compatible_architectures == toset(["arm64"]) && aws_lambda_layer_version.this.compatible_runtimes == toset(["python3.13"])
    error_message = "The layer should say for what it was built."
  }

  # Logs are JSON, kept for a time and encrypted.
  assert {
    condition = alltrue([for key, function in aws_lambda_function.this : alltrue([
      function.logging_config[0].log_format == "JSON",
      function.logging_config[0].application_log_level == "INFO",
      function.logging_config[0].system_log_level == "INFO",
      function.logging_config[0].log_group == "/aws/lambda/${function.function_name}",
      aws_cloudwatch_log_group.function[key].name == "/aws/lambda/${function.function_name}",
      aws_cloudwatch_log_group.function[key].retention_in_days == 365,
      aws_cloudwatch_log_group.function[key].kms_key_id == var.kms_key_arn,
    ])])
    error_message = "Every function should log as JSON, REPORT lines too, to its own group, which has a retention and a key."
  }

  # Each function connects only as its own user.
  assert {
    condition = { for key, function in aws_lambda_function.this : key => function.environment[0].variables.VALKEY_USER } == {
      get_user     = "game-test-profiles"
      update_score = "game-test-writes"
      sessions     = "game-test-sessions"
      reconcile    = "game-test-reconcile"
    }
    error_message = "A function should connect as the role that its operations name; reconcile is itself."
  }

  assert {
    condition = alltrue([for function in aws_lambda_function.this :
      function.environment[0].variables.VALKEY_IAM_CACHE == "game-test" && function.environment[0].variables.VALKEY_HOST == "cache.example"
    ])
    error_message = "Every function should have the shared settings and the cache that its token is for."
  }

  assert {
    condition = alltrue([for key, policy in aws_iam_role_policy.function :
      toset(flatten([for statement in jsondecode(policy.policy).Statement : statement.Resource if contains(flatten([statement.Action]), "elasticache:Connect")])) == toset(concat(
        var.cache.arns,
        ["arn:aws:elasticache:eu-central-1:123456789012:user:${aws_lambda_function.this[key].environment[0].variables.VALKEY_USER}"],
        key == "get_user" ? ["arn:aws:elasticache:eu-central-1:123456789012:user:game-test-read"] : [],
      ))
    ])
    error_message = "A role should connect to our cache, as the function's own user, and to nothing else."
  }

  # Each function has a role of its own.
  assert {
    condition     = { for key, role in aws_iam_role.function : key => role.name } == { for key, function in aws_lambda_function.this : key => function.function_name }
    error_message = "There should be a role for each function, named like it."
  }

  assert {
    condition     = alltrue([for key, policy in aws_iam_role_policy.function : policy.role == aws_iam_role.function[key].name])
    error_message = "A policy should be attached to its own function's role."
  }

  assert {
    condition = alltrue([for role in aws_iam_role.function : jsondecode(role.assume_role_policy).Statement == [{
      Sid       = "Lambda"
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "lambda.amazonaws.com" }
    }]])
    error_message = "Only Lambda should take a role."
  }

  assert {
    condition = alltrue([for key, policy in aws_iam_role_policy.function : jsonencode(jsondecode(policy.policy).Statement[0]) == jsonencode({
      Sid      = "WriteOwnLogs"
      Effect   = "Allow"
      Action   = ["logs:PutLogEvents", "logs:CreateLogStream"]
      Resource = "arn:aws:logs:eu-central-1:123456789012:log-group:/aws/lambda/game-test-${replace(key, "_", "-")}:*"
    })])
    error_message = "A function should write to its own log group only, and make none."
  }

  assert {
    condition = alltrue([for policy in aws_iam_role_policy.function : toset(flatten([
      for statement in jsondecode(policy.policy).Statement : statement.Action if statement.Effect == "Allow" && statement.Resource == "*"
    ])) == toset(["ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "xray:PutTelemetryRecords", "xray:PutTraceSegments"])])
    error_message = "Only actions without a resource level should be allowed on all resources."
  }

  assert {
    condition = alltrue([for policy in aws_iam_role_policy.function : length([
      for action in flatten([for statement in jsondecode(policy.policy).Statement : statement.Action]) : action if strcontains(action, "*")
    ]) == 0])
    error_message = "No action should be a pattern."
  }

  assert {
    condition = alltrue([for key, policy in aws_iam_role_policy.function : length(setsubtract(
      flatten([for statement in jsondecode(policy.policy).Statement : statement.Action if statement.Effect == "Allow" && startswith(flatten([statement.Action])[0], "ec2:")]),
      flatten([for statement in jsondecode(policy.policy).Statement : statement.Action if statement.Effect == "Deny" && statement.Resource == "*" &&
      try(statement.Condition.ArnEquals["lambda:SourceFunctionArn"], "") == "arn:aws:lambda:eu-central-1:123456789012:function:${aws_lambda_function.this[key].function_name}"]),
    )) == 0])
    error_message = "What Lambda may do with network interfaces, the function's code may not."
  }

  assert {
    condition = alltrue([for key, policy in aws_iam_role_policy.function :
      contains(flatten([for statement in jsondecode(policy.policy).Statement : statement.Action]), "sqs:SendMessage") == (key == "reconcile")
    ])
    error_message = "Only reconcile should send to the failures queue."
  }

  # Terraform moves the alias.
  assert {
    condition     = length(aws_lambda_alias.moved_by_terraform) == 4 && length(aws_lambda_alias.moved_by_codedeploy) == 0
    error_message = "Every function should have one alias, which follows its version."
  }

  assert {
    condition     = alltrue([for alias in aws_lambda_alias.moved_by_terraform : alias.name == "live"])
    error_message = "The alias should be live."
  }

  assert {
    condition     = length(aws_lambda_provisioned_concurrency_config.this) == 0
    error_message = "Nothing should be kept warm unless asked for."
  }

  # Callers get the alias.
  assert {
    condition = output.functions["update_score"] == {
      name           = "game-test-update-score"
      role_name      = "game-test-update-score"
      arn            = "arn:aws:lambda:eu-central-1:123456789012:function:game-test-update-score"
      alias          = "live"
      alias_arn      = "arn:aws:lambda:eu-central-1:123456789012:function:game-test-update-score:live"
      invoke_arn     = "arn:aws:apigateway:eu-central-1:lambda:path/2015-03-31/functions/arn:aws:lambda:eu-central-1:123456789012:function:game-test-update-score:live/invocations"
      log_group_name = "/aws/lambda/game-test-update-score"

      timeout_seconds = 60
    }
    error_message = "The output should tell callers the alias, known when planning."
  }

  assert {
    condition     = output.stopped_operations == []
    error_message = "Nothing should be stopped unless asked for."
  }

  assert {
    condition     = keys(output.functions) == ["get_user", "reconcile", "sessions", "update_score"]
    error_message = "The output should have every function."
  }

  # A schedule runs reconcile.
  assert {
    condition     = aws_cloudwatch_event_rule.reconcile.schedule_expression == "rate(1 minute)"
    error_message = "Reconcile should run every minute by default."
  }

  assert {
    condition     = aws_cloudwatch_event_target.reconcile.arn == "arn:aws:lambda:eu-central-1:123456789012:function:game-test-reconcile:live"
    error_message = "The schedule should call reconcile's alias."
  }

  assert {
    condition = alltrue([
      aws_lambda_permission.reconcile.function_name == "game-test-reconcile",
      aws_lambda_permission.reconcile.qualifier == "live",
      aws_lambda_permission.reconcile.principal == "events.amazonaws.com",
      aws_lambda_permission.reconcile.action == "lambda:InvokeFunction",
      aws_lambda_permission.reconcile.source_arn == "arn:aws:events:eu-central-1:123456789012:rule/${aws_cloudwatch_event_rule.reconcile.name}",
    ])
    error_message = "Only our rule should be allowed to call reconcile's alias."
  }

  assert {
    condition     = aws_lambda_function_recursion_config.reconcile.recursive_loop == "Terminate"
    error_message = "Reconcile should never call itself in a circle."
  }

  # What reconcile never did is kept.
  assert {
    condition     = aws_sqs_queue.reconcile_failures.name == "game-test-reconcile-failures" && aws_sqs_queue.reconcile_failures.sqs_managed_sse_enabled && aws_sqs_queue.reconcile_failures.kms_master_key_id == null && aws_sqs_queue.reconcile_failures.message_retention_seconds == 1209600
    error_message = "The failures queue should be encrypted by SQS, so that EventBridge needs no key, and keep messages for the 14 days that SQS allows."
  }

  assert {
    condition = (
      aws_cloudwatch_event_target.reconcile.dead_letter_config[0].arn == output.reconcile_failures_queue.arn
      && aws_lambda_function_event_invoke_config.reconcile.destination_config[0].on_failure[0].destination == output.reconcile_failures_queue.arn
      && output.reconcile_failures_queue.arn == "arn:aws:sqs:eu-central-1:123456789012:game-test-reconcile-failures"
    )
    error_message = "What was not delivered and what failed should go to the failures queue."
  }

  assert {
    condition     = aws_lambda_function_event_invoke_config.reconcile.function_name == "game-test-reconcile" && aws_lambda_function_event_invoke_config.reconcile.qualifier == "live"
    error_message = "Events go to the alias: that is where their failures have to be handled."
  }

  assert {
    condition = jsondecode(aws_sqs_queue_policy.reconcile_failures.policy).Statement == [{
      Sid       = "ScheduleMaySend"
      Effect    = "Allow"
      Action    = "sqs:SendMessage"
      Principal = { Service = "events.amazonaws.com" }
      Resource  = "arn:aws:sqs:eu-central-1:123456789012:game-test-reconcile-failures"
      Condition = { ArnEquals = { "aws:SourceArn" = "arn:aws:events:eu-central-1:123456789012:rule/game-test-reconcile" } }
    }]
    error_message = "Only our rule should send to the queue by its policy."
  }

  assert {
    condition = [for statement in jsondecode(aws_iam_role_policy.function["reconcile"].policy).Statement : statement.Resource if flatten([statement.Action]) == ["sqs:SendMessage"]] == [
      "arn:aws:sqs:eu-central-1:123456789012:game-test-reconcile-failures"
    ]
    error_message = "Reconcile should send to its failures queue, and to no other."
  }

  assert {
    condition = alltrue([for key, function in aws_lambda_function.this :
      aws_iam_role_policy.settings_key[key].role == function.function_name && jsondecode(aws_iam_role_policy.settings_key[key].policy).Statement == [{
        Sid      = "DecryptOwnSettings"
        Effect   = "Allow"
        Action   = "kms:Decrypt"
        Resource = function.kms_key_arn
        Condition = { ArnLike = { "kms:EncryptionContext:aws:lambda:FunctionArn" = [
          "arn:aws:lambda:eu-central-1:123456789012:function:${function.function_name}",
          "arn:aws:lambda:eu-central-1:123456789012:function:${function.function_name}:*",
        ] } }
      }]
    ])
    error_message = "Every role should decrypt its own function's settings, with no grant that a new role of that name would not have."
  }
}

run "codedeploy_moves_the_alias" {
  command = plan

  variables {
    alias_mover             = "codedeploy"
    provisioned_concurrency = { get_user = 2 }
    reserved_concurrency    = { get_user = 20, reconcile = 2 }
  }

  assert {
    condition     = length(aws_lambda_alias.moved_by_terraform) == 0 && length(aws_lambda_alias.moved_by_codedeploy) == 4
    error_message = "Every function should have one alias, which stays where a deployment moved it."
  }

  assert {
    condition     = alltrue([for alias in aws_lambda_alias.moved_by_codedeploy : alias.name == "live"])
    error_message = "The alias should be live."
  }

  assert {
    condition = (
      { for key, warm in aws_lambda_provisioned_concurrency_config.this : key => [warm.function_name, warm.qualifier, warm.provisioned_concurrent_executions] } ==
      { get_user = ["game-test-get-user", "live", 2] }
    )
    error_message = "The environments that were asked for should be kept warm behind the alias."
  }

  assert {
    condition = { for key, function in aws_lambda_function.this : key => function.reserved_concurrent_executions } == {
      get_user     = 20
      update_score = -1
      sessions     = -1
      reconcile    = 2
    }
    error_message = "Concurrency should be reserved where it was asked for only."
  }

  assert {
    condition     = output.functions["get_user"].alias == "live" && aws_cloudwatch_event_target.reconcile.arn == output.functions["reconcile"].alias_arn
    error_message = "Callers should call the alias, whoever moves it."
  }
}

run "without_a_cache_nobody_connects_by_iam" {
  command = plan

  variables {
    cache             = null
    slow_milliseconds = { default = 150, get_user = 90.5 }
  }

  assert {
    condition = alltrue([for policy in aws_iam_role_policy.function :
      !contains(flatten([for statement in jsondecode(policy.policy).Statement : statement.Action]), "elasticache:Connect")
    ])
    error_message = "Without a cache there is nothing to connect to by IAM."
  }

  assert {
    condition = alltrue([for key, function in aws_lambda_function.this : function.environment[0].variables == tomap(merge(
      var.environment,
      { METRICS_NAMESPACE = var.name },
      key == "reconcile" ? {} : { SLOW_MILLISECONDS = key == "get_user" ? "90.5" : "150" },
    ))])
    error_message = "Without a cache there should be the shared settings, the metrics' namespace, and how long a request of this function may take."
  }
}

run "values_become_the_functions" {
  command = plan

  variables {
    architecture       = "x86_64"
    runtime            = "python3.11"
    memory_mb          = { default = 1769 }
    timeout_seconds    = { default = 30 }
    log_retention_days = 7
    reconcile_schedule = "rate(5 minutes)"

    with_authorizer        = true
    own_environment        = { authorizer = { TOKEN_ISSUER = "game-test" } }
    own_log_retention_days = { sessions = 400 }
  }

  # The authorizer is no route and asks no cache, so it is outside the VPC, and its role has nothing of it.
  assert {
    condition = { for key, function in aws_lambda_function.this : key => try(length(function.vpc_config[0].subnet_ids), 0) + try(length(function.vpc_config[0].security_group_ids), 0) } == {
      authorizer = 0, get_user = 4, reconcile = 4, sessions = 4, update_score = 4
    }
    error_message = "Only who asks the cache should be in the VPC."
  }

  assert {
    condition = { for key, policy in aws_iam_role_policy.function : key => [
      for statement in jsondecode(policy.policy).Statement : statement.Sid
      ] if contains(["authorizer", "sessions"], key) } == {
      authorizer = ["WriteOwnLogs", "NoNetworkInterfacesForTheCode", "WriteTraces"]
      sessions   = ["WriteOwnLogs", "ChangeNetworkInterfaces", "ReadNetworkInterfaces", "NoNetworkInterfacesForTheCode", "WriteTraces", "ConnectAsOwnUser"]
    }
    error_message = "Who is outside the VPC should neither make network interfaces nor connect to the cache."
  }

  assert {
    condition = aws_lambda_function.this["authorizer"].environment[0].variables == tomap(merge(
      var.environment, { METRICS_NAMESPACE = var.name, TOKEN_ISSUER = "game-test" }
    )) && !contains(keys(aws_lambda_function.this["sessions"].environment[0].variables), "TOKEN_ISSUER")
    error_message = "A function should have its own settings, and no other."
  }

  assert {
    condition     = strcontains(aws_lambda_function.this["authorizer"].description, "API Gateway asks it") && output.functions.authorizer.role_name == "game-test-authorizer"
    error_message = "The authorizer should say what it is, and its role be known."
  }

  assert {
    condition = alltrue([for function in aws_lambda_function.this :
      function.architectures == tolist(["x86_64"]) && function.runtime == "python3.11" && function.memory_size == 1769 && function.timeout == 30
    ])
    error_message = "The values should become the functions' own."
  }

  assert {
    condition     = aws_lambda_layer_version.this.compatible_architectures == toset(["x86_64"]) && aws_lambda_layer_version.this.compatible_runtimes == toset(["python3.11"])
    error_message = "The layer should be for the same architecture and runtime."
  }

  assert {
    condition     = alltrue([for key, group in aws_cloudwatch_log_group.function : group.retention_in_days == (key == "sessions" ? 400 : 7)]) && aws_cloudwatch_event_rule.reconcile.schedule_expression == "rate(5 minutes)" && output.reconcile_interval_minutes == 5
    error_message = "Retention and schedule should be the values."
  }
}

run "takes_a_stopped_reconcile" {
  command = plan

  variables {
    reserved_concurrency = { reconcile = 0 }
  }

  assert {
    condition     = aws_lambda_function.this["reconcile"].reserved_concurrent_executions == 0
    error_message = "With 0 it is stopped."
  }
}

run "stops_whatever_writes" {
  command = plan

  variables {
    writes_stopped          = true
    provisioned_concurrency = { default = 1, update_score = 0, sessions = 0, reconcile = 0 }
    reserved_concurrency    = { get_user = 20, update_score = 30 }
  }

  assert {
    condition = { for key, function in aws_lambda_function.this : key => function.reserved_concurrent_executions } == {
      get_user     = 20
      update_score = 0
      sessions     = 0
      reconcile    = 0
    }
    error_message = "Whatever writes should be stopped, and reads should go on."
  }

  assert {
    condition     = toset(output.stopped_operations) == toset(["PUT /users/{userId}/score", "GET /sessions", "GET /sessions/{sessionId}", "DELETE /sessions/{sessionId}"])
    error_message = "The output should tell the operations that nobody answers."
  }
}

run "refuses_to_stop_a_function_that_is_kept_warm" {
  command = plan

  variables {
    writes_stopped          = true
    provisioned_concurrency = { update_score = 2 }
  }

  expect_failures = [var.writes_stopped]
}

run "a_value_for_one_function_leaves_the_others_theirs" {
  command = plan

  variables {
    memory_mb               = { default = 512, sessions = 1024 }
    timeout_seconds         = { default = 20, reconcile = 60 }
    reserved_concurrency    = { default = 50, sessions = 20 }
    provisioned_concurrency = { default = 1, sessions = 3, reconcile = 0 }
  }

  assert {
    condition = { for key, function in aws_lambda_function.this : key => [function.memory_size, function.timeout, function.reserved_concurrent_executions] } == {
      get_user     = [512, 20, 50]
      update_score = [512, 20, 50]
      sessions     = [1024, 20, 20]
      reconcile    = [512, 60, 50]
    }
    error_message = "A function should have its own number, or that of `default`."
  }

  assert {
    condition = (
      { for key, warm in aws_lambda_provisioned_concurrency_config.this : key => warm.provisioned_concurrent_executions } ==
      { get_user = 1, update_score = 1, sessions = 3 }
    )
    error_message = "With 0 nothing should be kept warm."
  }

  assert {
    condition     = { for key, function in output.functions : key => function.timeout_seconds } == { get_user = 20, update_score = 20, sessions = 20, reconcile = 60 }
    error_message = "The output should tell each function's own timeout."
  }
}

run "refuses_what_lambda_does_not_take" {
  command = plan

  variables {
    name               = "Game_Test"
    architecture       = "arm"
    runtime            = "python3.14"
    memory_mb          = { default = 512, sessions = 64 }
    timeout_seconds    = { default = 60, sessions = 901 }
    subnet_ids         = []
    security_group_ids = []
    environment        = { AWS_REGION = "eu-central-1" }
    log_retention_days = 100
    alias_mover        = "somebody"
    reconcile_schedule = "rate(1 minutes)"
    cache = { # no role but one
      name  = "game-test"
      arns  = ["arn:aws:elasticache:eu-central-1:123456789012:serverlesscache:game-test"]
      users = { writes = { name = "game-test-writes", arn = "arn:aws:elasticache:eu-central-1:123456789012:user:game-test-writes" } }
    }
  }

  expect_failures = [
    var.name, var.architecture, var.runtime, var.memory_mb, var.timeout_seconds, var.subnet_ids, var.security_group_ids, var.environment,
    var.log_retention_days, var.alias_mover, var.reconcile_schedule, var.cache,
  ]
}

run "refuses_other_bad_values" {
  command = plan

  variables {
    memory_mb            = { default = 10241 }
    timeout_seconds      = { default = 0 }
    environment          = { VALKEY_USER = "game-test-writes" }
    reconcile_schedule   = "cron(0/5 * * * ? *)"
    reserved_concurrency = { reconcile = 1 } # a rebuild would wait for the schedule
  }

  expect_failures = [var.memory_mb, var.timeout_seconds, var.environment, var.reconcile_schedule, var.reserved_concurrency]
}

run "refuses_a_log_of_no_function_and_a_time_that_cloudwatch_does_not_know" {
  command = plan

  variables {
    own_log_retention_days = { gone = 400, sessions = 401 }
  }

  expect_failures = [var.own_log_retention_days]
}

run "refuses_values_for_unknown_functions" {
  command = plan

  variables {
    memory_mb            = { default = 512, session = 1024 }
    timeout_seconds      = { default = 60, rank = 20 }
    reserved_concurrency = { update_scores = 10 }
    slow_milliseconds    = { default = 150, get_users = 100 }
    environment          = { LONG = format("%3900s", "x") } # more than Lambda has room for
    reconcile_schedule   = "rate(6 minutes)"                # the alarms would take it for a standstill
  }

  expect_failures = [var.slow_milliseconds, var.memory_mb, var.timeout_seconds, var.reserved_concurrency, var.environment, var.reconcile_schedule]
}

run "refuses_functions_that_are_left_without_a_value" {
  command = plan

  variables {
    memory_mb            = { sessions = 1024 }
    timeout_seconds      = {}
    reserved_concurrency = { default = 1, get_user = 5 } # reconcile is left with one run at once
    reconcile_schedule   = "rate(1 hour)"
  }

  expect_failures = [var.memory_mb, var.timeout_seconds, var.reserved_concurrency, var.reconcile_schedule]
}

run "refuses_to_warm_an_unknown_function" {
  command = plan

  variables {
    provisioned_concurrency = { get_users = 1 }
  }

  expect_failures = [var.provisioned_concurrency]
}

run "refuses_more_warm_than_reserved" {
  command = plan

  variables {
    reserved_concurrency    = { get_user = 5 }
    provisioned_concurrency = { get_user = 6 }
  }

  expect_failures = [var.provisioned_concurrency]
}

run "refuses_more_warm_by_default_than_reserved" {
  command = plan

  variables {
    reserved_concurrency    = { default = 5, get_user = 2 }
    provisioned_concurrency = { default = 3 }
  }

  expect_failures = [var.provisioned_concurrency]
}

run "refuses_a_route_that_means_all_others" {
  command = plan

  variables {
    contract = { paths = { "/default" = { get = { operationId = "default", x-cache-role = "board" } } } }
  }

  expect_failures = [var.contract]
}

run "refuses_an_operation_without_a_function" {
  command = plan

  variables {
    contract = { paths = { "/users" = { post = { summary = "no operationId" } } } }
  }

  expect_failures = [var.contract]
}

run "refuses_a_route_to_reconcile" {
  command = plan

  variables {
    contract = { paths = { "/reconcile" = { post = { operationId = "reconcile.now", x-cache-role = "reconcile" } } } }
  }

  expect_failures = [var.contract]
}

run "refuses_an_operation_whose_role_could_be_none" {
  command = plan

  variables {
    contract = { paths = { "/users" = { post = { operationId = "update_score", x-cache-role = "Writes" } } } }
  }

  expect_failures = [var.contract]
}

run "refuses_a_function_with_two_roles_in_the_cache" {
  command = plan

  variables {
    contract = {
      paths = {
        "/sessions" = {
          get  = { operationId = "sessions.list", x-cache-role = "sessions" }
          post = { operationId = "sessions.create", x-cache-role = "writes" }
        }
      }
    }
  }

  expect_failures = [aws_lambda_function.this]
}
