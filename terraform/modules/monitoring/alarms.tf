# Every alarm is one entry of a table below; this is what an entry leaves out.
locals {
  alarm_defaults = {
    namespace         = var.name
    dimensions        = {}
    statistic         = "Sum"
    comparison        = "GreaterThanOrEqualToThreshold"
    threshold         = 1
    period            = 300
    periods           = 1
    breaching_periods = 1
    missing           = "notBreaching" # counters that CloudWatch does not hear of when there is nothing to count
    notify            = true
  }

  alarms = {
    for name, alarm in merge(local.function_alarms, local.api_alarms, local.cache_alarms, local.reconcile_alarms) :
    name => merge(local.alarm_defaults, alarm)
  }
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.description
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = startswith(each.value.statistic, "p") ? null : each.value.statistic
  extended_statistic  = startswith(each.value.statistic, "p") ? each.value.statistic : null
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  period              = each.value.period
  evaluation_periods  = each.value.periods
  datapoints_to_alarm = each.value.breaching_periods
  treat_missing_data  = each.value.missing
  alarm_actions       = each.value.notify ? [local.topic_arn] : []
  ok_actions          = each.value.notify ? [local.topic_arn] : []

  # The topic's ARN is built of names so that a plan shows it; the order has to be said, then.
  depends_on = [aws_sns_topic_policy.alarms]
}

# Functions: `<function>-<column>`.
locals {
  dashed = { for key in keys(var.functions) : key => replace(key, "_", "-") }
  routes = { for key, function in var.functions : key => function if key != "reconcile" }

  # Reconcile ends by itself after so long, or so long before Lambda would end it; every other function at its deadline.
  reconcile_longest_seconds = 45
  reconcile_reserve_seconds = 5
  own_seconds = {
    for key, function in var.functions : key => key == "reconcile" ?
    min(local.reconcile_longest_seconds, function.timeout_seconds - local.reconcile_reserve_seconds) :
    min(var.deadline_seconds, function.timeout_seconds)
  }
  slow_share = 0.8

  function_alarms = merge(concat(
    [for key, function in var.functions : {
      "${local.dashed[key]}-errors" = {
        namespace   = "AWS/Lambda"
        metric      = "Errors"
        dimensions  = { FunctionName = function.name }
        description = "${function.name} crashed, ran out of time or could not start within the last 5 minutes. Read ${function.log_group_name} for the first error; after a release, roll back."
      }
      "${local.dashed[key]}-throttles" = {
        namespace   = "AWS/Lambda"
        metric      = "Throttles"
        dimensions  = { FunctionName = function.name }
        description = "Lambda refused calls of ${function.name} within the last 5 minutes: all its concurrency was in use. Look at the dashboard for slow calls, which hold it; then raise its reserved concurrency or the account's quota."
      }
      "${local.dashed[key]}-duration" = {
        namespace         = "AWS/Lambda"
        metric            = "Duration"
        dimensions        = { FunctionName = function.name }
        statistic         = "p99"
        threshold         = local.slow_share * local.own_seconds[key] * 1000
        periods           = 3
        breaching_periods = 3
        description       = "One call in a hundred of ${function.name} has taken more than ${local.slow_share * 100} % of its ${local.own_seconds[key]} s, for 15 minutes. ${key == "reconcile" ? "It hardly keeps up: look at its backlog." : "Soon it will answer 503."} Look at the cache's throttled commands and latency first."
      }
      # Only calls through the alias, which is what a deployment shifts; a sum, because a rate would drown a canary's
      # few calls among the old version's. The metric's further dimension ExecutedVersion would tell the versions
      # apart, but the new version has no number before the deployment that this alarm guards.
      "${local.dashed[key]}-live-errors" = {
        namespace   = "AWS/Lambda"
        metric      = "Errors"
        dimensions  = { FunctionName = function.name, Resource = "${function.name}:${function.alias}" }
        period      = 60
        notify      = false # the alarm above tells of the same event
        description = "${function.name}:${function.alias} crashed, ran out of time or could not start. It stops a deployment and rolls it back; nothing is to be done but to read ${function.log_group_name} before the next one."
      }
    }],
    # A handler turns its own bug into a 500, which Lambda counts as a success: only the log knows.
    [for key, function in local.routes : {
      "${local.dashed[key]}-failures" = {
        metric      = "${local.dashed[key]}-failures"
        period      = 60
        description = "${function.name} answered 500 because of a bug or a wrong setting. Look for \"request failed\" in ${function.log_group_name}, its cause says where; after a release, roll back (a running deployment does so by itself)."
      }
    }],
  )...)

  rollback_columns = ["live-errors", "failures"]
}

# The API.
locals {
  api_dimensions = { ApiName = var.api.name, Stage = var.api.stage_name }

  api_alarms = {
    api-5xx = {
      namespace         = "AWS/ApiGateway"
      metric            = "5XXError"
      dimensions        = local.api_dimensions
      statistic         = "Average" # of ones and zeros: the share of requests
      comparison        = "GreaterThanThreshold"
      threshold         = 0.01
      period            = 60
      periods           = 5
      breaching_periods = 3
      description       = "More than 1 % of the requests to ${var.api.name} were answered with 5xx, in 3 of 5 minutes. Look at the functions' alarms: with -failures it is a bug, with -errors a crash; with none of them the cache does not answer (503)."
    }
    api-latency = {
      namespace         = "AWS/ApiGateway"
      metric            = "Latency"
      dimensions        = local.api_dimensions
      statistic         = "p99" # an average is drawn down by preflights and refused requests, which take no time
      comparison        = "GreaterThanThreshold"
      threshold         = var.latency_p99_milliseconds
      periods           = 3
      breaching_periods = 3
      description       = "One request in a hundred to ${var.api.name} has taken more than ${var.latency_p99_milliseconds} ms, for 15 minutes. Compare with the integration's latency and the functions' durations on the dashboard: a gap is cold starts, none is the cache."
    }
  }
}

# The cache. Its metrics know it as clusterId; under any other dimension an alarm would wait for ever, without an error.
locals {
  full_share = 0.75

  cache_alarms = merge([for cache in var.cache[*] : {
    for name, alarm in {
      cache-throttled = {
        metric      = "ThrottledCmds"
        period      = 60
        description = "The cache ${cache.name} refused commands: its ECPU maximum, or what one slot can take (the board is one key, so one slot: 30,000 ECPU a second), is reached. Look at ECPU on the dashboard; below the maximum it is the board's slot."
      }
      cache-data = {
        metric    = "BytesUsedForCache"
        statistic = "Maximum"
        # GB as 10^9 bytes: should the service count in GiB, the alarm goes off early, not late.
        threshold   = local.full_share * cache.data_storage_gb_maximum * 1000000000
        description = "The cache ${cache.name} holds at least ${local.full_share * 100} % of its ${cache.data_storage_gb_maximum} GB. When it is full, sessions are evicted first, then writes fail. Raise the maximum of cache_data_storage_gb."
      }
      cache-ecpu = {
        metric            = "ElastiCacheProcessingUnits"
        threshold         = local.full_share * cache.ecpu_per_second_maximum * 60 # a sum over a minute
        period            = 60
        periods           = 5
        breaching_periods = 3
        description       = "The cache ${cache.name} used at least ${local.full_share * 100} % of its ${cache.ecpu_per_second_maximum} ECPU a second, in 3 of 5 minutes. Above the maximum commands are refused. Raise the maximum of cache_ecpu_per_second, if the traffic is wanted."
      }
      cache-evictions = {
        metric      = "Evictions"
        description = "The cache ${cache.name} is full and evicted sessions: players have to open new ones, and soon writes will fail. Raise the maximum of cache_data_storage_gb now."
      }
      cache-authentication = {
        metric      = "AuthenticationFailures"
        description = "Somebody could not sign in to the cache ${cache.name}. Look for functions that answer 503: a role or user was changed, or a clock is wrong; if none does, somebody else is in the network."
      }
      cache-authentication-throttled = {
        metric      = "IamAuthenticationThrottling"
        description = "The cache ${cache.name} refused to look at sign-ins: too many at once. Look at new connections: functions that start again and again, or a burst without provisioned concurrency."
      }
      cache-key-refused = {
        metric      = "KeyAuthorizationFailures"
        description = "A user of the cache ${cache.name} asked for a key that its access string does not cover. After a release: roll back, and add the key's pattern; else see who has a function's role."
      }
      cache-command-refused = {
        metric      = "CommandAuthorizationFailures"
        description = "A user of the cache ${cache.name} gave a command that its access string does not allow. After a release: roll back, and add the command; else see who has a function's role."
      }
    } :
    name => merge(alarm, { namespace = "AWS/ElastiCache", dimensions = local.cache_dimensions })
  }]...)

  cache_dimensions = { clusterId = lower(try(var.cache.name, "")) }
}

# Reconcile, by what it says about its runs and by whether it runs at all.
locals {
  reconcile = var.functions.reconcile

  # An intent is due after so long; the first run after that settles it, and four have had their turn when it is backlog.
  reconcile_due_seconds = 60
  interval_seconds      = 60 * var.reconcile_interval_minutes
  backlog_seconds       = local.reconcile_due_seconds + 4 * local.interval_seconds
  standstill_seconds    = 600

  reconcile_alarms = {
    reconcile-backlog = {
      metric            = "reconcile-oldest-seconds"
      statistic         = "Maximum"
      comparison        = "GreaterThanThreshold"
      threshold         = local.backlog_seconds
      period            = local.interval_seconds # a run, and so a figure, in each
      periods           = 5
      breaching_periods = 3
      description       = "A score waited for more than ${local.backlog_seconds / 60} minutes to get from its profile to the board: reconcile does not keep up, or cannot finish some intent. Look at found and unreadable on the dashboard, then at its errors and duration."
    }
    reconcile-mended = {
      metric      = "reconcile-mended"
      description = "For information: board and profiles differed, and reconcile has mended it. One player now and then is a write that the sweep overtook; many are expected after a failover of the cache; otherwise somebody wrote to Valkey past the API: look at who does."
    }
    reconcile-unreadable = {
      metric      = "reconcile-unreadable"
      description = "Reconcile met players whose profile or intent it cannot read, and left them as they are. Look for \"player is unreadable\" in ${local.reconcile.log_group_name}, it has the userId; mend or delete that profile."
    }
    # Errors are no matter here: a reconcile that fails has an alarm already, one that nobody calls has none.
    reconcile-not-running = {
      namespace   = "AWS/Lambda"
      metric      = "Invocations"
      dimensions  = { FunctionName = local.reconcile.name }
      comparison  = "LessThanThreshold"
      period      = local.standstill_seconds
      missing     = "breaching"
      description = "${local.reconcile.name} was not called once in ${local.standstill_seconds / 60} minutes: nothing heals. See that its EventBridge schedule is enabled and may invoke it."
    }
    reconcile-queue = {
      namespace   = "AWS/SQS"
      metric      = "ApproximateNumberOfMessagesVisible"
      dimensions  = { QueueName = var.reconcile_failures_queue_name }
      statistic   = "Maximum"
      description = "Runs of reconcile failed with all their retries; their events are in ${var.reconcile_failures_queue_name}. Read one message, it has the error; later runs do the work again, so purge the queue once they succeed."
    }
  }
}

# What only the logs know. Our lines are JSON already, so Lambda's JSON log format leaves them as they are.
locals {
  log_metrics = merge(
    {
      for name, metric in {
        reconcile-found          = { value = "$.found", unit = "Count" }
        reconcile-oldest-seconds = { value = "$.oldestSeconds", unit = "Seconds" }
        reconcile-mended         = { value = "$.mended", unit = "Count" }
        reconcile-unreadable     = { value = "$.unreadable", unit = "Count" }
      } :
      name => merge(metric, { log_group_name = local.reconcile.log_group_name, message = "reconciled" })
    },
    {
      for key, function in local.routes : "${local.dashed[key]}-failures" =>
      { value = "1", unit = "Count", log_group_name = function.log_group_name, message = "request failed" }
    },
  )
}

resource "aws_cloudwatch_log_metric_filter" "this" {
  for_each = local.log_metrics

  name           = each.key
  log_group_name = each.value.log_group_name
  pattern        = "{ $.message = \"${each.value.message}\" }"

  metric_transformation {
    namespace = var.name
    name      = each.key
    value     = each.value.value
    unit      = each.value.unit
  }
}
