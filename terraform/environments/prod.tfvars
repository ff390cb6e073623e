# Production. Look first at the addresses, the cache's limits and the tiers.
environment  = "prod"
region       = "eu-central-1"
alarm_emails = []

# Whatever is not public needs a token: docs/security.md.
access = "protected"

cache_data_storage_gb   = { maximum = 50 }
cache_ecpu_per_second   = { maximum = 100000 }
snapshot_retention_days = 14

# A request ends at its deadline. A game may repeat it while its session lives, so receipts should live at least as long.
receipt_seconds  = 86400
session_seconds  = 3600
deadline_seconds = 2.5

interface_endpoints = ["elasticache"]
log_retention_days  = 365
detailed_metrics    = true

throttling = {
  rate_per_second = 5000
  burst           = 2500
  methods         = { "POST /users" = { rate_per_second = 500, burst = 500 } }
}
usage_plans = {
  trial    = { rate_per_second = 10, burst = 20, quota_per_month = 100000 }
  standard = { rate_per_second = 1000, burst = 1000, quota_per_month = 100000000 }
  premium  = { rate_per_second = 4000, burst = 2000, quota_per_month = 1000000000 }
}
api_keys = { my-game = "premium" }
waf      = { requests_per_5_minutes_per_ip = 1200000 }

reserved_concurrency    = { reconcile = 2, authorizer = 50 }
provisioned_concurrency = { update_score = 2, leaderboard = 2 }

alias_mover = "codedeploy"
