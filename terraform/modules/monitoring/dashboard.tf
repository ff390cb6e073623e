# The dashboard, from top to bottom: are players served, and if not, why. A table of rows; a row is its title, how to read
# it, and lines of widgets. A widget is a chart with metrics, figures (the same, as numbers), a log with a saved query, or
# the alarms; `width` is its share of 24 columns, `lines` are limits by what they mean.
#
# Routes, problem codes and currencies are those of the contract and the settings, kinds of security events those of the
# table of metrics. Only explicit metrics, and math of + - * / ( ) IF FILL, so that `make run` draws the same.
locals {
  methods = ["get", "put", "post", "delete", "head", "patch"]
  operations = flatten([for path, item in var.contract.paths : [
    for method, operation in item : {
      route = "${upper(method)} ${path}", method = upper(method), path = path, key = split(".", operation.operationId)[0]
    } if contains(local.methods, method)
  ]])
  by_route = [for operation in local.operations : operation.route if var.metrics_depth == "routes"]

  answers = concat(values(var.contract.components.responses), flatten([for path, item in var.contract.paths : [
    for method, operation in item : values(operation.responses) if contains(local.methods, method)
  ]]))
  codes = setsubtract(toset(concat(["internal_error"], flatten([for answer in local.answers : try(answer["x-codes"], [])]))), local.gateway_codes)

  # Only the gateway says these, so no function counts them.
  gateway_codes = ["forbidden", "too_many_requests", "unauthenticated"]

  submit = var.contract.paths["/users/{userId}/score"].put.responses
  reasons = setsubtract(toset(flatten([for status, answer in local.submit :
    try(var.contract.components.responses[reverse(split("/", answer["$ref"]))[0]]["x-codes"], answer["x-codes"], []) if startswith(status, "4")
  ])), local.gateway_codes)

  # A link, if there is one to follow.
  runbook = { for row in ["served", "routes", "business", "functions", "cache", "healing", "security", "delivery"] : row =>
    startswith(var.runbook_url, "https://") ? "[Runbook](${var.runbook_url}#row-${row})" : "Runbook: ${var.runbook_url}#row-${row}"
  }

  slowest = max(values(var.slow_milliseconds)...)

  bad = {
    for name, objective in local.objectives : name => [
      for id in ["bad", "requests"] : [
        objective[id].namespace, objective[id].metric, objective[id].dimensions,
        { id = id, stat = objective[id].statistic, visible = false },
      ]
    ]
  }

  rows = concat(
    [
      {
        key = "served", title = "Are players served?"
        text = join(" ", [
          "Availability is the share of requests that API Gateway answered without a 5xx; it should be at least ${var.availability_percent} %.",
          "The budget is what may fail in 30 days: 100 % is untouched, 0 % is used up, less is a broken promise.",
          "In time is the share of requests within what its function may take (up to ${local.slowest} ms); it should be at least ${var.latency_percent} %.",
          "All well here: players do not feel whatever is red below. Revenue is what the game reported, in minor units: no accounting.",
        ])
        lines = [
          [
            { kind = "figures", width = 3, title = "Availability (%)", whole = true, metrics = concat(local.bad.availability, [
              [{ id = "share", expression = "100 - 100 * bad / requests", label = "availability" }],
            ]) },
            { kind = "figures", width = 3, title = "Failure budget left (%)", whole = true, start = "-P30D", metrics = concat(local.bad.availability, [
              [{ id = "left", expression = "100 - 10000 * bad / requests / ${local.budgets.availability}", label = "of 30 days" }],
            ]) },
            { kind = "figures", width = 3, title = "In time (%)", whole = true, metrics = concat(local.bad.latency, [
              [{ id = "share", expression = "100 - 100 * bad / requests", label = "in time" }],
            ]) },
            { kind = "figures", width = 3, title = "Slowness budget left (%)", whole = true, start = "-P30D", metrics = concat(local.bad.latency, [
              [{ id = "left", expression = "100 - 10000 * bad / requests / ${local.budgets.latency}", label = "of 30 days" }],
            ]) },
            { kind = "figures", width = 3, title = "Latency, p99 (ms)", whole = true, metrics = [
              [var.name, "Latency", {}, { stat = "p99", label = "p99" }],
            ] },
            { kind = "figures", width = 3, title = "Requests", whole = true, metrics = [
              [var.name, "Requests", {}, { stat = "Sum", label = "requests" }],
            ] },
            { kind = "figures", width = 3, title = "Active players", metrics = [
              [var.name, "ActivePlayersToday", {}, { stat = "Maximum", label = "today" }],
            ] },
            { kind = "figures", width = 3, title = "Revenue (minor units)", whole = true, metrics = [for currency in var.currencies :
              [var.name, "Revenue", { Currency = currency }, { stat = "Sum", label = currency }]
            ] },
          ],
          [
            { kind = "chart", width = 8, title = "Failed requests (%)", lines = { "budget" = local.budgets.availability, "pages in an hour" = local.windows["availability-fast-1h"].threshold }, metrics = concat(local.bad.availability, [
              [{ id = "share", expression = "100 * bad / requests", label = "failed" }],
            ]) },
            { kind = "chart", width = 8, title = "Slow requests (%)", lines = { "budget" = local.budgets.latency, "pages in an hour" = local.windows["latency-fast-1h"].threshold }, metrics = concat(local.bad.latency, [
              [{ id = "share", expression = "100 * bad / requests", label = "slow" }],
            ]) },
            { kind = "chart", width = 8, title = "Requests a minute", lines = {}, metrics = [
              ["AWS/ApiGateway", "Count", local.api_dimensions, { stat = "SampleCount", label = "at the gateway" }],
              [var.name, "Requests", {}, { stat = "Sum", label = "in a function" }],
              [var.name, "ServerErrors", {}, { stat = "Sum", label = "answered with a 5xx" }],
            ] },
          ],
          [{ kind = "alarms", width = 24 }],
        ]
      },
      {
        key = "routes", title = "Routes"
        text = join(" ", [
          "Which route is slow, and what is answered instead of what was asked for.",
          "Latency is from event to response within the function; the gateway's has cold starts and the way there in it.",
          "A 4xx is the caller's: many of one code after a release are ours. `not_yet_visible` and `unavailable` are the cache's.",
        ])
        lines = concat(
          [[
            { kind = "chart", width = 8, title = "Latency, all routes (ms)", lines = { "slowest objective" = local.slowest }, metrics = [for stat in ["p50", "p95", "p99"] :
              [var.name, "Latency", {}, { stat = stat, label = stat }]
            ] },
            { kind = "chart", width = 8, title = "Latency at the gateway (ms)", lines = {}, metrics = [
              ["AWS/ApiGateway", "Latency", local.api_dimensions, { stat = "p50", label = "p50" }],
              ["AWS/ApiGateway", "Latency", local.api_dimensions, { stat = "p99", label = "p99" }],
              ["AWS/ApiGateway", "IntegrationLatency", local.api_dimensions, { stat = "p99", label = "of it the function, p99" }],
            ] },
            { kind = "chart", width = 8, title = "Replies by class", lines = {}, metrics = [
              ["AWS/ApiGateway", "4XXError", local.api_dimensions, { stat = "Sum", label = "4xx at the gateway" }],
              ["AWS/ApiGateway", "5XXError", local.api_dimensions, { stat = "Sum", label = "5xx at the gateway" }],
              [var.name, "ClientErrors", {}, { stat = "Sum", label = "4xx of a function" }],
              [var.name, "ServerErrors", {}, { stat = "Sum", label = "5xx of a function" }],
            ] },
          ]],
          [for line in [[for stat in ["p50", "p95", "p99"] :
            { kind = "chart", width = 8, title = "Latency by route, ${stat} (ms)", lines = {}, metrics = [for route in local.by_route :
              [var.name, "Latency", { Route = route }, { stat = stat, label = route }]
            ] }
          ]] : line if var.metrics_depth == "routes"],
          [for line in [[
            for chart in [
              { title = "Requests by route", metric = "Requests" },
              { title = "4xx by route", metric = "ClientErrors" },
              { title = "5xx by route", metric = "ServerErrors" },
            ] :
            { kind = "chart", width = 8, title = chart.title, lines = {}, metrics = [for route in local.by_route :
              [var.name, chart.metric, { Route = route }, { stat = "Sum", label = route }]
            ] }
          ]] : line if var.metrics_depth == "routes"],
          [for line in [[
            for chart in [
              { title = "Latency at the gateway by method, p99 (ms)", metric = "Latency", stat = "p99" },
              { title = "4xx at the gateway by method", metric = "4XXError", stat = "Sum" },
              { title = "5xx at the gateway by method", metric = "5XXError", stat = "Sum" },
            ] :
            { kind = "chart", width = 8, title = chart.title, lines = {}, metrics = [for one in local.operations :
              ["AWS/ApiGateway", chart.metric, merge(local.api_dimensions, { Method = one.method, Resource = one.path }), { stat = chart.stat, label = one.route }]
            ] }
          ]] : line if var.api.detailed_metrics],
          [[
            { kind = "chart", width = 12, title = "Replies by problem code", lines = {}, metrics = concat([for code in local.codes :
              [var.name, "Problems", { Code = code }, { stat = "Sum", label = code }]
            ], [[var.name, "Problems", {}, { stat = "Sum", label = "all" }]]) },
            { kind = "log", width = 12, title = "Errors by code", query = "errors by code" },
          ]],
          [[{ kind = "log", width = 24, title = "Slowest requests", query = "slowest requests" }]],
        )
      },
      {
        key = "business", title = "Business"
        text = join(" ", [
          "Counted by the attempt that commits, whatever it answers then: a submission that was sent again is a replay, not a second game.",
          "No submissions while requests go on: look at what is refused. Unreadable revenue is a game that sends something else than amount and currency.",
        ])
        lines = [
          [
            { kind = "chart", width = 8, title = "Submissions and players", lines = {}, metrics = [for metric, label in {
              Submissions = "submissions (games)", PlayersCreated = "players created", SessionsStarted = "sessions started", Replays = "replays"
            } : [var.name, metric, {}, { stat = "Sum", label = label }]] },
            { kind = "chart", width = 8, title = "Submissions refused", lines = {}, metrics = concat([for reason in local.reasons :
              [var.name, "SubmissionsRefused", { Reason = reason }, { stat = "Sum", label = reason }]
            ], [[var.name, "SubmissionsRefused", {}, { stat = "Sum", label = "all" }]]) },
            { kind = "chart", width = 8, title = "Active players", lines = {}, metrics = [
              [var.name, "ActivePlayersToday", {}, { stat = "Maximum", label = "today (UTC)" }],
              [var.name, "ActivePlayersMonth", {}, { stat = "Maximum", label = "in 30 days" }],
            ] },
          ],
          [
            { kind = "chart", width = 8, title = "Points", lines = {}, metrics = [
              [var.name, "ScoreVolume", {}, { stat = "Sum", label = "points" }],
            ] },
            { kind = "chart", width = 8, title = "Revenue as reported (minor units)", lines = {}, metrics = [for currency in var.currencies :
              [var.name, "Revenue", { Currency = currency }, { stat = "Sum", label = currency }]
            ] },
            { kind = "chart", width = 8, title = "Revenue that cannot be read", lines = {}, metrics = [
              [var.name, "RevenueUnreadable", {}, { stat = "Sum", label = "submissions" }],
            ] },
          ],
        ]
      },
      {
        key = "functions", title = "Functions"
        text = join(" ", [
          "Errors are crashes and time-outs, failures are answers of 500: both are bugs, and any is too many.",
          "Throttles with calls at once near the line: the quota. Spill-over: warm environments did not suffice. Memory and init come from Lambda's own lines.",
        ])
        lines = [
          [
            { kind = "chart", width = 8, title = "Duration, p99 (ms)", lines = {}, metrics = [for key, function in var.functions :
              ["AWS/Lambda", "Duration", { FunctionName = function.name }, { stat = "p99", label = key }]
            ] },
            { kind = "chart", width = 8, title = "Errors (crashes, time-outs)", lines = {}, metrics = [for key, function in var.functions :
              ["AWS/Lambda", "Errors", { FunctionName = function.name }, { stat = "Sum", label = key }]
            ] },
            { kind = "chart", width = 8, title = "Failures (answers of 500)", lines = {}, metrics = [for key in concat(keys(local.authorizers), keys(local.routes)) :
              [var.name, "${local.dashed[key]}-failures", {}, { stat = "Sum", label = key }]
            ] },
          ],
          [
            { kind = "chart", width = 8, title = "Calls at once", lines = { "quota of the account" = var.concurrency_quota }, metrics = concat(
              [["AWS/Lambda", "ConcurrentExecutions", {}, { stat = "Maximum", label = "the whole account" }]],
              [for key, function in var.functions : ["AWS/Lambda", "ConcurrentExecutions", { FunctionName = function.name }, { stat = "Maximum", label = key }]],
            ) },
            { kind = "chart", width = 8, title = "Throttled calls", lines = {}, metrics = [for key, function in var.functions :
              ["AWS/Lambda", "Throttles", { FunctionName = function.name }, { stat = "Sum", label = key }]
            ] },
            { kind = "chart", width = 8, title = "Spill-over of warm functions", lines = {}, metrics = [for key, function in var.functions :
              ["AWS/Lambda", "ProvisionedConcurrencySpilloverInvocations", { FunctionName = function.name, Resource = "${function.name}:${function.alias}" }, { stat = "Sum", label = key }]
            ] },
          ],
          [
            { kind = "chart", width = 8, title = "Cold starts", lines = {}, metrics = concat([[var.name, "ColdStarts", {}, { stat = "Sum", label = "all" }]], [for route in local.by_route :
              [var.name, "ColdStarts", { Route = route }, { stat = "Sum", label = route }]
            ]) },
            { kind = "chart", width = 8, title = "Init (ms)", lines = {}, metrics = [for stat in ["p50", "p99"] :
              [var.name, "InitTime", {}, { stat = stat, label = stat }]
            ] },
            { kind = "chart", width = 8, title = "CPU of a request (ms)", lines = {}, metrics = concat(
              [for stat in ["p50", "p99"] : [var.name, "ProcessorTime", {}, { stat = stat, label = stat }]],
              [for route in local.by_route : [var.name, "ProcessorTime", { Route = route }, { stat = "Average", label = route }]],
            ) },
          ],
          [{ kind = "log", width = 24, title = "Memory and init, from Lambda's lines", query = "memory and init" }],
        ]
      },
      {
        key = "cache", title = "Cache"
        text = join(" ", [
          "First, what requests see: trips to Valkey, their time, and whether reads were answered from data that was there (the seed's hit ratio; above 95 % is good, and a read of a player who never was counts against it).",
          "Then AWS's own. The engine's hit rate counts keys that may rightly be missing, so it is lower.",
          "The board is one key and so one slot, which does about 30,000 ECPU a second. AWS has no metric by slot: all ECPU together are the most that it can be, so below that line the slot is safe, and throttled commands below the maximum are the slot's.",
        ])
        lines = concat(
          [[
            { kind = "chart", width = 6, title = "Time of a trip to Valkey (ms)", lines = {}, metrics = [for stat in ["p50", "p99"] :
              [var.name, "ValkeyTripTime", {}, { stat = stat, label = stat }]
            ] },
            { kind = "chart", width = 6, title = "Trips of a request", lines = {}, metrics = concat([[var.name, "ValkeyTrips", {}, { stat = "Average", label = "all" }]], [for route in local.by_route :
              [var.name, "ValkeyTrips", { Route = route }, { stat = "Average", label = route }]
            ]) },
            { kind = "chart", width = 6, title = "Connections made, trips repeated", lines = {}, metrics = [
              [var.name, "ValkeyConnections", {}, { stat = "Sum", label = "connections" }],
              [var.name, "ValkeyRetries", {}, { stat = "Sum", label = "repeated" }],
            ] },
            { kind = "chart", width = 6, title = "Hit ratio (%)", lines = { "95 %" = 95 }, metrics = concat(
              [
                [var.name, "ReadsAnswered", {}, { id = "answered", stat = "Average", visible = false }],
                [{ id = "ratio", expression = "100 * answered", label = "reads answered" }],
              ],
              [for metric in ["CacheHitRate"] : ["AWS/ElastiCache", metric, local.cache_dimensions, { stat = "Average", label = "the engine's" }] if var.cache != null],
            ) },
          ]],
          [for line in [
            [
              { kind = "chart", width = 8, title = "ECPU a minute", lines = { "maximum" = try(var.cache.ecpu_per_second_maximum * 60, 0), "one slot" = local.slot_ecpu_per_second * 60 }, metrics = [
                ["AWS/ElastiCache", "ElastiCacheProcessingUnits", local.cache_dimensions, { stat = "Sum", label = "ECPU" }],
              ] },
              { kind = "chart", width = 8, title = "Data (bytes)", lines = { "maximum" = try(var.cache.data_storage_gb_maximum * 1000000000, 0) }, metrics = [
                ["AWS/ElastiCache", "BytesUsedForCache", local.cache_dimensions, { stat = "Maximum", label = "data" }],
              ] },
              { kind = "chart", width = 8, title = "Items", lines = {}, metrics = [
                ["AWS/ElastiCache", "CurrItems", local.cache_dimensions, { stat = "Maximum", label = "items" }],
                ["AWS/ElastiCache", "CurrVolatileItems", local.cache_dimensions, { stat = "Maximum", label = "of them with an end" }],
              ] },
            ],
            [
              # Network, TLS and the functions' own time come on top.
              { kind = "chart", width = 8, title = "Latency inside the cache (µs)", lines = {}, metrics = [
                ["AWS/ElastiCache", "SuccessfulReadRequestLatency", local.cache_dimensions, { stat = "p99", label = "reads, p99" }],
                ["AWS/ElastiCache", "SuccessfulWriteRequestLatency", local.cache_dimensions, { stat = "p99", label = "writes, p99" }],
              ] },
              { kind = "chart", width = 8, title = "Throttled commands, evictions", lines = {}, metrics = [
                ["AWS/ElastiCache", "ThrottledCmds", local.cache_dimensions, { stat = "Sum", label = "throttled commands" }],
                ["AWS/ElastiCache", "Evictions", local.cache_dimensions, { stat = "Sum", label = "evictions" }],
              ] },
              { kind = "chart", width = 8, title = "Connections", lines = {}, metrics = [
                ["AWS/ElastiCache", "CurrConnections", local.cache_dimensions, { stat = "Maximum", label = "open" }],
                ["AWS/ElastiCache", "NewConnections", local.cache_dimensions, { stat = "Sum", label = "new" }],
              ] },
            ],
            [
              { kind = "chart", width = 12, title = "Sign-ins and access", lines = {}, metrics = [for metric in [
                "AuthenticationFailures", "IamAuthenticationExpirations", "IamAuthenticationThrottling", "KeyAuthorizationFailures", "CommandAuthorizationFailures",
                ] :
                ["AWS/ElastiCache", metric, local.cache_dimensions, { stat = "Sum", label = metric }]
              ] },
              # The network has no metric of its own but this: functions and cache have no gateway between them.
              { kind = "chart", width = 12, title = "Network of the cache (bytes)", lines = {}, metrics = [
                ["AWS/ElastiCache", "NetworkBytesIn", local.cache_dimensions, { stat = "Sum", label = "in" }],
                ["AWS/ElastiCache", "NetworkBytesOut", local.cache_dimensions, { stat = "Sum", label = "out" }],
              ] },
            ],
          ] : line if var.cache != null],
        )
      },
      {
        key = "healing", title = "Healing"
        text = join(" ", [
          "Reconcile finishes what a crash left half-done, every ${var.reconcile_interval_minutes == 1 ? "minute" : "${var.reconcile_interval_minutes} minutes"}.",
          "A few intents found are normal. An age above the line: it does not keep up. Mended players without a failover: somebody writes past the API.",
        ])
        lines = [[
          { kind = "chart", width = 8, title = "Oldest unfinished score (s)", lines = { "alarm" = local.backlog_seconds }, metrics = [
            [var.name, "OldestIntentSeconds", {}, { stat = "Maximum", label = "age" }],
          ] },
          { kind = "chart", width = 8, title = "Healed by reconcile", lines = {}, metrics = [for metric, label in {
            IntentsFound = "intents found", PlayersMended = "players mended", PlayersUnreadable = "players unreadable"
          } : [var.name, metric, {}, { stat = "Sum", label = label }]] },
          { kind = "chart", width = 8, title = "Runs of reconcile", lines = {}, metrics = [
            ["AWS/Lambda", "Invocations", { FunctionName = local.reconcile.name }, { stat = "Sum", label = "runs" }],
            ["AWS/SQS", "ApproximateNumberOfMessagesVisible", { QueueName = var.reconcile_failures_queue_name }, { stat = "Maximum", label = "failures kept" }],
          ] },
        ]]
      },
      {
        key = "security", title = "Security"
        text = join(" ", [
          "What the functions refuse, by kind, and what the gateway refuses before them: a missing key or token, too many requests, the firewall.",
          "A peak of one kind from one key is a game with a bug; of many kinds, somebody who tries.",
        ])
        lines = [[
          { kind = "chart", width = 12, title = "Security events by kind", lines = {}, metrics = concat([for kind in var.metrics.kinds :
            [var.name, "SecurityEvents", { Kind = kind }, { stat = "Sum", label = kind }]
            ], [[var.name, "SecurityEvents", {}, { stat = "Sum", label = "all" }]],
            [for key in keys(local.authorizers) : [var.name, "unauthenticated", {}, { stat = "Sum", label = "401 at the gateway" }]],
          ) },
          { kind = "log", width = 12, title = "Refused by the gateway", query = "refused by the gateway" },
        ]]
      },
      {
        key = "delivery", title = "Delivery"
        text = join(" ", [
          "The calls through the alias `${local.reconcile.alias}`, which is what a deployment shifts.",
          "During a canary two versions of a function answer: the table says how many calls each had. An error here rolls a deployment back, where CodeDeploy makes it.",
        ])
        lines = [[
          { kind = "chart", width = 8, title = "Calls through the alias", lines = {}, metrics = [for key, function in var.functions :
            ["AWS/Lambda", "Invocations", { FunctionName = function.name, Resource = "${function.name}:${function.alias}" }, { stat = "Sum", label = key }]
          ] },
          { kind = "chart", width = 8, title = "Errors through the alias", lines = {}, metrics = [for key, function in var.functions :
            ["AWS/Lambda", "Errors", { FunctionName = function.name, Resource = "${function.name}:${function.alias}" }, { stat = "Sum", label = key }]
          ] },
          { kind = "log", width = 8, title = "Calls by version", query = "calls by version" },
        ]]
      },
    ],
  )

  slot_ecpu_per_second = 30000

  # Where each line of widgets begins, from the heights of all that is above it.
  heights = { text = 3, figures = 3, chart = 6, log = 7, alarms = 8 }
  laid_out = flatten([for row in local.rows : concat(
    [{ height = local.heights.text, widgets = [{ kind = "text", width = 24, markdown = "## ${row.title}\n${row.text} ${local.runbook[row.key]}" }] }],
    [for line in row.lines : { height = max([for widget in line : local.heights[widget.kind]]...), widgets = line }],
  )])
  tops = [for index in range(length(local.laid_out)) : sum(concat([0], [for line in slice(local.laid_out, 0, index) : line.height]))]

  widgets = flatten([for index, line in local.laid_out : [for column, widget in line.widgets : {
    type   = { text = "text", figures = "metric", chart = "metric", log = "log", alarms = "alarm" }[widget.kind]
    x      = sum(concat([0], [for before in slice(line.widgets, 0, column) : before.width]))
    y      = local.tops[index]
    width  = widget.width
    height = line.height
    properties = merge(concat(
      [for properties in [{ markdown = try(widget.markdown, "") }] : properties if widget.kind == "text"],
      [for properties in [{ title = "Alarms", alarms = local.alarm_arns }] : properties if widget.kind == "alarms"],
      [for properties in [{ title = try(widget.title, ""), region = local.region }] : properties if !contains(["text", "alarms"], widget.kind)],
      [for properties in [{
        view  = "table"
        query = try("${join(" | ", [for group in local.queries[widget.query].logs : "SOURCE '${group}'"])} | ${join("\n| ", local.queries[widget.query].text)}", "")
      }] : properties if widget.kind == "log"],
      [for properties in [{
        period = 60
        view   = widget.kind == "figures" ? "singleValue" : "timeSeries"
        # A metric is a list: namespace, name, dimension, value, dimension, value, …, and how to draw it; math only the last.
        metrics = [for metric in try(widget.metrics, []) : concat(
          slice(metric, 0, length(metric) == 1 ? 0 : 2), flatten([for name, value in try(metric[2], {}) : [name, value]]), [metric[length(metric) - 1]],
        )]
      }] : properties if contains(["figures", "chart"], widget.kind)],
      [for properties in [{ setPeriodToTimeRange = true }] : properties if try(widget.whole, false)],
      [for properties in [{ start = try(widget.start, "") }] : properties if can(widget.start)],
      [for properties in [{
        yAxis       = { left = { min = 0 } }
        annotations = { horizontal = [for label, value in try(widget.lines, {}) : { label = label, value = value }] }
      }] : properties if widget.kind == "chart"],
    )...)
  }]])

  # Those that tell somebody: of the others, which composites and deployments read, there would soon be too many.
  alarm_arns = [for name in concat(
    keys(var.composite_alarms ? local.composites : local.windows),
    [for name, alarm in local.alarms : name if alarm.severity != "deployment"],
  ) : "${local.alarm_arn}-${name}"]
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name
  dashboard_body = jsonencode({ start = "-PT3H", periodOverride = "inherit", widgets = local.widgets })

  lifecycle {
    precondition {
      condition     = length(local.alarm_arns) <= 100 && length(local.widgets) <= 500
      error_message = "A dashboard has at most 500 widgets, and its list of alarms at most 100."
    }
  }
}
