# Nearly everything that can be chosen, as a live game might. terraform/README.md says what each value is for.

provider "aws" {
  region              = "eu-central-1"
  allowed_account_ids = ["123456789012"]

  # On all that is made. The module has no tags of its own but names: they are the provider's.
  default_tags {
    tags = { Game = "my-game", CostCenter = "4711", ManagedBy = "terraform" }
  }
}

module "leaderboard" {
  source = "../../modules/leaderboard"

  contract_path = "${path.module}/../../../functions/openapi.yaml"
  build_path    = "${path.module}/../../../build"

  project      = "my-game"
  environment  = "live"
  alarm_emails = ["on-call@example.com"]

  access           = "protected"
  player_operators = ["best"]
  player_limits    = { submissions_per_minute = 30, submissions_burst = 5, sessions_per_minute = 6, sessions_open_max = 3 }
  signing_key      = "a"
  revoked_tokens   = ["9c1f6c1e-4b7e-4c57-8a35-0a1d7c2e8f64"]
  oidc = {
    issuer      = "https://id.example.com"
    audience    = "leaderboard"
    jwks_url    = "https://id.example.com/keys"
    user_claim  = "sub"
    scope_claim = "scope"
  }
  audit_retention_days = 731

  cidr_block              = "10.60.0.0/16"
  availability_zone_count = 3
  interface_endpoints     = ["elasticache"]

  cache_data_storage_gb   = { minimum = 5, maximum = 50 }
  cache_ecpu_per_second   = { minimum = 10000, maximum = 100000 }
  snapshot_retention_days = 14
  daily_snapshot_time     = "04:30"

  receipt_seconds  = 86400
  session_seconds  = 3600
  deadline_seconds = 2.5
  default_operator = "best"
  settings         = { SCORE_MAX = "1000000" }

  memory_mb                 = { default = 512, leaderboard = 1024 }
  reserved_concurrency      = { reconcile = 2, authorizer = 10 }
  provisioned_concurrency   = { update_score = 2 }
  duration_p99_milliseconds = { leaderboard = 300 }

  throttling = {
    rate_per_second = 5000
    burst           = 2500
    methods         = { "POST /users" = { rate_per_second = 500, burst = 500 } }
  }
  usage_plans = {
    trial   = { rate_per_second = 10, burst = 20, quota_per_month = 100000 }
    premium = { rate_per_second = 4000, burst = 2000, quota_per_month = 1000000000 }
  }
  api_keys = { my-game = "premium", partner = "trial" }
  waf      = { requests_per_5_minutes_per_ip = 1200000 }
  domain = {
    name            = "leaderboard.example.com"
    certificate_arn = "arn:aws:acm:eu-central-1:123456789012:certificate/00000000-0000-4000-8000-000000000000"
    hosted_zone_id  = "Z0123456789ABCDEFGHIJ"
  }
  tls_policy       = "SecurityPolicy_TLS13_1_2_PFS_PQ_2025_09"
  detailed_metrics = true

  log_retention_days       = 365
  monthly_budget           = { usd = 1500 }
  alarm_thresholds         = { cache_data_percent = 60 }
  alias_mover              = "codedeploy"
  deployment_config        = "CodeDeployDefault.LambdaLinear10PercentEvery1Minute"
  role_path                = "/my-game/"
  permissions_boundary_arn = "arn:aws:iam::123456789012:policy/my-game-boundary"
}

output "api_url" {
  description = "URL of the API."
  value       = module.leaderboard.api_url
}

output "deployment" {
  description = "CodeDeploy's application and its groups, for the pipeline that deploys."
  value       = module.leaderboard.deployment
}
