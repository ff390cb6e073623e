# This repository's own deployments, `make plan ENV=…`: its one module, with an environment's values and the zips of
# `make build`. To use the system within another tree, call the module there: see examples/.

module "leaderboard" {
  source = "./modules/leaderboard"

  contract_path = "${path.root}/../functions/openapi.yaml"
  build_path    = "${path.root}/../build"

  # Made by `make format`: every other variable of the module.
  environment               = var.environment
  alarm_emails              = var.alarm_emails
  cache_data_storage_gb     = var.cache_data_storage_gb
  cache_ecpu_per_second     = var.cache_ecpu_per_second
  access                    = var.access
  project                   = var.project
  cidr_block                = var.cidr_block
  availability_zone_count   = var.availability_zone_count
  gateway_endpoints         = var.gateway_endpoints
  interface_endpoints       = var.interface_endpoints
  vpc                       = var.vpc
  kms_key_arns              = var.kms_key_arns
  role_path                 = var.role_path
  permissions_boundary_arn  = var.permissions_boundary_arn
  player_operators          = var.player_operators
  player_limits             = var.player_limits
  revoked_tokens            = var.revoked_tokens
  signing_key               = var.signing_key
  oidc                      = var.oidc
  audit_retention_days      = var.audit_retention_days
  caches                    = var.caches
  cache_in_use              = var.cache_in_use
  writes_stopped            = var.writes_stopped
  valkey_major_version      = var.valkey_major_version
  snapshot_retention_days   = var.snapshot_retention_days
  daily_snapshot_time       = var.daily_snapshot_time
  receipt_seconds           = var.receipt_seconds
  session_seconds           = var.session_seconds
  deadline_seconds          = var.deadline_seconds
  architecture              = var.architecture
  runtime                   = var.runtime
  memory_mb                 = var.memory_mb
  timeout_seconds           = var.timeout_seconds
  reserved_concurrency      = var.reserved_concurrency
  provisioned_concurrency   = var.provisioned_concurrency
  duration_p99_milliseconds = var.duration_p99_milliseconds
  default_operator          = var.default_operator
  metrics_depth             = var.metrics_depth
  currencies                = var.currencies
  settings                  = var.settings
  reconcile_schedule        = var.reconcile_schedule
  stage_name                = var.stage_name
  throttling                = var.throttling
  usage_plans               = var.usage_plans
  api_keys                  = var.api_keys
  waf                       = var.waf
  domain                    = var.domain
  tls_policy                = var.tls_policy
  detailed_metrics          = var.detailed_metrics
  log_retention_days        = var.log_retention_days
  availability_percent      = var.availability_percent
  latency_percent           = var.latency_percent
  slow_milliseconds         = var.slow_milliseconds
  concurrency_quota         = var.concurrency_quota
  runbook_url               = var.runbook_url
  alarm_channels            = var.alarm_channels
  alarm_thresholds          = var.alarm_thresholds
  monthly_budget            = var.monthly_budget
  alias_mover               = var.alias_mover
  deployment_config         = var.deployment_config
  emulator                  = var.emulator
}
