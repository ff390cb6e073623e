# The real provider with keys that open nothing: plans only, no network.
provider "aws" {
  region                      = "eu-central-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
  skip_region_validation      = true
}

override_data {
  target = data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

variables {
  name = "leaderboard-test"
  functions = {
    update_score = { name = "leaderboard-test-update-score", alias = "live", log_group_name = "/aws/lambda/leaderboard-test-update-score", timeout_seconds = 60 }
    rank         = { name = "leaderboard-test-rank", alias = "live", log_group_name = "/aws/lambda/leaderboard-test-rank", timeout_seconds = 60 }
    reconcile    = { name = "leaderboard-test-reconcile", alias = "live", log_group_name = "/aws/lambda/leaderboard-test-reconcile", timeout_seconds = 60 }
  }
  codedeploy                    = true
  deadline_seconds              = 2.5
  reconcile_interval_minutes    = 1
  api                           = { name = "leaderboard-test-api", stage_name = "v1", access_log_group_name = "/aws/api-gateway/leaderboard-test", detailed_metrics = false }
  cache                         = { name = "Leaderboard-Test", data_storage_gb_maximum = 10, ecpu_per_second_maximum = 5000 }
  reconcile_failures_queue_name = "leaderboard-test-reconcile-failures"
  emails                        = ["on-call@example.com"]
  channels = {
    page   = { urls = { on-call = "https://on-call.example.com/sns" } }
    ticket = { emails = ["team@example.com"], slack = { workspace_id = "T012345", channel_id = "C012345" } }
  }

  # As much of the contract and of the table of metrics as is charted.
  contract = {
    components = { responses = { KeyReused = { x-codes = ["idempotency_key_reused"] }, Forbidden = { x-codes = ["forbidden"] } } }
    paths = {
      "/users/{userId}/score" = { put = { operationId = "update_score", responses = { "422" = { "$ref" = "#/components/responses/KeyReused" }, "403" = { "$ref" = "#/components/responses/Forbidden" }, "503" = { x-codes = ["unavailable"] } } } }
      "/users/{userId}/rank"  = { parameters = [], get = { operationId = "rank", responses = { "404" = { x-codes = ["user_not_found"] } } } }
    }
  }
  metrics           = { kinds = ["oversize"] }
  metrics_depth     = "routes"
  currencies        = ["EUR", "JPY"]
  slow_milliseconds = { default = 150, update_score = 180 }
  runbook_url       = "https://runbook.example.com/operations.md"
  monthly_budget    = { usd = 200, tag = { Environment = "test" } }

  # Those that are looked at below, so that nobody has to change a test with a default.
  thresholds = {
    function_duration_percent    = 80
    cache_data_percent           = 75
    cache_ecpu_percent           = 75
    reconcile_backlog_runs       = 4
    reconcile_standstill_minutes = 10
  }
  kms_key_arn = "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555555"
}

run "functions_cache_and_reconcile_are_watched_drawn_and_heard_of" {
  command = plan

  # Each function has its alarms.
  assert {
    condition = toset([for name in keys(aws_cloudwatch_metric_alarm.this) : name if !startswith(name, "cache-")]) == toset(concat(
      [for pair in setproduct(["update-score", "rank", "reconcile"], ["errors", "throttles", "duration", "live-errors"]) : join("-", pair)],
      # Reconcile answers nobody, so it has no answers of 500.
      ["update-score-failures", "rank-failures"],
      ["reconcile-backlog", "reconcile-mended", "reconcile-unreadable", "reconcile-not-running", "reconcile-queue"],
      ["security-refusals", "security-conflicts", "security-cache-sign-in"],
    ))
    error_message = "A function lacks an alarm, or has one that nobody knows of: ${join(", ", keys(aws_cloudwatch_metric_alarm.this))}"
  }

  assert {
    condition     = alltrue([for name, alarm in aws_cloudwatch_metric_alarm.this : alarm.alarm_name == "leaderboard-test-${name}"])
    error_message = "Alarms are named after the deployment."
  }

  assert {
    condition = alltrue([
      for column, metric in { errors = "Errors", throttles = "Throttles", duration = "Duration" } :
      alltrue([for key, function in var.functions :
        aws_cloudwatch_metric_alarm.this["${replace(key, "_", "-")}-${column}"].namespace == "AWS/Lambda" &&
        aws_cloudwatch_metric_alarm.this["${replace(key, "_", "-")}-${column}"].metric_name == metric &&
        aws_cloudwatch_metric_alarm.this["${replace(key, "_", "-")}-${column}"].dimensions == tomap({ FunctionName = function.name })
      ])
    ])
    error_message = "Lambda's metrics Errors, Throttles and Duration have the dimension FunctionName."
  }

  assert {
    condition = (
      aws_cloudwatch_metric_alarm.this["rank-duration"].extended_statistic == "p99" &&
      aws_cloudwatch_metric_alarm.this["rank-duration"].threshold == 2000 &&
      aws_cloudwatch_metric_alarm.this["reconcile-duration"].threshold == 36000
    )
    error_message = "Durations are p99 in ms against 80 % of the requests' 2.5 s, and of reconcile's 45 s."
  }

  assert {
    condition     = alltrue([for name, alarm in aws_cloudwatch_metric_alarm.this : length(alarm.alarm_description) >= 80 && length(alarm.alarm_description) <= 1024])
    error_message = "Each alarm says what happened and what to do first, in no more than CloudWatch's 1,024 characters."
  }

  # Causes are tickets, and do not tell their end: a new alarm is OK first, and would mail that.
  assert {
    condition = alltrue([for name, alarm in aws_cloudwatch_metric_alarm.this :
      join(" ", coalesce(alarm.alarm_actions, [])) == (endswith(name, "-live-errors") ? "" : "arn:aws:sns:eu-central-1:123456789012:leaderboard-test-alarms") &&
      length(coalesce(alarm.ok_actions, [])) == 0 &&
      startswith(alarm.alarm_description, endswith(name, "-live-errors") ? "Deployment: " : "Ticket: ") &&
      strcontains(alarm.alarm_description, "Runbook: https://runbook.example.com/operations.md#")
    ])
    error_message = "Each alarm says how urgent it is, tells of its begin, but for those that only a deployment listens to, and says where to read on."
  }

  # The objectives: two windows each, and only a pair of them tells somebody.
  assert {
    condition = { for name, alarm in aws_cloudwatch_metric_alarm.window : name => [alarm.threshold, one([for query in alarm.metric_query : query.metric[0].period if query.id == "bad"]), alarm.evaluation_periods] } == {
      availability-fast-1h   = [1.44, 3600, 1], availability-fast-5m = [1.44, 300, 1]
      availability-steady-6h = [0.6, 21600, 1], availability-steady-30m = [0.6, 1800, 1]
      availability-day-1d    = [0.3, 86400, 1], availability-day-2h = [0.3, 7200, 1]
      availability-days-3d   = [0.1, 86400, 3], availability-days-6h = [0.1, 21600, 1]
      latency-fast-1h        = [14.4, 3600, 1], latency-fast-5m = [14.4, 300, 1]
      latency-steady-6h      = [6, 21600, 1], latency-steady-30m = [6, 1800, 1]
      latency-day-1d         = [3, 86400, 1], latency-day-2h = [3, 7200, 1]
      latency-days-3d        = [1, 86400, 3], latency-days-6h = [1, 21600, 1]
    }
    error_message = "14.4, 6, 3 and 1 times the budget, in per cent: ${jsonencode({ for name, alarm in aws_cloudwatch_metric_alarm.window : name => alarm.threshold })}"
  }

  assert {
    condition = alltrue([for name, alarm in aws_cloudwatch_metric_alarm.window : length(coalesce(alarm.alarm_actions, [])) == 0 && alarm.treat_missing_data == "notBreaching"]) && toset([
      for name, alarm in aws_cloudwatch_metric_alarm.window : "${split("-", name)[0]} ${one([for query in alarm.metric_query : query.expression if query.return_data])} ${join(" ", [for id in ["bad", "requests"] : one([for query in alarm.metric_query : "${query.metric[0].namespace} ${query.metric[0].metric_name} ${query.metric[0].stat}" if query.id == id])])}"
      ]) == toset(flatten([for fewest in [1, 10] : [
        "availability IF(bad >= ${fewest}, 100 * bad / requests, 0) AWS/ApiGateway 5XXError Sum AWS/ApiGateway Count SampleCount",
        "latency IF(bad >= ${fewest}, 100 * bad / requests, 0) leaderboard-test SlowRequests Sum leaderboard-test SlowRequests SampleCount",
    ]]))
    error_message = "A window is a share of requests; the long one wants ten of them; by itself it tells nobody."
  }

  assert {
    condition = (
      aws_cloudwatch_composite_alarm.this["slo-page"].alarm_rule == join(" OR ", [for pair in [["availability-fast-1h", "availability-fast-5m"], ["availability-steady-6h", "availability-steady-30m"], ["latency-fast-1h", "latency-fast-5m"], ["latency-steady-6h", "latency-steady-30m"]] :
      "(ALARM(\"leaderboard-test-${pair[0]}\") AND ALARM(\"leaderboard-test-${pair[1]}\"))"]) &&
      length(regexall("ALARM", aws_cloudwatch_composite_alarm.this["slo-ticket"].alarm_rule)) == 8 &&
      join(" ", aws_cloudwatch_composite_alarm.this["slo-page"].alarm_actions) == "arn:aws:sns:eu-central-1:123456789012:leaderboard-test-page" &&
      join(" ", aws_cloudwatch_composite_alarm.this["slo-page"].ok_actions) == "arn:aws:sns:eu-central-1:123456789012:leaderboard-test-page" &&
      join(" ", aws_cloudwatch_composite_alarm.this["slo-ticket"].alarm_actions) == "arn:aws:sns:eu-central-1:123456789012:leaderboard-test-alarms" &&
      output.page_alarm_name == "leaderboard-test-slo-page"
    )
    error_message = "Both windows of one pace page, once, and tell their end: ${aws_cloudwatch_composite_alarm.this["slo-page"].alarm_rule}"
  }

  assert {
    condition     = alltrue([for name, alarm in aws_cloudwatch_metric_alarm.this : alarm.treat_missing_data == (name == "reconcile-not-running" ? "breaching" : "notBreaching")])
    error_message = "Silence is normal for every metric but the calls of reconcile."
  }

  # A deployment is rolled back on its own function.
  assert {
    condition = output.rollback_alarm_names == {
      update_score = ["leaderboard-test-update-score-live-errors", "leaderboard-test-update-score-failures"]
      rank         = ["leaderboard-test-rank-live-errors", "leaderboard-test-rank-failures"]
      reconcile    = ["leaderboard-test-reconcile-live-errors"]
    }
    error_message = "Rollback alarms: ${jsonencode(output.rollback_alarm_names)}"
  }

  assert {
    condition = (
      aws_cloudwatch_metric_alarm.this["update-score-live-errors"].namespace == "AWS/Lambda" &&
      aws_cloudwatch_metric_alarm.this["update-score-live-errors"].metric_name == "Errors" &&
      aws_cloudwatch_metric_alarm.this["update-score-live-errors"].dimensions == tomap({
        FunctionName = "leaderboard-test-update-score"
        Resource     = "leaderboard-test-update-score:live"
      })
    )
    error_message = "What a deployment shifts is the alias: FunctionName and Resource."
  }

  # The cache is known by its lower-case name.
  assert {
    condition = alltrue([for name, expected in {
      cache-throttled                = { metric = "ThrottledCmds", statistic = "Sum", threshold = 1 }
      cache-data                     = { metric = "BytesUsedForCache", statistic = "Maximum", threshold = 7500000000 }
      cache-ecpu                     = { metric = "ElastiCacheProcessingUnits", statistic = "Sum", threshold = 225000 }
      cache-evictions                = { metric = "Evictions", statistic = "Sum", threshold = 1 }
      cache-authentication           = { metric = "AuthenticationFailures", statistic = "Sum", threshold = 1 }
      cache-authentication-throttled = { metric = "IamAuthenticationThrottling", statistic = "Sum", threshold = 1 }
      cache-key-refused              = { metric = "KeyAuthorizationFailures", statistic = "Sum", threshold = 1 }
      cache-command-refused          = { metric = "CommandAuthorizationFailures", statistic = "Sum", threshold = 1 }
      } :
      aws_cloudwatch_metric_alarm.this[name].namespace == "AWS/ElastiCache" &&
      aws_cloudwatch_metric_alarm.this[name].metric_name == expected.metric &&
      aws_cloudwatch_metric_alarm.this[name].statistic == expected.statistic &&
      aws_cloudwatch_metric_alarm.this[name].threshold == expected.threshold &&
      aws_cloudwatch_metric_alarm.this[name].dimensions == tomap({ clusterId = "leaderboard-test" })
    ])
    error_message = "A serverless cache's metrics have the one dimension clusterId, in lower case: anything else is silent for ever."
  }

  assert {
    condition     = length([for name in keys(aws_cloudwatch_metric_alarm.this) : name if startswith(name, "cache-")]) == 8
    error_message = "An alarm of the cache is not in the table above."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.this["cache-ecpu"].period == 60
    error_message = "The threshold is a sum over one minute."
  }

  # Reconcile is watched by what it says.
  assert {
    condition = alltrue([for name, expected in {
      reconcile-backlog     = { namespace = "leaderboard-test", metric = "OldestIntentSeconds", comparison = "GreaterThanThreshold", threshold = 300, dimensions = {} }
      reconcile-mended      = { namespace = "leaderboard-test", metric = "PlayersMended", comparison = "GreaterThanOrEqualToThreshold", threshold = 1, dimensions = {} }
      reconcile-unreadable  = { namespace = "leaderboard-test", metric = "PlayersUnreadable", comparison = "GreaterThanOrEqualToThreshold", threshold = 1, dimensions = {} }
      reconcile-not-running = { namespace = "AWS/Lambda", metric = "Invocations", comparison = "LessThanThreshold", threshold = 1, dimensions = { FunctionName = "leaderboard-test-reconcile" } }
      reconcile-queue       = { namespace = "AWS/SQS", metric = "ApproximateNumberOfMessagesVisible", comparison = "GreaterThanOrEqualToThreshold", threshold = 1, dimensions = { QueueName = "leaderboard-test-reconcile-failures" } }
      } :
      aws_cloudwatch_metric_alarm.this[name].namespace == expected.namespace &&
      aws_cloudwatch_metric_alarm.this[name].metric_name == expected.metric &&
      aws_cloudwatch_metric_alarm.this[name].comparison_operator == expected.comparison &&
      aws_cloudwatch_metric_alarm.this[name].threshold == expected.threshold &&
      try(length(aws_cloudwatch_metric_alarm.this[name].dimensions), 0) == length(expected.dimensions) &&
      alltrue([for dimension, value in expected.dimensions : aws_cloudwatch_metric_alarm.this[name].dimensions[dimension] == value])
    ])
    error_message = "An alarm about reconcile looks at another metric than it should."
  }

  assert {
    condition     = [for what in ["period", "evaluation_periods", "datapoints_to_alarm"] : aws_cloudwatch_metric_alarm.this["reconcile-not-running"][what]] == [300, 2, 2]
    error_message = "Ten minutes without a call are the alarm, in two periods, of which the last may not be whole."
  }

  assert {
    condition = (
      aws_cloudwatch_log_metric_filter.this["rank-failures"].log_group_name == "/aws/lambda/leaderboard-test-rank" &&
      aws_cloudwatch_log_metric_filter.this["rank-failures"].pattern == "{ $.message = \"request failed\" }" &&
      aws_cloudwatch_metric_alarm.this["rank-failures"].metric_name == aws_cloudwatch_log_metric_filter.this["rank-failures"].metric_transformation[0].name
    )
    error_message = "A route's answers of 500 are counted in its own log."
  }

  # What is drawn at all is for the rules over plans (tests/terraform/plan_rules.py); here, what is drawn of what is given.
  assert {
    condition = alltrue([for metric in [
      ["leaderboard-test", "Latency", "Route", "PUT /users/{userId}/score"],
      ["leaderboard-test", "Problems", "Code", "user_not_found"],
      ["leaderboard-test", "Problems", "Code", "internal_error"],
      ["leaderboard-test", "SubmissionsRefused", "Reason", "idempotency_key_reused"],
      ["leaderboard-test", "Revenue", "Currency", "JPY"],
      ["leaderboard-test", "SecurityEvents", "Kind", "oversize"],
      ["AWS/Lambda", "Errors", "FunctionName", "leaderboard-test-rank", "Resource", "leaderboard-test-rank:live"],
      ["AWS/ElastiCache", "CacheHitRate", "clusterId", "leaderboard-test"],
    ] : strcontains(aws_cloudwatch_dashboard.this.dashboard_body, "[${trimsuffix(trimprefix(jsonencode(metric), "["), "]")},")])
    error_message = "A chart lacks a route, a code, a reason, a currency or a kind."
  }

  assert {
    condition     = alltrue([for text in ["forbidden", "\"Reason\",\"unavailable\"", "\"Method\""] : !strcontains(aws_cloudwatch_dashboard.this.dashboard_body, text)])
    error_message = "The gateway's own codes, what is no refusal, and metrics of methods that are not paid for are no charts."
  }

  assert {
    condition     = strcontains(aws_cloudwatch_dashboard.this.dashboard_body, "[Runbook](https://runbook.example.com/operations.md#row-cache)")
    error_message = "A row links to its section."
  }

  assert {
    condition = (
      toset(keys(aws_cloudwatch_query_definition.this)) == toset(["errors by code", "slowest requests", "one request", "one caller", "security by kind", "refused by the gateway", "calls by version", "memory and init"]) &&
      contains(aws_cloudwatch_query_definition.this["one request"].log_group_names, "/aws/api-gateway/leaderboard-test") &&
      contains(aws_cloudwatch_query_definition.this["one request"].log_group_names, "/aws/lambda/leaderboard-test-rank") &&
      aws_cloudwatch_query_definition.this["errors by code"].name == "leaderboard-test/errors by code"
    )
    error_message = "The questions that people ask the logs are saved, and ask the right ones."
  }

  # Notifications are encrypted, and only from here.
  assert {
    condition     = alltrue([for topic in aws_sns_topic.this : topic.kms_master_key_id == var.kms_key_arn]) && { for key, topic in aws_sns_topic.this : key => topic.name } == { page = "leaderboard-test-page", ticket = "leaderboard-test-alarms" }
    error_message = "The topics are encrypted with the key that was given."
  }

  assert {
    condition = alltrue([for key, topic in { page = "page", ticket = "alarms" } : jsondecode(data.aws_iam_policy_document.topic[key].json).Statement == [{
      Sid       = "AlarmsOfThisDeployment"
      Effect    = "Allow"
      Action    = "sns:Publish"
      Principal = { Service = "cloudwatch.amazonaws.com" }
      Resource  = "arn:aws:sns:eu-central-1:123456789012:leaderboard-test-${topic}"
      Condition = {
        StringEquals = { "aws:SourceAccount" = "123456789012" }
        ArnLike      = { "aws:SourceArn" = "arn:aws:cloudwatch:eu-central-1:123456789012:alarm:leaderboard-test-*" }
      }
    }]])
    error_message = "Topic policy: ${data.aws_iam_policy_document.topic["page"].json}"
  }

  assert {
    condition = (
      toset(keys(aws_sns_topic_subscription.email)) == toset(["on-call@example.com", "page on-call@example.com", "team@example.com"]) &&
      [for one in aws_sns_topic_subscription.url : "${one.protocol} ${one.endpoint} ${one.endpoint_auto_confirms}"] == ["https https://on-call.example.com/sns true"]
    )
    error_message = "Each address gets a mail of both topics, and more only what they are for: ${join(", ", keys(aws_sns_topic_subscription.email))}"
  }

  assert {
    condition     = alltrue([for one in aws_sns_topic_subscription.url : issensitive(one.endpoint)])
    error_message = "Whoever reads a plan would see where to write to whoever is on call."
  }

  assert {
    condition = (
      [for topic, one in aws_chatbot_slack_channel_configuration.this : "${topic} ${one.slack_team_id} ${one.slack_channel_id}"] == ["ticket T012345 C012345"] &&
      jsondecode(data.aws_iam_policy_document.chat.json).Statement[0].Principal == { Service = "chatbot.amazonaws.com" } && length(aws_iam_role.chat) == 1
    )
    error_message = "The channel is told by AWS's chat service, whose role may do nothing."
  }

  # What it costs is told before it is spent.
  assert {
    condition = (
      aws_budgets_budget.monthly[0].time_unit == "MONTHLY" && aws_budgets_budget.monthly[0].limit_amount == "200" &&
      toset([for one in aws_budgets_budget.monthly[0].notification : "${one.notification_type} ${one.threshold} ${join(" ", one.subscriber_email_addresses)}"]) ==
      toset(["ACTUAL 80 on-call@example.com", "ACTUAL 100 on-call@example.com", "FORECASTED 100 on-call@example.com"]) &&
      [for one in aws_budgets_budget.monthly[0].cost_filter : "${one.name} ${join(" ", one.values)}"] == ["TagKeyValue user:Environment$test"]
    )
    error_message = "The budget is another, or tells somebody else: ${jsonencode(aws_budgets_budget.monthly)}"
  }
}

run "a_short_timeout_shortens_what_is_slow" {
  command = plan

  variables {
    functions = {
      update_score = { name = "leaderboard-test-update-score", alias = "live", log_group_name = "/aws/lambda/leaderboard-test-update-score", timeout_seconds = 60 }
      rank         = { name = "leaderboard-test-rank", alias = "live", log_group_name = "/aws/lambda/leaderboard-test-rank", timeout_seconds = 20 }
      reconcile    = { name = "leaderboard-test-reconcile", alias = "live", log_group_name = "/aws/lambda/leaderboard-test-reconcile", timeout_seconds = 20 }
    }
    deadline_seconds = 25
  }

  assert {
    condition = (
      aws_cloudwatch_metric_alarm.this["rank-duration"].threshold == 16000 &&
      aws_cloudwatch_metric_alarm.this["update-score-duration"].threshold == 20000 &&
      aws_cloudwatch_metric_alarm.this["reconcile-duration"].threshold == 12000
    )
    error_message = "80 % of 20 s, of the deadline's 25 s where the timeout is longer, and of the 15 s that reconcile leaves itself."
  }
}

run "every_alarm_goes_off_where_its_threshold_says_and_says_so" {
  command = plan

  variables {
    thresholds = {
      function_errors_per_5_minutes          = 2
      function_throttles_per_5_minutes       = 3
      function_failures_per_minute           = 4
      function_duration_percent              = 50
      rollback_errors_per_minute             = 5
      slo_bad_requests                       = 50
      cache_data_percent                     = 70
      cache_ecpu_percent                     = 60
      cache_throttled_commands_per_minute    = 7
      cache_evictions_per_5_minutes          = 8
      cache_refused_sign_ins_per_5_minutes   = 9
      cache_throttled_sign_ins_per_5_minutes = 10
      cache_refused_keys_per_5_minutes       = 11
      cache_refused_commands_per_5_minutes   = 12
      reconcile_backlog_runs                 = 6
      reconcile_mended_per_5_minutes         = 13
      reconcile_unreadable_per_5_minutes     = 14
      reconcile_standstill_minutes           = 20
      reconcile_failed_runs                  = 15
      security_refusals_per_5_minutes        = 16
      security_conflicts_per_5_minutes       = 17
      security_cache_sign_ins_per_5_minutes  = 18
      authorizer_failures_per_minute         = 19
    }
    functions = {
      update_score = { name = "leaderboard-test-update-score", alias = "live", log_group_name = "/aws/lambda/leaderboard-test-update-score", timeout_seconds = 60 }
      authorizer   = { name = "leaderboard-test-authorizer", alias = "live", log_group_name = "/aws/lambda/leaderboard-test-authorizer", timeout_seconds = 60 }
      rank         = { name = "leaderboard-test-rank", alias = "live", log_group_name = "/aws/lambda/leaderboard-test-rank", timeout_seconds = 60 }
      reconcile    = { name = "leaderboard-test-reconcile", alias = "live", log_group_name = "/aws/lambda/leaderboard-test-reconcile", timeout_seconds = 60 }
    }
    availability_percent      = 99
    duration_p99_milliseconds = { rank = 300 }
  }

  assert {
    condition     = toset(keys(var.thresholds)) == toset(keys(local.threshold_defaults))
    error_message = "A threshold is not looked at below."
  }

  assert {
    condition = alltrue([for name, expected in {
      rank-errors                    = { threshold = 2, period = 300, says = "failed to start at least 2 times in the last 5 minutes. " }
      rank-throttles                 = { threshold = 3, period = 300, says = "rank at least 3 times in the last 5 minutes. " }
      rank-failures                  = { threshold = 4, period = 60, says = "answered 500 at least 4 times in the last minute. " }
      authorizer-failures            = { threshold = 19, period = 60, says = "broken, slow or throttled at least 19 times in the last minute. " }
      rank-duration                  = { threshold = 300, period = 300, says = "at least 300 ms of the 2.5 s that it has, for 15 minutes. " }
      update-score-duration          = { threshold = 1250, period = 300, says = "at least 1250 ms of the 2.5 s that it has, for 15 minutes. " }
      rank-live-errors               = { threshold = 5, period = 60, says = "failed to start at least 5 times in the last minute. " }
      cache-data                     = { threshold = 7000000000, period = 300, says = "at least 70 % of its 10 GB. " }
      cache-ecpu                     = { threshold = 180000, period = 60, says = "at least 60 % of its 5000 ECPU a second, in 3 of 5 minutes. " }
      cache-throttled                = { threshold = 7, period = 60, says = "at least 7 times in the last minute. " }
      cache-evictions                = { threshold = 8, period = 300, says = "at least 8 times in the last 5 minutes. " }
      cache-authentication           = { threshold = 9, period = 300, says = "at least 9 times in the last 5 minutes. " }
      cache-authentication-throttled = { threshold = 10, period = 300, says = "at least 10 times in the last 5 minutes. " }
      cache-key-refused              = { threshold = 11, period = 300, says = "at least 11 times in the last 5 minutes. " }
      cache-command-refused          = { threshold = 12, period = 300, says = "at least 12 times in the last 5 minutes. " }
      reconcile-backlog              = { threshold = 420, period = 60, says = "more than 7 minutes to get from its profile to the board, in 3 of 5 minutes. " }
      reconcile-mended               = { threshold = 13, period = 300, says = "at least 13 times in the last 5 minutes. " }
      reconcile-unreadable           = { threshold = 14, period = 300, says = "at least 14 times in the last 5 minutes. " }
      reconcile-not-running          = { threshold = 1, period = 600, says = "not called once, for 20 minutes. " }
      reconcile-queue                = { threshold = 15, period = 300, says = "the events of at least 15 runs " }
      security-refusals              = { threshold = 16, period = 300, says = "came at least 16 times in the last 5 minutes. " }
      security-conflicts             = { threshold = 17, period = 300, says = "another body at least 17 times in the last 5 minutes. " }
      security-cache-sign-in         = { threshold = 18, period = 300, says = "sign-in at least 18 times in the last 5 minutes. " }
      } :
      aws_cloudwatch_metric_alarm.this[name].threshold == expected.threshold &&
      aws_cloudwatch_metric_alarm.this[name].period == expected.period &&
      strcontains(aws_cloudwatch_metric_alarm.this[name].alarm_description, expected.says)
    ])
    error_message = "An alarm has another threshold than it says, or says none: ${jsonencode({ for name, alarm in aws_cloudwatch_metric_alarm.this : name => [alarm.threshold, alarm.alarm_description] })}"
  }

  assert {
    condition = (
      aws_cloudwatch_metric_alarm.window["availability-fast-1h"].threshold == 14.4 &&
      strcontains(aws_cloudwatch_metric_alarm.window["availability-fast-1h"].alarm_description, "at least 14.4 % of the requests were answered with a 5xx, in 1h and at least 50 of them. ") &&
      anytrue([for query in aws_cloudwatch_metric_alarm.window["availability-fast-1h"].metric_query : query.expression == "IF(bad >= 50, 100 * bad / requests, 0)"])
    )
    error_message = "An objective's windows follow its share, and the fewest that count."
  }

  assert {
    condition = alltrue([for line in ["\"alarm\",\"value\":420", "\"budget\",\"value\":1}", "\"pages in an hour\",\"value\":14.4}"] :
      strcontains(aws_cloudwatch_dashboard.this.dashboard_body, line)
    ])
    error_message = "The dashboard's lines are the alarms' thresholds."
  }
}

run "without_a_cache_codedeploy_budget_composites_and_depth_nothing_speaks_of_one" {
  command = plan

  variables {
    cache            = null
    codedeploy       = false
    monthly_budget   = null
    composite_alarms = false
    metrics_depth    = "totals"
    channels         = {}
  }

  assert {
    condition     = length([for name in keys(aws_cloudwatch_metric_alarm.this) : name if endswith(name, "-live-errors")]) == 0 && output.rollback_alarm_names == {}
    error_message = "No deployment reads these alarms."
  }

  assert {
    condition     = length(aws_budgets_budget.monthly) == 0
    error_message = "Nobody asked for a budget."
  }

  assert {
    condition     = length([for alarm in aws_cloudwatch_metric_alarm.this : alarm if alarm.namespace == "AWS/ElastiCache"]) == 0
    error_message = "There is no cache to watch."
  }

  assert {
    condition     = alltrue([for text in ["ElastiCache", "\"Route\"", "slo-page"] : !strcontains(aws_cloudwatch_dashboard.this.dashboard_body, text)])
    error_message = "There is no cache, no metric by route and no composite alarm to draw."
  }

  assert {
    condition = (
      length(aws_cloudwatch_composite_alarm.this) == 0 && output.page_alarm_name == "leaderboard-test-availability-fast-5m" &&
      join(" ", aws_cloudwatch_metric_alarm.window["latency-steady-6h"].alarm_actions) == "arn:aws:sns:eu-central-1:123456789012:leaderboard-test-page" &&
      join(" ", aws_cloudwatch_metric_alarm.window["latency-day-1d"].alarm_actions) == "arn:aws:sns:eu-central-1:123456789012:leaderboard-test-alarms"
    )
    error_message = "Without composite alarms each window tells its topic."
  }

  assert {
    condition     = length(aws_chatbot_slack_channel_configuration.this) + length(aws_iam_role.chat) == 0
    error_message = "Nobody asked for a chat."
  }
}

run "a_slower_schedule_makes_a_backlog_later" {
  command = plan

  variables {
    functions = {
      authorizer = { name = "leaderboard-test-authorizer", alias = "live", log_group_name = "/aws/lambda/leaderboard-test-authorizer", timeout_seconds = 60 }
      reconcile  = { name = "leaderboard-test-reconcile", alias = "live", log_group_name = "/aws/lambda/leaderboard-test-reconcile", timeout_seconds = 60 }
    }
    reconcile_interval_minutes = 5
  }

  # A token that is refused is an error to Lambda, so only API Gateway's log says that the authorizer is sick.
  assert {
    condition = [for name, alarm in aws_cloudwatch_metric_alarm.this : "${name} ${alarm.namespace} ${alarm.metric_name}" if startswith(name, "authorizer-")] == [
      "authorizer-duration AWS/Lambda Duration",
      "authorizer-failures leaderboard-test authorizer-failures",
      "authorizer-throttles AWS/Lambda Throttles",
    ]
    error_message = "The authorizer should have alarms that a refused token does not set off."
  }

  assert {
    condition = { for name, one in aws_cloudwatch_log_metric_filter.gateway : name => "${one.log_group_name} ${one.pattern}" } == {
      authorizer-failures = "/aws/api-gateway/leaderboard-test { $.errorType = \"AUTHORIZER_*\" }"
      unauthenticated     = "/aws/api-gateway/leaderboard-test { $.errorType = \"UNAUTHORIZED\" }"
    }
    error_message = "What API Gateway says of the authorizer, and of those whom it lets in by nobody, should be counted."
  }

  assert {
    condition     = output.rollback_alarm_names.authorizer == ["leaderboard-test-authorizer-failures"]
    error_message = "That alarm should also stop a deployment of the authorizer."
  }

  assert {
    condition = (
      aws_cloudwatch_metric_alarm.this["reconcile-backlog"].threshold == 1260 &&
      aws_cloudwatch_metric_alarm.this["reconcile-backlog"].period == 300 &&
      strcontains(aws_cloudwatch_metric_alarm.this["reconcile-backlog"].alarm_description, "more than 21 minutes") &&
      strcontains(aws_cloudwatch_dashboard.this.dashboard_body, "\"value\":1260")
    )
    error_message = "Four runs every 5 minutes, after the first minute; and each period has a run, or 3 of 5 would never have a figure."
  }
}

run "refuses_what_aws_refuses" {
  command = plan

  variables {
    name                      = "Leaderboard_Test"
    thresholds                = { cache_data_percent = 0 }
    availability_percent      = 100
    latency_percent           = 94 # 14.4 times as much cannot be
    runbook_url               = "https://example.com/operations.md#alarms"
    channels                  = { night = { urls = { plain = "http://on-call.example.com" } } }
    duration_p99_milliseconds = { ranks = 300 } # no such function
    cache                     = { name = "leaderboard-test", data_storage_gb_maximum = 0, ecpu_per_second_maximum = 5000 }
    emails                    = ["On Call <on-call@example.com>"]
    kms_key_arn               = "alias/aws/sns"
  }

  expect_failures = [
    var.name, var.thresholds, var.duration_p99_milliseconds, var.cache, var.emails, var.kms_key_arn, var.availability_percent, var.latency_percent,
    var.runbook_url, var.channels,
  ]
}

run "refuses_what_could_never_go_off" {
  command = plan

  variables {
    thresholds                = { cache_data_percent = 100 }
    duration_p99_milliseconds = { rank = 2500 } # the deadline ends it then
    cache                     = { name = "leaderboard-test", data_storage_gb_maximum = 10, ecpu_per_second_maximum = 999 }
    emails                    = [] # a budget that tells nobody
  }

  expect_failures = [var.thresholds, var.duration_p99_milliseconds, var.cache, var.monthly_budget]
}

run "refuses_functions_without_reconcile" {
  command = plan
  # What is made of reconcile cannot be made, either: the variable is what is said first.
  expect_failures = [var.functions]
  variables {
    functions = { rank = { name = "leaderboard-test-rank", alias = "live", log_group_name = "/aws/lambda/leaderboard-test-rank", timeout_seconds = 60 } }
  }
}

run "refuses_a_timeout_that_leaves_reconcile_nothing_and_a_threshold_that_does_not_exist" {
  command = plan

  variables {
    functions  = { reconcile = { name = "leaderboard-test-reconcile", alias = "live", log_group_name = "/aws/lambda/leaderboard-test-reconcile", timeout_seconds = 5 } }
    thresholds = { cache_data_percnt = 2 }

    monthly_budget = { usd = 200, tag = { Project = "leaderboard", Environment = "test" } } # whether AWS adds them or not, it does not say
  }

  expect_failures = [var.functions, var.thresholds, var.monthly_budget]
}

run "refuses_half_an_error_and_a_budget_of_nothing" {
  command         = plan
  expect_failures = [var.thresholds, var.monthly_budget]
  variables {
    thresholds     = { function_errors_per_5_minutes = 0.5 }
    monthly_budget = { usd = 0 }
  }
}

run "refuses_a_standstill_of_one_late_run" {
  command         = plan
  expect_failures = [var.thresholds]
  variables {
    reconcile_interval_minutes = 5
    thresholds                 = { reconcile_standstill_minutes = 9 }
  }
}

run "refuses_a_standstill_that_cloudwatch_cannot_see" {
  command         = plan
  expect_failures = [var.thresholds]
  variables {
    thresholds = { reconcile_standstill_minutes = 1441 }
  }
}
