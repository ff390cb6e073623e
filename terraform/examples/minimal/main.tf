# What has no default, and nothing else: a system for developers, in an account of yours.

provider "aws" {
  region = "eu-central-1"
}

module "leaderboard" {
  source = "../../modules/leaderboard" # from elsewhere: "git::https://…//terraform/modules/leaderboard?ref=…"

  contract_path = "${path.module}/../../../functions/openapi.yaml"
  build_path    = "${path.module}/../../../build" # `make build` writes it

  environment  = "dev"
  alarm_emails = []
  access       = "open" # an API key is enough; "protected" asks for tokens

  cache_data_storage_gb = { maximum = 2 }
  cache_ecpu_per_second = { maximum = 5000 }

  receipt_seconds  = 86400
  session_seconds  = 3600
  deadline_seconds = 2.5

  throttling  = { rate_per_second = 100, burst = 200 }
  usage_plans = { standard = { rate_per_second = 50, burst = 100, quota_per_month = 10000000 } }
  api_keys    = { developers = "standard" }
  alias_mover = "terraform"
}

output "api_url" {
  description = "URL of the API."
  value       = module.leaderboard.api_url
}

output "api_key_values" {
  description = "The API keys' values, by name, for the header x-api-key."
  value       = module.leaderboard.api_key_values
  sensitive   = true
}
