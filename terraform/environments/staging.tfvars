# Like production, but smaller: what is deployed there was first deployed here, in the same way.
environment  = "staging"
region       = "eu-central-1"
alarm_emails = []

# Whatever is not public needs a token: docs/security.md.
access = "protected"

cache_data_storage_gb = { maximum = 5 }
cache_ecpu_per_second = { maximum = 20000 }

# A request ends at its deadline. A game may repeat it while its session lives, so receipts should live at least as long.
receipt_seconds  = 86400
session_seconds  = 3600
deadline_seconds = 2.5

interface_endpoints = ["elasticache"]

throttling = {
  rate_per_second = 500
  burst           = 1000
  methods         = { "POST /users" = { rate_per_second = 50, burst = 100 } }
}
usage_plans = {
  trial    = { rate_per_second = 10, burst = 20, quota_per_month = 100000 }
  standard = { rate_per_second = 200, burst = 400, quota_per_month = 20000000 }
}
api_keys = { load-test = "standard", trial = "trial" }
waf      = { requests_per_5_minutes_per_ip = 60000 }

reserved_concurrency = { reconcile = 2, authorizer = 10 }

alias_mover = "codedeploy"
