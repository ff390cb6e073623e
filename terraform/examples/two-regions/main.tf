# Two systems that know nothing of each other, each with its own board, near its players. The names of IAM roles are the
# whole account's, so each Region has an environment of its own.

provider "aws" {
  alias  = "europe"
  region = "eu-central-1"
}

provider "aws" {
  alias  = "america"
  region = "us-east-1"
}

locals {
  # What is the same in both.
  contract_path = "${path.module}/../../../functions/openapi.yaml"
  build_path    = "${path.module}/../../../build"
  throttling    = { rate_per_second = 500, burst = 1000 }
  usage_plans   = { standard = { rate_per_second = 200, burst = 400, quota_per_month = 20000000 } }
}

module "europe" {
  source    = "../../modules/leaderboard"
  providers = { aws = aws.europe }

  contract_path         = local.contract_path
  build_path            = local.build_path
  environment           = "prodeu"
  alarm_emails          = ["on-call@example.com"]
  access                = "protected"
  cache_data_storage_gb = { maximum = 20 }
  cache_ecpu_per_second = { maximum = 50000 }
  receipt_seconds       = 86400
  session_seconds       = 3600
  deadline_seconds      = 2.5
  throttling            = local.throttling
  usage_plans           = local.usage_plans
  api_keys              = { my-game = "standard" }
  alias_mover           = "terraform"
}

module "america" {
  source    = "../../modules/leaderboard"
  providers = { aws = aws.america }

  contract_path         = local.contract_path
  build_path            = local.build_path
  environment           = "produs"
  alarm_emails          = ["on-call@example.com"]
  access                = "protected"
  cache_data_storage_gb = { maximum = 10 }
  cache_ecpu_per_second = { maximum = 20000 }
  receipt_seconds       = 86400
  session_seconds       = 3600
  deadline_seconds      = 2.5
  throttling            = local.throttling
  usage_plans           = local.usage_plans
  api_keys              = { my-game = "standard" }
  alias_mover           = "terraform"
}

output "api_urls" {
  description = "URL of each API, by where it is."
  value       = { europe = module.europe.api_url, america = module.america.api_url }
}
