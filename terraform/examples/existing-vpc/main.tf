# Two games, each with a system of its own, in an account where others have made the network, the keys, and the rules for
# roles. The ids stand for yours; they may as well come from data sources, or from resources of the same tree.

provider "aws" {
  region = "eu-central-1"
}

locals {
  account = "123456789012"
  keys    = "arn:aws:kms:eu-central-1:${local.account}:key"

  # By game: the most that its cache may hold, in GB.
  games = { chess = 10, darts = 2 }
}

module "leaderboard" {
  source   = "../../modules/leaderboard"
  for_each = local.games

  contract_path = "${path.module}/../../../functions/openapi.yaml"
  build_path    = "${path.module}/../../../build"

  project      = each.key
  environment  = "prod"
  alarm_emails = ["on-call@example.com"]
  access       = "protected"

  # Private subnets, one a zone. The groups let the functions reach the cache's TCP ports 6379 and 6380.
  vpc = {
    function_subnet_ids         = ["subnet-0f00000000000000a", "subnet-0f00000000000000b"]
    function_security_group_ids = ["sg-0f000000000000001"]
    cache_subnet_ids            = ["subnet-0c00000000000000a", "subnet-0c00000000000000b"]
    cache_security_group_ids    = ["sg-0c000000000000001"]
  }

  # What their policies must allow stands at the variable.
  kms_key_arns = {
    operations = "${local.keys}/00000000-0000-4000-8000-000000000001"
    cache      = "${local.keys}/00000000-0000-4000-8000-000000000002"
  }

  role_path                = "/games/"
  permissions_boundary_arn = "arn:aws:iam::${local.account}:policy/games-boundary"

  cache_data_storage_gb = { maximum = each.value }
  cache_ecpu_per_second = { maximum = 20000 }

  receipt_seconds  = 86400
  session_seconds  = 3600
  deadline_seconds = 2.5

  throttling  = { rate_per_second = 500, burst = 1000 }
  usage_plans = { standard = { rate_per_second = 200, burst = 400, quota_per_month = 20000000 } }
  api_keys    = { my-game = "standard" }
  alias_mover = "codedeploy"
}

output "api_urls" {
  description = "URL of each game's API, by game."
  value       = { for game, system in module.leaderboard : game => system.api_url }
}
