# What the root adds to its module: a Region. Everything else is tested in modules/leaderboard, and the walk over the plans
# of all environments (tests/terraform/test_plans.py) begins here.

provider "aws" {
  region                      = "eu-central-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

override_module {
  target = module.leaderboard
}

variables {
  environment           = "test"
  access                = "open"
  region                = "eu-central-1"
  alarm_emails          = []
  cache_data_storage_gb = { maximum = 2 }
  cache_ecpu_per_second = { maximum = 5000 }
  receipt_seconds       = 86400
  session_seconds       = 3600
  deadline_seconds      = 2.5
  throttling            = { rate_per_second = 100, burst = 200 }
  usage_plans           = { standard = { rate_per_second = 50, burst = 100 } }
  api_keys              = { developers = "standard" }
  alias_mover           = "terraform"
}

run "what_is_no_region_and_what_is_no_account_are_refused" {
  command = plan

  variables {
    region     = "Frankfurt"
    account_id = "prod"
  }

  expect_failures = [var.region, var.account_id]
}
