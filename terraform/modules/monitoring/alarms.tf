# The alarms on causes. Each is one entry of a table below, with what happened and what to do first. This is what an entry
# leaves out. None of them pages: slo.tf does, once, if players feel it. So an entry is a `ticket`, for the next working
# day, or for whoever was paged and looks for the cause; or a `deployment`, which CodeDeploy alone reads.
locals {
  alarm_defaults = {
    namespace         = var.name
    dimensions        = {}
    statistic         = "Sum"
    comparison        = "GreaterThanOrEqualToThreshold"
    period            = 300
    periods           = 1
    breaching_periods = 1
    missing           = "notBreaching" # a counter that has nothing to count sends nothing
    severity          = "ticket"
  }

  alarms = {
    for name, alarm in merge(local.function_alarms, local.cache_alarms, local.reconcile_alarms, local.security_alarms) :
    name => merge(local.alarm_defaults, { section = name }, alarm)
  }

  # Where the runbook speaks of an alarm, as its text ends. A section may serve several alarms.
  sections = toset(concat([for alarm in local.alarms : alarm.section], keys(local.objectives), keys(local.composites)))
  see      = { for section in local.sections : section => "Runbook: ${var.runbook_url}#${section}" }

  # In how long a time it happened, as the alarm's text says it.
  minutes = { for name, alarm in local.alarms : name => alarm.period / 60 }
  spans = {
    for name, alarm in local.alarms : name => (
      alarm.periods == 1 && alarm.statistic == "Maximum" ? "" # a level, not a count
      : alarm.periods == 1 ? " in the last ${local.minutes[name] == 1 ? "minute" : "${local.minutes[name]} minutes"}"
      : alarm.periods == alarm.breaching_periods ? ", for ${alarm.periods * local.minutes[name]} minutes"
      : ", in ${alarm.breaching_periods} of ${alarm.periods} ${local.minutes[name] == 1 ? "minutes" : "periods of ${local.minutes[name]} minutes"}"
    )
  }
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = "${title(each.value.severity)}: ${each.value.happened}${local.spans[each.key]}. ${each.value.first} ${local.see[each.value.section]}"
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
  alarm_actions       = each.value.severity == "deployment" ? [] : [local.topic_arns[each.value.severity]]

  # The topics' ARNs are built from names so that a plan shows them: Terraform does not see that the topics come first. Nor that
  # reconcile's schedule does: without it, the alarm on runs that fail to come would go off as soon as it is made.
  depends_on = [aws_sns_topic_policy.this, var.reconcile_interval_minutes]
}

# Functions: `<function>-<column>`.
locals {
  dashed = { for key in keys(var.functions) : key => replace(key, "_", "-") }
  routes = { for key, function in var.functions : key => function if !contains(["reconcile", "authorizer"], key) }

  # It refuses a token by failing, which is how API Gateway knows to answer 401, and Lambda counts that as an error. So whether
  # the authorizer is sick is read from API Gateway's log, which also knows if it was throttled, too slow, or not to be called.
  authorizers = { for key, function in var.functions : key => function if key == "authorizer" }
  crashing    = { for key, function in var.functions : key => function if key != "authorizer" }

  # How long a call may work: reconcile stops by itself, well before Lambda would stop it; a route stops at its deadline.
  reconcile_longest_seconds = 45
  reconcile_reserve_seconds = 5
  own_seconds = {
    for key, function in var.functions : key => key == "reconcile" ?
    min(local.reconcile_longest_seconds, function.timeout_seconds - local.reconcile_reserve_seconds) :
    min(var.deadline_seconds, function.timeout_seconds)
  }
  slow_milliseconds = {
    for key, seconds in local.own_seconds : key => try(
      var.duration_p99_milliseconds[key],
      var.duration_p99_milliseconds["default"],
      local.thresholds.function_duration_percent * seconds * 10,
    )
  }

  function_alarms = merge(concat(
    [for key, function in local.crashing : {
      "${local.dashed[key]}-errors" = {
        section    = "function-errors"
        namespace  = "AWS/Lambda"
        metric     = "Errors"
        dimensions = { FunctionName = function.name }
        threshold  = local.thresholds.function_errors_per_5_minutes
        happened   = "${function.name} crashed, timed out or failed to start${local.times.function_errors_per_5_minutes}"
        first      = "Read ${function.log_group_name} for the first error; after a release, roll back."
      }
    }],
    [for key, function in var.functions : {
      "${local.dashed[key]}-throttles" = {
        section    = "function-throttles"
        namespace  = "AWS/Lambda"
        metric     = "Throttles"
        dimensions = { FunctionName = function.name }
        threshold  = local.thresholds.function_throttles_per_5_minutes
        happened   = "Lambda refused calls to ${function.name}${local.times.function_throttles_per_5_minutes}"
        first      = "All its concurrency was in use. Look at the dashboard for slow calls, which hold it; then raise its reserved concurrency or the account's quota."
      }
      "${local.dashed[key]}-duration" = {
        section           = "function-duration"
        namespace         = "AWS/Lambda"
        metric            = "Duration"
        dimensions        = { FunctionName = function.name }
        statistic         = "p99"
        threshold         = local.slow_milliseconds[key]
        periods           = 3
        breaching_periods = 3
        happened          = "One call in a hundred to ${function.name} took at least ${local.slow_milliseconds[key]} ms of the ${local.own_seconds[key]} s that it has"
        first             = "${lookup({ reconcile = "It can hardly keep up: look at its backlog.", authorizer = "It may be waiting for the keys of the identity provider in oidc." }, key, "When its time is up, it answers 503.")} ${key == "authorizer" ? "Its log says what it waits for." : "Look at the cache's throttled commands and latency first."}"
      }
    }],
    # Only calls through the alias, which is what a deployment shifts. A sum, because a rate would drown a canary's few
    # calls in the old version's. The metric's dimension ExecutedVersion would tell the versions apart, but the new
    # version has no number before the deployment that this alarm guards.
    [for key, function in local.crashing : {
      "${local.dashed[key]}-live-errors" = {
        section    = "function-live-errors"
        namespace  = "AWS/Lambda"
        metric     = "Errors"
        dimensions = { FunctionName = function.name, Resource = "${function.name}:${function.alias}" }
        threshold  = local.thresholds.rollback_errors_per_minute
        period     = 60
        severity   = "deployment" # people hear about it from the alarm -errors
        happened   = "${function.name}:${function.alias} crashed, timed out or failed to start${local.times.rollback_errors_per_minute}"
        first      = "This stops a running deployment and rolls it back. Read ${function.log_group_name} before the next one."
      }
    } if var.codedeploy],
    # A handler turns its own bug into a 500, which Lambda counts as a success: only the log knows.
    [for key, function in local.routes : {
      "${local.dashed[key]}-failures" = {
        section   = "function-failures"
        metric    = "${local.dashed[key]}-failures"
        threshold = local.thresholds.function_failures_per_minute
        period    = 60
        happened  = "${function.name} answered 500${local.times.function_failures_per_minute}"
        first     = "It is a bug or a wrong setting: look for \"request failed\" in ${function.log_group_name}, where its cause says more. After a release, roll back; a running deployment does so by itself."
      }
    }],
    [for key, function in local.authorizers : {
      "${local.dashed[key]}-failures" = {
        section   = "authorizer-failures"
        metric    = "${local.dashed[key]}-failures"
        threshold = local.thresholds.authorizer_failures_per_minute
        period    = 60
        happened  = "API Gateway got no answer from ${function.name} and let nobody in: it was broken, slow or throttled${local.times.authorizer_failures_per_minute}"
        first     = "Whoever needs a token gets a 503; what is public still works. Read ${function.log_group_name}; with nothing there, look at its throttles and at what may call it. After a release, roll back; a running deployment does so by itself."
      }
    }],
  )...)

  rollback_columns = ["live-errors", "failures"]
}

# The cache. Its metrics know it as clusterId; with any other dimension, an alarm would wait for ever, without an error.
locals {
  cache_alarms = merge([for cache in var.cache[*] : {
    for name, alarm in {
      cache-throttled = {
        metric    = "ThrottledCmds"
        threshold = local.thresholds.cache_throttled_commands_per_minute
        period    = 60
        happened  = "The cache ${cache.name} refused commands${local.times.cache_throttled_commands_per_minute}"
        first     = "It has reached its ECPU maximum, or what one slot can take: the board is one key and so one slot, 30,000 ECPU a second. Look at ECPU on the dashboard: below the maximum, it is the board's slot."
      }
      cache-data = {
        metric    = "BytesUsedForCache"
        statistic = "Maximum"
        # A GB as 10^9 bytes: if the service counts in GiB, the alarm goes off early, not late.
        threshold = local.thresholds.cache_data_percent * cache.data_storage_gb_maximum * 10000000
        happened  = "The cache ${cache.name} holds at least ${local.thresholds.cache_data_percent} % of its ${cache.data_storage_gb_maximum} GB"
        first     = "When it is full, sessions are evicted first, then writes fail. Raise the maximum of cache_data_storage_gb."
      }
      cache-ecpu = {
        metric            = "ElastiCacheProcessingUnits"
        threshold         = local.thresholds.cache_ecpu_percent * cache.ecpu_per_second_maximum * 60 / 100 # a sum over a minute
        period            = 60
        periods           = 5
        breaching_periods = 3
        happened          = "The cache ${cache.name} used at least ${local.thresholds.cache_ecpu_percent} % of its ${cache.ecpu_per_second_maximum} ECPU a second"
        first             = "Above the maximum, commands are refused. If the traffic is wanted, raise the maximum of cache_ecpu_per_second."
      }
      cache-evictions = {
        metric    = "Evictions"
        threshold = local.thresholds.cache_evictions_per_5_minutes
        happened  = "The cache ${cache.name} was full and evicted sessions${local.times.cache_evictions_per_5_minutes}"
        first     = "Players have to open new ones, and soon writes will fail. Raise the maximum of cache_data_storage_gb now."
      }
      cache-authentication = {
        metric    = "AuthenticationFailures"
        threshold = local.thresholds.cache_refused_sign_ins_per_5_minutes
        happened  = "Somebody failed to sign in to the cache ${cache.name}${local.times.cache_refused_sign_ins_per_5_minutes}"
        first     = "Look for functions that answer 503: a role or user was changed, or a clock is wrong. If there are none, somebody else is in the network."
      }
      cache-authentication-throttled = {
        metric    = "IamAuthenticationThrottling"
        threshold = local.thresholds.cache_throttled_sign_ins_per_5_minutes
        happened  = "The cache ${cache.name} refused to check sign-ins${local.times.cache_throttled_sign_ins_per_5_minutes}"
        first     = "There were too many at once. Look at new connections: functions that keep restarting, or a burst without provisioned concurrency."
      }
      cache-key-refused = {
        metric    = "KeyAuthorizationFailures"
        threshold = local.thresholds.cache_refused_keys_per_5_minutes
        happened  = "A user of the cache ${cache.name} was refused a key${local.times.cache_refused_keys_per_5_minutes}"
        first     = "Its access string does not cover that key. After a release, roll back and add the key's pattern; otherwise find out who has a function's role."
      }
      cache-command-refused = {
        metric    = "CommandAuthorizationFailures"
        threshold = local.thresholds.cache_refused_commands_per_5_minutes
        happened  = "A user of the cache ${cache.name} was refused a command${local.times.cache_refused_commands_per_5_minutes}"
        first     = "Its access string does not allow that command. After a release, roll back and add the command; otherwise find out who has a function's role."
      }
    } :
    name => merge(alarm, { namespace = "AWS/ElastiCache", dimensions = local.cache_dimensions })
  }]...)

  cache_dimensions = { clusterId = lower(try(var.cache.name, "")) }
}

# Reconcile: what it says about its runs, and whether it runs at all.
locals {
  reconcile = var.functions.reconcile

  # An intent is due after so long; the next run settles it, so a backlog is what several runs have left over.
  reconcile_due_seconds = 60
  interval_seconds      = 60 * var.reconcile_interval_minutes
  backlog_seconds       = local.reconcile_due_seconds + local.thresholds.reconcile_backlog_runs * local.interval_seconds

  reconcile_alarms = {
    reconcile-backlog = {
      metric            = "OldestIntentSeconds"
      statistic         = "Maximum"
      comparison        = "GreaterThanThreshold"
      threshold         = local.backlog_seconds
      period            = local.interval_seconds # each has a run, and so a figure
      periods           = 5
      breaching_periods = 3
      happened          = "A score waited more than ${local.backlog_seconds / 60} minutes to get from its profile to the board"
      first             = "Reconcile does not keep up, or cannot finish some intent. Look at found and unreadable on the dashboard, then at its errors and duration."
    }
    reconcile-mended = {
      metric    = "PlayersMended"
      threshold = local.thresholds.reconcile_mended_per_5_minutes
      happened  = "Reconcile had to mend a player${local.times.reconcile_mended_per_5_minutes}"
      first     = "Its board entry and its profile differed. One now and then is a write that the sweep overtook; many are expected after a failover of the cache. Otherwise somebody wrote to Valkey past the API: find out who."
    }
    reconcile-unreadable = {
      metric    = "PlayersUnreadable"
      threshold = local.thresholds.reconcile_unreadable_per_5_minutes
      happened  = "Reconcile met an unreadable player${local.times.reconcile_unreadable_per_5_minutes}"
      first     = "It cannot read the profile or intent, and leaves it alone. Look for \"unreadable_player\" in ${local.reconcile.log_group_name}, which has the userId; mend or delete that profile."
    }
    # Whether the runs succeed does not matter here: failures have an alarm of their own. Two periods, so that one that
    # CloudWatch still waits for is not taken for a standstill; each is long enough for a run.
    reconcile-not-running = {
      namespace         = "AWS/Lambda"
      metric            = "Invocations"
      dimensions        = { FunctionName = local.reconcile.name }
      comparison        = "LessThanThreshold"
      threshold         = 1
      period            = 60 * ceil(local.thresholds.reconcile_standstill_minutes / 2)
      periods           = 2
      breaching_periods = 2
      missing           = "breaching"
      happened          = "${local.reconcile.name} was not called once"
      first             = "Nothing is being healed. Check that its EventBridge schedule is enabled and may invoke it."
    }
    reconcile-queue = {
      namespace  = "AWS/SQS"
      metric     = "ApproximateNumberOfMessagesVisible"
      dimensions = { QueueName = var.reconcile_failures_queue_name }
      statistic  = "Maximum"
      threshold  = local.thresholds.reconcile_failed_runs
      happened   = "${var.reconcile_failures_queue_name} holds ${local.thresholds.reconcile_failed_runs == 1 ? "the event of a run" : "the events of at least ${local.thresholds.reconcile_failed_runs} runs"} of reconcile that failed with all its retries"
      first      = "Read one message: it has the error. Later runs do the work again, so purge the queue once they succeed."
    }
  }
}

# What somebody may be trying: by the kind of security event, as functions/metrics.yaml lists them.
locals {
  security_alarms = { for name, alarm in {
    security-refusals = {
      kind      = "validation_refused"
      threshold = local.thresholds.security_refusals_per_5_minutes
      happened  = "Requests with arguments or bodies that nobody's client should send came${local.times.security_refusals_per_5_minutes}"
      first     = "Ask the saved query \"one caller\" which key sent them. A game with a bug says the same every time; somebody who searches for holes says something else each time: revoke that key."
    }
    security-conflicts = {
      kind      = "idempotency_conflict"
      threshold = local.thresholds.security_conflicts_per_5_minutes
      happened  = "An Idempotency-Key came again with another body${local.times.security_conflicts_per_5_minutes}"
      first     = "Mostly a client that makes its keys badly, and so loses submissions: find it with the saved query \"security by kind\". If it is none of yours, somebody tries to replay requests."
    }
    security-cache-sign-in = {
      kind      = "cache_authentication_failed"
      threshold = local.thresholds.security_cache_sign_ins_per_5_minutes
      happened  = "The cache refused a function's sign-in${local.times.security_cache_sign_ins_per_5_minutes}"
      first     = "A role, a user or a clock was changed: those requests got a 503. Look at what was applied last."
    }
    } :
    name => merge({ metric = "SecurityEvents", dimensions = { Kind = alarm.kind } }, alarm)
  }
}

# No function is asked for these, so none can count them.
resource "aws_cloudwatch_log_metric_filter" "gateway" {
  for_each = { for name, type in local.gateway_types : name => type if length(local.authorizers) > 0 }

  name           = each.key
  log_group_name = var.api.access_log_group_name
  pattern        = "{ $.errorType = \"${each.value}\" }"

  metric_transformation {
    namespace = var.name
    name      = each.key
    value     = "1"
    unit      = "Count"
  }
}

locals {
  # What only API Gateway knows, as it calls it: AUTHORIZER_FAILURE and AUTHORIZER_CONFIGURATION_ERROR are 503 here.
  gateway_types = { authorizer-failures = "AUTHORIZER_*", unauthenticated = "UNAUTHORIZED" }
}

# What a handler cannot count itself: it logs a bug before it knows what the answer will be. A deployment is rolled back on
# this. Our lines are JSON already, so Lambda's JSON log format does not wrap them.
resource "aws_cloudwatch_log_metric_filter" "this" {
  for_each = { for key, function in local.routes : "${local.dashed[key]}-failures" => function.log_group_name }

  name           = each.key
  log_group_name = each.value
  pattern        = "{ $.message = \"request failed\" }"

  metric_transformation {
    namespace = var.name
    name      = each.key
    value     = "1"
    unit      = "Count"
  }
}
