# Computed once: names, the contract, and whether this is an emulator.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  name       = "${var.project}-${var.environment}"
  emulated   = var.emulator != null
  codedeploy = var.alias_mover == "codedeploy" && !local.emulated

  account_id = data.aws_caller_identity.current.account_id
  partition  = data.aws_partition.current.partition
  region     = data.aws_region.current.id

  contract = yamldecode(file(var.contract_path))
  metrics  = yamldecode(file("${dirname(var.contract_path)}/metrics.yaml"))

  is_protected = var.access == "protected"

  # The functions of the role `people`: what they log is the record of who did what to whom.
  audited = toset(flatten([
    for item in values(local.contract.paths) : [
      for operation in values(item) : split(".", operation.operationId)[0] if try(operation["x-cache-role"], "") == "people"
    ]
  ]))

  settings = {
    RECEIPT_SECONDS  = tostring(var.receipt_seconds)
    SESSION_SECONDS  = tostring(var.session_seconds)
    DEADLINE_SECONDS = tostring(var.deadline_seconds)
    DEFAULT_OPERATOR = var.default_operator
    METRICS_DEPTH    = var.metrics_depth
    CURRENCIES       = join(",", var.currencies)
    ACCESS           = var.access
    PLAYER_OPERATORS = join(",", sort(var.player_operators))
  }

  player_limits = { for name, number in var.player_limits : upper(name) => tostring(number) if number != null }

  # What every role has. As one value, so that no module takes the one and forgets the other.
  iam_role = { path = var.role_path, permissions_boundary_arn = var.permissions_boundary_arn }

  cache = one([
    for cache in module.cache : {
      name         = cache.name
      arns         = cache.arns
      users        = cache.users
      former_users = cache.former_users
    }
  ])

  valkey = local.emulated ? {
    VALKEY_HOST = var.emulator.valkey_host
    VALKEY_PORT = tostring(var.emulator.valkey_port)
    VALKEY_TLS  = "0"
    } : {
    VALKEY_HOST = one(module.cache[*].host)
    VALKEY_PORT = tostring(one(module.cache[*].port))
    VALKEY_TLS  = "1"
    RES_OPTIONS = "timeout:1 attempts:2" # if a name server is silent; the resolver's default is 5 s
  }
}
