# A firewall in front of the stage, if there is to be one. Rules run from the top, and the first that blocks is the last.

locals {
  # What the fastest tier allows a key in 5 minutes.
  fastest_tier_per_5_minutes = 300 * max(concat([0], [for tier in var.usage_plans : tier.rate_per_second])...)

  # What the contract allows is also the most that WAF can see of a body behind API Gateway.
  largest_body_bytes = 65536

  # Left out of all logs. Requests are not sampled either: samples would show these headers in the console.
  secret_headers = ["authorization", "cookie", "idempotency-key", "x-api-key"]

  # AWS's own rule sets, and those of their rules that only count, because they forbid what our clients may do.
  managed_rules = {
    AWSManagedRulesKnownBadInputsRuleSet = []
    AWSManagedRulesCommonRuleSet = [
      "SizeRestrictions_BODY", # forbids bodies above 8 KB; the contract allows 64 KiB
      "NoUserAgent_HEADER",    # a game is not a browser and need not send one
    ]
  }
}

resource "aws_wafv2_web_acl" "this" {
  #checkov:skip=CKV_AWS_192:AWSManagedRulesKnownBadInputsRuleSet, which covers Log4j, comes from local.managed_rules, which the check cannot read.
  count = var.waf == null ? 0 : 1

  name        = var.name
  description = "Shields the API of ${var.name}" # WAF takes no apostrophe
  scope       = "REGIONAL"

  default_action {
    allow {}
  }

  # As much of a body as the contract allows. Without this, WAF sees 16 KB. A body above that costs a little more.
  association_config {
    request_body {
      api_gateway {
        default_size_inspection_limit = "KB_64"
      }
    }
  }

  rule {
    name     = "requests-per-ip"
    priority = 0

    action {
      block {}
    }

    statement {
      rate_based_statement {
        aggregate_key_type    = "IP"
        limit                 = var.waf.requests_per_5_minutes_per_ip
        evaluation_window_sec = 300
      }
    }

    visibility_config {
      metric_name                = "${var.name}-requests-per-ip"
      cloudwatch_metrics_enabled = true
      sampled_requests_enabled   = false
    }
  }

  # What is larger than WAF can see must not pass unseen, and no function would take it. The reply is API Gateway's for
  # whatever WAF stops, a 403: WAF's own would have neither our media type nor the request's id.
  rule {
    name     = "body-size"
    priority = 1

    action {
      block {}
    }

    statement {
      size_constraint_statement {
        comparison_operator = "GT"
        size                = local.largest_body_bytes

        field_to_match {
          body {
            oversize_handling = "MATCH"
          }
        }

        text_transformation {
          priority = 0
          type     = "NONE"
        }
      }
    }

    visibility_config {
      metric_name                = "${var.name}-body-size"
      cloudwatch_metrics_enabled = true
      sampled_requests_enabled   = false
    }
  }

  dynamic "rule" {
    for_each = { for index, name in keys(local.managed_rules) : name => index + 2 }

    content {
      name     = rule.key
      priority = rule.value

      override_action {
        none {}
      }

      statement {
        managed_rule_group_statement {
          vendor_name = "AWS"
          name        = rule.key

          dynamic "rule_action_override" {
            for_each = local.managed_rules[rule.key]

            content {
              name = rule_action_override.value

              action_to_use {
                count {}
              }
            }
          }
        }
      }

      visibility_config {
        metric_name                = "${var.name}-${rule.key}"
        cloudwatch_metrics_enabled = true
        sampled_requests_enabled   = false
      }
    }
  }

  visibility_config {
    metric_name                = var.name
    cloudwatch_metrics_enabled = true
    sampled_requests_enabled   = false
  }
}

resource "aws_wafv2_web_acl_association" "this" {
  count = var.waf == null ? 0 : 1

  resource_arn = aws_api_gateway_stage.this.arn
  web_acl_arn  = aws_wafv2_web_acl.this[0].arn
}

resource "aws_cloudwatch_log_group" "waf" {
  count = var.waf == null ? 0 : 1

  name              = "aws-waf-logs-${var.name}" # WAF takes no other prefix
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

resource "aws_wafv2_web_acl_logging_configuration" "this" {
  count = var.waf == null ? 0 : 1

  resource_arn            = aws_wafv2_web_acl.this[0].arn
  log_destination_configs = [aws_cloudwatch_log_group.waf[0].arn]

  dynamic "redacted_fields" {
    for_each = local.secret_headers

    content {
      single_header {
        name = redacted_fields.value
      }
    }
  }

  # Requests that were blocked or counted. Those that passed are in the access log.
  logging_filter {
    default_behavior = "DROP"

    filter {
      behavior    = "KEEP"
      requirement = "MEETS_ANY"

      dynamic "condition" {
        for_each = ["BLOCK", "COUNT", "EXCLUDED_AS_COUNT"]

        content {
          action_condition {
            action = condition.value
          }
        }
      }
    }
  }
}
