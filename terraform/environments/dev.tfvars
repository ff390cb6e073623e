# For developers: small limits, and Terraform moves the alias at once.
environment  = "dev"
region       = "eu-central-1"
alarm_emails = []

access = "open" # an API key is enough

cache_data_storage_gb   = { maximum = 2 }
cache_ecpu_per_second   = { maximum = 5000 }
snapshot_retention_days = 1

# A request ends at its deadline. A game may repeat it while its session lives, so receipts should live at least as long.
receipt_seconds  = 86400
session_seconds  = 3600
deadline_seconds = 2.5

availability_zone_count = 2
log_retention_days      = 7

throttling  = { rate_per_second = 100, burst = 200 }
usage_plans = { standard = { rate_per_second = 50, burst = 100, quota_per_month = 10000000 } }
api_keys    = { developers = "standard" }

alias_mover = "terraform"
