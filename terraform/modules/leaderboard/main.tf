# Valkey Leaderboard on AWS: API Gateway -> one Lambda function per route -> ElastiCache Serverless for Valkey.
# Each module is one concern; this file joins them.

module "network" {
  source = "../network"
  count  = var.vpc == null ? 1 : 0

  name                    = local.name
  cidr_block              = var.cidr_block
  availability_zone_count = var.availability_zone_count
  gateway_endpoints       = var.gateway_endpoints
  interface_endpoints     = var.interface_endpoints
  flow_log_retention_days = var.log_retention_days
  kms_key_arn             = var.kms_key_arns == null ? aws_kms_key.operations[0].arn : var.kms_key_arns.operations
  iam_role                = local.iam_role
}

module "cache" {
  source = "../cache"
  count  = local.emulated ? 0 : 1

  name                    = local.name
  subnet_ids              = var.vpc == null ? module.network[0].cache_subnet_ids : var.vpc.cache_subnet_ids
  security_group_ids      = var.vpc == null ? module.network[0].cache_security_group_ids : var.vpc.cache_security_group_ids
  caches                  = var.caches
  in_use                  = var.cache_in_use
  major_engine_version    = var.valkey_major_version
  data_storage_gb         = var.cache_data_storage_gb
  ecpu_per_second         = var.cache_ecpu_per_second
  snapshot_retention_days = var.snapshot_retention_days
  daily_snapshot_time     = var.daily_snapshot_time
  kms_key                 = var.kms_key_arns == null ? null : { arn = var.kms_key_arns.cache }
}

module "access" {
  source = "../access"

  name             = local.name
  issuer_role_name = module.functions.functions["issue_token"].role_name
  signing_key      = var.signing_key
  revoked_tokens   = var.revoked_tokens
  oidc             = var.oidc
}

module "functions" {
  source = "../functions"

  name                    = local.name
  contract                = local.contract
  with_authorizer         = local.is_protected
  build_path              = "${var.build_path}/${var.architecture}-${var.runtime}"
  architecture            = var.architecture
  runtime                 = var.runtime
  memory_mb               = var.memory_mb
  timeout_seconds         = var.timeout_seconds
  subnet_ids              = var.vpc == null ? module.network[0].function_subnet_ids : var.vpc.function_subnet_ids
  security_group_ids      = var.vpc == null ? module.network[0].function_security_group_ids : var.vpc.function_security_group_ids
  environment             = merge(local.settings, local.player_limits, var.settings, local.valkey)
  own_environment         = { authorizer = module.access.authorizer_environment, issue_token = module.access.issuer_environment }
  cache                   = local.cache
  log_retention_days      = var.log_retention_days
  own_log_retention_days  = { for key in local.audited : key => var.audit_retention_days }
  kms_key_arn             = var.kms_key_arns == null ? aws_kms_key.operations[0].arn : var.kms_key_arns.operations
  alias_mover             = var.alias_mover
  reserved_concurrency    = var.reserved_concurrency
  provisioned_concurrency = local.emulated ? {} : var.provisioned_concurrency
  reconcile_schedule      = var.reconcile_schedule
  writes_stopped          = var.writes_stopped
  slow_milliseconds       = var.slow_milliseconds
  iam_role                = local.iam_role
}

module "api" {
  source = "../api"

  name               = local.name
  stage_name         = var.stage_name
  contract           = local.contract
  functions          = module.functions.functions
  authorizer         = local.is_protected ? "authorizer" : null
  throttling         = var.throttling
  closed_operations  = module.functions.stopped_operations
  usage_plans        = var.usage_plans
  api_keys           = var.api_keys
  log_retention_days = var.log_retention_days
  kms_key_arn        = var.kms_key_arns == null ? aws_kms_key.operations[0].arn : var.kms_key_arns.operations
  waf                = local.emulated ? null : var.waf
  domain             = var.domain
  tls_policy         = var.tls_policy
  detailed_metrics   = var.detailed_metrics
}

module "monitoring" {
  source = "../monitoring"

  name                          = local.name
  contract                      = local.contract
  metrics                       = local.metrics
  metrics_depth                 = var.metrics_depth
  currencies                    = var.currencies
  functions                     = module.functions.functions
  codedeploy                    = local.codedeploy
  deadline_seconds              = var.deadline_seconds
  reconcile_interval_minutes    = module.functions.reconcile_interval_minutes
  availability_percent          = var.availability_percent
  latency_percent               = var.latency_percent
  slow_milliseconds             = var.slow_milliseconds
  thresholds                    = var.alarm_thresholds
  duration_p99_milliseconds     = var.duration_p99_milliseconds
  concurrency_quota             = var.concurrency_quota
  runbook_url                   = var.runbook_url
  reconcile_failures_queue_name = module.functions.reconcile_failures_queue.name
  emails                        = var.alarm_emails
  channels                      = var.alarm_channels
  monthly_budget                = var.monthly_budget
  kms_key_arn                   = var.kms_key_arns == null ? aws_kms_key.operations[0].arn : var.kms_key_arns.operations
  iam_role                      = local.iam_role

  api = {
    name                  = module.api.name
    stage_name            = module.api.stage_name
    access_log_group_name = module.api.access_log_group_name
    detailed_metrics      = var.detailed_metrics
  }

  cache = local.emulated ? null : {
    name                    = one(module.cache[*].name)
    data_storage_gb_maximum = var.cache_data_storage_gb.maximum
    ecpu_per_second_maximum = var.cache_ecpu_per_second.maximum
  }
}

module "delivery" {
  source = "../delivery"
  count  = local.codedeploy ? 1 : 0

  name                 = local.name
  functions            = module.functions.functions
  deployment_config    = var.deployment_config
  rollback_alarm_names = module.monitoring.rollback_alarm_names
  iam_role             = local.iam_role
}
