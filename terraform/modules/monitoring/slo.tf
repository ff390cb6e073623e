# What players were promised, and how fast that promise is being used up. An objective is a share of requests that may go
# wrong: its budget. An alarm looks at two windows at once: the long one says that it matters, the short one that it still
# goes on. The windows and how many times the budget's pace they allow are those of Google's SRE workbook, chapter 5, but
# for the slowest: CloudWatch evaluates windows of more than a day once an hour, so its long window is three days, each of
# them above.
locals {
  api_dimensions = { ApiName = var.api.name, Stage = var.api.stage_name }

  objectives = {
    # API Gateway counts what the functions cannot: their crashes, time-outs and throttles.
    availability = {
      percent   = var.availability_percent
      bad       = { namespace = "AWS/ApiGateway", metric = "5XXError", dimensions = local.api_dimensions, statistic = "Sum" }
      requests  = { namespace = "AWS/ApiGateway", metric = "Count", dimensions = local.api_dimensions, statistic = "SampleCount" }
      went      = "were answered with a 5xx"
      first     = "Look at the functions: answers of 500 mean a bug, errors a crash. With neither, the cache is not answering (503)."
      objective = "${var.availability_percent} % of the requests to ${var.api.name} are answered without a 5xx in 30 days"
    }
    # Our own: each function knows how long it may take, so one metric says it of all of them, whatever METRICS_DEPTH is.
    # API Gateway's Latency has one limit for all routes, unless each method's is paid for.
    latency = {
      percent   = var.latency_percent
      bad       = { namespace = var.name, metric = "SlowRequests", dimensions = {}, statistic = "Sum" }
      requests  = { namespace = var.name, metric = "SlowRequests", dimensions = {}, statistic = "SampleCount" }
      went      = "took longer than they should (slow_milliseconds)"
      first     = "Look at which route is slow, then at the time of a round trip to Valkey: high means the cache, low means cold starts or too little CPU."
      objective = "${var.latency_percent} % of the requests are answered within slow_milliseconds in 30 days"
    }
  }

  # What may go wrong, in per cent of the requests. Rounded: 100 - 99.9 has a long tail.
  budgets = { for name, objective in local.objectives : name => tonumber(format("%.6f", 100 - objective.percent)) }

  burns = {
    fast   = { rate = 14.4, severity = "page", long = { name = "1h", minutes = 60 }, short = { name = "5m", minutes = 5 } }
    steady = { rate = 6, severity = "page", long = { name = "6h", minutes = 360 }, short = { name = "30m", minutes = 30 } }
    day    = { rate = 3, severity = "ticket", long = { name = "1d", minutes = 1440 }, short = { name = "2h", minutes = 120 } }
    days   = { rate = 1, severity = "ticket", long = { name = "3d", minutes = 1440, periods = 3 }, short = { name = "6h", minutes = 360 } }
  }

  # Every window is an alarm of its own, which tells nobody: a pair of them does, in the composite alarms below.
  windows = merge(flatten([for name, objective in local.objectives : [for burn_name, burn in local.burns : [
    for kind in ["long", "short"] : {
      "${name}-${burn_name}-${burn[kind].name}" = {
        objective = name
        burn      = burn_name
        severity  = burn.severity
        minutes   = burn[kind].minutes
        periods   = try(burn[kind].periods, 1)
        # At night a single failure is a large share of few requests: so the long window wants several.
        fewest    = kind == "long" ? local.thresholds.slo_bad_requests : 1
        threshold = tonumber(format("%.6f", burn.rate * local.budgets[name]))
        rate      = burn.rate
        span      = burn[kind].name
      }
    }
  ]]])...)

  pairs = {
    for severity in ["page", "ticket"] : severity => flatten([for name, objective in local.objectives : [
      for burn_name, burn in local.burns : "(${join(" AND ", [
        for kind in ["long", "short"] : "ALARM(\"${var.name}-${name}-${burn_name}-${burn[kind].name}\")"
      ])})" if burn.severity == severity
    ]])
  }

  composites = {
    slo-page = {
      severity = "page"
      happened = "Players are not served as promised: so many requests fail or are slow that the budget of 30 days would be gone within five days"
      first    = "Open the dashboard ${var.name}. Its first row says whether requests fail (availability) or are slow (latency), and the alarms below it which part is sick. After a release, roll back first."
    }
    slo-ticket = {
      severity = "ticket"
      happened = "The budget of failed or slow requests is being used up faster than it comes back, for a day or for days"
      first    = "Nobody has to get up. On the dashboard, look at what fails or is slow, find the cause, and put off what is risky until the budget has come back."
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "window" {
  for_each = local.windows

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = "${title(each.value.severity)}, with its other window: at least ${each.value.threshold} % of the requests ${local.objectives[each.value.objective].went}, in ${each.value.span}${each.value.fewest > 1 ? " and at least ${each.value.fewest} of them" : ""}. That is ${each.value.rate} times what the objective allows: ${local.objectives[each.value.objective].objective}. ${local.objectives[each.value.objective].first} ${local.see[each.value.objective]}"
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = each.value.threshold
  evaluation_periods  = each.value.periods
  datapoints_to_alarm = each.value.periods
  treat_missing_data  = "notBreaching" # without a request there is no share
  alarm_actions       = var.composite_alarms ? [] : [local.topic_arns[each.value.severity]]

  metric_query {
    id          = "share"
    expression  = "IF(bad >= ${each.value.fewest}, 100 * bad / requests, 0)"
    label       = "share of requests (%)"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = { for id in ["bad", "requests"] : id => local.objectives[each.value.objective][id] }

    content {
      id = metric_query.key

      metric {
        namespace   = metric_query.value.namespace
        metric_name = metric_query.value.metric
        dimensions  = metric_query.value.dimensions
        stat        = metric_query.value.statistic
        period      = each.value.minutes * 60
      }
    }
  }

  depends_on = [aws_sns_topic_policy.this]
}

resource "aws_cloudwatch_composite_alarm" "this" {
  for_each = { for name, alarm in local.composites : name => alarm if var.composite_alarms }

  alarm_name        = "${var.name}-${each.key}"
  alarm_description = "${title(each.value.severity)}: ${each.value.happened}. ${each.value.first} ${local.see[each.key]}"
  alarm_rule        = join(" OR ", local.pairs[each.value.severity])
  alarm_actions     = [local.topic_arns[each.value.severity]]
  ok_actions        = each.value.severity == "page" ? [local.topic_arns.page] : []

  depends_on = [aws_cloudwatch_metric_alarm.window, aws_sns_topic_policy.this]
}
