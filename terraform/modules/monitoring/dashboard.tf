# A table again: a row is a list of charts that share its width; a chart has a title, metrics, and perhaps a line, its
# limit.
locals {
  charts = concat(
    [
      [
        { title = "Requests a minute", metrics = [
          ["AWS/ApiGateway", "Count", local.api_dimensions, { stat = "SampleCount", label = "requests" }],
        ] },
        { title = "Share of errors", metrics = [
          ["AWS/ApiGateway", "4XXError", local.api_dimensions, { stat = "Average", label = "4xx" }],
          ["AWS/ApiGateway", "5XXError", local.api_dimensions, { stat = "Average", label = "5xx" }],
        ] },
        { title = "Latency (ms)", line = local.thresholds.api_latency_p99_milliseconds, metrics = [
          ["AWS/ApiGateway", "Latency", local.api_dimensions, { stat = "p50", label = "p50" }],
          ["AWS/ApiGateway", "Latency", local.api_dimensions, { stat = "p99", label = "p99" }],
          ["AWS/ApiGateway", "IntegrationLatency", local.api_dimensions, { stat = "p99", label = "of it the function, p99" }],
        ] },
      ],
      [
        { title = "Errors (crashes, time-outs)", metrics = [for key, function in var.functions :
          ["AWS/Lambda", "Errors", { FunctionName = function.name }, { stat = "Sum", label = key }]
        ] },
        { title = "Failures (answers 500)", metrics = [for key in keys(local.routes) :
          [var.name, "${local.dashed[key]}-failures", {}, { stat = "Sum", label = key }]
        ] },
        { title = "Throttled calls", metrics = [for key, function in var.functions :
          ["AWS/Lambda", "Throttles", { FunctionName = function.name }, { stat = "Sum", label = key }]
        ] },
      ],
      [
        { title = "Duration, p50 (ms)", metrics = [for key, function in var.functions :
          ["AWS/Lambda", "Duration", { FunctionName = function.name }, { stat = "p50", label = key }]
        ] },
        { title = "Duration, p99 (ms)", metrics = [for key, function in var.functions :
          ["AWS/Lambda", "Duration", { FunctionName = function.name }, { stat = "p99", label = key }]
        ] },
        { title = "Calls at once", metrics = [for key, function in var.functions :
          ["AWS/Lambda", "ConcurrentExecutions", { FunctionName = function.name }, { stat = "Maximum", label = key }]
        ] },
      ],
    ],
    [for row in [
      [
        { title = "ECPU a minute", line = try(var.cache.ecpu_per_second_maximum * 60, null), metrics = [
          ["AWS/ElastiCache", "ElastiCacheProcessingUnits", local.cache_dimensions, { stat = "Sum", label = "ECPU" }],
        ] },
        { title = "Data (bytes)", line = try(var.cache.data_storage_gb_maximum * 1000000000, null), metrics = [
          ["AWS/ElastiCache", "BytesUsedForCache", local.cache_dimensions, { stat = "Maximum", label = "data" }],
        ] },
        # Network, TLS and the functions' own time come on top.
        { title = "Latency inside the cache (µs)", metrics = [
          ["AWS/ElastiCache", "SuccessfulReadRequestLatency", local.cache_dimensions, { stat = "p99", label = "reads, p99" }],
          ["AWS/ElastiCache", "SuccessfulWriteRequestLatency", local.cache_dimensions, { stat = "p99", label = "writes, p99" }],
        ] },
      ],
      [
        { title = "Throttled commands, evictions", metrics = [
          ["AWS/ElastiCache", "ThrottledCmds", local.cache_dimensions, { stat = "Sum", label = "throttled commands" }],
          ["AWS/ElastiCache", "Evictions", local.cache_dimensions, { stat = "Sum", label = "evictions" }],
        ] },
        { title = "Connections", metrics = [
          ["AWS/ElastiCache", "CurrConnections", local.cache_dimensions, { stat = "Maximum", label = "open" }],
          ["AWS/ElastiCache", "NewConnections", local.cache_dimensions, { stat = "Sum", label = "new" }],
        ] },
        { title = "Refused by access control", metrics = [for metric in [
          "AuthenticationFailures", "IamAuthenticationThrottling", "KeyAuthorizationFailures", "CommandAuthorizationFailures",
          ] :
          ["AWS/ElastiCache", metric, local.cache_dimensions, { stat = "Sum", label = metric }]
        ] },
      ],
    ] : row if var.cache != null],
    [
      [
        { title = "Oldest unfinished score (s)", line = local.backlog_seconds, metrics = [
          [var.name, "reconcile-oldest-seconds", {}, { stat = "Maximum", label = "age" }],
        ] },
        { title = "Healed by reconcile", metrics = [
          [var.name, "reconcile-found", {}, { stat = "Sum", label = "intents found" }],
          [var.name, "reconcile-mended", {}, { stat = "Sum", label = "players mended" }],
          [var.name, "reconcile-unreadable", {}, { stat = "Sum", label = "players unreadable" }],
        ] },
        { title = "Runs of reconcile", metrics = [
          ["AWS/Lambda", "Invocations", { FunctionName = local.reconcile.name }, { stat = "Sum", label = "runs" }],
          ["AWS/SQS", "ApproximateNumberOfMessagesVisible", { QueueName = var.reconcile_failures_queue_name }, { stat = "Maximum", label = "failures kept" }],
        ] },
      ],
    ],
  )

  # The dashboard's grid is 24 columns wide; the alarms are above the charts.
  alarms_height = 8
  chart_height  = 6

  widgets = concat(
    [{
      type = "alarm", x = 0, y = 0, width = 24, height = local.alarms_height
      properties = {
        title  = "Alarms"
        alarms = [for name in keys(local.alarms) : "${local.alarm_arn}-${name}"]
      }
    }],
    flatten([for row, charts in local.charts : [for column, chart in charts : {
      type = "metric", x = column * 24 / length(charts), y = local.alarms_height + row * local.chart_height, width = 24 / length(charts), height = local.chart_height
      properties = merge(
        {
          title  = chart.title
          region = local.region
          period = 60
          # A metric is a list: namespace, name, dimension, value, dimension, value, …, and how to draw it.
          metrics = [for metric in chart.metrics : concat(
            slice(metric, 0, 2), flatten([for name, value in metric[2] : [name, value]]), [metric[3]],
          )]
          yAxis = { left = { min = 0 } }
        },
        try({ annotations = { horizontal = [{ value = chart.line, label = "limit" }] } }, {}),
      )
    }]]),
  )
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name
  dashboard_body = jsonencode({ widgets = local.widgets })
}
