# What the whole may cost a month. AWS looks at it a few times a day, and mails by itself, without the topic.

resource "aws_budgets_budget" "monthly" {
  count = var.monthly_budget == null ? 0 : 1

  name         = var.name
  budget_type  = "COST"
  time_unit    = "MONTHLY"
  limit_amount = tostring(var.monthly_budget.usd)
  limit_unit   = "USD"

  dynamic "cost_filter" {
    for_each = var.monthly_budget.tag == null ? {} : var.monthly_budget.tag

    content {
      name   = "TagKeyValue"
      values = [format("user:%s$%s", cost_filter.key, cost_filter.value)]
    }
  }

  dynamic "notification" {
    for_each = { spent-most = ["ACTUAL", 80], spent-all = ["ACTUAL", 100], will-spend-all = ["FORECASTED", 100] }

    content {
      notification_type          = notification.value[0]
      threshold                  = notification.value[1]
      threshold_type             = "PERCENTAGE"
      comparison_operator        = "GREATER_THAN"
      subscriber_email_addresses = var.emails
    }
  }
}
