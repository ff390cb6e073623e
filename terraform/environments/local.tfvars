# An emulator of AWS on this machine, and a real Valkey beside it. docs/emulator.md says how either is started.
environment  = "local"
region       = "eu-central-1"
alarm_emails = []

# Where functions find that Valkey. With this, no ElastiCache is planned. `make emulate` puts its own address in its place.
emulator = { valkey_host = "127.0.0.1", valkey_port = 6379 }

access = "open" # `ACCESS=protected make emulate` puts that in its place

cache_data_storage_gb = { maximum = 1 }
cache_ecpu_per_second = { maximum = 1000 }

# A request ends at its deadline. A game may repeat it while its session lives, so receipts should live at least as long.
receipt_seconds  = 86400
session_seconds  = 3600
deadline_seconds = 2.5

throttling  = { rate_per_second = 10000, burst = 5000 }
usage_plans = { standard = { rate_per_second = 10000, burst = 5000, quota_per_month = 1000000000 } }
api_keys    = { developers = "standard" }

tls_policy = null # there is no TLS

alias_mover = "terraform"
