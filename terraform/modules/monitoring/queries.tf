# Questions to the logs, saved in CloudWatch's Logs Insights. Two of them are on the dashboard as well. A request's line is
# "request answered"; what the gateway refuses by itself - no key, too many requests, the firewall - is in its access log only.
locals {
  function_logs = [for function in var.functions : function.log_group_name]

  queries = {
    "errors by code" = {
      logs = local.function_logs
      text = ["filter message = \"request answered\" and ispresent(code)", "stats count(*) as requests by code, route", "sort requests desc", "limit 20"]
    }
    "slowest requests" = {
      logs = local.function_logs
      text = ["filter message = \"request answered\"", "fields milliseconds, route, status, code, trips, cold, requestId", "sort milliseconds desc", "limit 20"]
    }
    "one request" = { # its id is in the reply's header X-Request-Id
      logs = concat(local.function_logs, [var.api.access_log_group_name])
      text = ["fields @timestamp, @log, @message", "filter requestId = \"PUT-THE-REQUEST-ID-HERE\"", "sort @timestamp asc", "limit 100"]
    }
    "one caller" = { # a key's id, never the key
      logs = [var.api.access_log_group_name]
      text = ["filter apiKeyId = \"PUT-THE-KEY-ID-HERE\"", "stats count(*) as requests by route, status, errorType", "sort requests desc", "limit 100"]
    }
    "security by kind" = {
      logs = local.function_logs
      text = ["filter event = \"security\"", "stats count(*) as events by kind, route", "sort events desc", "limit 50"]
    }
    "refused by the gateway" = { # INVALID_API_KEY, THROTTLED, QUOTA_EXCEEDED, WAF_FILTERED, …
      logs = [var.api.access_log_group_name]
      text = ["filter ispresent(errorType) and errorType != \"-\"", "stats count(*) as requests by errorType, apiKeyId, sourceIp", "sort requests desc", "limit 50"]
    }
    "calls by version" = { # more than one during a canary
      logs = local.function_logs
      text = ["filter type = \"platform.start\"", "stats count(*) as calls by @log, record.version", "sort calls desc", "limit 50"]
    }
    "memory and init" = { # what no metric has
      logs = local.function_logs
      text = ["filter type = \"platform.report\"", "stats max(record.metrics.maxMemoryUsedMB) as used_mb, max(record.metrics.memorySizeMB) as of_mb, avg(record.metrics.initDurationMs) as init_ms by @log", "sort used_mb desc", "limit 20"]
    }
  }
}

resource "aws_cloudwatch_query_definition" "this" {
  for_each = local.queries

  name            = "${var.name}/${each.key}"
  log_group_names = each.value.logs
  query_string    = join("\n| ", each.value.text)
}
